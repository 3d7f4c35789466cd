"""What lungnb tells a person: lines on a terminal, and tracebacks in a log on request."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

LOG = "LUNGNB_LOG"  # the environment variable that names the file for tracebacks
_PACKAGE = str(Path(__file__).parent)


def printable(text: object) -> str:
    r"""Return `text` as one line that cannot steer a terminal.

    File names may hold any character. Escape sequences, line breaks and marks that turn the direction of writing become
    `\x1b`, `\n` or `\u202e`; a byte of a file name that is not UTF-8 becomes `\xff`.
    """
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print each of `lines` on a line of its own, made `printable`, on standard output or on `file`."""
    for line in lines:
        print(printable(line), file=file)


def explain(error: BaseException) -> str:
    """Return one sentence on an error that ends a command.

    Errors that lungnb raises say what to do. For all others, which are mistakes in lungnb or in a library, say of what
    kind they are and where in lungnb they arose.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) and (error.filename or not error.errno):
        return str(error)
    if isinstance(error, (ValueError, OSError, RuntimeError)) and frames and _is_ours(frames[-1]):
        return str(error)
    place = next((f"{Path(at.filename).name}:{at.lineno}" for at in reversed(frames) if _is_ours(at)), "lungnb")
    what = f" ({error})" if isinstance(error, (ValueError, OSError, RuntimeError)) and str(error) else ""
    kept = f"the traceback is in {os.environ[LOG]}" if os.environ.get(LOG) else f"set {LOG}=FILE for its traceback"
    return f"unexpected {type(error).__name__} at {place}{what}; {kept}."


def log_traceback(error: BaseException) -> None:
    """Append the traceback of an error to the file that LUNGNB_LOG names, if it is set. Never raises.

    Write the kinds of the error and of those that led to it, and the lines of code. Leave out their messages, because a
    library's message may repeat what a DICOM file says of a patient.
    """
    if os.environ.get(LOG):
        text = "".join(f"{line}\n" for line in [datetime.now(UTC).isoformat(timespec="seconds"), *_trace(error)])
        with suppress(OSError, ValueError), open(os.environ[LOG], "a", encoding="utf-8", errors="replace") as log:
            log.write(text)  # in one piece, because threads and processes may share the file


def _trace(error: BaseException | None) -> Iterator[str]:
    """Yield the lines of a log's entry, from the first error of a chain to the one that was raised last."""
    chain: list[BaseException] = []
    while error and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for link in reversed(chain):
        yield f"  {type(link).__module__}.{type(link).__qualname__}"
        for frame in traceback.extract_tb(link.__traceback__):
            yield printable(f"    {frame.filename}:{frame.lineno} in {frame.name}")


def _is_ours(frame: traceback.FrameSummary) -> bool:
    """Return whether a line of code is part of lungnb."""
    return frame.filename.startswith(_PACKAGE + os.sep)


def _escape(character: str) -> str:
    """Return a character as Python writes it in a string, and an undecodable byte of a file name as that byte."""
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def show_warning(message: Warning | str, *_: object) -> None:
    """Show a warning as one line on standard error; for `warnings.showwarning`."""
    say(f"lungnb: {message}", file=sys.stderr)
