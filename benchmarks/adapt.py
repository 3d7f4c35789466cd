"""What a few corrected masks bring: `python benchmarks/adapt.py DATASET ... [--counts 1 5] [--draws 5]`.

Draws images from a data set at random, adapts the shipped network to them as `lungnb adapt` does, and scores all other
images of the set with cleaned masks. `--scratch` starts from random weights instead. The table grows with each draw;
finished draws are not repeated. `--without` leaves images out, such as those with wrong ground truth. NAME:PREFIX takes
the images of a data set whose names begin with PREFIX.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from measure import write
from tqdm import tqdm

from lungnb.datasets import download, open_prepared, prepare_dataset
from lungnb.engines.engines import load_model
from lungnb.evaluation.adaptation import dice_of_film
from lungnb.evaluation.films import Film
from lungnb.figures.theme import COLORS, MARKERS, subplots, themed
from lungnb.networks.backend import keras
from lungnb.networks.examples import examples_of
from lungnb.networks.models import build_model
from lungnb.networks.tuning import fine_tune
from lungnb.presets import make_settings
from lungnb.settings import SHIPPED_STRUCTURE, SPLITS

Pairs = list[tuple[np.ndarray, np.ndarray]]
KEYS = ["dataset", "start", "images", "draw"]


def pairs_of(name: str, without: list[str]) -> tuple[str, Pairs]:
    """Return a title and the images and masks of a data set, in the order of their names."""
    name, _, prefix = name.partition(":")
    settings = make_settings(name)
    download(name, progress=False)
    prepare_dataset(settings, progress=False)
    prepared = open_prepared(settings)
    rows = sorted(prepared.rows(*SPLITS), key=lambda row: row["id"])
    rows = [row for row in rows if row["id"].startswith(prefix) and row["id"] not in without]
    return f"{settings.name}:{prefix}" if prefix else settings.name, [prepared.pair(row) for row in rows]


def start_of(name: str, seed: int) -> keras.Model:
    """Return the shipped network, or one of its structure with random weights."""
    if name == "shipped":
        return load_model()
    keras.utils.set_random_seed(seed)
    structure = {key: value for key, value in SHIPPED_STRUCTURE.items() if key != "models"}
    return build_model(SHIPPED_STRUCTURE["models"][0], size=structure.pop("image_size"), **structure)


def mean_dice(network: keras.Model, pairs: Pairs) -> float:
    """Return the mean Dice of cleaned masks."""
    return float(np.mean([dice_of_film(network, Film("", "", *pair)) for pair in pairs]))


def measure(pairs: Pairs, start: str, images: int, draw: int) -> dict[str, float]:
    """Return the Dice of all images that were not drawn, before and after, and the seconds of adapting."""
    chosen = np.random.default_rng(draw).choice(len(pairs), images, replace=False)
    others = [pair for number, pair in enumerate(pairs) if number not in chosen]
    network = start_of(start, draw)
    examples = examples_of([pairs[number] for number in chosen], network.input_shape[1])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        adapted = fine_tune(network, examples, Path(folder), f"{start}, {images}", seed=draw + 1)
    seconds = time.perf_counter() - started
    before = mean_dice(load_model(), others)
    return {"before": before, "after": mean_dice(adapted, others), "seconds": seconds, "tested": len(others)}


@themed
def chart(table: pd.DataFrame) -> Figure:
    """Draw the Dice over the number of images, a panel a data set: a point a draw, a line the mean."""
    names = table["dataset"].unique()
    figure, axes = subplots(1, len(names), figsize=(4 * len(names), 3.8), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=True):
        part = table[table["dataset"] == name]
        axis.axhline(part["before"].mean(), color="0.3", linestyle="--", label="shipped, not adapted")
        for place, (start, draws) in enumerate(part.groupby("start", sort=False)):
            means = draws.groupby("images")["after"].mean()
            axis.scatter(draws["images"], draws["after"], s=16, color=COLORS[place], alpha=0.6)
            axis.plot(means.index, means, MARKERS[place], linestyle="-", color=COLORS[place], label=f"from {start}")
        axis.set_xscale("log")
        counts = sorted(part["images"].unique())
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.minorticks_off()
        axis.set(title=name, xlabel="images with corrected masks", ylabel="Dice of all others, mean")
        axis.legend(frameon=False, fontsize=9)
    return figure


def main() -> None:
    """Write the table after each draw, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names of the catalogue or folders, each with :PREFIX or without")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    parser.add_argument("--without", nargs="+", default=[], help="ids of images to leave out")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    start, file = "random weights" if options.scratch else "shipped", options.out / "adapt.csv"
    table = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=KEYS)
    for name in options.datasets:
        title, pairs = pairs_of(name, options.without)
        plan = [(title, start, images, draw) for images in options.counts for draw in range(options.draws)]
        done = set(table[KEYS].itertuples(index=False, name=None))
        for key in tqdm([key for key in plan if key not in done], title):
            row = dict(zip(KEYS, key, strict=True)) | measure(pairs, key[1], key[2], key[3])
            table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
            write(table, "adapt", options.out, chart(table), "keras", "tensorflow")
    print(table.groupby(KEYS[:3], sort=False)[["before", "after", "seconds"]].agg(["mean", "std"]).round(4).to_string())


if __name__ == "__main__":
    main()
