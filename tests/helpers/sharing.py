"""Make a folder once for all processes of pytest-xdist."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def make_once(folder: Path, make: Callable[[], object]) -> None:
    """Fill a folder, unless another process of this run has filled it; wait while another process fills it."""
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not done.exists():
            make()
            done.touch()
