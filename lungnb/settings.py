"""The settings of a run: the fields that a reader may change, the values that they may have, and the two profiles."""

from __future__ import annotations

import dataclasses
import difflib
import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from lungnb.artefacts import given_path, home, is_path, raw_folder
from lungnb.files import text_name

Value = str | float | bool | tuple[str, ...] | tuple[float, ...] | tuple[int, ...] | None  # of a setting

SPLITS = ("train", "validation", "test")
# The values that some settings may have. For losses and encoders, see the modules in `networks`.
CHOICES: dict[str, tuple[str | None, ...]] = {
    "loss": ("bce", "dice", "iou", "bce_dice", "bce_iou"),
    "optimizer": ("adam", "adamw", "nadam", "rmsprop", "sgd", "lion"),
    "schedule": ("plateau", "cosine"),
    "precision": ("float32", "mixed_bfloat16", "auto"),
    "encoder": ("mobilenetv2", "vgg16", "resnet50", "efficientnetv2b0", "densenet121", None),
}
LIMITS = {  # the lowest and the highest value of every setting that is a number; those in `_OR_ZERO` may also be 0
    "image_size": (1, 4096), "spacing": (0.1, 20), "pixel_mm": (0.01, 20), "volume_slices": (1, 10_000),
    "folds": (2, 1000), "fold": (1, 1000),
    "depth": (1, 10), "filters": (1, 1024), "frozen_epochs": (0, 100_000), "learning_rate": (1e-12, 1e30),
    "batch_size": (1, 4096), "epochs": (1, 100_000), "train_images": (0, 10**9), "repeats": (1, 100_000),
    "stop_patience": (0, 100_000), "plateau_patience": (0, 100_000), "rotation": (0, 180), "zoom": (0, 0.9),
    "contrast": (0, 1), "seed": (0, 2**32 - 1),  # NumPy accepts no other seeds
    "equivalence_margin": (1e-6, 1),
}  # fmt: skip
_OR_ZERO = ("spacing", "pixel_mm", "folds")  # 0 switches them off
# Dice. Another seed changes the mean Dice of a network by up to 0.003 (SD, results/published/montgomery-seeds), and
# two readers of one X-ray differ ten times as much. So a smaller gain is no reason to choose a network.
EQUIVALENCE_MARGIN = 0.005
_MAX_SUM_ERROR = 1e-6  # by which shares that were rounded may miss 1
_MAX_HU = 100_000  # limit of a window, above and below 0
TITLES = {  # names of models in charts and tables
    "unet": "U-Net", "resunet": "ResUNet", "r2unet": "R2U-Net", "attention_unet": "Attention U-Net",
    "transunet": "TransUNet", "compact_unet": "Compact U-Net",
}  # fmt: skip
DATASETS = (  # of the catalogue, `lungnb/datasets/sources.py`
    "phantom", "phantom-ct", "phantom-wild", "montgomery", "chest-xray-masks-and-labels", "finding-lungs-in-ct-data",
    "lung-ct-bmp", "shenzhen", "minijsrt", "covid19-ct-seg", "rsna-pneumonia",
)  # fmt: skip
SHIPPED = Path(__file__).parent / "weights" / "phantom.keras"  # the network that comes with lungnb
SHIPPED_STRUCTURE = {"models": ("compact_unet",), "image_size": 128, "filters": 16, "depth": 5}
COMPARISON_VARIABLE = "LUNGNB_COMPARISON"  # set by `run_series` for its notebooks
_OF_ONE_DATASET = ("split_file", "folds", "fold", "patient_file", "patient_pattern", "pixel_mm", "mask_values")
FILES = ("split_file", "patient_file", "weights")  # settings whose value may be the path of a file

PROFILES = {
    # quick: minutes on a laptop, with small images and networks. full: an hour or more, for scores to quote.
    "quick": {"image_size": 128, "filters": 8, "epochs": 12, "batch_size": 8},
    "full": {"image_size": 256, "filters": 16, "epochs": 50, "batch_size": 8},
}


