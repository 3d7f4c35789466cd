"""The origin of prepared images and trained models, so that two folders with one name never share them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lungnb.artefacts import PLAN, PREPARED_RECORD, RUN, home, is_path, is_same, raw_folder
from lungnb.datasets.sources import CATALOGUE
from lungnb.files import read_json


def origin_of(dataset: str) -> str:
    """Return the origin of a data set: its name in the catalogue, or the path of its raw folder.

    A path inside `home()` is relative to it and begins with "./", so that it stays valid if the project is moved.
    """
    if dataset in CATALOGUE:
        return dataset
    folder, root = raw_folder(dataset).resolve(), home().resolve()
    return f"./{folder.relative_to(root).as_posix()}" if folder.is_relative_to(root) else str(folder)


def refuse_other_origin(dataset: str, prepared: Path, results: Path, *models: Path) -> None:
    """Raise ValueError if the folders of a data set's run were made from another data set of the same name.

    `models` are folders of models outside `results`.
    """
    here = origin_of(dataset)
    for folder, origin in _records(prepared, *results.glob("*/"), *models):
        # A folder that no longer exists was moved or renamed, so it is not another data set.
        is_there = origin in CATALOGUE or os.path.isdir(_folder_of(origin))
        if origin != here and is_there and not is_same(_folder_of(origin), _folder_of(here)):
            raise ValueError(
                f"{folder} was made from {_in_words(origin)}, not from {_in_words(here)}. Rename one of the two, or "
                f"remove {prepared} and {results}, or set LUNGNB_HOME to another folder."
            )


def refuse_gone_origin(dataset: str, prepared: Path) -> None:
    """Raise FileNotFoundError if `dataset` is the name of prepared data whose raw folder, elsewhere, is gone."""
    origin = read_json(prepared / PREPARED_RECORD).get("origin")
    if is_path(dataset) or dataset in CATALOGUE or not isinstance(origin, str) or raw_folder(dataset).exists():
        return
    if not os.path.isdir(_folder_of(origin)):
        what = f"the folder from which {dataset} was prepared is not there any more"
        raise FileNotFoundError(f"{home() / origin}: {what}. Put it back, or name the folder where it is now.")


def _records(prepared: Path, *models: Path) -> Iterator[tuple[Path, str]]:
    """Yield the prepared folder and the folders of models with the origin in their records, if they have one."""
    origins = {prepared: read_json(prepared / PREPARED_RECORD).get("origin")}
    for folder in models:
        run = read_json(folder / RUN)
        plan = run.get("plan") or read_json(folder / PLAN)
        origins[folder] = run.get("origin") or _origin_of_plan(plan)
    yield from ((folder, origin) for folder, origin in origins.items() if origin and isinstance(origin, str))


def _origin_of_plan(plan: dict[str, Any]) -> str | None:
    """Return the origin in the plan of an unfinished training, or of a training by an earlier version."""
    try:
        dataset = plan["settings"]["dataset"]
        is_relative = is_path(dataset) and not os.path.isabs(dataset)  # to an unknown folder
        return None if is_relative else origin_of(dataset)
    except (KeyError, TypeError, ValueError, OSError):  # the file has other content, or a name is too long
        return None


def _folder_of(origin: str) -> Path:
    return raw_folder(origin) if origin in CATALOGUE else home() / origin


def _in_words(origin: str) -> str:
    return f"the catalogue's {origin}" if origin in CATALOGUE else str(home() / origin)
