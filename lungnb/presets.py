"""Settings by the name of a profile or a recipe, with changes; and the command that repeats a run with its settings."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lungnb.artefacts import given_path, is_path, refuse_nul
from lungnb.settings import FILES, PROFILES, SHIPPED_STRUCTURE, Settings, Value, has_data, known_changes

if TYPE_CHECKING:
    import pandas as pd


class Recipe(NamedTuple):
    """A named system: one sentence about it, and all its settings, data set included."""

    about: str
    settings: Settings


# To add a recipe, add an entry with the settings that differ from the defaults.
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
_EXAMPLES = {  # as they are written
    **{"window": "-1000,400", "mask_values": "1,2", "split_fractions": "0.7,0.15,0.15", "patient_file": "patients.csv"},
    **{"split_file": "splits.csv", "patient_pattern": "^(.*)_", "encoder": "mobilenetv2"},
}
_NOT_CHANGES = {  # what a run is called by; other settings depend on them
    "dataset": "name it as DATASET in a notebook, after the verb on the command line, or in LUNGNB_DATASET",
    "profile": "name it as PROFILE in a notebook, with --profile or --recipe, or in LUNGNB_PROFILE",
}


def make_settings(dataset: str | Path | None = None, profile: str = "quick", **changes: object) -> Settings:
    """Return the settings of a profile or a recipe for a data set, with `changes`.

    Without `dataset`, a recipe uses its own data set, and a profile uses the phantoms. The environment variable
    LUNGNB_SET, such as `epochs=20;loss=dice`, changes settings too; `changes` override it. With `weights="phantom"` and
    no encoder, the other settings are those of the shipped network, unless they are given too.

    Raises ValueError for an unknown profile or an unknown setting, and lists the known ones.

    Example:
        >>> settings = make_settings("montgomery", "full", epochs=20)
        >>> settings.dataset, settings.image_size, settings.epochs
        ('montgomery', 256, 20)
        >>> make_settings(profile="simple-unet").loss  # a recipe
        'bce'
    """
    dataset = str(dataset) if isinstance(dataset, Path) else dataset
    if dataset is not None and not isinstance(dataset, str):
        raise ValueError(f"dataset must be a name or the path of a folder, as text, not {dataset!r}.")
    profiles = (*PROFILES, *RECIPES)
    if profile not in profiles:
        raise ValueError(f"profile must be one of {', '.join(profiles)}, not {profile!r}.")
    is_recipe = profile in RECIPES
    base = RECIPES[profile].settings if is_recipe else Settings().replace(**PROFILES[profile])
    base = base.replace(profile=profile)
    if dataset is not None:
        refuse_nul(dataset)
    if dataset and (
        is_path(dataset) or Path(dataset, "images").is_dir() or (Path(dataset).is_dir() and not has_data(dataset))
    ):
        dataset = str(given_path(dataset).resolve())  # because a notebook runs in another folder than a terminal
    if dataset is not None and dataset != base.dataset:
        base = base.replace(dataset=dataset, split_file=None)  # because a published split lists one data set's images
    changed = changes_everywhere() | known_changes(changes)
    if changed.get("weights") == "phantom" and not changed.get("encoder", base.encoder):
        changed = {**SHIPPED_STRUCTURE, **changed}  # the weights are those of the shipped network
    settings = base.replace(**changed)
    paths = {name: Path(getattr(settings, name) or "").expanduser() for name in FILES}
    return settings.replace(**{name: str(path.resolve()) for name, path in paths.items() if path.is_file()})


def changes_everywhere() -> dict[str, Value]:
    """Return the settings that the environment variable LUNGNB_SET changes, such as `epochs=20;loss=dice`."""
    texts = [text for text in os.environ.get("LUNGNB_SET", "").split(";") if text.strip()]
    try:
        return parse_changes(texts)
    except ValueError as error:
        raise ValueError(f"the environment variable LUNGNB_SET: {error}") from error


def parse_changes(texts: Iterable[str]) -> dict[str, Value]:
    """Return settings written as `NAME=VALUE`, each value with the setting's type.

    Example:
        >>> parse_changes(["epochs=20", "split_fractions=0.85,0.15,0"])
        {'epochs': 20, 'split_fractions': (0.85, 0.15, 0.0)}
    """
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    changes: dict[str, Value] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"a setting is changed by NAME=VALUE, not by {text!r}.")
        known_changes({name: value})
        if instead := _NOT_CHANGES.get(name):
            raise ValueError(f"{name} is not changed as a setting: {instead}.")
        try:
            changes[name] = _read_value(value, str(fields[name].type))
        except (ValueError, KeyError) as error:
            example = _EXAMPLES.get(name, fields[name].default)
            raise ValueError(f"{name} takes a value like {example}, not {value!r}.") from error
    return changes


def _read_value(text: str, kind: str) -> Value:
    """Return `text` as a value of a setting's declared type, such as `str | None`; raise ValueError if it is empty."""
    if not text:
        raise ValueError("a setting needs a value; the value none switches it off")
    if "None" in kind and text.lower() == "none":
        return None
    if kind.startswith("tuple"):
        parts = text.split(",")
        if "int" in kind:
            return tuple(map(int, parts))
        return tuple(map(float, parts)) if "float" in kind else tuple(map(str.strip, parts))
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    return int(text) if kind == "int" else float(text) if kind == "float" else text


