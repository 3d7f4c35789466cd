"""Where data and results are: which folders a data set may have, and every file of a run with what it holds."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

# In data/prepared/<run>
MANIFEST = "manifest.csv"  # a row an image
EXCLUDED = "excluded.csv"  # files that were left out, and why
RECORD = "prepared.json"  # how the folder was made
# In results/<run>/<network>
MODEL = "model.keras"  # the weights of the best epoch
HISTORY = "history.csv"  # a row an epoch
SCORES = "scores.csv"  # a row an image
RUN = "run.json"  # settings, versions, device, seed, time, commit
SUMMARY = "summary.json"  # mean scores with their intervals, and the command
MODEL_FILES = (RUN, HISTORY, SCORES, SUMMARY)  # those that may be published
PRETRAINED = "pretrained.csv"  # in results/<run>: scores of the shipped network, a row an image
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
    """Whether `dataset` is a path of the reader's own rather than a name.

    Example:
        >>> is_path("montgomery"), is_path("./my-scans")
        (False, True)
    """
    return "/" in dataset or os.sep in dataset or dataset in (".", "..", "~")


# In results/<run>/comparison, read elsewhere too
CHECK = "check.csv"
CLAIM = "claim.csv"
COMPARISON = "comparison.csv"
SIDE_BY_SIDE = "side_by_side.png"
UNTRAINED = "untrained.csv"
VERDICT = "verdict.txt"


class Artefact(NamedTuple):
    """Files in results/<run>/comparison."""

    pattern: str  # their names
    notebook: str  # that writes them
    holds: str
    may_be_published: bool = True  # because they show no image and no mask


ARTEFACTS = (
    Artefact(CHECK, "02", "what is wrong with the data, a row a finding", False),
    Artefact(COMPARISON, "06", "mean scores, intervals and cost, a row a network"),
    Artefact(VERDICT, "06", "the conclusion in words"),
    Artefact("paired_tests.csv", "06", "tests between pairs of networks, over patients"),
    Artefact("paired_tests_again.csv", "06", "the same over the means of several seeds and the images of all folds"),
    Artefact("variation.csv", "06", "how scores vary with patients, seeds and folds, a row a network"),
    Artefact("classification_report.csv", "06", "precision and recall of lung and background, over all pixels"),
    Artefact(UNTRAINED, "06", "scores of the shipped network on the same images", False),
    Artefact("learning_curves.png", "06", "scores over epochs"),
    Artefact("split_panels.png", "06", "loss, IoU and Dice of training, validation and test, a panel a network"),
    Artefact("loss_*.png", "06", "loss over epochs, a figure a network"),
    Artefact("iou_*.png", "06", "IoU over epochs, a figure a network"),
    Artefact("dice_*.png", "06", "Dice over epochs, a figure a network"),
    Artefact("scores.png", "06", "how scores are spread, a point an image"),
    Artefact("score_against_cost.png", "06", "Dice against size and time"),
    Artefact("confusion_matrices.png", "06", "pixels by truth and prediction, a panel a network"),
    Artefact("bland_altman.png", "06", "area of the predicted lung against the true area"),
    Artefact(CLAIM, "06", "the CLAIM checklist, filled in as far as a run can"),
    Artefact("card_*.txt", "06", "a model card a network"),
    Artefact("worst_*.png", "06", "the images with the lowest Dice, a figure a network", False),
    Artefact("predictions_*.png", "06", "images, ground truth and prediction, a figure a network", False),
    Artefact(SIDE_BY_SIDE, "06", "predictions of all networks", False),
    Artefact("networks.csv", "08", "mean scores over seeds, a row a network"),
    Artefact("seeds.csv", "08", "mean scores, a row a network and seed"),
    Artefact("seed_scores.png", "08", "mean Dice of each seed"),
    Artefact("networks_*.png", "08", "charts of the same"),
    Artefact("zero_patient.csv", "09", "scores of a network that has seen no patient, a row a data set"),
    Artefact("changed.csv", "09", "its Dice on inverted and photographed films"),
    Artefact("leave_one_out.csv", "09", "its Dice if the phantoms lack one kind of variation"),
    Artefact("few_shot.csv", "09", "Dice after training on a few real images, a row a training"),
    Artefact("few_shot_chart.png", "09", "the same over the number of images"),
    Artefact("few_shot_worth.txt", "09", "the same in words"),
    Artefact("generalisation.csv", "10", "Dice by the data set trained on and the one tested on"),
    Artefact("generalisation_chart.png", "10", "the same as a chart"),
    Artefact("exports.csv", "11", "size, time and agreement of exported networks, a row a format and engine"),
    Artefact("exports_chart.png", "11", "the same as a chart"),
    Artefact("reliability.png", "13", "how often pixels of a given probability are lung"),
    Artefact("calibration.csv", "13", "calibration error and best threshold, a row a network"),
    Artefact("doubts.csv", "13", "why a person should look at an image, a row an image"),
    Artefact("usefulness.csv", "13", "what it brings to look at the most doubtful images"),
    Artefact("doubt_chart.png", "13", "Dice against the disagreement of augmented predictions"),
)


def find_artefact(name: str) -> Artefact | None:
    """Return what is known of a file in results/<run>/comparison; None for one that a user added.

    Example:
        >>> find_artefact("worst_unet.png").may_be_published  # it shows images
        False
    """
    return next((artefact for artefact in ARTEFACTS if fnmatchcase(name, artefact.pattern)), None)
