"""Encoders of `keras.applications` for the left half of a U-Net, with random, ImageNet, phantom or a file's weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lungnb.artefacts import home
from lungnb.networks.backend import keras
from lungnb.networks.weights import take_weights

layers = keras.layers


class Backbone(NamedTuple):
    """A network of `keras.applications`, and what its own preprocessing does to a channel from 0 to 1."""

    build: str
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]


# Where the channels' order matters (blue first in VGG16 and ResNet50), a grey image is the same in any.
_CAFFE = (255.0, (-103.939, -116.779, -123.68))
_TORCH = ((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225))
BACKBONES = {
    "mobilenetv2": Backbone("MobileNetV2", 2.0, -1.0),
    "efficientnetv2b0": Backbone("EfficientNetV2B0", 255.0, 0.0),  # normalises by itself
    "vgg16": Backbone("VGG16", *_CAFFE),
    "resnet50": Backbone("ResNet50", *_CAFFE),
    "densenet121": Backbone("DenseNet121", *_TORCH),
}
_BATCH_NORM_MOMENTUM = 0.9  # as in models.py; MobileNetV2 comes with 0.999, a memory of a thousand steps


def pretrained_features(
    image: keras.KerasTensor, encoder: str, weights: str | None, depth: int
) -> dict[int, keras.KerasTensor]:
    """Return what a backbone makes of a grey image, `(batch, size, size, 1)` from 0 to 1, by the power of its stride.

    `features[k]` is `(batch, size / 2**k, size / 2**k, channels)`, for k up to `depth`; most backbones have no
    `features[0]`. The backbone is one layer of the model, called `encoder`. With weights of any origin, its batch
    normalisation is frozen for good, so that small batches do not spoil the statistics that the weights rely on
    (https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning).

    Raises ValueError for an unknown `encoder`, for weights that do not fit it or that cannot be had, FileNotFoundError
    for a file that is not there.
    """
    if encoder not in BACKBONES:
        raise ValueError(f"encoder must be one of {', '.join(BACKBONES)}, not {encoder!r}.")
    backbone, size = BACKBONES[encoder], image.shape[1]
    if size < 32 or depth > 5:
        raise ValueError(f"encoder {encoder} needs images of 32 px at least and a depth of 5 at most.")
    whole = _application(backbone, encoder, "imagenet" if weights == "imagenet" else None, size)
    stages = {layer.output.shape[1]: layer.output for layer in whole.layers if _is_feature(layer)}  # the last of each
    strides = [power for power in range(depth + 1) if size // 2**power in stages]
    network = keras.Model(whole.input, [stages[size // 2**power] for power in strides], name="encoder")
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum, layer.trainable = _BATCH_NORM_MOMENTUM, weights is None
    if weights not in (None, "imagenet"):
        take_weights(network, phantom_file(encoder, depth, size) if weights == "phantom" else Path(weights), "encoder")
    colour = layers.Concatenate(name="three_channels")([image] * 3)
    colour = layers.Rescaling(backbone.scale, backbone.offset, name="preprocessing")(colour)
    return dict(zip(strides, network(colour), strict=True))


def phantom_file(encoder: str, depth: int, size: int, window: tuple[float, float] | None = None) -> Path:
    """Return where the model trained on phantoms lies whose encoder `weights="phantom"` takes."""
    seen = f"{size}px" + (f"_{window[0]:g}_{window[1]:g}" if window else "")
    return home() / "data" / "weights" / f"phantom_{encoder}_{depth}_{seen}.keras"


def _application(backbone: Backbone, encoder: str, weights: str | None, size: int) -> keras.Model:
    """Return a network of `keras.applications` without its top; Keras downloads the ImageNet weights."""
    build = getattr(keras.applications, backbone.build)
    try:
        return build(include_top=False, weights=weights, input_shape=(size, size, 3))
    except Exception as error:  # Keras raises a bare one where the download fails
        if weights is None:
            raise
        raise ValueError(
            f"the ImageNet weights of {encoder} could not be downloaded ({error}). Where there is no network, use "
            "weights=phantom, which is trained here, or put the file that the address names into ~/.keras/models."
        ) from error


def _is_feature(layer: keras.Layer) -> bool:
    """Whether a layer's output is a map of features rather than the image, a scaled one, or a vector."""
    shape = layer.output.shape
    return len(shape) == 4 and shape[3] > 3