def command_of(settings: Settings, model_name: str) -> str:
    """Return the terminal's command that downloads, prepares, trains and scores with these settings.

    It gives settings that differ from the profile or the recipe, such as `--set seed=2`. Run it without LUNGNB_SET.
    """
    words = [settings.dataset, "--recipe" if settings.profile in RECIPES else "--profile", settings.profile]
    for change in changes_of(settings):
        words += ["--set", change]
    options, model = shlex.join(words), f"--model {model_name}"
    steps = f"prepare {options}", f"train {options} {model}", f"evaluate {options} {model}"
    return " && ".join(f"lungnb {step}" for step in (f"download {shlex.quote(settings.dataset)}", *steps))


def changes_of(settings: Settings) -> list[str]:
    """Return the settings that differ from their profile or recipe, each as `NAME=VALUE`."""
    is_recipe = settings.profile in RECIPES
    base = RECIPES[settings.profile].settings if is_recipe else Settings().replace(**PROFILES[settings.profile])
    if settings.dataset != base.dataset:
        base = base.replace(split_file=None)  # as make_settings does
    changes = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("dataset", "profile") and value != getattr(base, field.name):
            changes.append(f"{field.name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return changes


def recipes() -> pd.DataFrame:
    """Return the recipes as a table, indexed by name: a sentence about each, and the settings that differ most.

    Example:
        >>> recipes().loc["simple-unet", ["dataset", "models", "loss"]].tolist()
        ['montgomery', 'unet', 'bce']
    """
    import pandas as pd  # takes half a second, and nothing else here needs it

    columns = ["dataset", "image_size", "models", "loss", "optimizer", "learning_rate", "batch_size", "epochs"]
    table = pd.DataFrame([recipe.settings for recipe in RECIPES.values()], index=pd.Index([*RECIPES], name="recipe"))
    table = table[columns].assign(models=table["models"].map(", ".join))
    table.insert(0, "about", [recipe.about for recipe in RECIPES.values()])
    return table


# For each of the settings that matter first: its meaning, and when to change it.
_FIRST_SETTINGS = {
    "models": ("networks to train and to compare", "name one to save time: ['unet']"),
    "image_size": (
        "side of the square that the networks see, px",
        "raise it if fine borders matter; twice the side is four times the work",
    ),
    "epochs": (
        "how often training shows each image",
        "raise it if the validation loss still falls in the last epoch (notebook 03)",
    ),
    "batch_size": ("images for each step of training", "halve it if the memory of the GPU is too small"),
    "learning_rate": (
        "size of a step of training",
        "lower it if the loss jumps up and down; raise it if the loss falls slowly",
    ),
    "loss": (
        "what training makes small",
        "try another one in notebook 12, and compare the Dice of the masks, not the loss",
    ),
}


def first_settings(settings: Settings) -> pd.DataFrame:
    """Return the six settings that matter first, a row for each: the value, its meaning, and when to change it.

    Example:
        >>> first_settings(make_settings("phantom", "quick"))["value"].to_dict()["image_size"]
        '128'
    """
    import pandas as pd  # see `recipes`

    rows = []
    for name, (meaning, change) in _FIRST_SETTINGS.items():
        value = getattr(settings, name)
        rows.append((", ".join(value) if isinstance(value, tuple) else str(value), meaning, change))
    return pd.DataFrame(rows, columns=["value", "what it is", "when to change it"], index=[*_FIRST_SETTINGS])


def repetitions(settings: Settings, seeds: int = 1) -> list[Settings]:
    """Return the settings of each fold, if there are folds, with `seeds` random seeds from that of the settings on."""
    folds = range(1, settings.folds + 1) if settings.folds else [settings.fold]
    return [settings.replace(seed=settings.seed + n, fold=fold) for n in range(seeds) for fold in folds]
