"""TODO."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lungnb.artefacts import COMPARISON_FILES, MODEL_FILES, home, raw_folder
from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import need, write_table, written
from lungnb.settings import FILES, RECIPES, Settings


def publish(settings: Settings, folder: str | Path | None = None) -> Path:
    """Copy what may be published of a finished run, no image and no mask, into a folder; return the folder.

    Tables, curves, scores of each image and the exact command, as `MODEL_FILES` and `COMPARISON_FILES` list them. The
    files of a single model lie in the folder itself, those of several in a folder each. Of a path among the settings,
    the last part is kept.

    Args:
        settings: of the run; its `models` are those to publish.
        folder: default: results/published/<recipe>, or <dataset> for a profile.

    Raises FileNotFoundError that names the step to take, where a model is not scored or the models are not compared.
    """
    name = settings.profile if settings.profile in RECIPES else settings.name
    folder = Path(folder or home() / "results" / "published" / name)
    compared = settings.results / "comparison"
    refuse_other_origin(settings)
    need(compared / "verdict.txt", "compare the models (notebook 06, or `lungnb report`)")
    sources = [(file, folder / file.name) for pattern in COMPARISON_FILES for file in sorted(compared.glob(pattern))]
    for model in settings.models:
        own = folder if len(settings.models) == 1 else folder / model
        step = "score the models (notebook 06, or `lungnb evaluate`)"
        sources += [(need(settings.results / model / file, step), own / file) for file in MODEL_FILES]
    for source, target in sources:
        with written(target) as temporary:
            temporary.write_bytes(_without_paths(source.read_bytes(), settings))
    return folder


def _without_paths(content: bytes, settings: Settings) -> bytes:
    """Return a file's content with the absolute paths among the settings cut down to their last part."""
    for path in (settings.dataset, str(raw_folder(settings.dataset)), *(getattr(settings, name) for name in FILES)):
        if path and Path(path).is_absolute():
            for text in {path, json.dumps(path)[1:-1]}:  # as CSV and as JSON write it
                content = content.replace(text.encode(), Path(path).name.encode())
    return content


def save_artefact(settings: Settings, name: str, item: Figure | pd.DataFrame | str) -> Figure | pd.DataFrame | str:
    """Save a figure as PNG, a table as CSV or a text in results/<dataset>/comparison, and return it to be shown."""
    folder = settings.results / "comparison"
    if isinstance(item, Figure):
        with written(folder / f"{name}.png") as temporary:
            item.savefig(temporary)
    elif isinstance(item, pd.DataFrame):
        write_table(item, folder / f"{name}.csv", index=True)
    else:
        with written(folder / f"{name}.txt") as temporary:
            temporary.write_text(item, encoding="utf-8", errors="backslashreplace")
    return item
