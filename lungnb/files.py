"""Files that are whole or not there, tables whose cells are safe, and one run at a time at each place."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import pandas as pd

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_WORDS = ("No space left", "disk is full")
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
# Columns that hold text, also where a name in them looks like a number or like a missing value.
_TEXT = (
    *("id", "patient", "split", "file", "image", "mask", "source_image", "source_mask", "model", "status", "review"),
    *("error", "reason", "worst", "trained_on", "tested_on"),
)
# A percent sign that would be decoded, and a leading space, which readers of CSV may drop.
_ENCODED = re.compile("%(?=[0-9a-fA-F]{2})|^ ")
# What may start a formula, at the start of a cell or after a semicolon, by which some spreadsheets split lines.
_FORMULA = re.compile("""((?:^|;)[\\s"']*)([=+@\uff1d\uff0b\uff0d\uff20-])""")  # four of them also full-width

MAX_JSON_BYTES = 10_000_000  # lungnb's own have some 2,000
# What a process that was killed left: the half of a new file or folder, or a folder that was to be replaced.
_LEFTOVER = re.compile(r"\.(?P<stem>.*)\.(?P<process>\d+)\.(part|old)(?P<suffix>\..*)?", re.DOTALL)


class NotWritten(OSError):
    """A file that cannot be written; the message names it and says why and what to do."""


class DiskFull(NotWritten):
    """A file that cannot be written because the disk is full, so that no other file can be either."""


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
    except NotWritten as error:  # of a file in a folder that is not there yet by its name
        raise NotWritten(str(error).replace(str(temporary), str(path))) from error
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
    except NotWritten:
        raise  # it names the file
    except Exception as error:  # HDF5, Keras and SQLite have their own for a full disk
        place = str(getattr(error, "filename", None) or "").startswith(str(path.parent))
        if getattr(error, "errno", None) in _FULL or any(words in str(error) for words in _FULL_WORDS):
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


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path` as indented JSON."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the content of a JSON file that `write_json` wrote; nothing if it is not there or is damaged.

    Damaged is what is no JSON object, what is nested too deeply, and what is larger than MAX_JSON_BYTES.
    """
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def text_name(name: str) -> str:
    """Return a file's name for a file of lungnb's own, as text that every library takes.

    Bytes that are not UTF-8 become `_`. A digest of the name follows them, so that two such names stay different.

    Example:
        >>> text_name("ü 1")
        'ü 1'
        >>> text_name("a" + chr(0xDCFF))  # as Python reads a byte that is not UTF-8
        'a__d76edf05'
    """
    text = re.sub("[\ud800-\udfff]", "_", name)
    return text if text == name else f"{text}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def write_table(table: pd.DataFrame, path: str | Path, index: bool = False) -> None:
    """Write a table as CSV, so that `read_table` returns the same text and no cell can do harm.

    Text is percent-encoded as in URLs where it must be: characters that cannot be printed (line breaks, escape
    sequences, bytes of a file name that are not UTF-8), the first character of what a spreadsheet would take for a
    formula, a leading space, and a percent sign before two hexadecimal digits. All else, such as umlauts, stays
    readable.

    Args:
        table: its text and its labels are encoded, its numbers are not.
        path: the CSV file.
        index: write the index too.

    Raises NotWritten as `writable` does.
    """
    with written(path) as temporary:
        escape_table(table).to_csv(temporary, index=index)


def make_table(rows: Iterable, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of rows in which names of files may have bytes that are not UTF-8."""
    return _pandas().DataFrame(rows, columns=columns)


def read_table(path: str | Path, **options: Any) -> pd.DataFrame:  # noqa: ANN401
    """Read a table that `write_table` wrote, with all names as they were.

    Columns of names, such as `file`, `id` and `patient`, hold text, also where it is empty, `NA` or `001`. In other
    columns an empty cell is a missing value.

    Args:
        path: the CSV file.
        options: for `pandas.read_csv`.

    Raises ValueError where `path` is no CSV file, OSError where it cannot be read.

    Example: `read_table("masks/segmentation.csv")["file"]` are the exact paths.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path}: not a file.")  # reading a pipe would wait for ever
    as_written = {"dtype": dict.fromkeys(_TEXT, str), "keep_default_na": False, "na_values": [""]}
    table = _pandas().read_csv(path, **as_written | options)
    for name in table.columns.intersection(_TEXT):
        table[name] = table[name].fillna("")
    return _with_text(table, unescape)


def escape_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its text and its labels as `write_table` writes them."""
    return _with_text(table, escape)


def escape(text: str) -> str:
    """Return text as a cell of a table has it; `write_table` says what is encoded.

    Example:
        >>> escape("=1+2"), escape("case 1.png"), escape("50 % of it")
        ('%3D1+2', 'case 1.png', '50 % of it')
    """
    text = _ENCODED.sub(lambda match: _percent(match[0]), text)
    text = _FORMULA.sub(lambda match: match[1] + _percent(match[2]), text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _percent(c) for c in text)


def unescape(cell: str) -> str:
    """Return the text that `escape` made a cell of.

    Example:
        >>> unescape("%3D1+2")
        '=1+2'
    """
    return unquote(cell, errors="surrogateescape") if "%" in cell else cell


def _percent(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # as Python reads a byte of a file name that is not UTF-8
    encoded = character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in encoded)


def _with_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a table with its text and its labels changed by a function; all else stays as it is."""
    pd = _pandas()

    def changed(value: object) -> object:
        return change(value) if isinstance(value, str) else value

    table = table.rename(index=changed, columns=changed).rename_axis(index=changed, columns=changed)
    for place in range(table.shape[1]):
        before = [*table.iloc[:, place]]
        after = [changed(value) for value in before]
        if after != before:
            table.isetitem(place, pd.Series(after, table.index))
    return table


def _pandas() -> ModuleType:
    """Return pandas, set to keep text as Python does: Arrow, if installed, takes no bytes that are not UTF-8."""
    import pandas  # half a second that `segment` need not wait

    pandas.set_option("mode.string_storage", "python")
    return pandas


def need(path: Path, step: str) -> Path:
    """Return `path` if it exists, else raise a FileNotFoundError that names the `step` that makes it."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there yet: {step} first.")
    return path
