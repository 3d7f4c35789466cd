"""Write complete files or none, and let one run at a time work in a folder."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any  # Any: JSON

from filelock import FileLock, Timeout

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_FULL_WORDS = ("No space left", "disk is full")
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
LONGEST_NAME_BYTES = 200  # most file systems allow 255 with what is added while a file is written
MAX_JSON_BYTES = 10_000_000  # larger files are refused; lungnb writes about 2,000 bytes
# The names of what a killed process leaves: half of a new file or folder, or a folder that was to be replaced.
_LEFTOVER = re.compile(r"\.(?P<stem>.*)\.(?P<process>\d+)\.(part|old)(?P<suffix>\..*)?", re.DOTALL)


class NotWritten(OSError):
    """A file cannot be written. The message names it and says why and what to do."""


class DiskFull(NotWritten):
    """A file cannot be written because the disk is full. No other file can be written either."""


@contextmanager
def written(path: str | Path, proof: str | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`, a file or a folder; rename it to `path` when the block succeeds.

    A folder that exists is replaced only if lungnb made it. Raises NotWritten as `writable` and `refuse_foreign` do.
    """
    path = Path(path)  # keep its suffix below, because some writers look at it
    temporary, old = (path.with_name(f".{path.stem}.{os.getpid()}.{name}{path.suffix}") for name in ("part", "old"))
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(temporary)
            yield temporary
            if temporary.is_dir() and os.path.lexists(path):
                refuse_foreign(path, proof)
                remove(old)
                os.replace(path, old)  # a rename, because a folder must never be half removed under its name
            os.replace(temporary, path)
    except NotWritten as error:  # of a file in the temporary folder, whose name means nothing to the user
        raise type(error)(str(error).replace(str(temporary), str(path))) from error
    finally:
        with suppress(OSError):
            remove(temporary)
            remove(old)


def refuse_foreign(folder: Path, proof: str | None = None) -> None:
    """Raise NotWritten for a folder that lungnb did not make, for a link to a folder, and for a file.

    lungnb made a folder if it holds the file `proof`, or if it is empty except for what an interrupted run left.
    """
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise NotWritten(f"{folder}: is a file, not a folder; move it away, or name another place.")
        return
    if folder.is_symlink():
        raise NotWritten(f"{folder}: is a link, which lungnb does not replace; remove it, or name another place.")
    is_proven = proof is not None and (folder / proof).is_file()
    if not is_proven and not all(_LEFTOVER.fullmatch(entry.name) for entry in folder.iterdir()):
        raise NotWritten(f"{folder}: holds files that lungnb did not write; move them away, or name another place.")


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Raise NotWritten, with a sentence, if the block fails because the disk is full or the place is not writable."""
    try:
        yield
    except NotWritten:
        raise  # because it names the file already
    except Exception as error:  # HDF5, Keras and SQLite have other errors for a full disk
        number = getattr(error, "errno", None)
        is_here = _is_beside(getattr(error, "filename", None), path)
        if is_here and (file := next(filter(os.path.isfile, path.parents), None)):
            raise NotWritten(f"{file}: is a file, not a folder; move it away, or name another place.") from error
        kind = NotWritten
        if number in _DISK_FULL or any(words in str(error) for words in _DISK_FULL_WORDS):
            kind, reason = DiskFull, "the disk is full; make room, then run this again"
        elif number == errno.ENAMETOOLONG:
            reason = "the name of a file or folder is too long; shorten it, or name another place"
        elif number in _NOT_WRITABLE and is_here:
            reason = f"{os.strerror(number).lower()}; name another place"
        else:
            raise
        raise kind(f"{path}: cannot be written: {reason}; what is done so far is kept.") from error


def _is_beside(filename: object, path: Path) -> bool:
    """Return whether the file of an error lies in the folder of `path`, or is one of the folders above `path`."""
    if not isinstance(filename, str) or not filename:
        return False
    place, folder = Path(os.path.abspath(filename)), Path(os.path.abspath(path.parent))
    return place.is_relative_to(folder) or folder.is_relative_to(place)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs from writing to `path`, a file or a folder, and remove what killed runs left of it.

    Raises RuntimeError if another run has the lock. The system releases the lock of a process that dies.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(
            f"{path}: another run is at work there; wait until it is done, or give this one another place with "
            "--out or LUNGNB_HOME."
        ) from error
    try:
        for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*{glob.escape(path.suffix)}"):
            name = _LEFTOVER.fullmatch(leftover.name)
            # Compare the whole stem, because another place's name may begin like this one's.
            if name and name["stem"] == path.stem and (name["suffix"] or "") == path.suffix:
                remove(leftover)
        yield
    finally:
        lock.release()


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move_aside(folder: Path, earlier: Path) -> Path:
    """Move a folder into `earlier`, with a number after its name, by one rename; return its new place."""
    earlier.mkdir(exist_ok=True)
    place = next(place for n in count(1) if not (place := earlier / f"{folder.name}-{n}").exists())
    os.replace(folder, place)
    return place


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half written in a folder and below it."""
    for leftover in sorted(folder.rglob(".*"), reverse=True):
        name = _LEFTOVER.fullmatch(leftover.name)
        if name and not _is_running(int(name["process"])):
            remove(leftover)


def _is_running(process: int) -> bool:
    """Return whether another process with this number may be running."""
    if os.name != "posix":
        return True  # because a signal of 0 would end the process there
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return process != os.getpid()


def remove_made(folder: Path, proof: str) -> None:
    """Remove a folder if it exists; raise NotWritten, as `refuse_foreign` does, if lungnb did not make it."""
    refuse_foreign(folder, proof)
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name != proof:
            remove(entry)
    remove(folder)  # the proof goes last, so that an interrupted removal can continue


def write_json(path: str | Path, content: Mapping[str, object]) -> None:
    """Write `content` to `path` as indented JSON."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty dict if there is none, or if it is nested too deeply or too large."""
    path = Path(path)
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= MAX_JSON_BYTES:
            content = json.loads(path.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
    return {}


def text_name(name: str) -> str:
    """Return a file name that every library accepts; `_` and a digest of the name replace bytes that are not UTF-8.

    Example:
        >>> text_name("ü 1")
        'ü 1'
        >>> text_name("a" + chr(0xDCFF))  # as Python reads a byte that is not UTF-8
        'a__d76edf05'
    """
    name = unicodedata.normalize("NFC", name)  # because macOS writes an umlaut as two characters
    text = re.sub("[\ud800-\udfff]", "_", name)
    return text if text == name else f"{text}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def short_name(name: str) -> str:
    """Return a name, or, if it is too long for a file, its beginning and a digest."""
    if len(os.fsencode(name)) <= LONGEST_NAME_BYTES:
        return name
    return f"{name[: LONGEST_NAME_BYTES // 8]}_{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def need(path: Path, step: str) -> Path:
    """Return `path` if it exists; otherwise raise a FileNotFoundError that names the `step` that makes it."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet: {step} first.")
    return path
