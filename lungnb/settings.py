"""The settings of a run: what a reader may turn, the two profiles, and the recipes."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lungnb.artefacts import home, is_path, raw_folder, refuse_name, refuse_nul
from lungnb.files import text_name

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
# What some settings may be; the modules named after them say how.
CHOICES = {
    "loss": ("bce", "dice", "iou", "bce_dice", "bce_iou"),
    "optimizer": ("adam", "adamw", "nadam", "rmsprop", "sgd", "lion"),
    "schedule": ("plateau", "cosine"),
    "precision": ("float32", "mixed_bfloat16", "auto"),
    "encoder": ("mobilenetv2", "vgg16", "resnet50", "efficientnetv2b0", "densenet121", None),
}
LIMITS = {  # the lowest and the highest value of every setting that is a number
    "image_size": (1, 4096),
    "spacing": (0.1, 20),  # or 0
    "volume_slices": (1, 10_000),
    "folds": (2, 1000),  # or 0
    "fold": (1, 1000),
    "depth": (1, 10),
    "filters": (1, 1024),
    "frozen_epochs": (0, 100_000),
    "learning_rate": (1e-12, 1e30),
    "batch_size": (1, 4096),
    "epochs": (1, 100_000),
    "train_images": (0, 10**9),
    "repeats": (1, 100_000),
    "stop_patience": (0, 100_000),
    "plateau_patience": (0, 100_000),
    "seed": (0, 2**32 - 1),  # what NumPy takes
    "rotation": (0, 180),
    "zoom": (0, 0.9),
    "contrast": (0, 1),
}
_OR_ZERO = ("spacing", "folds")  # 0 switches these off
_MAX_HU = 100_000  # of a window, above and below 0
TITLES = {  # models, as charts and tables name them
    "unet": "U-Net",
    "resunet": "ResUNet",
    "r2unet": "R2U-Net",
    "attention_unet": "Attention U-Net",
    "transunet": "TransUNet",
    "compact_unet": "Compact U-Net",
}
SHIPPED = Path(__file__).parent / "weights" / "phantom.keras"  # the network that comes with lungnb
FILES = ("split_file", "patient_file", "weights")  # settings that may be the path of one

PROFILES: dict[str, dict[str, Any]] = {
    # quick: minutes on a laptop, small images and networks; full: the figures one quotes, an hour or more.
    "quick": {"image_size": 128, "filters": 8, "epochs": 12, "batch_size": 8},
    "full": {"image_size": 256, "filters": 16, "epochs": 50, "batch_size": 8},
}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return NumPy's numbers as Python's, which JSON takes, also those in a tuple or a list; all else as it is."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return value.item() if getattr(value, "shape", None) == () else value


def _refuse_number(field: dataclasses.Field, value: object) -> None:
    """Raise ValueError where the value of a setting is no number, or out of the range in `LIMITS`."""
    low, high = LIMITS[field.name]
    or_zero = field.name in _OR_ZERO
    if not _are_numbers(value, kind={"int": Integral, "float": Real}[str(field.type)]) or not (
        low <= value <= high or (or_zero and value == 0)
    ):
        noun, zero = "a whole number" if field.type == "int" else "a number", ", or 0" if or_zero else ""
        raise ValueError(f"{field.name} must be {noun} from {low:,} to {high:,}{zero}, not {value!r}.")


def _are_numbers(*values: object, kind: type = Real) -> bool:
    return all(isinstance(value, kind) and not isinstance(value, bool) for value in values)


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, and nothing else. Make one with `make_settings`.

    `dataset` is a name of the catalogue, the name of a folder under the raw folder, or the path of a folder of the
    reader's own that holds `images/` and `masks/`.
    """

    dataset: str = "phantom"
    profile: str = "quick"  # or the name of a recipe
    # data
    image_size: int = 256  # side of the square the networks see, px
    split_fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)  # of patients; a third of 0 means no test split
    split_file: str | None = None  # a CSV with the columns id, split, such as another's manifest.csv, or one in the raw
    # folder; or the name of a published split, as in lungnb/splits
    folds: int = (
        0  # cross-validation: parts the patients are dealt into, each of them the test split of one fold; 0: none
    )
    fold: int = 1  # the fold, from 1 to folds
    patient_file: str | None = None  # a CSV with the columns id, patient; goes before patient_pattern
    patient_pattern: str | None = None  # regular expression whose first group, found in an image's name (with a slash
    # in it: in the path within the data set), is the patient
    window: tuple[float, float] | None = None  # HU shown as black and as white; if given, the images must be in HU
    spacing: float = 0.0  # px side that volumes are resampled to, mm; 0 leaves them as they are
    volume_slices: int = 16  # of each volume, evenly spaced over its central half
    # model
    models: tuple[str, ...] = ("unet", "resunet", "r2unet")  # those to train and compare
    depth: int = 4  # halvings between the top and the bottom of the U
    filters: int = 16  # channels at the top; doubled at each halving
    encoder: str | None = None  # of the U-Net: a network of keras.applications, such as mobilenetv2
    weights: str | None = None  # to begin with, the encoder's or else the network's: imagenet (of an encoder), phantom,
    # a file, or None for random ones
    frozen_epochs: int = (
        0  # first epochs, in which the encoder is left as it is and the rest learns at ten times the rate
    )
    # training
    loss: str = "bce_iou"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 8
    epochs: int = 50
    train_images: int = 0  # of the training split, so many, drawn with the seed; 0 means all
    repeats: int = 1  # times an epoch shows each training image, augmented anew each time: a few dozen make few steps
    stop_patience: int = 15  # epochs without a better validation loss before training stops
    schedule: str = "plateau"  # of the learning rate: plateau, or cosine, which falls to 0 over all epochs
    plateau_patience: int = 5  # epochs without a better validation loss before the learning rate is halved
    seed: int = 1
    deterministic: bool = False  # the same bits in each run on one machine, at the price of speed
    precision: str = "float32"  # or mixed_bfloat16; auto: that on TensorFlow's GPUs and processors fast in it
    # augmentation, of training images alone
    flip: bool = True  # left to right, half of the images
    rotation: float = 10.0  # at most, degrees
    zoom: float = 0.1  # at most, as a fraction
    contrast: float = 0.2  # at most, as a fraction

    def __post_init__(self) -> None:
        self._check_dataset()
        for field in dataclasses.fields(self):
            value = _plain(getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            if field.name in LIMITS:
                _refuse_number(field, value)
            elif field.type == "bool" and not isinstance(value, bool):
                raise ValueError(f"{field.name} must be True or False, not {value!r}.")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                listed = ", ".join(filter(None, known))
                raise ValueError(f"{name} must be one of {listed}, not {getattr(self, name)!r}.")
        if self.image_size % 2**self.depth:
            raise ValueError(
                f"image_size must be a multiple of {2**self.depth} for a depth of {self.depth}, not {self.image_size}."
            )
        if self.folds and self.fold > self.folds:
            raise ValueError(f"fold must be from 1 to the number of folds, {self.folds}, not {self.fold}.")
        if self.folds and self.split_file:
            raise ValueError(f"folds make splits of their own: set split_file to None, not {self.split_file}.")
        if self.frozen_epochs and not self.encoder:
            raise ValueError("frozen_epochs needs an encoder that is to be frozen.")
        if not self.models or isinstance(self.models, str) or not set(self.models) <= set(TITLES):
            raise ValueError(f"models must be some of {', '.join(TITLES)}, not {self.models!r}.")
        self._check_fractions()
        self._check_window()

    def _check_dataset(self) -> None:
        if not isinstance(self.dataset, str):
            raise ValueError(f"dataset must be a name or the path of a folder, as text, not {self.dataset!r}.")
        if is_path(self.dataset):
            raw_folder(self.dataset)  # refuses a folder that cannot be a data set
        else:
            refuse_name(self.dataset, self.dataset)

    def _check_fractions(self) -> None:
        match self.split_fractions:
            case (train, validation, test) if _are_numbers(train, validation, test):
                if train > 0 and validation > 0 and test >= 0 and abs(train + validation + test - 1) <= 1e-6:
                    return
        raise ValueError(
            "split_fractions must be three shares (train, validation, test) that sum to 1, the first two above 0, "
            f"such as (0.7, 0.15, 0.15) or (0.85, 0.15, 0.0), not {self.split_fractions!r}."
        )

    def _check_window(self) -> None:
        match self.window:
            case None:
                return
            case (black, white) if _are_numbers(black, white) and -_MAX_HU <= black < white <= _MAX_HU:
                return
        raise ValueError(
            f"window must be two rising numbers from {-_MAX_HU:,} to {_MAX_HU:,}, the HU shown as black and as white, "
            f"such as -1000,400, not {self.window!r}."
        )

    @property
    def name(self) -> str:
        """The data set's name in folders: that of the catalogue, or the last part of the reader's own path."""
        return text_name(Path(self.dataset).expanduser().resolve().name) if is_path(self.dataset) else self.dataset

    @property
    def prepared(self) -> Path:
        """The folder of the prepared data set, data/prepared/<dataset>, or <dataset>.<recipe>; a fold is added."""
        return home() / "data" / "prepared" / self._folder

    @property
    def results(self) -> Path:
        """The folder of the run's results, called as the prepared data set's; a seed other than 1 is added."""
        seed = f".seed{self.seed}" if self.seed != 1 else ""
        return home() / "results" / (self._folder + seed)

    @property
    def _folder(self) -> str:
        # A recipe prepares, splits and trains in its own way, so that it has folders of its own.
        recipe = f".{self.profile}" if self.profile in RECIPES else ""
        return self.name + recipe + (f".fold{self.fold}of{self.folds}" if self.folds else "")

    def replace(self, **changes: object) -> Settings:
        """Return the same settings with some changed; a name that does not exist is refused.

        Example:
            >>> Settings().replace(epochs=20).epochs
            20
            >>> Settings().replace(epoch=20)
            Traceback (most recent call last):
                ...
            ValueError: there is no setting 'epoch': did you mean epochs? ...
        """
        return dataclasses.replace(self, **_known(changes))

    def __str__(self) -> str:
        rows = [f"{field.name:16} {getattr(self, field.name)}" for field in dataclasses.fields(self)]
        return "\n".join(rows)


class Recipe(NamedTuple):
    """A named system: what it is in one sentence, and all its settings, those of its own data set."""

    about: str
    settings: Settings


# Adding a recipe is adding an entry: what differs from the defaults of `Settings`.
RECIPES: dict[str, Recipe] = {
    "simple-unet": Recipe(
        "The plain start: a U-Net with cross-entropy and horizontal flips",
        Settings(
            dataset="montgomery", split_file="montgomery-gaal2020", models=("unet",), loss="bce",
            rotation=0, zoom=0, contrast=0,
        ),
    ),
    "ct-bmp": Recipe(
        "CT slices as BMP at 512x512, split 85/15, with flips and rotations",
        Settings(
            dataset="lung-ct-bmp", image_size=512, split_fractions=(0.85, 0.15, 0.0), models=("unet",), filters=8,
            depth=5, loss="bce", learning_rate=3e-3, repeats=2, stop_patience=5, plateau_patience=2, zoom=0, contrast=0,
        ),
    ),
    "montgomery-three": Recipe(
        "U-Net, ResUNet and R2U-Net against one another on Montgomery, with the Dice loss",
        Settings(
            dataset="montgomery", split_file="montgomery-gaal2020", filters=8, loss="dice", learning_rate=3e-3,
            batch_size=16, repeats=3, stop_patience=15, plateau_patience=4,
        ),
    ),
    "cxr-bce-iou": Recipe(
        "A U-Net on Montgomery and Shenzhen together, with cross-entropy plus IoU",
        Settings(dataset="chest-xray-masks-and-labels", models=("unet",), loss="bce_iou", epochs=30),
    ),
    "ct-hu-pretrained": Recipe(
        "CT in Hounsfield units, a 3-level U-Net whose encoder was trained before on phantoms",
        Settings(
            dataset="finding-lungs-in-ct-data", window=(-125.0, 275.0), spacing=1.0, models=("unet",), depth=3,
            encoder="mobilenetv2", weights="phantom", frozen_epochs=5, loss="bce", learning_rate=1e-4,
        ),
    ),
}  # fmt: skip


def make_settings(dataset: str | None = None, profile: str = "quick", **changes: object) -> Settings:
    """Return the settings of a profile or a recipe for a data set, with the given ones changed.

    Without `dataset`, a recipe comes with its own, and a profile with the phantoms. What the environment variable
    LUNGNB_SET holds, such as `epochs=20;loss=dice`, is changed too: it reaches all the notebooks of a report.
    `changes` go before it.

    Raises ValueError for an unknown profile or an unknown setting, naming those there are.

    Example:
        >>> settings = make_settings("montgomery", "full", epochs=20)
        >>> settings.dataset, settings.image_size, settings.epochs
        ('montgomery', 256, 20)
        >>> make_settings(profile="simple-unet").loss  # a recipe
        'bce'
    """
    if profile in RECIPES:
        base = RECIPES[profile].settings.replace(profile=profile)
    elif profile in PROFILES:
        base = Settings(profile=profile, **PROFILES[profile])
    else:
        raise ValueError(f"profile must be one of {', '.join((*PROFILES, *RECIPES))}, not {profile!r}.")
    if dataset is not None:
        refuse_nul(dataset)
    if dataset and (is_path(dataset) or Path(dataset, "images").is_dir()):
        dataset = str(Path(dataset).expanduser().resolve())  # a notebook runs in another folder than a terminal
    if dataset is not None and dataset != base.dataset:
        base = base.replace(dataset=dataset, split_file=None)  # a published split lists the images of one data set
    settings = base.replace(**changes_everywhere() | _known(changes))
    files = {name: whole_path(getattr(settings, name)) for name in FILES if getattr(settings, name)}
    return settings.replace(**files)


def changes_everywhere() -> dict[str, Any]:
    """Return the settings that the environment variable LUNGNB_SET changes, such as `epochs=20;loss=dice`."""
    return parse_changes(filter(None, os.environ.get("LUNGNB_SET", "").split(";")))


def whole_path(value: str) -> str:
    """Return the absolute path of a file that lies here, and anything else as it is; notebooks run elsewhere."""
    return str(Path(value).expanduser().resolve()) if Path(value).expanduser().is_file() else value


def parse_changes(texts: Iterable[str]) -> dict[str, Any]:
    """Return settings written as `NAME=VALUE`, each value read as the setting's type.

    Example:
        >>> parse_changes(["epochs=20", "split_fractions=0.85,0.15,0"])
        {'epochs': 20, 'split_fractions': (0.85, 0.15, 0.0)}
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    changes = {}
    for text in texts:
        name, equals, value = text.strip().partition("=")
        if not equals:
            raise ValueError(f"a setting is changed by NAME=VALUE, not by {text!r}.")
        field = _known({name: None}) and fields[name]
        try:
            changes[name] = _read_value(value, str(field.type))
        except (ValueError, KeyError) as error:
            raise ValueError(f"{name} takes a value like {field.default}, not {value!r}.") from error
    return changes


def _read_value(text: str, kind: str) -> Any:  # noqa: ANN401
    """Return what `text` says as a value of the type that a setting is declared with, such as `str | None`."""
    if "None" in kind and text.lower() == "none":
        return None
    if kind.startswith("tuple"):
        return tuple(float(part) if "float" in kind else part.strip() for part in text.split(","))
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    return {"int": int, "float": float}.get(kind, str)(text)


def counted(number: int, noun: str) -> str:
    """Return a number of things in words, such as "1 image" or "2 images".

    Example:
        >>> counted(1, "image"), counted(1200, "image")
        ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def title_of(model_name: str) -> str:
    """Return a model's name as charts and tables write it.

    Example:
        >>> title_of("r2unet")
        'R2U-Net'
    """
    return TITLES.get(model_name, model_name)


def _known(changes: dict[str, Any]) -> dict[str, Any]:
    """Return `changes` if every name is a setting, else raise a ValueError with the nearest name."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no setting {name!r}: {hint}The settings are {', '.join(names)}.")
    return changes


def recipes() -> pd.DataFrame:
    """Return the recipes as a table, indexed by name: what each is, and the settings in which they differ most.

    Example:
        >>> recipes().loc["simple-unet", ["dataset", "models", "loss"]].tolist()
        ['montgomery', 'unet', 'bce']
    """
    import pandas as pd  # half a second that nothing else here waits for

    columns = ("dataset", "image_size", "models", "loss", "optimizer", "learning_rate", "batch_size", "epochs")
    rows = {
        name: {"about": about} | {column: getattr(settings, column) for column in columns}
        for name, (about, settings) in RECIPES.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("recipe")
    return table.assign(models=table["models"].map(", ".join))
