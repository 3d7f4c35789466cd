"""How much of a GPU's rate training reaches: `python benchmarks/gpu.py`.

Measures a step of a U-Net of 64 filters at 512x512 in float32 and in mixed precision: images a second, and the rate of
multiply-accumulates (forward, and twice as many back) as a part of that of a plain bf16 matrix product on the same
device. Runs on either backend of Keras (`KERAS_BACKEND=jax`), and slowly on a CPU.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from measure import apart, bars, write
from training import step_alone

from lungnb.evaluation.speed import median_seconds

PRODUCTS = 8  # in a row, without waiting between them


def matrix_rate(side: int) -> dict[str, Any]:
    """Return the multiply-accumulates a second of a bf16 matrix product."""
    from lungnb.networks.backend import keras

    ops = keras.ops
    factor = ops.cast(keras.random.normal((side, side), stddev=side**-0.5), "bfloat16")

    def products() -> None:
        product = factor
        for _ in range(PRODUCTS):
            product = ops.matmul(product, factor)
        ops.convert_to_numpy(product[:1, :1])  # waits for the products

    return {"rate": PRODUCTS * side**3 / median_seconds(products, 10)}


def about(filters: int, size: int) -> dict[str, Any]:
    """Return the device, the backend, whether training is compiled, and an image's multiply-accumulates forward."""
    from lungnb.networks.backend import USE_XLA, device_name, keras
    from lungnb.networks.costs import count_multiplications
    from lungnb.networks.models import build_model

    count = count_multiplications(build_model("unet", size=size, filters=filters))
    device = {"device": device_name(), "backend": keras.backend.backend(), "jit": USE_XLA}
    return device | {"multiplications": count}


def main() -> None:
    """Measure, print, and write the table and its chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=8192, help="of the matrices")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    sizes = {"filters": options.filters, "size": options.size}
    device, rate = apart(about, **sizes), apart(matrix_rate, side=options.side)["rate"]
    choice = sizes | {"batch": options.batch, "jit": device["jit"]}
    rows = [device | apart(step_alone, precision=precision, **choice) for precision in ("float32", "mixed_bfloat16")]
    table = pd.DataFrame(rows).assign(bf16_rate=rate)
    table["part_of_rate"] = 3 * table["multiplications"] * table["images_s"] / rate
    titles = {"images_s": "training, images/s", "part_of_rate": "part of the bf16 matrix rate"}
    write(table, "gpu", options.out, bars(table, ["precision"], titles), "keras", "numpy")


if __name__ == "__main__":
    main()
