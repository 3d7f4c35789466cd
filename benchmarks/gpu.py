"""Measure a GPU: `python benchmarks/gpu.py --what matrix float32 mixed latency`.

- `matrix`: the rate of a bf16 matrix product, which is the highest rate of the device.
- `float32` and `mixed`: the images per second when a U-Net of 64 filters is trained at 512x512 px, and the share of the
  matrix rate that its multiply-accumulates reach. A backward pass counts as two forward passes.
- `latency`: the time of a prediction with four networks at 256x256 px, for one image and for batches of 64.

Each part takes less than 90 s on a data-centre GPU. Every figure is printed and added to `gpu.csv` as soon as it is
known. So an interrupted run loses nothing, and parts can be measured one by one. The script needs Keras, NumPy, and
TensorFlow or JAX (`KERAS_BACKEND=jax`). It also runs on a CPU, but slowly: choose small sizes with the options.
"""

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("matrix", "float32", "mixed", "latency")
POLICIES = {"float32": "float32", "mixed": "mixed_bfloat16"}
NETWORKS = {  # with their arguments; the last has the structure of the shipped network
    "unet": {}, "resunet": {}, "r2unet": {}, "compact_unet": {"depth": 5},
}  # fmt: skip
PRODUCTS = 8  # in a row, without waiting between them
COLUMNS = (
    *("what", "network", "filters", "size", "batch", "precision", "images_s", "ms_per_image"),
    *("multiply_adds_s", "share_of_matrix_rate", "device", "backend", "seconds"),
)


def median_seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call, without the first two calls, which compile and allocate."""
    times = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def matrix(options: argparse.Namespace) -> dict[str, Any]:
    """Return the multiply-accumulates a second of a bf16 matrix product."""
    from lungnb.networks.backend import keras

    ops, side = keras.ops, options.side
    factor = ops.cast(keras.random.normal((side, side), stddev=side**-0.5), "bfloat16")

    def products() -> None:
        product = factor
        for _ in range(PRODUCTS):
            product = ops.matmul(product, factor)
        ops.convert_to_numpy(product[:1, :1])  # waits for the products

    rate = PRODUCTS * side**3 / median_seconds(products, options.rounds)
    return {"what": "matrix", "size": side, "precision": "bfloat16", "multiply_adds_s": rate}


def training(options: argparse.Namespace, what: str) -> dict[str, Any]:
    """Return the rate of training steps on one batch in memory."""
    from lungnb.networks.backend import USE_XLA, keras
    from lungnb.networks.costs import count_multiplications
    from lungnb.networks.models import build_model

    keras.config.set_dtype_policy(POLICIES[what])
    model = build_model("unet", size=options.size, filters=options.filters)
    model.compile("adam", "binary_crossentropy", jit_compile=USE_XLA)
    images = np.random.default_rng(0).random((options.batch, options.size, options.size, 1), np.float32)
    masks = (images > 0.5).astype(np.float32)
    seconds = median_seconds(lambda: model.train_on_batch(images, masks), options.rounds) / options.batch
    rate = 3 * count_multiplications(model) / seconds
    chosen = {"network": "unet", "filters": options.filters, "size": options.size, "batch": options.batch}
    return {"what": what, "precision": POLICIES[what], **chosen, "images_s": 1 / seconds, "multiply_adds_s": rate}


def latency(options: argparse.Namespace, network: str, batch: int) -> dict[str, Any]:
    """Return the time of a prediction, from an array in memory to an array."""
    from lungnb.networks.backend import keras
    from lungnb.networks.models import build_model

    keras.config.set_dtype_policy("float32")
    model = build_model(network, size=256, filters=16, **NETWORKS[network])
    images = np.random.default_rng(0).random((batch, 256, 256, 1), np.float32)
    seconds = median_seconds(lambda: model.predict_on_batch(images), 3 * options.rounds) / batch
    chosen = {"network": network, "filters": 16, "size": 256, "batch": batch, "precision": "float32"}
    return {"what": "latency", **chosen, "images_s": 1 / seconds, "ms_per_image": 1000 * seconds}


def record(row: dict[str, Any], started: float, file: Path) -> None:
    """Print a row and add it to the table, with the share of the last matrix rate of the same device."""
    from lungnb.networks.backend import device_name, keras

    row |= {"device": device_name(), "backend": keras.backend.backend(), "seconds": time.perf_counter() - started}
    done = [*csv.DictReader(file.open(encoding="utf-8"))] if file.exists() else []
    rates = [past["multiply_adds_s"] for past in done if (past["what"], past["device"]) == ("matrix", row["device"])]
    if row["what"] in POLICIES and rates:
        row["share_of_matrix_rate"] = row["multiply_adds_s"] / float(rates[-1])
    row = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
    print(*(f"{name}={value}" for name, value in row.items()), flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    """Measure the parts that the options name, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="side of the training images, px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=8192, help="side of the matrices")
    parser.add_argument("--rounds", type=int, default=10, help="measurements for each median")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    os.environ.setdefault(
        "XLA_PYTHON_CLIENT_PREALLOCATE", "false"
    )  # otherwise JAX reserves three quarters of the GPU's memory
    steps = {"matrix": [lambda: matrix(options)]}
    steps |= {what: [lambda what=what: training(options, what)] for what in POLICIES}
    steps["latency"] = [
        lambda name=name, batch=batch: latency(options, name, batch) for name in NETWORKS for batch in (1, 64)
    ]
    for step in (step for what in options.what for step in steps[what]):
        started = time.perf_counter()
        record(step(), started, options.out / "gpu.csv")


if __name__ == "__main__":
    main()