def _plain(value: object) -> object:
    """Return NumPy's numbers, also those in a tuple or a list, as Python's, and paths as text, as JSON needs them."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _refuse_number(name: str, kind: str, value: object) -> None:
    """Raise ValueError if the value of a setting is not a number, or is outside the range in `LIMITS`."""
    low, high = LIMITS[name]
    is_number = isinstance(value, Integral if kind == "int" else Real) and not isinstance(value, bool)
    is_off = name in _OR_ZERO and value == 0
    if not is_number or not (is_off or low <= value <= high):  # type: ignore[operator]  # it is a number by now
        noun, zero = "a whole number" if kind == "int" else "a number", ", or 0" if name in _OR_ZERO else ""
        raise ValueError(f"{name} must be {noun} from {low:,} to {high:,}{zero}, not {value!r}.")


def _are_numbers(values: object, count: int) -> bool:
    if not isinstance(values, tuple) or len(values) != count:
        return False
    return all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def is_window(values: object) -> bool:
    """Return whether values are a window: a tuple or list of two rising numbers, the HU shown as black and as white.

    Example:
        >>> is_window((-1000, 400)), is_window((400, -1000)), is_window("lung")
        (True, False, False)
    """
    pair = tuple(values) if isinstance(values, list) else values
    return _are_numbers(pair, 2) and -_MAX_HU <= pair[0] < pair[1] <= _MAX_HU  # type: ignore[index]


def has_data(dataset: str) -> bool:
    """Return whether the catalogue or the raw folder has a data set. Raise ValueError for an impossible name."""
    return dataset in DATASETS or raw_folder(dataset).is_dir()


UNPACK_FIRST = "Unpack it if it is an archive, and name the folder of images and masks."  # about a file as data set


def refuse_unknown(dataset: str) -> None:
    """Raise ValueError, with the nearest name, for a name that is neither in the catalogue nor in the raw folder.

    A path need not exist yet, and a name need not be in the raw folder if its prepared data or its results are there.
    Raises ValueError also for a folder that cannot be a data set.
    """
    if has_data(dataset) or is_path(dataset):  # first the check that refuses folders
        return
    runs = (home() / "data" / "prepared", home() / "results")
    if any((root / dataset).is_dir() or any(root.glob(f"{glob.escape(dataset)}.*/")) for root in runs):
        return
    if os.path.isfile(dataset):
        raise ValueError(f"{dataset}: is a file. {UNPACK_FIRST}")
    given_path(dataset)  # which explains quotation marks and the like
    near = difflib.get_close_matches(dataset.lower(), DATASETS, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"there is no data set {dataset!r}.{hint} The catalogue has {', '.join(DATASETS)}. For images of your own, "
        "give the path of a folder with images/ and masks/ in it, such as ./my-scans."
    )


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on. Make one with `make_settings`."""

    dataset: str = "phantom"  # a name in the catalogue or in the raw folder, or the path of a folder
    profile: str = "quick"  # or the name of a recipe
    # data
    image_size: int = 256  # side of the square image that the networks see, px
    split_fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)  # shares of patients; last 0: no test split
    split_file: str | None = None  # a CSV with the columns id and split, or the name of one in lungnb/datasets/splits
    folds: int = 0  # cross-validation: number of parts of the patients, each the test split of one fold; 0: none
    fold: int = 1  # the fold, from 1 to folds
    patient_file: str | None = None  # a CSV: id, patient, perhaps group, sex, age, pixel_mm; overrides patient_pattern
    patient_pattern: str | None = None  # regular expression that searches an image's name, or, if it contains a slash,
    # the path within the data set; its first group is the patient
    window: tuple[float, float] | None = None  # HU shown as black and as white; all images must then be in HU
    spacing: float = 0.0  # pixel spacing to which volumes are resampled, mm; 0: keep theirs
    pixel_mm: float = 0.0  # pixel spacing of image files that do not state theirs, such as PNG, mm; 0: unknown
    volume_slices: int = 16  # slices of each volume, evenly spaced over its central half
    mask_values: tuple[int, ...] | None = None  # the labels of lung, if masks show other organs too
    # model
    models: tuple[str, ...] = ("unet", "resunet", "r2unet")  # models to train and compare
    depth: int = 4  # how often the resolution is halved
    filters: int = 16  # channels at the top; doubled at each halving
    encoder: str | None = None  # encoder of the U-Net: a network of keras.applications, such as mobilenetv2
    weights: str | None = None  # initial weights of the encoder or of the whole network: imagenet, phantom or a file
    frozen_epochs: int = 0  # first epochs, in which the encoder is frozen and the rest learns at ten times the rate
    # training
    loss: str = "bce_iou"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 8
    epochs: int = 50
    train_images: int = 0  # number of training images, drawn with the seed; 0: all
    repeats: int = 1  # how often an epoch shows each training image, augmented each time; useful for a few dozen images
    stop_patience: int = 15  # epochs without a better validation loss before training stops
    schedule: str = "plateau"  # of the learning rate: plateau, or cosine, which falls to 0 over all epochs
    plateau_patience: int = 5  # epochs without a better validation loss before the learning rate is halved
    seed: int = 1
    deterministic: bool = False  # give the same bits in each run on one machine, but train more slowly
    precision: str = "float32"  # or mixed_bfloat16; auto: mixed_bfloat16 where TensorFlow is faster with it
    # augmentation of training images
    flip: bool = True  # flip half of the images left to right
    rotation: float = 10.0  # largest angle, degrees
    zoom: float = 0.1  # largest change of size, as a fraction
    contrast: float = 0.2  # largest change of contrast, as a fraction
    # conclusions; trainings do not depend on it
    equivalence_margin: float = EQUIVALENCE_MARGIN  # a smaller difference in mean Dice is not relevant

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str):
            raise ValueError(f"dataset must be a name or the path of a folder, as text, not {self.dataset!r}.")
        refuse_unknown(self.dataset)
        for field in dataclasses.fields(self):
            value = _plain(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            if field.name in LIMITS:
                _refuse_number(field.name, str(field.type), value)
            elif field.type == "bool" and not isinstance(value, bool):
                raise ValueError(f"{field.name} must be True or False, not {value!r}.")
            elif field.type == "str | None" and value is not None and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{field.name} must be text that is not empty, or None, not {value!r}.")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(filter(None, choices))
                raise ValueError(f"{name} must be one of {listed}, not {getattr(self, name)!r}.")
        self._check_together()
        self._check_tuples()

    def _check_together(self) -> None:
        """Raise ValueError for settings that contradict each other."""
        if self.image_size % 2**self.depth:
            raise ValueError(
                f"image_size must be a multiple of {2**self.depth} for a depth of {self.depth}, not {self.image_size}."
            )
        if not self.folds and self.fold != 1:
            raise ValueError(f"fold {self.fold} needs folds: set folds too, such as folds=5.")
        if self.folds and self.fold > self.folds:
            raise ValueError(f"fold must be from 1 to the number of folds, {self.folds}, not {self.fold}.")
        if self.folds and self.split_file:
            raise ValueError(f"folds make splits of their own: set split_file to None, not {self.split_file}.")
        if self.frozen_epochs and not self.encoder:
            raise ValueError("frozen_epochs needs an encoder to freeze: set encoder, or set frozen_epochs to 0.")

    def _check_tuples(self) -> None:
        """Raise ValueError for wrong models, shares, windows or labels."""
        if not self.models or not isinstance(self.models, tuple) or not set(self.models) <= set(TITLES):
            raise ValueError(f"models must be some of {', '.join(TITLES)}, not {self.models!r}.")
        if len({*self.models}) < len(self.models):
            raise ValueError(f"models must name each network once, not {', '.join(self.models)}.")
        shares, hu = self.split_fractions, self.window
        if not _are_numbers(shares, 3) or not (
            min(shares[:2]) > 0 <= shares[2] and abs(sum(shares) - 1) <= _MAX_SUM_ERROR
        ):
            raise ValueError(
                "split_fractions must be three shares (train, validation, test) that sum to 1, the first two above 0, "
                f"such as (0.7, 0.15, 0.15) or (0.85, 0.15, 0.0), not {shares!r}."
            )
        if hu is not None and not is_window(hu):
            raise ValueError(
                f"window must be two rising numbers from {-_MAX_HU:,} to {_MAX_HU:,}, the HU shown as black and as "
                f"white, such as -1000,400, not {hu!r}."
            )
        values = self.mask_values
        are_labels = isinstance(values, tuple) and values and all(type(value) is int for value in values)
        if values is not None and not are_labels:
            raise ValueError(f"mask_values must be one or more whole numbers, such as 1,2, not {values!r}.")

    def training(self) -> dict[str, Any]:
        """Return the settings that a training depends on: all except `equivalence_margin`."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "equivalence_margin"}

    @property
    def name(self) -> str:
        """Return the data set's name in folders: its name in the catalogue, or the last part of a path."""
        return text_name(given_path(self.dataset).resolve().name) if is_path(self.dataset) else self.dataset

    @property
    def prepared(self) -> Path:
        """Return the folder of the prepared data set: data/prepared/<dataset>[.<recipe>][.fold<fold>of<folds>]."""
        return home() / "data" / "prepared" / self._folder

    @property
    def results(self) -> Path:
        """Return the folder of the results, named like the prepared data set; `.seed<seed>` follows unless it is 1."""
        seed = f".seed{self.seed}" if self.seed != 1 else ""
        return home() / "results" / (self._folder + seed)

    @property
    def comparison(self) -> Path:
        """Return the folder of tables and charts in the results; during a series, the one that will replace it."""
        return self.results / os.environ.get(COMPARISON_VARIABLE, "comparison")

    @property
    def _folder(self) -> str:
        # Recipes prepare, split and train in different ways, so each has its own folders.
        recipe = "" if self.profile in PROFILES else f".{self.profile}"
        return self.name + recipe + (f".fold{self.fold}of{self.folds}" if self.folds else "")

    def replace(self, **changes: object) -> Settings:
        """Return the same settings with some changed; raise ValueError for an unknown name.

        Example:
            >>> Settings().replace(epochs=20).epochs
            20
        """
        return dataclasses.replace(self, **known_changes(changes))

    def for_dataset(self, dataset: str, **changes: object) -> Settings:
        """Return the settings for another data set, without those that describe this one, and with some changed.

        Splits, folds, patients, labels and pixel size are the defaults. A window in HU stays, so that CT looks alike.

        Example:
            >>> Settings(epochs=20, folds=5).for_dataset("montgomery").folds
            0
        """
        described = {field.name: field.default for field in dataclasses.fields(self) if field.name in _OF_ONE_DATASET}
        return self.replace(dataset=dataset, **described | changes)

    def __str__(self) -> str:
        return "\n".join(f"{field.name:18} {getattr(self, field.name)}" for field in dataclasses.fields(self))


def counted(number: int, noun: str) -> str:
    """Return a number of things in words, such as "1 image" or "2 images".

    Example:
        >>> counted(1, "image"), counted(1200, "image")
        ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def title_of(model_name: str) -> str:
    """Return a model's name in charts and tables.

    Example:
        >>> title_of("r2unet")
        'R2U-Net'
    """
    return TITLES.get(model_name, model_name)


def known_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Return `changes` if every name is a setting; otherwise raise a ValueError with the nearest name."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no setting {name!r}.{hint} The settings are {', '.join(names)}.")
    return {**changes}
