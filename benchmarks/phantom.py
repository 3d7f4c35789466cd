"""How fast phantoms are drawn: `python benchmarks/phantom.py`.

Draws images of each kind on one core and says how many a second.
"""

import argparse
import time

from lungnb.phantom import KINDS, make_phantom


def main() -> None:
    """Print images a second by kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="px")
    options = parser.parse_args()
    for kind in KINDS:
        make_phantom(0, kind=kind, size=options.size)
        started = time.perf_counter()
        for index in range(options.images):
            make_phantom(index, kind=kind, size=options.size)
        seconds = time.perf_counter() - started
        print(f"{kind:8} {options.images / seconds:6.1f} images of {options.size}x{options.size} a second, one core")


if __name__ == "__main__":
    main()
