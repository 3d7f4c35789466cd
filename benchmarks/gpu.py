"""How much of a GPU's own rate training takes: `python benchmarks/gpu.py`.

A step of a U-Net of 64 filters at 512x512 in float32 and in mixed precision: images a second, and what its
multiply-accumulates (forward, and twice as much back) are of those a second of a plain bf16 matrix product on the same
device. Runs on either backend of Keras (`KERAS_BACKEND=jax`), and, slowly, on a CPU.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measure import apart, bars, write

from lungnb.speed import median_seconds

CHAIN = 8  # products without waiting between them


def matrix_rate(side: int) -> dict:
    """Return the multiply-accumulates a second of a bf16 matrix product."""
    from lungnb.backend import keras

    ops = keras.ops
    factor = ops.cast(keras.random.normal((side, side), stddev=side**-0.5), "bfloat16")

    def products() -> None:
        product = factor
        for _ in range(CHAIN):
            product = ops.matmul(product, factor)
        ops.convert_to_numpy(product[:1, :1])  # waits for it

    return {"rate": CHAIN * side**3 / median_seconds(products, 10)}


def step(precision: str, filters: int, size: int, batch: int, steps: int) -> dict:
    """Return images a second of a training step, and the multiply-accumulates of an image forward."""
    from lungnb.backend import device_name, keras, normalise_at_once, worth_compiling
    from lungnb.models import build_model, count_multiplications

    keras.config.set_dtype_policy(precision)
    images = np.random.default_rng(0).random((batch, size, size, 1), np.float32)
    masks = (images > 0.5).astype(np.float32)
    model = build_model("unet", size=size, filters=filters)
    normalise_at_once(model)
    model.compile("adam", "binary_crossentropy", jit_compile=worth_compiling())
    seconds = median_seconds(lambda: model.train_on_batch(images, masks), steps)
    about = {"device": device_name(), "backend": keras.backend.backend()}
    return about | {"images_s": batch / seconds, "multiplications": count_multiplications(model)}


def main() -> None:
    """Measure, print, and write the table and its chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=8192, help="of the matrices")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    sizes = {"filters": options.filters, "size": options.size, "batch": options.batch, "steps": options.steps}
    rate = apart(matrix_rate, side=options.side)["rate"]
    rows = [apart(step, precision=precision, **sizes) for precision in ("float32", "mixed_bfloat16")]
    table = pd.DataFrame(rows).assign(bf16_rate=rate)
    table["part_of_rate"] = 3 * table["multiplications"] * table["images_s"] / rate
    titles = {"images_s": "training, images/s", "part_of_rate": "part of the bf16 matrix rate"}
    write(table, "gpu", options.out, bars(table, ["precision"], titles), "keras", "numpy")


if __name__ == "__main__":
    main()
