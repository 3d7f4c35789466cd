"""Files that are whole or not there, one run at a time at each place, and clear words when something is missing."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
# What a process that was killed left: the half of a new file or folder, or a folder that was to be replaced.
_LEFTOVER = re.compile(r"\.(?P<stem>.*)\.(?P<process>\d+)\.(part|old)(?P<suffix>\..*)?", re.DOTALL)


class NotWritten(OSError):
    """A disk that is full, or a place that is not to be written to."""


@contextmanager
def written(path: str | Path, proof: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, for writers that look at it. An interrupted run leaves no half-written
    `path`. Works for a file and for a folder. A folder that exists is replaced only if lungnb made it, as
    `refuse_foreign` says.

    Raises NotWritten as `writable` and `refuse_foreign` do.
    """
    path = Path(path)
    temporary, old = (path.with_name(f".{path.stem}.{os.getpid()}.{name}{path.suffix}") for name in ("part", "old"))
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(temporary)
            yield temporary
            if temporary.is_dir() and os.path.lexists(path):
                refuse_foreign(path, proof)
                remove(old)
                os.replace(path, old)  # at once, so that a folder is never half removed under its name
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            remove(temporary)
            remove(old)


def refuse_foreign(folder: Path, proof: str | None = None) -> None:
    """Raise NotWritten for a folder that lungnb did not make.

    lungnb made a folder if it is empty, except for what an interrupted run left, or if it holds the file `proof`.
    A link to a folder is someone else's, wherever it leads.
    """
    if not folder.is_dir():
        return
    if folder.is_symlink():
        raise NotWritten(f"{folder}: is a link, which lungnb does not replace; remove it, or name another place.")
    is_proven = proof is not None and (folder / proof).is_file()
    if not is_proven and not all(_LEFTOVER.fullmatch(entry.name) for entry in folder.iterdir()):
        raise NotWritten(f"{folder}: holds files that lungnb did not write; move them away, or name another place.")


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what a full disk, or a place closed to writing, raises in the block into a sentence: NotWritten."""
    try:
        yield
    except Exception as error:  # HDF5 and Keras have their own for a full disk
        place = str(getattr(error, "filename", None) or "").startswith(str(path.parent))
        if getattr(error, "errno", None) in _FULL or "No space left" in str(error):
            reason = "the disk is full; make room, then run this again"
        elif place and error.errno in _CLOSED:
            reason = f"{os.strerror(error.errno).lower()}; name another place"
        else:
            raise
        raise NotWritten(f"{path}: cannot be written: {reason}; what is done so far is kept.") from error


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
        for left in path.parent.glob(f".{glob.escape(path.stem)}.*{glob.escape(path.suffix)}"):
            name = _LEFTOVER.fullmatch(left.name)  # of this place, not of one whose name begins like this one's
            if name and name["stem"] == path.stem and (name["suffix"] or "") == path.suffix:
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


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half written in a folder and below it."""
    for left in sorted(folder.rglob(".*"), reverse=True):
        name = _LEFTOVER.fullmatch(left.name)
        if name and not _is_running(int(name["process"])):
            remove(left)


def _is_running(process: int) -> bool:
    """Return whether a process of this number may be at work."""
    if os.name != "posix":
        return True  # where asking with a signal of 0 would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return process != os.getpid()  # which writes nothing now


def remove_made(folder: Path, proof: str) -> None:
    """Remove a folder that lungnb made, if it is there; the file `proof` in it says that it is.

    Raises NotWritten as `refuse_foreign` does.
    """
    refuse_foreign(folder, proof)
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name != proof:
            remove(entry)
    remove(folder)  # the proof goes last, so that a removal that was interrupted can be taken up again


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, or an empty dict if there is no such file, or it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` as indented JSON."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def need(path: Path, step: str) -> Path:
    """Return `path` if it exists, else raise a FileNotFoundError that names the `step` that makes it."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet: {step} first.")
    return path
