"""How fast lungnb trains, and why: `python benchmarks/training.py`.

The U-Net of the full profile (256x256, 16 filters, batches of 8) on phantoms: beside the plain script of many projects
(arrays in memory, plain `fit`, float32, no augmentation); with each choice of compiler and precision; the input
pipeline alone, with augmentation; and how time and memory grow with the image's size, the batch, and the number of
images. Every row is measured in a fresh process. Images a second are of the median step or epoch, without the first.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from measure import apart, bars, write

from lungnb.evaluation.speed import median_seconds
from lungnb.phantoms.make import write_phantoms
from lungnb.settings import Settings

if TYPE_CHECKING:
    import keras

EPOCHS = 4


def settings_of(raw: str, **changes: object) -> Settings:
    """Return the full profile's settings for the phantoms, with nearly all of them for training."""
    full = Settings(dataset=raw, image_size=256, filters=16, batch_size=8, epochs=EPOCHS)
    return full.replace(split_fractions=(0.9, 0.1, 0.0)).replace(**changes)


def fitted(model: keras.Model, *data: object, images: int, **options: object) -> dict[str, Any]:
    """Return images a second of the median epoch of `fit`, without the first."""
    from lungnb.networks.backend import keras

    times = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))
    model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[clock], **options)
    return {"images_s": images / statistics.median(np.diff(times)[1:])}


def plain_script(raw: str) -> dict[str, Any]:
    """The same network as a script trains it: all images in two arrays, `compile` and `fit` as they come."""
    from lungnb.networks.backend import keras
    from lungnb.networks.data import load_batches
    from lungnb.networks.models import build_model

    keras.utils.set_random_seed(1)
    batches = list(load_batches(settings_of(raw), "train").as_numpy_iterator())
    images, masks = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    model = build_model("unet", size=256, filters=16)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return fitted(model, images, masks, images=len(images), batch_size=8)


def as_lungnb_trains(raw: str, **changes: object) -> dict[str, Any]:
    """The network as `lungnb.train` compiles it, with its augmented batches and its scores."""
    from lungnb.networks.data import count_steps, load_batches
    from lungnb.networks.training import compiled_model

    settings = settings_of(raw, **changes)
    steps, model = count_steps(settings, "train"), compiled_model(settings, "unet")
    batches = load_batches(settings, "train", training=True)
    return fitted(model, batches, images=steps * settings.batch_size, steps_per_epoch=steps, shuffle=False)


def pipeline_alone(raw: str) -> dict[str, Any]:
    """The batches alone: read, cached and augmented, and not used."""
    from lungnb.networks.data import count_steps, load_batches

    settings = settings_of(raw, epochs=20)
    steps, batches = count_steps(settings, "train"), iter(load_batches(settings, "train", training=True))
    seconds = median_seconds(lambda: [next(batches) for _ in range(steps)], 10)
    return {"images_s": steps * settings.batch_size / seconds}


def step_alone(
    size: int, batch: int, jit: bool, precision: str, fused: bool = True, filters: int = 16
) -> dict[str, Any]:
    """A step on one batch in memory."""
    from lungnb.networks.backend import fuse_batch_norm, keras
    from lungnb.networks.models import build_model

    keras.config.set_dtype_policy(precision)
    model = build_model("unet", size=size, filters=filters)
    if fused:
        fuse_batch_norm(model)
    model.compile("adam", "binary_crossentropy", jit_compile=jit)
    images = np.random.default_rng(0).random((batch, size, size, 1), np.float32)
    masks = (images > 0.5).astype(np.float32)
    return {"images_s": batch / median_seconds(lambda: model.train_on_batch(images, masks), 5)}


def against_the_script(raw: str, rounds: int) -> pd.DataFrame:
    """Return medians of alternating rounds: the script, lungnb, and lungnb's input pipeline."""
    runs = {
        "plain script": (plain_script, {}),
        "lungnb": (as_lungnb_trains, {}),
        "lungnb, precision=auto": (as_lungnb_trains, {"precision": "auto"}),
        "lungnb's input pipeline alone": (pipeline_alone, {}),
    }
    rows = [
        {"what": name} | apart(run, raw=raw, **changes) for _ in range(rounds) for name, (run, changes) in runs.items()
    ]
    table = pd.DataFrame(rows)[["what", "images_s", "memory_mb"]].groupby("what", sort=False).median().reset_index()
    return table.assign(ratio=table["images_s"] / table["images_s"][0])


def choices(rounds: int) -> pd.DataFrame:
    """Return medians of alternating rounds: each choice of compiler, batch normalisation and precision."""
    combinations = [
        {"jit": jit, "fused": fused, "precision": precision}
        for jit, fused in ((False, False), (False, True), (True, False))
        for precision in ("float32", "mixed_bfloat16")
    ]
    rows = [apart(step_alone, size=256, batch=8, **choice) for _ in range(rounds) for choice in combinations]
    table = pd.DataFrame(rows).groupby(["jit", "fused", "precision"], sort=False)[["images_s", "memory_mb"]].median()
    table = table.reset_index()
    table = table.assign(ratio=table["images_s"] / table["images_s"][0])
    fused = {False: "Keras's normalisation", True: "normalised at once"}
    return table.replace({"jit": {False: "TensorFlow", True: "XLA"}, "fused": fused})


def growth(folder: Path) -> pd.DataFrame:
    """Return one row each: larger images, larger batches, more images."""
    rows = [{"grows": "size, px", "to": size} | apart(step_alone, size=size, batch=4, jit=False, precision="float32")
            for size in (128, 256, 512)]  # fmt: skip
    rows += [{"grows": "batch", "to": batch} | apart(step_alone, size=256, batch=batch, jit=False, precision="float32")
             for batch in (1, 4, 16)]  # fmt: skip
    for count in (40, 160, 640):
        raw = phantoms(folder / f"of_{count}", count)
        rows.append({"grows": "images, of 128 px", "to": count} | apart(as_lungnb_trains, raw=raw, image_size=128))
    return pd.DataFrame(rows)[["grows", "to", "images_s", "memory_mb"]]


def phantoms(folder: Path, count: int) -> str:
    """Write and prepare phantoms; return their folder."""
    from lungnb.datasets.prepare import prepare_dataset

    write_phantoms(folder, count, size=256, progress=False)
    prepare_dataset(settings_of(str(folder)), progress=False)
    return str(folder)


def main() -> None:
    """Measure, print, and write tables and charts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    speed = {"images_s": "training, images/s", "memory_mb": "peak memory, MB"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LUNGNB_HOME"] = folder
        script = against_the_script(phantoms(Path(folder, "films"), options.images), options.rounds)
        write(script, "training", options.out, bars(script, ["what"], speed), "keras", "tensorflow", "numpy")
        chosen = choices(options.rounds)
        write(chosen, "choices", options.out, bars(chosen, ["jit", "fused", "precision"], speed), "keras", "tensorflow")
        grown = growth(Path(folder))
        write(grown, "growth", options.out, bars(grown, ["grows", "to"], speed), "keras", "tensorflow")


if __name__ == "__main__":
    main()
