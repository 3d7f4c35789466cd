"""Save results of a run, and publish those that show no image and no mask."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from lungnb.artefacts import ARTEFACTS, MODEL_FILES, TEMPERATURE, VERDICT, home, raw_folder
from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import need, written
from lungnb.formats.tables import write_table
from lungnb.messages import run_first
from lungnb.presets import RECIPES
from lungnb.settings import FILES, Settings

PICTURE_DPI = 130
_Item = TypeVar("_Item", Figure, pd.DataFrame, str)


def publish(settings: Settings, folder: str | Path | None = None) -> Path:
    """Copy the files of a finished run that show no image and no mask into a folder; return the folder.

    By default the folder is results/published/<recipe>, or <dataset> for a profile. A single model of `settings.models`
    has its files in the folder itself; several models have a folder each. Absolute paths among the settings are cut to
    their last part.

    Raises FileNotFoundError that names what to run first if a model is not scored or the models are not compared.
    """
    name = settings.profile if settings.profile in RECIPES else settings.name
    folder = Path(folder or home() / "results" / "published" / name)
    compared = settings.comparison
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    need(compared / VERDICT, run_first("compared"))
    patterns = [artefact.pattern for artefact in ARTEFACTS if artefact.may_be_published]
    sources = [(file, folder / file.name) for pattern in patterns for file in sorted(compared.glob(pattern))]
    for model in settings.models:
        place = folder if len(settings.models) == 1 else folder / model
        files = [need(settings.results / model / name, run_first("scored")) for name in MODEL_FILES]
        temperature = settings.results / model / TEMPERATURE  # which models that an earlier version scored lack
        files += [temperature] if temperature.exists() else []
        sources += [(file, place / file.name) for file in files]
    paths = {settings.dataset, str(raw_folder(settings.dataset)), *(getattr(settings, name) for name in FILES)}
    for source, target in sources:
        with written(target) as temporary:
            temporary.write_bytes(_without_paths(source.read_bytes(), paths))
    return folder


def _without_paths(content: bytes, paths: Iterable[str | None]) -> bytes:
    """Return a file's content with those of the paths that are absolute cut to their last part."""
    for path in paths:
        if path and Path(path).is_absolute():
            for text in {path, json.dumps(path)[1:-1]}:  # as CSV and as JSON write it
                content = content.replace(text.encode(), Path(path).name.encode())
    return content


def save_artefact(settings: Settings, name: str, item: _Item) -> _Item:
    """Save a figure as PNG, a table as CSV or a text in results/<dataset>/comparison, and return it to be shown.

    Files that `artefacts` does not list, such as your own charts, are not published.
    """
    path = settings.comparison / name
    if isinstance(item, Figure):
        with written(f"{path}.png") as temporary:
            item.savefig(temporary, dpi=PICTURE_DPI)
    elif isinstance(item, pd.DataFrame):
        write_table(item, f"{path}.csv", index=True)
    else:
        with written(f"{path}.txt") as temporary:
            temporary.write_text(item, encoding="utf-8", errors="backslashreplace")
    return item
