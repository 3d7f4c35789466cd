"""What each addition to the drawn films brings: `python benchmarks/additions.py FIRST.keras DATASET ...`.

Trains a network of the shipped structure further, from the weights in FIRST.keras, on drawings of the kind "mixed":
once with all additions, then without one of them each. Scores all images of prepared data sets, by data set and by
group of patients. The additions are in `lungnb/phantoms/findings.py`. Finished trainings are not repeated. One training
each, so differences of a few thousandths are chance.
"""

import argparse
from pathlib import Path

from measure import write

from lungnb import download, make_settings, prepare_dataset
from lungnb.evaluation.transfer import leave_one_out
from lungnb.phantoms.findings import ADDITIONS
from lungnb.settings import SHIPPED_STRUCTURE

TRAINING = {  # 1,000 steps for 4,000 drawings
    "epochs": 4, "stop_patience": 4, "batch_size": 16, "learning_rate": 1e-3, "schedule": "cosine",
}  # fmt: skip


def main() -> None:
    """Train, score, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", help="the network to start from")
    parser.add_argument("datasets", nargs="+", help="names of the catalogue or folders")
    parser.add_argument("--drawings", type=int, default=4000, help="of each training")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    targets = {settings.name: settings for settings in (make_settings(name, "full") for name in options.datasets)}
    for target in targets.values():
        download(target.dataset)
        prepare_dataset(target)
    settings = make_settings("phantom", "full", **SHIPPED_STRUCTURE, **TRAINING, weights=options.first, seed=1)
    table = leave_one_out(settings, targets, options.drawings, ADDITIONS, kind="mixed")
    write(table.drop(columns="seed").reset_index(), "additions", options.out, None, "keras", "tensorflow")


if __name__ == "__main__":
    main()
