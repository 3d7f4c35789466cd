"""Save results of a run, and publish those that show no image and no mask."""

import json
import shlex
from collections.abc import Iterable, Sequence
from itertools import chain, count, takewhile
from pathlib import Path
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from lungnb.artefacts import (
    ALL_SCORES,
    ARTEFACTS,
    MODEL_FILES,
    RUN,
    SCORES,
    SUMMARY,
    TEMPERATURE,
    TRAININGS,
    VERDICT,
    given_path,
    home,
    raw_folder,
)
from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import need, read_json, written
from lungnb.formats.tables import make_table, read_table, write_table
from lungnb.messages import run_first
from lungnb.networks.records import read_run_file, settings_of
from lungnb.presets import RECIPES, changes_of, repetitions
from lungnb.settings import FILES, Settings

PICTURE_DPI = 130
_OF_TRAINING = (  # columns of trainings.csv from run.json
    "epochs", "wall_seconds", "device", "processor", "precision", "git_commit", "code_digest",
)  # fmt: skip
_Item = TypeVar("_Item", Figure, pd.DataFrame, str)


def publish(settings: Settings, folder: str | Path | None = None) -> Path:
    """Copy the files of a finished run that show no image and no mask into a folder; return the folder.

    By default the folder is results/published/<recipe>, or <dataset> for a profile. A single model of `settings.models`
    has its files in the folder itself; several models have a folder each, and `summary.json` names them. Absolute paths
    among the settings are cut to their last part.

    `trainings.csv` has a row for each training with these settings, also on other folds and with other seeds: its mean
    Dice, cost, machine and code. `all_scores.csv` has the scores of each image by each of these trainings.

    Raises FileNotFoundError that names what to run first if models are not scored on all folds or not compared.
    """
    name = settings.profile if settings.profile in RECIPES else settings.name
    usual = home() / "results" / "published" / name
    folder = usual if folder is None else given_path(folder, "the folder to publish in")
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
    runs = [run for model in settings.models for run in _repeated(settings, model)]
    trainings, scores = _trainings_table(runs), _scores_table(runs)
    paths = {settings.dataset, str(raw_folder(settings.dataset)), *(getattr(settings, name) for name in FILES)}
    for source, target in sources:
        with written(target) as temporary:
            temporary.write_bytes(_without_paths(source.read_bytes(), paths))
    write_table(trainings, folder / TRAININGS)
    write_table(scores, folder / ALL_SCORES)
    if len(settings.models) > 1:
        content = json.dumps(_summary(settings, trainings), indent=2).encode()
        with written(folder / SUMMARY) as temporary:
            temporary.write_bytes(_without_paths(content, paths))
    return folder


def _repeated(settings: Settings, model: str) -> list[Settings]:
    """Return the settings of all trainings of a model that differ in the seed and the fold alone.

    Every fold must be scored with the settings' seed. Further seeds are those that follow, until one is missing.
    """
    first = settings_of(read_run_file(settings.results / model / RUN))

    def is_same(run: Settings) -> bool:
        files = [run.results / model / name for name in (RUN, SCORES)]
        if not all(file.exists() for file in files):
            return False
        trained = settings_of(read_run_file(files[0]))
        return trained == first.replace(seed=run.seed, fold=run.fold, models=trained.models)

    runs = [run for run in repetitions(settings) if need(run.results / model / SCORES, run_first("scored"))]
    later = ([*filter(is_same, repetitions(settings.replace(seed=seed)))] for seed in count(settings.seed + 1))
    runs += chain.from_iterable(takewhile(bool, later))
    return [run.replace(models=(model,)) for run in runs]


def _trainings_table(runs: Sequence[Settings]) -> pd.DataFrame:
    """Return one row per training: model, seed, fold, mean Dice, cost, machine and code."""
    rows = []
    for run in runs:
        (model,) = run.models
        record, summary = (read_json(run.results / model / name) for name in (RUN, SUMMARY))
        row = {"model": model, "seed": run.seed, "fold": run.fold, "images": summary.get("n")}
        row["dice"] = summary.get("metrics", {}).get("dice", {}).get("mean")
        rows.append(row | {name: record.get(name) for name in _OF_TRAINING})
    return make_table(rows)


def _scores_table(runs: Sequence[Settings]) -> pd.DataFrame:
    """Return the scores of each image by each training, with `model`, `seed` and `fold` as the first columns."""
    folders = {(*run.models, run.seed, run.fold): run.results / run.models[0] for run in runs}
    tables = {training: read_table(folder / SCORES) for training, folder in folders.items()}
    names = ["model", "seed", "fold"]
    return pd.concat(tables, names=names).reset_index(level=names).reset_index(drop=True)


def _summary(settings: Settings, trainings: pd.DataFrame) -> dict[str, object]:
    """Return what the `summary.json` of several models says: the command, and the machines and the code behind them."""
    option = "--recipe" if settings.profile in RECIPES else "--profile"
    words = ["lungnb", "report", settings.name, option, settings.profile]
    words += ["--seeds", str(trainings["seed"].nunique())] if trainings["seed"].nunique() > 1 else []
    words += [word for change in changes_of(settings) for word in ("--set", change)]
    known = {name: sorted(trainings[name].dropna().unique()) for name in ("processor", "git_commit", "code_digest")}
    models = trainings.groupby("model", sort=False)["dice"].mean().to_dict()
    summary = {"dataset": settings.name, "models": models, "trainings": len(trainings), "command": shlex.join(words)}
    return summary | known


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
