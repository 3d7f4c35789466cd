"""Which films to correct first: `python benchmarks/correction_order.py DATASET[=DRAWS] ... [--count 5]`.

The films of a random half of the patients are those of a user. The shipped network is adapted to the first films of an
order, with their ground truth as the corrected masks. Films of the other half are scored. The orders of a draw share
both halves and the seed of the training, so their scores are paired. Each row is written when it is measured. The same
command continues, and repeats no row. NAME:PREFIX is as in `adapt.py`.

| order | what comes first |
|---|---|
| `uncertain` | the films that the browser shows first under "uncertain images first", by its own function |
| `random` | films in a random order |
| `spread` | the most uncertain film of each cluster of the network's probabilities of lung |
"""

import argparse
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from adapt import adapted, films_of
from measure import record
from scipy.cluster.vq import kmeans2
from tqdm import tqdm

from lungnb.browser.cases import image_cases
from lungnb.browser.predictions import Predictions
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation.adaptation import dice_of_film
from lungnb.evaluation.films import Film
from lungnb.evaluation.published import ADAPTED
from lungnb.formats.pixels import fit_square
from lungnb.networks.backend import free_graphs
from lungnb.segmentation.inference import predict

KEYS = ["dataset", "images", "draw", "order"]
ORDERS = ["uncertain", "random", "spread"]
SIDE = 32  # of the probabilities that are clustered, px: lungs keep their shapes
HARD_SHARE = 0.1  # of the scored films, those with the lowest Dice before


def halve(films: list[Film], draw: int, most: int, tested: int) -> tuple[list[Film], list[Film]]:
    """Return the films of a random half of the patients, at most `most`, and of the others, at most `tested`."""
    patients = np.random.default_rng(draw).permutation(sorted({film.patient for film in films}))
    first = {*patients[: len(patients) // 2]}
    order = [films[place] for place in np.random.default_rng(draw).permutation(len(films))]
    user, others = ([film for film in order if (film.patient in first) is is_first] for is_first in (True, False))
    return user[:most], others[:tested]


def uncertain_first(films: list[Film], predictions: Predictions) -> list[int]:
    """Return the places of films in the order of the browser."""
    predictions.cases = [*image_cases([film.image for film in films], None)]
    predictions.kept = {}
    return predictions.by_uncertainty(lambda _: None)


def spread(films: list[Film], ranked: list[int], predictions: Predictions, clusters: int, seed: int) -> list[int]:
    """Return the place of the most uncertain film of each cluster of probabilities, those of the larger ones first."""
    maps = [fit_square(np.uint8(255 * predict(predictions.engine, film.image)), SIDE).array for film in films]
    points = np.stack(maps).reshape(len(maps), -1) / 255
    _, labels = kmeans2(points, clusters, minit="++", seed=seed, missing="raise")
    sizes = np.bincount(labels, minlength=clusters)
    firsts = [next(place for place in ranked if labels[place] == label) for label in np.argsort(-sizes, kind="stable")]
    return firsts + [place for place in ranked if place not in firsts]


def first_places(order: str, films: list[Film], predictions: Predictions, count: int, draw: int) -> list[int]:
    """Return the places of the first films of an order."""
    if order == "random":
        return [*np.random.default_rng(draw + 1000).permutation(len(films))[:count]]  # another seed than the halves
    ranked = uncertain_first(films, predictions)
    return (ranked if order == "uncertain" else spread(films, ranked, predictions, count, draw))[:count]


def scores(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return the mean Dice of films before and after, and that of the films with the lowest Dice before."""
    hard = np.argsort(before, kind="stable")[: max(round(HARD_SHARE * len(before)), 1)]
    means = {"before": before, "after": after, "hard_before": before[hard], "hard_after": after[hard]}
    return {name: float(values.mean()) for name, values in means.items()}


def main() -> None:
    """Write the table after each training, and print the differences from the random order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names or folders, each with its number of draws: NAME=4")
    parser.add_argument("--count", type=int, default=5, help="films to correct")
    parser.add_argument("--user", type=int, default=60, help="at most so many films of the user")
    parser.add_argument("--tested", type=int, default=100, help="score at most so many films")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    file, network = options.out / "order.csv", load_model()
    predictions = Predictions([], engine_of(network))
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {tuple(row[name] for name in KEYS) for row in rows}
    draws_of = {name: int(draws or 3) for name, _, draws in (text.partition("=") for text in options.datasets)}
    sets = {name: films_of(name, []) for name in draws_of}
    dice_before = cache(lambda name, film_id: dice_of_film(network, by_id[name][film_id]))
    by_id = {name: {film.id: film for film in films} for name, (_, films) in sets.items()}
    for draw, name in tqdm([*product(range(max(draws_of.values())), sets)]):
        title, films = sets[name]
        user, others = halve(films, draw, options.user, options.tested)
        for order in options.orders if draw < draws_of[name] else []:
            key = title, options.count, draw, order
            if key in done:
                continue
            with free_graphs():
                chosen = [user[place] for place in first_places(order, user, predictions, options.count, draw)]
                tuned, seconds = adapted(chosen, ADAPTED, draw, None)
                after = np.array([dice_of_film(tuned, film) for film in others])
            before = np.array([dice_before(name, film.id) for film in others])
            row = dict(zip(KEYS, key, strict=True)) | scores(before, after)
            row["chosen_before"] = float(np.mean([dice_before(name, film.id) for film in chosen]))
            row |= {"tested": len(others), "seconds": round(seconds, 1), "films": " ".join(film.id for film in chosen)}
            rows.append(row)
            record(pd.DataFrame(rows), "order", options.out, None, "keras", "tensorflow")
    print(summary(pd.DataFrame(rows)).round(4).to_string())


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean gain of each order, and its difference from the random order of the same draw with its spread."""
    table = table.assign(gain=table["after"] - table["before"])
    gains = table.pivot_table(index=KEYS[:3], columns="order", values="gain")
    rows = {}
    for (dataset, images), part in gains.groupby(["dataset", "images"]):
        for order in part:
            over = (part[order] - part["random"]).dropna()
            rows[dataset, images, order] = {
                "gain": part[order].mean(), "over random": over.mean(), "sd": over.std(), "lowest": over.min(),
                "highest": over.max(), "wins": int((over > 0).sum()), "draws": len(over),
            }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["dataset", "images", "order"])


if __name__ == "__main__":
    main()
