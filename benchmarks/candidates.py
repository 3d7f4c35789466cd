"""Open the networks that `frameworks.py` compares: a training step, a prediction, and the size of each network.

All see the same images, learn with Adam at the same rate, and minimise the binary cross-entropy. Of
segmentation_models.pytorch and MONAI, the widths are those that come nearest to lungnb's U-Net in multiply-accumulates.
"""

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

FILTERS = 16
LEARNING_RATE = 1e-3


class Opened(NamedTuple):
    """A network that is ready to be timed. The multiply-accumulates are of one image, in convolutions alone."""

    step: Callable[[], float]  # returns the loss
    predict: Callable[[int], object]  # the first images of the batch, by their number
    parameters: int
    multiplications: int


def open_lungnb(network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return a network of lungnb, run by Keras."""
    from lungnb.engines.engines import engine_of
    from lungnb.networks.backend import USE_XLA, fuse_batch_norm, keras
    from lungnb.networks.costs import count_multiplications
    from lungnb.networks.models import build_model

    model = build_model(network, size=images.shape[1], filters=FILTERS)
    multiplications = count_multiplications(model)
    fuse_batch_norm(model)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "binary_crossentropy", jit_compile=USE_XLA)
    engine = engine_of(model)
    return Opened(
        lambda: model.train_on_batch(images, masks),
        lambda count: engine(images[:count]),
        sum(math.prod(weight.shape) for weight in model.trainable_weights),
        multiplications,
    )


def open_collection(network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return a network of keras-unet-collection, whose R2U-Net has a separate kernel for each step."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # it was written for Keras 2
    import tf_keras
    from keras_unet_collection import models

    channels = [FILTERS * 2**level for level in range(5)]
    options = {"output_activation": "Sigmoid", "batch_norm": True, "pool": True, "unpool": False}
    make = {"unet": models.unet_2d, "r2unet": models.r2_unet_2d}[network]
    model = make(images.shape[1:], channels, 2, **options)  # lung and background
    both = np.concatenate([masks, 1 - masks], -1)
    model.compile(tf_keras.optimizers.Adam(LEARNING_RATE), "binary_crossentropy")
    return Opened(
        lambda: model.train_on_batch(images, both),
        lambda count: model.predict_on_batch(images[:count]),
        sum(math.prod(weight.shape) for weight in model.trainable_weights),
        sum(map(_multiplications, model.layers)),
    )


def _multiplications(layer: Any) -> int:  # noqa: ANN401 (a layer of Keras 2, which may be missing)
    """Return the multiply-accumulates of a layer of Keras 2 for one image; those of a shared layer for each use."""
    if type(layer).__name__ not in ("Conv2D", "Conv2DTranspose"):
        return 0
    shape = layer.input_shape if type(layer).__name__ == "Conv2DTranspose" else layer.output_shape
    return len(layer.inbound_nodes) * math.prod(shape[1:3]) * math.prod(layer.kernel.shape)


def open_torch(network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return the network in plain PyTorch."""
    import torch
    import torch_networks

    return _opened(torch_networks.NETWORKS[network](filters=FILTERS), torch.nn.BCELoss(), images, masks)


def open_smp_resnet18(_network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return the U-Net of segmentation_models.pytorch with a ResNet-18 as its encoder, and a narrow decoder."""
    return _open_smp("resnet18", (128, 64, 32, 16, 16), images, masks)


def open_smp_mobilenet(_network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return the U-Net of segmentation_models.pytorch with a MobileNetV2 as its encoder, and the usual decoder."""
    return _open_smp("mobilenet_v2", (256, 128, 64, 32, 16), images, masks)


def _open_smp(encoder: str, decoder: tuple[int, ...], images: np.ndarray, masks: np.ndarray) -> Opened:
    import segmentation_models_pytorch as smp

    model = smp.Unet(encoder, encoder_weights=None, in_channels=1, classes=1, decoder_channels=decoder)
    return _opened(model, smp.losses.SoftBCEWithLogitsLoss(), images, masks)


def open_monai(_network: str, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return MONAI's BasicUNet with ReLU and batch normalisation; for this loss, MONAI too takes PyTorch's."""
    import torch
    from monai.networks.nets import BasicUNet

    features = [*(FILTERS * 2**level for level in range(5)), FILTERS]
    model = BasicUNet(2, in_channels=1, out_channels=1, features=features, act="relu", norm="batch")
    return _opened(model, torch.nn.BCEWithLogitsLoss(), images, masks)


def _opened(model: "torch.nn.Module", loss: "torch.nn.Module", images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return a network of PyTorch, trained by a plain loop."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    x, y = (torch.from_numpy(part.transpose(0, 3, 1, 2).copy()) for part in (images, masks))
    has_logits = not isinstance(loss, torch.nn.BCELoss)

    def step() -> float:
        model.train()
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return float(value)

    def predict(count: int) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            predicted = model(x[:count])
            return (torch.sigmoid(predicted) if has_logits else predicted).numpy()

    with FlopCounterMode(display=False) as counter:
        predict(1)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Opened(step, predict, parameters, counter.get_total_flops() // 2)  # it counts additions, too


class Candidate(NamedTuple):
    """A framework: what pip calls it and what it needs beside it, how to open it, and its networks."""

    packages: tuple[str, ...]
    open: Callable[[str, np.ndarray, np.ndarray], Opened]
    networks: tuple[str, ...]
    script: str  # in benchmarks/peers


_UNET = ("unet",)
_ALL = ("unet", "resunet", "r2unet")
_SMP = ("segmentation-models-pytorch",)
CANDIDATES = {
    "lungnb": Candidate(("lungnb",), open_lungnb, _ALL, "train_lungnb.py"),
    "PyTorch": Candidate(("torch",), open_torch, _ALL, "train_pytorch.py"),
    # Its ResUNet has other layers.
    "keras-unet-collection": Candidate(
        ("keras-unet-collection", "tf-keras"), open_collection, ("unet", "r2unet"), "train_keras_unet_collection.py"
    ),
    "segmentation_models.pytorch, ResNet-18": Candidate(_SMP, open_smp_resnet18, _UNET, "train_smp.py"),
    "segmentation_models.pytorch, MobileNetV2": Candidate(_SMP, open_smp_mobilenet, _UNET, "train_smp.py"),
    "MONAI": Candidate(("monai",), open_monai, _UNET, "train_monai.py"),
}
