"""lungnb's networks beside those in plain PyTorch and keras-unet-collection: `python benchmarks/frameworks.py`.

Training: images a second of a step on a batch. Inference: milliseconds for one image. Both also as ratios to lungnb in
the same run, with peak memory, and with the limit of the processor at its measured rate of multiply-accumulates. Rounds
alternate. Needs `pip install torch keras-unet-collection tf-keras`; frameworks that are missing are left out.
"""

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from measure import apart, bars, matrix_rate, write

from lungnb.evaluation.speed import median_seconds
from lungnb.settings import TITLES

NEEDS = {"lungnb": "lungnb", "PyTorch": "torch", "keras-unet-collection": "keras_unet_collection"}
NETWORKS = ("unet", "resunet", "r2unet")
FILTERS = 16
Opened: TypeAlias = tuple[Callable[[], object], Callable[[], object], int]  # training step, prediction, parameters


def batch(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and masks of noise, (count, size, size, 1): their values do not change the time."""
    images = np.random.default_rng(0).random((count, size, size, 1), np.float32)
    return images, (images > 0.5).astype(np.float32)


def measure(framework: str, network: str, size: int, count: int, rounds: int) -> dict[str, Any]:
    """Return the speed of a network of a framework, and its number of trainable parameters."""
    images, masks = batch(size, count)
    step, predict, parameters = OPEN[framework](network, size, images, masks)
    return {
        "parameters": parameters,
        "train_images_s": count / median_seconds(step, rounds),
        "infer_ms": 1000 * median_seconds(predict, 3 * rounds),
    }


def open_lungnb(network: str, size: int, images: np.ndarray, masks: np.ndarray) -> Opened:
    """Return a training step, a prediction, and the number of parameters."""
    from lungnb.engines.engines import engine_of
    from lungnb.networks.backend import USE_XLA, fuse_batch_norm
    from lungnb.networks.models import build_model

    model = build_model(network, size=size, filters=FILTERS)
    fuse_batch_norm(model)
    model.compile("adam", "binary_crossentropy", jit_compile=USE_XLA)
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return lambda: model.train_on_batch(images, masks), lambda: engine_of(model)(images[:1]), count


def open_torch(network: str, _size: int, images: np.ndarray, masks: np.ndarray) -> Opened:
    """The same of plain PyTorch."""
    import torch
    import torch_networks

    model = torch_networks.NETWORKS[network](filters=FILTERS)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.BCELoss()
    x, y = (torch.from_numpy(part.transpose(0, 3, 1, 2).copy()) for part in (images, masks))

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    def predict() -> None:
        model.eval()
        with torch.inference_mode():
            model(x[:1])

    return step, predict, sum(weight.numel() for weight in model.parameters())


def open_collection(network: str, size: int, images: np.ndarray, masks: np.ndarray) -> Opened:
    """The same of keras-unet-collection, whose R2U-Net has a separate kernel for each step."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # it was written for Keras 2
    from keras_unet_collection import models

    channels = [FILTERS * 2**level for level in range(5)]
    options = {"output_activation": "Sigmoid", "batch_norm": True, "pool": True, "unpool": False}
    make = {"unet": models.unet_2d, "r2unet": models.r2_unet_2d}[network]
    model = make((size, size, 1), channels, 2, **options)
    both = np.concatenate([masks, 1 - masks], -1)
    model.compile("adam", "binary_crossentropy")
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return lambda: model.train_on_batch(images, both), lambda: model.predict_on_batch(images[:1]), count


OPEN = {"lungnb": open_lungnb, "PyTorch": open_torch, "keras-unet-collection": open_collection}


def multiplications(network: str, size: int) -> dict[str, Any]:
    """Return the multiply-accumulates of one image."""
    from lungnb.networks.costs import count_multiplications
    from lungnb.networks.models import build_model

    return {"multiplications": count_multiplications(build_model(network, size=size, filters=FILTERS))}


def main() -> None:
    """Measure, in rounds, and write the table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="timed in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    sizes = {"size": options.size, "count": options.batch, "rounds": options.steps}
    rows = [
        apart(measure, framework=framework, network=network, **sizes)
        for _ in range(options.rounds)
        for network in NETWORKS
        for framework, package in NEEDS.items()
        if find_spec(package) and (framework, network) != ("keras-unet-collection", "resunet")  # it differs
    ]  # fmt: skip
    keys = ["network", "framework"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).median(numeric_only=True).drop(columns="rounds").reset_index()
    ours = table[table["framework"] == "lungnb"].set_index("network")
    by_network = table["network"].map
    table["train_ratio"] = table["train_images_s"] / by_network(ours["train_images_s"])
    table["infer_ratio"] = by_network(ours["infer_ms"]) / table["infer_ms"]
    rate = matrix_rate()
    counts = {name: apart(multiplications, network=name, size=options.size)["multiplications"] for name in NETWORKS}
    macs = by_network(counts)
    table["limit_infer_ms"] = 1000 * macs / rate
    table["limit_train_images_s"] = rate / (3 * macs)  # forward, and twice as much back
    table["network"] = by_network(TITLES)
    titles = {"train_images_s": "training, images/s", "infer_ms": "inference, ms/image", "memory_mb": "peak memory, MB"}
    others = [name for name in ("torch", "keras-unet-collection") if find_spec(name.replace("-", "_"))]
    write(table, "frameworks", options.out, bars(table, keys, titles), "keras", "tensorflow", *others)
    print(f"float32 matrix product: {rate / 1e9:.0f} G multiply-accumulates a second")


if __name__ == "__main__":
    main()
