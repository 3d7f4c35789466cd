"""Where prepared images and trained models come from, so that two folders of one name never share them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lungnb.artefacts import RECORD, RUN, home, is_path, is_same, raw_folder
from lungnb.datasets.sources import CATALOGUE
from lungnb.files import read_json
from lungnb.settings import Settings


def origin_of(dataset: str) -> str:
    """Return where a data set comes from, in a form that stays true when the whole project is moved.

    This is the name of a data set of the catalogue, wherever its files are, or else the path of the raw folder,
    relative to `home()` and beginning with "./" if the folder is inside it.
    """
    if dataset in CATALOGUE:
        return dataset
    folder, root = raw_folder(dataset).resolve(), home().resolve()
    return f"./{folder.relative_to(root).as_posix()}" if folder.is_relative_to(root) else str(folder)


def refuse_other_origin(settings: Settings, *models: Path) -> None:
    """Raise ValueError if what was prepared or trained under the settings' name comes from another data set.

    A recorded folder that no longer exists was moved or renamed, so it is not another data set. `models` are folders of
    models outside `settings.results`.
    """
    here = origin_of(settings.dataset)
    for folder, origin in _records(settings, *models):
        if _is_other(origin, here):
            raise ValueError(
                f"{folder} was made from {_in_words(origin)}, not from {_in_words(here)}. Rename one of the two, or "
                f"remove {settings.prepared} and {settings.results}, or set LUNGNB_HOME to another folder."
            )


def _records(settings: Settings, *models: Path) -> Iterator[tuple[Path, str]]:
    """Yield the prepared folder and the folders of models, each with the origin that is recorded in it, if any."""
    origins = {settings.prepared: read_json(settings.prepared / RECORD).get("origin")}
    for folder in (*settings.results.glob("*/"), *models):
        run = read_json(folder / RUN)
        plan = run.get("plan") or read_json(folder / "training" / "plan.json")
        origins[folder] = run.get("origin") or _origin_of_plan(plan)
    yield from ((folder, origin) for folder, origin in origins.items() if origin and isinstance(origin, str))


def _origin_of_plan(plan: Any) -> str | None:  # noqa: ANN401
    """Return the origin of a training that goes on, or of an earlier version's, as far as its plan tells."""
    try:
        dataset = plan["settings"]["dataset"]
        is_relative = is_path(dataset) and not os.path.isabs(dataset)  # to a folder that is not known
        return None if is_relative else origin_of(dataset)
    except (KeyError, TypeError, ValueError, OSError):  # the file holds something else, or a name that is too long
        return None


def _is_other(recorded: str, here: str) -> bool:
    """Return whether a recorded origin is still there and is another than `here`."""
    if recorded == here:
        return False
    is_there = recorded in CATALOGUE or os.path.isdir(_folder_of(recorded))
    return is_there and not is_same(_folder_of(recorded), _folder_of(here))


def _folder_of(origin: str) -> Path:
    return raw_folder(origin) if origin in CATALOGUE else home() / origin


def _in_words(origin: str) -> str:
    return f"the catalogue's {origin}" if origin in CATALOGUE else str(home() / origin)
