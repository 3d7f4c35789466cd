"""Files that are whole or not there, one run at a time at each place, and clear words when something is missing."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


class NotWritten(OSError):
    """A file that cannot be written; the message names it and says why and what to do."""


class DiskFull(NotWritten):
    """A file that cannot be written because the disk is full, so that no other file can be either."""


@contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, for writers that look at it. An interrupted run leaves no half-written
    `path`. Works for a file and for a folder.

    Raises NotWritten as `writable` does.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(temporary)
            yield temporary
            if temporary.is_dir():
                remove(path)  # a folder cannot be renamed over another
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            remove(temporary)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what a full disk, or a place closed to writing, raises in the block into a sentence: NotWritten."""
    try:
        yield
    except Exception as error:  # HDF5 and Keras have their own for a full disk
        place = str(getattr(error, "filename", None) or "").startswith(str(path.parent))
        if getattr(error, "errno", None) in _FULL or "No space left" in str(error):
            kind, reason = DiskFull, "the disk is full; make room, then run this again"
        elif place and error.errno in _CLOSED:
            kind, reason = NotWritten, f"{os.strerror(error.errno).lower()}; name another place"
        else:
            raise
        raise kind(f"{path}: cannot be written: {reason}; what is done so far is kept.") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs from writing to `path`, a file or a folder, and remove what killed ones left half-written of it.

    The lock is the system's, which takes it back from a process that dies; the hidden file beside `path` may stay.

    Raises RuntimeError where another run holds it.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(
            f"{path}: another run is at work there; wait until it is done, or give this one another place with "
            "LUNGNB_HOME."
        ) from error
    try:
        for left in path.parent.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"):
            process = left.name.removeprefix(f".{path.stem}.").removesuffix(f".part{path.suffix}")
            if process.isdigit():  # else it is of a place whose name begins like this one's
                remove(left)
        yield
    finally:
        lock.release()


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
