"""How far to go from the old weights to the new ones: `python benchmarks/adapt_share.py [--counts 1 2] [--draws 8]`.

Adapts the shipped network to one film of Montgomery, or to two, in several draws, and scores the other films with
networks on the way from the old weights to the new ones. It chose the share of one film. Montgomery is the set on which
settings are chosen, so no other set is looked at here. Rows are written after each training, which is not repeated.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from adapt import adapted, films_of, mean_dice
from measure import record
from tqdm import tqdm

from lungnb.engines.engines import load_model
from lungnb.evaluation.films import Film
from lungnb.evaluation.published import ADAPTED
from lungnb.networks.backend import free_graphs, keras

SHARES = [0.2, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8]


def on_the_way(old: keras.Model, new: keras.Model, share: float) -> keras.Model:
    """Return a network between two others."""
    network = keras.models.clone_model(old)
    pairs = zip(old.get_weights(), new.get_weights(), strict=True)
    network.set_weights([before + share * (after - before) for before, after in pairs])
    return network


def measure(films: list[Film], images: int, draw: int, shares: list[float]) -> list[dict[str, float]]:
    """Return one row per share: the mean Dice of the films that were not drawn, before and after."""
    chosen = np.random.default_rng(draw).choice(len(films), images, replace=False)  # one film a patient
    others = [film for place, film in enumerate(films) if place not in chosen]
    shipped = load_model()
    tuned, _ = adapted([films[place] for place in chosen], ADAPTED, draw, 1.0)
    before = mean_dice(shipped, others)
    afters = [mean_dice(on_the_way(shipped, tuned, share), others) for share in shares]
    rows = {"images": images, "draw": draw, "before": before}
    return [rows | {"share": share, "after": after} for share, after in zip(shares, afters, strict=True)]


def main() -> None:
    """Write the table after each training, and print the mean and the lowest Dice of each share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2], help="numbers of films")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    file, (_, films) = options.out / "share.csv", films_of("montgomery", [])
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(row["images"], row["draw"]) for row in rows}
    for images, draw in tqdm([*product(options.counts, range(options.draws))]):
        if (images, draw) not in done:
            with free_graphs():
                rows += measure(films, images, draw, options.shares)
            record(pd.DataFrame(rows), "share", options.out, None, "keras", "tensorflow")
    table = pd.DataFrame(rows).assign(gain=lambda table: table["after"] - table["before"])
    print(table.groupby(["images", "share"])[["after", "gain"]].agg(["mean", "min"]).round(4).to_string())


if __name__ == "__main__":
    main()
