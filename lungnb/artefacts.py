"""The folders of data and results, and every file of a run."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SPLIT_FILE = "split.csv"  # in the folder of a raw data set that lungnb made: which image is in which split
# In data/prepared/<run>
MANIFEST = "manifest.csv"  # one row per image
EXCLUDED = "excluded.csv"  # files that were left out, with the reasons
PREPARED_RECORD = "prepared.json"  # how the folder was made
# In results/<run>/<network>
MODEL = "model.keras"  # the weights of the best epoch
HISTORY = "history.csv"  # one row per epoch
SCORES = "scores.csv"  # one row per image
RUN = "run.json"  # settings, versions, device, seed, time, commit
TEMPERATURE = "temperature.json"  # corrects the probabilities; chosen on validation images
SUMMARY = "summary.json"  # mean scores with their intervals, and the command
TRAININGS = "trainings.csv"  # published: one row per training, also of other seeds and folds
ALL_SCORES = "all_scores.csv"  # published: one row per image and training
MODEL_FILES = (RUN, HISTORY, SCORES, SUMMARY)  # files that may be published
PLAN = "training/plan.json"  # what an unfinished training is to train
BACKUP = "latest.weights.h5"  # weights and optimizer of the last epoch of an unfinished training
EARLIER = "earlier"  # in results/<run>: runs of networks that were trained again, such as earlier/unet-1
CARD = "README.md"  # of an adapted network: what it is, where its images came from
ESTIMATE = "estimate.csv"  # of an adapted network: one row per image, its Dice before and after
ESTIMATE_CHART = "estimate.png"  # of these Dice
PRETRAINED = "pretrained.csv"  # in results/<run>: scores of the shipped network, one row per image
REPORT = "report.html"  # in results/<run>, and in results/scores/<truth>
# In a folder of masks that `lungnb segment` wrote
JOURNAL = ".segmentation.jsonl"
SEGMENTED = "segmentation.csv"  # one row per file
MASK_ENDINGS = ("_mask.png", "_mask.nii.gz")  # of images, of volumes
EXTRA_ENDINGS = ("_overlay.png", "_cutout.png", "_probability.png", "_seg.dcm")  # of what may be beside a mask
# Elsewhere in results, and in the folder that holds the series
RESERVED = ("published", "benchmarks", "scores")  # folders of results/ that belong to no data set
NOTEBOOKS, PUBLISHED = "notebooks", "results/published"  # the series, in the folder of `series_folder`
_CHECKOUT = Path(__file__).parents[1]
_INSTALLED = Path(__file__).parent / "series"  # setup.py puts it there in the wheel
_QUOTES, _INVISIBLE = "\"'`‘’“”„«»", r"\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_SLIPS = {  # what a path that does not exist has by a slip of the hand or of a script, and what to do
    rf"^[{_QUOTES}].*[{_QUOTES}]$|^\"|\"$": "has quotation marks that the terminal did not take away. Leave them out.",
    rf"^[{_INVISIBLE}]|[{_INVISIBLE}]$": "begins or ends with a blank, a line end or an invisible character. Leave it "
    "out; a script needs the line ends of this system.",
    r"^(\$\w|\$\{|%\w+%)": "begins with a variable that the terminal did not fill in. Write its value.",
    r"^[\u2012-\u2015\u2212]+[a-z][a-z-]*$": "begins with a long dash. An option begins with two hyphens: --out.",
    r"^file:": "begins with file:, as addresses do. Leave that out.",
}
_NOT_DATA = (".zip", ".tar", ".tar.gz", ".tgz", ".part", ".crdownload", ".txt", ".md", ".pdf")


def given_path(path: str | Path, what: str = "the path") -> Path:
    """Return a path that a user gave, with the home folder for `~`; raise ValueError if it is empty or an address.

    Raise it also for a path that does not exist and looks like a slip (`slip_in`). An empty path would mean the working
    folder, and comes from a variable that is not set. A `~` stays in a path that exists as it is, and where it names no
    user.

    Example:
        >>> given_path("~a film.png").as_posix()
        '~a film.png'
    """
    if not str(path).strip():
        raise ValueError(f"{what} is empty: name a file or a folder ('.' for this one).")
    if os.path.lexists(path):
        return Path(path)
    if slip := slip_in(path):
        raise ValueError(f"{str(path)!r} {slip}")
    if re.match(r"\w\w+:/", str(path)):  # a drive of Windows has one letter
        raise ValueError(f"{path} is an address, not a path: download the file or folder, and name that.")
    return Path(os.path.expanduser(path))  # because `Path.expanduser` raises an error for a user that is unknown


def slip_in(path: str | Path) -> str:
    r"""Return what is probably a slip in a path that does not exist, and what to do; "" for other paths.

    Example:
        >>> slip_in("out\r")[:30], slip_in("'s-Hertogenbosch")
        ('begins or ends with a blank, a', '')
    """
    return next((slip for pattern, slip in _SLIPS.items() if re.search(pattern, str(path), re.DOTALL)), "")


def home() -> Path:
    """Return the folder with data/ and results/: LUNGNB_HOME, or else the project's folder, or else the current one."""
    if os.environ.get("LUNGNB_HOME"):
        return given_path(os.environ["LUNGNB_HOME"], "LUNGNB_HOME").resolve()
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise FileNotFoundError("the working folder was removed: change to another one, or set LUNGNB_HOME.") from error
    folders = (here, *here.parents)
    return next((folder for folder in folders if (folder / "notebooks" / "00_start.ipynb").exists()), here)


