"""How fast phantoms are drawn: `python benchmarks/phantom.py`.

Draws images of each kind on one core and prints how many a second.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
from measure import bars, write

from lungnb.phantoms.make import FILM_KINDS, KINDS, OTHER, make_phantom


def main() -> None:
    """Print images a second by kind, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows = []
    for kind in (*KINDS, *FILM_KINDS, OTHER):
        make_phantom(0, kind=kind, size=options.size)
        started = time.process_time()  # of this process, so that other work on the machine counts little
        for index in range(options.images):
            make_phantom(index, kind=kind, size=options.size)
        seconds = time.process_time() - started
        rows.append({"kind": kind, "images_s": options.images / seconds, "size": options.size})
    title = f"images of {options.size}x{options.size} a second, one core"
    write(pd.DataFrame(rows), "phantom", options.out, bars(pd.DataFrame(rows), ["kind"], {"images_s": title}), "numpy")


if __name__ == "__main__":
    main()
