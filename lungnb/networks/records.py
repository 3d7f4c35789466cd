"""What a training recorded of itself, read back and checked: `run.json` and `history.csv` beside a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungnb.files import read_json
from lungnb.formats.opening import open_file
from lungnb.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_KINDS: dict[str, type | tuple[type, ...]] = {
    "plan": dict, "settings": dict, "data": str, "model": str, "weights": str,
    "parameters": int, "multiplications": (int, type(None)), "epochs": int, "best_epoch": int, "seed": int,
    "best_validation_loss": (int, float), "wall_seconds": (int, float), "device": str, "precision": str,
    "versions": dict, "git_commit": (str, type(None)),
}  # fmt: skip
HISTORY_COLUMNS = ("epoch", "val_loss", "val_dice")  # those of a history that every reader needs


class Record(dict):
    """A part of a `run.json`; a missing entry raises a ValueError that names the file."""

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.file = file

    def __missing__(self, key: str) -> None:
        raise damaged(self.file)


def damaged(file: Path) -> ValueError:
    """Return the error for a record that cannot be used."""
    return ValueError(f"{file}: is damaged, or of another lungnb. Remove the folder and train the network again.")


def read_run_file(file: Path) -> Record:
    """Return the content of a `run.json`; raise ValueError if it is damaged."""
    run = read_json(file)
    plan = run.get("plan")
    if not isinstance(plan, dict):
        raise damaged(file)
    for name, value in [*run.items(), *plan.items()]:
        if not isinstance(value, _KINDS.get(name, object)):
            raise damaged(file)
    return Record(file, run | {"plan": Record(file, plan)})


def settings_of(run: Record) -> Settings:
    """Return the settings in a `run.json`; raise ValueError if they are damaged."""
    stored = run["plan"]["settings"]
    try:
        return Settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})
    except (TypeError, ValueError) as error:
        raise damaged(run.file) from error


def read_epochs(file: Path, finished: bool = True) -> pd.DataFrame:
    """Return a `history.csv`, a row an epoch; raise ValueError if it is damaged or holds no epoch.

    Losses that are all NaN are damage if the training is `finished`, because a training with such losses fails.
    """
    import pandas as pd  # half a second that `segment` need not wait

    try:
        with open_file(file) as opened:
            epochs = pd.read_csv(opened)
    except (ValueError, OSError) as error:  # pandas's own errors are ValueErrors
        raise damaged(file) from error
    numbers = epochs.select_dtypes("number")
    if finished:
        numbers = numbers.dropna(axis="columns", how="all")
    if not {*HISTORY_COLUMNS} <= {*numbers.columns}:
        raise damaged(file)
    return epochs


def trained_window(file: Path) -> tuple[float, float] | None:
    """Return the Hounsfield units shown as black and as white in training; None if the network saw no such units.

    `file` is the `run.json` beside the model. One of another program, which holds no plan, names no window.

    Raises ValueError if it is damaged, because masks made with another window would be wrong.
    """
    run: Any = read_json(file)
    if file.exists() and not run:
        raise ValueError(f"{file}: is damaged, so that the network's window is unknown. Restore or remove it.")
    for name in ("plan", "settings", "window"):
        run = run.get(name) if isinstance(run, dict) else None
    if run is None:
        return None
    numbers = isinstance(run, list) and len(run) == 2 and all(type(number) in (int, float) for number in run)
    if not numbers or not -math.inf < run[0] < run[1] < math.inf:
        raise ValueError(f"{file}: the window must be two rising numbers (HU). Restore or remove the file.")
    return (run[0], run[1])