def series_folder() -> Path:
    """Return the folder with `notebooks` and `results/published`: the checkout, or a part of the installed package."""
    return _INSTALLED if _INSTALLED.exists() else _CHECKOUT


def raw_root() -> Path:
    """Return the folder with the raw data sets: LUNGNB_RAW (relative to home()) if it is set, otherwise data/raw."""
    return home() / given_path(os.environ.get("LUNGNB_RAW") or "data/raw", "LUNGNB_RAW")


def raw_folder(dataset: str) -> Path:
    """Return the folder of a raw data set: a path as it is, a name in LUNGNB_RAW if data are there, else in data/raw.

    Raises ValueError for a folder that contains a folder where lungnb writes, or lies in one.
    """
    if is_path(dataset):
        refuse_nul(dataset)
        folder = given_path(dataset).resolve()
        refuse_name(folder.name, str(folder))
    else:
        refuse_name(dataset, dataset)
        shared = raw_root() / dataset
        folder = shared if holds_data(shared) else home() / "data" / "raw" / dataset
    _refuse_place(folder)
    return folder


def refuse_name(name: str, dataset: str) -> None:
    """Raise ValueError for a name that no data set can have, because folders in data/ and results/ get this name."""
    refuse_nul(dataset)
    if not name.strip() or name.startswith(".") or Path(name).name != name or name.lower() in RESERVED:
        raise ValueError(
            f"{dataset!r} cannot be a data set: its folder needs a name that is not empty, does not begin with a dot, "
            f"and is not {' or '.join(RESERVED)}. Name a folder with images/ and masks/ in it."
        )


def refuse_nul(dataset: str) -> None:
    """Raise ValueError for a name or path with a NUL character, which the system does not accept."""
    if "\0" in dataset:
        raise ValueError(f"{dataset!r} cannot be a data set: no folder has a NUL character in its name.")


def _refuse_place(folder: Path) -> None:
    """Raise ValueError for a raw folder that contains a folder where lungnb writes, or lies in one."""
    data, prepared, results = home() / "data", home() / "data" / "prepared", home() / "results"
    folder = folder.resolve()
    for output in (data, prepared, results):
        if _contains(folder, output.resolve()):
            raise ValueError(
                f"{folder} cannot be a data set: it contains {output}, where lungnb writes. Name the folder that holds "
                "images/ and masks/, or set LUNGNB_HOME to another folder."
            )
    for output in (prepared, results):
        if _contains(output.resolve(), folder):
            raise ValueError(
                f"{folder} cannot be a data set: it is in {output}, where lungnb writes. Move the images elsewhere."
            )


def _contains(folder: Path, other: Path) -> bool:
    """Return whether a folder is another one or contains it, even if links or upper case hide that."""
    return any(is_same(folder, place) for place in (other, *other.parents))


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one folder."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return False


def holds_data(folder: Path) -> bool:
    """Return whether a raw folder holds data, that is, more than hidden files, notes and packed archives."""
    if not folder.is_dir():
        return False
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    return any(entry.is_dir() or not entry.name.lower().endswith(_NOT_DATA) for entry in entries)


def is_path(dataset: str) -> bool:
    """Return whether `dataset` is a path, not a name.

    Example:
        >>> is_path("montgomery"), is_path("./my-scans")
        (False, True)
    """
    return "/" in dataset or os.sep in dataset or dataset in (".", "..", "~")


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, and restore them after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# In results/<run>/comparison; other modules read these
CHECK = "check.csv"
MISMATCHES = "mismatches.csv"
CLAIM = "claim.csv"
COMPARISON = "comparison.csv"
SIDE_BY_SIDE = "side_by_side.png"
UNTRAINED = "untrained.csv"
DIFFERENCES = "differences.png"
PAIRED_TESTS = "paired_tests.csv"
TESTS_AGAIN = "paired_tests_again.csv"
FAILURES = "failures.txt"
GROUPS = "groups.csv"
VOLUMES = "volumes.csv"
VERDICT = "verdict.txt"


