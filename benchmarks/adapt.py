"""What corrected masks bring, by their number: `python benchmarks/adapt.py DATASET ... [--counts 0 1 5] [--draws 3]`.

Draws patients from a data set at random, adapts a network to one image of each as `lungnb adapt` does, and scores
images of other patients with cleaned masks. The network is the one that lungnb ships, or the same with random weights.
The latter is trained by the same recipe, but goes the whole way to its new weights. Each row is written when it is
measured, with the chart. The same command continues, and repeats no row. `--without` leaves images out, such as those
with wrong ground truth. NAME:PREFIX takes the images of a data set whose names begin with PREFIX.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from measure import record
from tqdm import tqdm

from lungnb.datasets import download, open_prepared, prepare_dataset
from lungnb.engines.engines import load_model
from lungnb.evaluation.adaptation import dice_of_film
from lungnb.evaluation.films import Film
from lungnb.evaluation.published import ADAPTED, RANDOM
from lungnb.figures.charts import learning_curve
from lungnb.networks.backend import free_graphs, keras
from lungnb.networks.examples import examples_of
from lungnb.networks.models import build_model
from lungnb.networks.tuning import fine_tune
from lungnb.presets import make_settings
from lungnb.settings import SHIPPED_STRUCTURE, SPLITS

KEYS = ["dataset", "start", "images", "draw"]


def films_of(name: str, without: list[str]) -> tuple[str, list[Film]]:
    """Return a title and the films of a data set, in the order of their names."""
    name, _, prefix = name.partition(":")
    settings = make_settings(name)
    download(name, progress=False)
    prepare_dataset(settings, progress=False)
    prepared = open_prepared(settings)
    rows = sorted(prepared.rows(*SPLITS), key=lambda row: row["id"])
    rows = [row for row in rows if row["id"].startswith(prefix) and row["id"] not in without]
    title = f"{settings.name}:{prefix}" if prefix else settings.name
    return title, [Film(row["id"], row["patient"], *prepared.pair(row)) for row in rows]


def draw_places(patients: list[str], images: int, draw: int, tested: int) -> tuple[list[int], list[int]]:
    """Return the places of the images to adapt to, each of another patient, and of those to score, at most `tested`.

    A draw of more images includes that of fewer. All draws take the images to score in the same random order, so that
    they score nearly the same ones.
    """
    names = np.random.default_rng(draw).permutation(sorted(set(patients)))[:images]
    chosen = [int(np.random.default_rng(draw).choice(np.flatnonzero(np.equal(patients, name)))) for name in names]
    order = np.random.default_rng(0).permutation(len(patients))
    return chosen, [int(place) for place in order if patients[place] not in names][:tested]


def start_of(name: str, seed: int) -> keras.Model:
    """Return the shipped network, or one of its structure with random weights."""
    if name == ADAPTED:
        return load_model()
    keras.utils.set_random_seed(seed)
    structure = {key: value for key, value in SHIPPED_STRUCTURE.items() if key != "models"}
    return build_model(SHIPPED_STRUCTURE["models"][0], size=structure.pop("image_size"), **structure)


def adapted(films: list[Film], start: str, seed: int, share: float | None) -> tuple[keras.Model, float]:
    """Return a network that was adapted to films, and the seconds that it took; `share` is that of `fine_tune`."""
    network = start_of(start, seed)
    examples = examples_of([(film.image, film.mask) for film in films], network.input_shape[1])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tuned = fine_tune(network, examples, Path(folder), f"{start}, {len(films)}", seed + 1, share=share)
    return tuned, time.perf_counter() - started


def mean_dice(network: keras.Model, films: list[Film]) -> float:
    """Return the mean Dice of cleaned masks."""
    return float(np.mean([dice_of_film(network, film) for film in films]))


def measure(
    films: list[Film], before: Callable[[int], float], start: str, images: int, draw: int, tested: int
) -> dict[str, float]:
    """Return the mean Dice of films that were not drawn, before and after, and the seconds of adapting."""
    chosen, others = draw_places([film.patient for film in films], images, draw, tested)
    row = {"before": float(np.mean([before(place) for place in others])), "tested": len(others)}
    if not images:
        return row | {"after": row["before"], "seconds": 0.0}
    share = None if start == ADAPTED else 1.0  # nothing of random weights is worth keeping
    with free_graphs():
        network, seconds = adapted([films[place] for place in chosen], start, draw, share)
        after = mean_dice(network, [films[place] for place in others])
    return row | {"after": after, "seconds": round(seconds, 1)}


def plan(title: str, starts: list[str], counts: list[int], draws: int) -> list[tuple[str, str, int, int]]:
    """Return the keys of the rows of a data set: without an image, one, because nothing is drawn and trained."""
    keys = product([title], starts, sorted(counts), range(draws))
    return [key for key in keys if key[2] or key[1:] == (ADAPTED, 0, 0)]


def parser_of(description: str, draws: int) -> argparse.ArgumentParser:
    """Return a parser of the options that benchmarks of adapting share."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names of the catalogue or folders, each with :PREFIX or without")
    parser.add_argument("--draws", type=int, default=draws)
    parser.add_argument("--tested", type=int, default=150, help="score at most so many images of a set")
    parser.add_argument("--without", nargs="+", default=[], help="ids of images to leave out")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    return parser


def main() -> None:
    """Write the table and the chart after each row, and print the means."""
    parser = parser_of(__doc__, 3)
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 1, 2, 5, 10, 20], help="numbers of images")
    parser.add_argument("--starts", nargs="+", choices=[ADAPTED, RANDOM], default=[ADAPTED, RANDOM])
    options = parser.parse_args()
    file, network = options.out / "curve.csv", load_model()
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    for draws in range(1, options.draws + 1):  # a draw of all sets, then the next, so that a part is of all sets, too
        for name in options.datasets:
            title, films = films_of(name, options.without)
            before = cache(lambda place, films=films: dice_of_film(network, films[place]))
            done = {tuple(row[name] for name in KEYS) for row in rows}
            keys = [key for key in plan(title, options.starts, options.counts, draws) if key not in done]
            for key in tqdm(keys, title):
                measured = measure(films, before, *key[1:], options.tested)
                rows.append(dict(zip(KEYS, key, strict=True)) | measured)
                table = pd.DataFrame(rows)
                record(table, "curve", options.out, learning_curve(table), "keras", "tensorflow")
    means = pd.DataFrame(rows).groupby(KEYS[:3], sort=False)[["before", "after", "seconds"]].agg(["mean", "std"])
    print(means.round(4).to_string())


if __name__ == "__main__":
    main()
