"""How long scoring takes, overlap and distances: `python benchmarks/score.py`.

Draws phantom masks, shifts each a little to make a prediction, and scores the pairs on one core.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import bars, write

from lungnb.metrics import count_pixels, scores, surface_scores
from lungnb.phantoms.make import make_phantom


def main() -> None:
    """Print seconds, in all and for the overlap alone, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512, help="px")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows = []
    drawn = [make_phantom(index, size=options.size).mask for index in range(min(options.pairs, 20))]
    pairs = [(mask, np.roll(mask, (3, 5), (0, 1))) for mask in drawn]
    functions = {
        "every score": lambda *masks: scores(count_pixels(*masks)) | surface_scores(*masks),
        "overlap alone": count_pixels,
    }
    for name, score in functions.items():
        started = time.perf_counter()
        for number in range(options.pairs):
            score(*pairs[number % len(pairs)])
        seconds = time.perf_counter() - started
        rows.append({"what": name, "seconds": seconds, "pairs": options.pairs, "size": options.size})
    table, title = pd.DataFrame(rows), f"s for {options.pairs} pairs of {options.size}x{options.size}, one core"
    write(table, "score", options.out, bars(table, ["what"], {"seconds": title}), "numpy", "scipy")


if __name__ == "__main__":
    main()