class Artefact(NamedTuple):
    """Files in results/<run>/comparison."""

    pattern: str  # of their names
    notebook: str  # number of the notebook that writes them
    holds: str
    may_be_published: bool = True  # False for files that show images or masks


ARTEFACTS = (
    Artefact(CHECK, "02", "what is wrong with the data, one row per finding", False),
    Artefact(MISMATCHES, "02", "masks that do not fit their image, one row per mask", False),
    Artefact(COMPARISON, "06", "mean scores, intervals and cost, one row per network"),
    Artefact(VERDICT, "06", "the conclusion in words"),
    Artefact(PAIRED_TESTS, "06", "differences between networks over patients, with intervals and tests"),
    Artefact(DIFFERENCES, "06", "these differences as a chart, with intervals and the equivalence margin"),
    Artefact(TESTS_AGAIN, "06", "these tests over all seeds and folds, with the spread of trainings"),
    Artefact("variation.csv", "06", "how scores vary with patients, seeds and folds, one row per network"),
    Artefact("classification_report.csv", "06", "precision and recall of lung and background over all pixels"),
    Artefact(UNTRAINED, "06", "scores of the shipped and the trained networks, on the same images", False),
    Artefact(GROUPS, "06", "mean Dice of each group of patients, one row per network and group"),
    Artefact(VOLUMES, "06", "Dice and distances of whole volumes in 3-D, one row per network and volume"),
    Artefact("distances.png", "06", "distances between borders, one point per image"),
    Artefact("learning_curves.png", "06", "scores over epochs"),
    Artefact("split_panels.png", "06", "loss, IoU and Dice of training, validation and test, one panel per network"),
    Artefact("loss_*.png", "06", "loss over epochs, one figure per network"),
    Artefact("iou_*.png", "06", "IoU over epochs, one figure per network"),
    Artefact("dice_*.png", "06", "Dice over epochs, one figure per network"),
    Artefact("scores.png", "06", "distribution of the scores, one point per image"),
    Artefact("score_against_cost.png", "06", "Dice against size and time"),
    Artefact("confusion_matrices.png", "06", "pixels by ground truth and prediction, one panel per network"),
    Artefact("bland_altman.png", "06", "area of the predicted lung against the true area"),
    Artefact(CLAIM, "06", "the CLAIM checklist, filled in from the records of the run"),
    Artefact("card_*.txt", "06", "a model card for each network"),
    Artefact(FAILURES, "06", "how many masks failed, and the worst one, in words"),
    Artefact("worst_*.png", "06", "the images with the lowest Dice, one figure per network", False),
    Artefact("predictions_*.png", "06", "images, ground truth and prediction, one figure per network", False),
    Artefact(SIDE_BY_SIDE, "06", "predictions of all networks on the hardest images", False),
    Artefact("networks.csv", "08", "mean scores over seeds, one row per network"),
    Artefact("networks_tests.csv", "08", "tests of the differences between networks, over patients and seeds"),
    Artefact("seeds.csv", "08", "mean scores, one row per network and seed"),
    Artefact("seed_scores.png", "08", "mean Dice of each seed minus the mean of the first network"),
    Artefact("networks_*.png", "08", "charts of these scores"),
    Artefact("zero_patient.csv", "09", "scores of a network that has seen no patient, one row per data set"),
    Artefact("changed.csv", "09", "Dice of this network on inverted and photographed films"),
    Artefact("leave_one_out.csv", "09", "Dice of this network if the phantoms lack one kind of variation"),
    Artefact("few_shot.csv", "09", "Dice after training on a few real images, one row per training"),
    Artefact("few_shot_chart.png", "09", "Dice over the number of images"),
    Artefact("few_shot_worth.txt", "09", "the same result in words"),
    Artefact("generalisation.csv", "10", "Dice for each pair of training and test data set"),
    Artefact("generalisation_chart.png", "10", "the same as a chart"),
    Artefact("exports.csv", "11", "size, time and agreement of exported networks, one row per format and engine"),
    Artefact("exports_chart.png", "11", "time per image and size of the file, one bar per engine"),
    Artefact("reliability.png", "13", "share of lung among the pixels near the border, by probability"),
    Artefact("calibration.csv", "13", "calibration error near the border, temperature and best threshold"),
    Artefact("uncertainty.csv", "13", "why a person should look at an image, one row per image"),
    Artefact("usefulness.csv", "13", "how the mean Dice rises if a person corrects the most uncertain images"),
    Artefact("uncertainty_chart.png", "13", "Dice against the disagreement of augmented predictions"),
)
