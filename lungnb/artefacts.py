"""Where data and results live, which folder is a data set's, and which folders can be none."""

from __future__ import annotations

import os
from pathlib import Path

RESERVED = ("published", "benchmarks")  # folders of results/ that belong to no data set
_NOT_DATA = (".zip", ".tar", ".tar.gz", ".tgz", ".part", ".crdownload", ".txt", ".md", ".pdf")


def home() -> Path:
    """The folder that holds data/ and results/: LUNGNB_HOME, else the project around the working folder, else that."""
    if os.environ.get("LUNGNB_HOME"):
        return Path(os.environ["LUNGNB_HOME"]).expanduser().resolve()
    here = Path.cwd()
    return next(
        (folder for folder in (here, *here.parents) if (folder / "notebooks" / "00_start.ipynb").exists()), here
    )


def raw_root() -> Path:
    """The folder that holds raw data sets by name: LUNGNB_RAW (relative to home()), else data/raw."""
    return home() / Path(os.environ.get("LUNGNB_RAW") or "data/raw").expanduser()


def raw_folder(dataset: str) -> Path:
    """Where a raw data set is found, or is to be put: the reader's own path, LUNGNB_RAW, else data/raw.

    Raises ValueError for a folder that cannot be a data set, because what is prepared from it would replace lungnb's
    own folders, or because it lies in one of those.
    """
    if is_path(dataset):
        refuse_nul(dataset)
        folder = Path(dataset).expanduser().resolve()
        refuse_name(folder.name, str(folder))
    else:
        refuse_name(dataset, dataset)
        found = raw_root() / dataset
        folder = found if holds_data(found) else home() / "data" / "raw" / dataset
    _refuse_place(folder)
    return folder


def refuse_name(name: str, dataset: str) -> None:
    """Raise ValueError for a name that no data set can have, since its folders in data/ and results/ have it too."""
    refuse_nul(dataset)
    if not name.strip() or name.startswith(".") or Path(name).name != name or name.lower() in RESERVED:
        raise ValueError(
            f"{dataset!r} cannot be a data set: its folder needs a name that is not empty, does not begin with a dot, "
            f"and is not {' or '.join(RESERVED)}. Name a folder with images/ and masks/ in it."
        )


def refuse_nul(dataset: str) -> None:
    """Raise ValueError for a name or path with a NUL character, which no function of the system takes."""
    if "\0" in dataset:
        raise ValueError(f"{dataset!r} cannot be a data set: no folder has a NUL character in its name.")


def _refuse_place(folder: Path) -> None:
    """Raise ValueError for a raw folder that contains lungnb's own folders, or lies in those that lungnb writes."""
    data, prepared, results = home() / "data", home() / "data" / "prepared", home() / "results"
    folder = folder.resolve()
    for own in (data, prepared, results):
        if _contains(folder, own.resolve()):
            raise ValueError(
                f"{folder} cannot be a data set: it contains {own}, where lungnb writes. Name the folder that holds "
                "images/ and masks/, or set LUNGNB_HOME to another folder."
            )
    for own in (prepared, results):
        if _contains(own.resolve(), folder):
            raise ValueError(
                f"{folder} cannot be a data set: it is in {own}, where lungnb writes. Move the images elsewhere."
            )


def _contains(folder: Path, other: Path) -> bool:
    """Return whether a folder is another one or contains it, by whatever path, also where case does not matter."""
    return any(is_same(folder, place) for place in (other, *other.parents))


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one folder."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False


def holds_data(folder: Path) -> bool:
    """Whether a raw folder holds data: more than hidden files, notes and archives that are yet to be unpacked."""
    if not folder.is_dir():
        return False
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    return any(entry.is_dir() or not entry.name.lower().endswith(_NOT_DATA) for entry in entries)


def is_path(dataset: str) -> bool:
    """Whether `dataset` is a path of the reader's own rather than a name."""
    return "/" in dataset or os.sep in dataset or dataset in (".", "..", "~")


# What of a run holds no image and no mask, and may be published: files of a model, and of the comparison.
MODEL_FILES = ("run.json", "history.csv", "scores.csv", "summary.json")
COMPARED = (  # by notebook 06
    *("comparison.csv", "paired_tests*.csv", "variation.csv", "classification_report.csv", "verdict.txt"),
    *("learning_curves.png", "split_panels.png", "loss_*.png", "iou_*.png", "dice_*.png"),
    *("scores.png", "score_against_cost.png", "confusion_matrices.png", "bland_altman.png", "claim.csv", "card_*.txt"),
)
PICTURED = ("worst_*.png", "predictions_*.png", "side_by_side.png")  # by it too, and not to be published
COMPARISON_FILES = (
    *COMPARED,
    *("networks.csv", "seeds.csv", "seed_scores.png", "networks_*.png"),  # of notebook 08
    *(
        "zero_patient.csv",
        "changed.csv",
        "leave_one_out.csv",
        "few_shot.csv",
        "few_shot_chart.png",
        "few_shot_worth.txt",
    ),  # of 09
    *("generalisation.csv", "generalisation_chart.png"),  # of notebook 10
    *("exports.csv", "exports_chart.png"),  # of notebook 11
    *("reliability.png", "calibration.csv", "doubts.csv", "usefulness.csv", "doubt_chart.png"),  # of notebook 13
)
