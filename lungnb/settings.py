"""The settings of a run: what a reader may turn, the two profiles, and where data and results live."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")
TITLES = {"unet": "U-Net", "resunet": "ResUNet", "r2unet": "R2U-Net"}  # models, as charts and tables name them
_NOT_DATA = (".zip", ".tar", ".tar.gz", ".tgz", ".part", ".crdownload", ".txt", ".md", ".pdf")

PROFILES: dict[str, dict[str, Any]] = {
    # quick: minutes on a laptop, small images and networks; full: the figures one quotes, an hour or more.
    "quick": {"image_size": 128, "filters": 8, "epochs": 12, "batch_size": 8},
    "full": {"image_size": 256, "filters": 16, "epochs": 50, "batch_size": 8},
}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, and nothing else. Make one with `make_settings`.

    `dataset` is a name of the catalogue, the name of a folder under the raw folder, or the path of a folder of the
    reader's own that holds `images/` and `masks/`.
    """

    dataset: str = "phantom"
    profile: str = "quick"
    # data
    image_size: int = 256  # side of the square the networks see, px
    split_fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)  # of patients; a third of 0 means no test split
    split_file: str | None = None  # a CSV with the columns id, split: a published split to follow
    patient_pattern: str | None = None  # regular expression whose first group, found in an image's name, is the patient
    # model
    depth: int = 4  # halvings between the top and the bottom of the U
    filters: int = 16  # channels at the top; doubled at each halving
    # training
    loss: str = "bce_iou"
    learning_rate: float = 1e-3
    batch_size: int = 8
    epochs: int = 50
    stop_patience: int = 15  # epochs without a better validation loss before training stops
    plateau_patience: int = 5  # ... and before the learning rate is halved
    seed: int = 1
    deterministic: bool = False  # the same bits in each run on one machine, at the price of speed
    precision: str = "float32"
    # augmentation, of training images alone
    flip: bool = True  # left to right, half of the images
    rotation: float = 10.0  # at most, degrees
    zoom: float = 0.1  # at most, as a fraction
    contrast: float = 0.2  # at most, as a fraction

    def __post_init__(self) -> None:
        for name in ("image_size", "depth", "filters", "batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.image_size % 2**self.depth:
            raise ValueError(
                f"image_size must be a multiple of {2**self.depth} for a depth of {self.depth}, not {self.image_size}."
            )
        fractions = self.split_fractions
        if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-6 or min(fractions[:2]) <= 0 or fractions[2] < 0:
            raise ValueError(
                "split_fractions must be three shares (train, validation, test) that sum to 1, the first two above 0, "
                f"such as (0.7, 0.15, 0.15) or (0.85, 0.15, 0.0), not {fractions}."
            )

    @property
    def name(self) -> str:
        """The data set's name in folders: that of the catalogue, or the last part of the reader's own path."""
        return Path(self.dataset).expanduser().resolve().name if is_path(self.dataset) else self.dataset

    @property
    def prepared(self) -> Path:
        """The folder of the prepared data set, data/prepared/<dataset>."""
        return home() / "data" / "prepared" / self.name

    @property
    def results(self) -> Path:
        """The folder of the data set's results, results/<dataset>."""
        return home() / "results" / self.name

    def replace(self, **changes: object) -> Settings:
        """Return the same settings with some changed; a name that does not exist is refused."""
        return dataclasses.replace(self, **_known(changes))

    def __str__(self) -> str:
        rows = [f"{field.name:16} {getattr(self, field.name)}" for field in dataclasses.fields(self)]
        return "\n".join(rows)


def make_settings(dataset: str = "phantom", profile: str = "quick", **changes: object) -> Settings:
    """Return the settings of a profile for a data set, with the given ones changed.

    What the environment variable LUNGNB_SET holds, such as `epochs=20;loss=dice`, is changed too: it reaches all the
    notebooks of a report. `changes` go before it.

    Raises ValueError for an unknown profile or an unknown setting, naming those there are.

    Example: `make_settings("montgomery", "full", epochs=20)`.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {profile!r}.")
    if is_path(dataset) or Path(dataset, "images").is_dir():
        dataset = str(Path(dataset).expanduser().resolve())  # a notebook runs in another folder than a terminal
    everywhere = parse_changes(filter(None, os.environ.get("LUNGNB_SET", "").split(";")))
    return Settings(**{"dataset": dataset, "profile": profile} | PROFILES[profile] | everywhere | _known(changes))


def parse_changes(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings written as `NAME=VALUE`, each value read as the type of the setting's default.

    Example: `parse_changes(["epochs=20", "split_fractions=0.85,0.15,0"])`.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    changes = {}
    for text in texts:
        name, equals, value = text.strip().partition("=")
        if not equals:
            raise ValueError(f"a setting is changed by NAME=VALUE, not by {text!r}.")
        default = _known({name: None}) and defaults[name]
        try:
            if isinstance(default, tuple):
                changes[name] = tuple(float(part) for part in value.split(","))
            elif isinstance(default, bool):
                changes[name] = {"true": True, "false": False}[value.lower()]
            else:
                changes[name] = value if default is None else type(default)(value)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{name} takes a value like {default}, not {value!r}.") from error
    return changes


def title_of(model_name: str) -> str:
    """Return a model's name as charts and tables write it."""
    return TITLES.get(model_name, model_name)


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
    """Where a raw data set is found, or is to be put: the reader's own path, LUNGNB_RAW, else data/raw."""
    if is_path(dataset):
        return Path(dataset).expanduser().resolve()
    found = raw_root() / dataset
    return found if holds_data(found) else home() / "data" / "raw" / dataset


def holds_data(folder: Path) -> bool:
    """Whether a raw folder holds data: more than hidden files, notes and archives that are yet to be unpacked."""
    if not folder.is_dir():
        return False
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))
    return any(entry.is_dir() or not entry.name.lower().endswith(_NOT_DATA) for entry in entries)


def is_path(dataset: str) -> bool:
    """Whether `dataset` is a path of the reader's own rather than a name."""
    return "/" in dataset or os.sep in dataset or dataset in (".", "..")


def _known(changes: dict[str, Any]) -> dict[str, Any]:
    """Return `changes` if every name is a setting, else raise a ValueError with the nearest name."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no setting {name!r}: {hint}The settings are {', '.join(names)}.")
    return changes
