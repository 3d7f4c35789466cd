"""The records of a training, `run.json` and `history.csv` beside a model: what goes into them, and how to read them."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn  # Any: what JSON holds

from lungnb.artefacts import HISTORY, PLAN, RUN
from lungnb.files import read_json, remove
from lungnb.formats.opening import open_file
from lungnb.formats.tables import make_table, write_table
from lungnb.masks import TrainedWindow
from lungnb.settings import SHIPPED, Settings

if TYPE_CHECKING:
    import pandas as pd

_KINDS: dict[str, type | tuple[type, ...]] = {
    "plan": dict, "settings": dict, "data": str, "model": str, "weights": str,
    "parameters": int, "multiplications": (int, type(None)), "epochs": int, "best_epoch": int, "seed": int,
    "best_validation_loss": (int, float), "wall_seconds": (int, float), "device": str, "precision": str,
    "versions": dict, "git_commit": (str, type(None)), "code_digest": str, "processor": str,
}  # fmt: skip
PACKAGE = Path(__file__).parents[1]
HISTORY_COLUMNS = ("epoch", "val_loss", "val_dice")  # without them, a history is damaged


class RunRecord(dict[str, Any]):
    """A part of a `run.json`. A missing entry raises a ValueError that names the file."""

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.file = file

    def __missing__(self, key: str) -> NoReturn:
        raise damaged_record(self.file)


def damaged_record(file: Path) -> ValueError:
    """Return the error for a damaged record."""
    return ValueError(f"{file}: is damaged, or another version of lungnb wrote it. Remove the folder and train again.")


def read_run_file(file: Path) -> RunRecord:
    """Return the content of a `run.json`; raise ValueError if it is damaged."""
    run = read_json(file)
    plan = run.get("plan")
    if not isinstance(plan, dict):
        raise damaged_record(file)
    for name, value in [*run.items(), *plan.items()]:
        if not isinstance(value, _KINDS.get(name, object)):
            raise damaged_record(file)
    return RunRecord(file, run | {"plan": RunRecord(file, plan)})


def settings_of(run: RunRecord) -> Settings:
    """Return the settings in a `run.json`; raise ValueError if they are damaged.

    Earlier versions allowed a fold without folds, which meant nothing, and the same model twice.
    """
    stored = run["plan"]["settings"]
    try:
        values: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
        values |= {"fold": values["fold"] if values.get("folds") else 1} if "fold" in values else {}
        values |= {"models": tuple(dict.fromkeys(values["models"]))} if "models" in values else {}
        return Settings(**values)
    except (TypeError, ValueError) as error:
        raise damaged_record(run.file) from error


def read_epochs(file: Path, finished: bool = True) -> pd.DataFrame:
    """Return a `history.csv`, one row per epoch; raise ValueError if it is damaged or holds no epoch.

    Losses that are all NaN are damage if the training is `finished`, because a training with such losses fails.
    """
    import pandas as pd  # takes half a second, which `segment` need not wait

    try:
        with open_file(file) as opened:
            epochs = pd.read_csv(opened)
    except (ValueError, OSError) as error:  # pandas's errors are ValueErrors
        raise damaged_record(file) from error
    numbers = epochs.select_dtypes("number")
    if finished:
        numbers = numbers.dropna(axis="columns", how="all")
    if not {*HISTORY_COLUMNS} <= {*numbers.columns}:
        raise damaged_record(file)
    return epochs


def best_dice(folder: Path) -> float:
    """Return the validation Dice of the epoch that a training kept, from its folder; errors as in `read_epochs`."""
    epochs = read_epochs(folder / HISTORY)
    return float(epochs["val_dice"].iloc[int(epochs["val_loss"].argmin())])


def plan_of(folder: Path) -> dict[str, Any]:
    """Return the plan of the training in a folder, finished or not; an empty dict if there is none."""
    plan = read_json(folder / RUN).get("plan") or read_json(folder / PLAN)
    return plan if isinstance(plan, dict) else {}


def past_epochs(file: Path, epochs: int) -> pd.DataFrame:
    """Return the first `epochs` epochs of a `history.csv`, and remove later epochs from the file."""
    if not epochs or not file.exists():  # if the first epoch was interrupted, even the header may be incomplete
        remove(file)
        return make_table([], HISTORY_COLUMNS)
    history = read_epochs(file, finished=False)
    past = history[history["epoch"] < epochs].drop_duplicates("epoch")
    write_table(past, file)
    return past


def weights_digest(weights: str | None, encoder: str | None) -> dict[str, str]:
    """Return the digest of the file of initial weights as `weights`; nothing if no file is used.

    An encoder that lungnb trains on phantoms has no digest here, because the settings alone decide its weights.
    """
    if not weights or weights == "imagenet" or (encoder and weights == "phantom"):
        return {}
    file = SHIPPED if weights == "phantom" else Path(weights)
    return {"weights": hashlib.sha256(file.read_bytes()).hexdigest()} if file.is_file() else {}


def git_commit() -> str | None:
    """Return the commit of the project's checkout, with `-dirty` if files were changed; None without a checkout.

    Changes of results/published do not count, because results are written there while others are still being made.
    """
    git = ["git", "-C", str(PACKAGE)]
    changes = [*git, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results/published"]
    try:
        commit, changed = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            for command in ([*git, "rev-parse", "HEAD"], changes)
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def code_digest(*more: Path, package: Path = PACKAGE) -> str:
    """Return the SHA-256 digest of the code: all Python files of lungnb, the shipped weights, and the files in `more`.

    Results with the same digest come from the same code. Comments, docstrings and layout of Python files do not count.
    In notebooks, only the code counts. Two versions of Python may give different digests of the same code.

    Example:
        >>> len(code_digest()), code_digest() == code_digest()
        (64, True)
    """
    total = hashlib.sha256()
    for name, digest in [*code_digests(package=package).items(), *sorted((f.name, file_digest(f)) for f in more)]:
        total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()


def code_digests(package: Path = PACKAGE) -> dict[str, str]:
    """Return the digest of each Python file of lungnb and of each shipped file of weights, by its name in `package`."""
    files = [*package.rglob("*.py"), *(file for file in (package / "weights").glob("phantom.*") if file.is_file())]
    return {name: file_digest(file) for name, file in sorted((f.relative_to(package).as_posix(), f) for f in files)}


def file_digest(file: Path) -> str:
    """Return the SHA-256 digest of the part of a file that decides results; see `code_digest`."""
    content = file.read_bytes()
    if file.suffix == ".ipynb":
        sources = [cell["source"] for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
        content = json.dumps(sources).encode()
    elif file.suffix == ".py":
        content = _without_docstrings(content)
    return hashlib.sha256(content).hexdigest()


@cache
def _without_docstrings(code: bytes) -> bytes:
    """Return Python code without comments and docstrings, in one layout."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:]
    return ast.unparse(tree).encode()


def trained_window(file: Path) -> TrainedWindow | None:
    """Return the window in HU with which a network was trained; None if it was trained without one.

    `file` is the `run.json` beside the model. A file from another program has no plan, and so no window.

    Raises ValueError if the file is damaged, because masks made with another window would be wrong.
    """
    run: Any = read_json(file)
    if file.exists() and not run:
        raise ValueError(f"{file}: is damaged, so that the network's window is unknown. Restore or remove it.")
    for name in ("plan", "settings", "window"):
        run = run.get(name) if isinstance(run, dict) else None
    if run is None:
        return None
    is_pair = isinstance(run, list) and len(run) == 2 and all(type(number) in (int, float) for number in run)
    if not is_pair or not -math.inf < run[0] < run[1] < math.inf:
        raise ValueError(f"{file}: the window must be two rising numbers (HU). Restore or remove the file.")
    return TrainedWindow(*run)
