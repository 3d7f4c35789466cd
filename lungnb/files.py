"""Files that are whole or not there, and clear words when one is missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, for writers that look at it. An interrupted run leaves no half-written
    `path`. Works for a file and for a folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    remove(temporary)
    try:
        yield temporary
        if temporary.is_dir():
            remove(path)  # a folder cannot be renamed over another
        os.replace(temporary, path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` as indented JSON."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def need(path: Path, step: str) -> Path:
    """Return `path` if it exists, else raise a FileNotFoundError that names the `step` that makes it."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet: {step} first.")
    return path
