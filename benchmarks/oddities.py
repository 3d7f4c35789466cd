"""What lungnb makes of unusual files: `PYTHONPATH=tests python benchmarks/oddities.py [WORD ...]`.

Runs the cases of `tests/unusual` (those whose names contain a word) and prints for each whether it was read right,
explained in a sentence, or wrong.
"""

import argparse
import os
import tempfile
from pathlib import Path

from measure import write

import unusual


def main() -> None:
    """Print and write a table with one row per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="run cases with one of these words in their names")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    unusual.load_all()
    results = {}
    for name in unusual.CASES:
        if not options.words or any(word.lower() in name.lower() for word in options.words):
            with tempfile.TemporaryDirectory() as home:
                os.environ["LUNGNB_HOME"] = home
                results[name] = unusual.run(name)
            print(f"{results[name].verdict:10}{name}: {results[name].said}", flush=True)
    table = unusual.as_table(results)
    print(table["result"].value_counts().to_string())
    write(table, "oddities", options.out, None, "pydicom", "nibabel")


if __name__ == "__main__":
    main()
