"""How many films a Ray cluster segments a second, and what a million would take: `python benchmarks/cluster.py`.

Draws phantom films and segments them on this machine with 1, 2 and 4 workers, and with the plain command. The time of a
million is computed from that. The time to start, measured with a single film, is given separately. A worker counts as
one core, which its network uses. It reads and writes on threads, so that one worker keeps two cores busy.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from measure import bars, write
from tqdm import tqdm

from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.cluster import segment_on_cluster

MILLION = 1_000_000
DIFFERENT_FILMS = 100
CORES = os.cpu_count() or 1


def main() -> None:
    """Print films a second, and the hours and core hours of a million."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--size", type=int, default=1024, help="px")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="beyond the cores, they share them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--price", type=float, help="of a core for an hour, to work out the cost of a million")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder, "films")
        for number in tqdm(range(min(options.films, DIFFERENT_FILMS)), "Drawing"):
            write_png(films / f"{number:06}.png", make_phantom(number, size=options.size).image)
        for number in range(DIFFERENT_FILMS, options.films):  # the same films under other names
            os.link(films / f"{number % DIFFERENT_FILMS:06}.png", films / f"{number:06}.png")
        for turn in range(options.rounds):
            for workers in (0, *options.workers):
                seconds = {"start": timed(films / "000000.png", workers), "all": timed(films, workers)}
                rows.append({"workers": workers, "round": turn} | seconds)
    table = summary(pd.DataFrame(rows), options)
    write(table, "cluster", options.out, chart(table), "ray", "openvino", "onnxruntime", "tensorflow", "numpy")


def timed(films: Path, workers: int) -> float:
    """Return the seconds to segment films, with the start of Ray and its workers; 0 workers is the plain command."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        if workers:
            segment_on_cluster(films, out, "local", workers=workers, progress=False)
        else:
            segment_files(films, out, progress=False)
        return time.perf_counter() - started


def chart(table: pd.DataFrame) -> Figure:
    """Draw the rate, and the time of a million films."""
    names = ["the plain command" if not n else f"Ray, {n} worker{'s' * (n > 1)}" for n in table["workers"]]
    titles = {"films_a_second": "films a second", "million_hours": "hours for a million, on this machine"}
    return bars(table.assign(name=names), ["name"], titles)


def summary(rounds: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    """Return medians by number of workers, and the time of a million films computed from them."""
    rounds["films_a_second"] = (options.films - 1) / (rounds["all"] - rounds["start"])
    rates = rounds.groupby("workers")["films_a_second"]
    table = rounds.groupby("workers")[["start", "all", "films_a_second"]].median()
    table["lowest"], table["highest"] = rates.min(), rates.max()
    table["million_hours"] = (table["start"] + MILLION / table["films_a_second"]) / 3600
    table["million_core_hours"] = table["million_hours"] * [min(workers or CORES, CORES) for workers in table.index]
    if options.price:
        table["million_costs"] = table["million_core_hours"] * options.price
    return table.reset_index()


if __name__ == "__main__":
    main()
