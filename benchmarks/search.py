"""A search like that of notebook 12, with larger images: `python benchmarks/search.py [DATASET] [--trials 30]`.

Searches the hyper-parameters of the U-Net from the settings of the quick profile. Then trains the best trial, and the
settings of the profile, with other seeds. All Dice are of the validation images, in the best epoch; the test images are
not read. Finished trials are not repeated.
"""

import argparse
from pathlib import Path

import pandas as pd
from measure import write

from lungnb import download, make_settings, prepare_dataset
from lungnb.evaluation.search import best_settings, search_settings
from lungnb.figures import search_chart
from lungnb.lessons.searches import train_again

MODEL = "unet"


def main() -> None:
    """Search, train again, and write the tables of the trials (search) and of the trainings (search_again)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="montgomery", help="a name of the catalogue or a folder")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=20, help="of each trial, at most")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of the best trial, and of the profile")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    settings = make_settings(options.dataset, "quick", epochs=options.epochs)
    download(settings.dataset)
    prepare_dataset(settings)
    trials = search_settings(settings, MODEL, options.trials)
    chosen = {"best trial": best_settings(settings, MODEL), "quick profile": settings}
    again = pd.DataFrame({name: train_again(which, MODEL, options.seeds) for name, which in chosen.items()})
    write(again, "search_again", options.out, None, "keras", "tensorflow", "optuna")
    figure = search_chart(trials, again["best trial"].to_list())
    write(trials, "search", options.out, figure, "keras", "tensorflow", "optuna")


if __name__ == "__main__":
    main()
