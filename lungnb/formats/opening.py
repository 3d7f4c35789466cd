"""Open files that strangers made, within limits, and turn whatever goes wrong with one of them into a sentence.

All readers open their files with `open_file`, check what a header claims with `refuse_memory` before they unpack
anything, and work inside `guarded`.
"""

from __future__ import annotations

import math
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from lungnb.files import NotWritten
from lungnb.messages import log_traceback

LIMIT_VARIABLE = "LUNGNB_MAX_GB"  # environment variable: the memory that one file may take, in GB
DEFAULT_LIMIT_GB = 1.0
FILE_LIMITS = 4  # times the memory limit: the largest file that is opened
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))  # those of this system
MAX_ASPECT = 100  # longer side of a picture to the shorter
SEGMENTING_BYTES = 16  # that segmenting takes for each pixel at its peak: grey, probability, mask, labels


class Refused(ValueError):
    """A file, or an array, that cannot be used; the message names it and says what is wrong and what to do."""


def memory_limit() -> int:
    """Return how many bytes of memory one file may take: LUNGNB_MAX_GB, else 1 GB.

    Raises Refused if the variable is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise Refused(f"{LIMIT_VARIABLE} must be a positive number of GB, such as 4, not {text!r}.")
    return int(gigabytes * 1e9)


def refuse_memory(name: object, needed: float, what: str, remedy: str = "Scale it down") -> None:
    """Raise Refused if a file needs more memory than the limit.

    Args:
        name: the file.
        needed: estimate of the memory, bytes.
        what: what needs the memory, such as "40,000 x 40,000 pixels".
        remedy: what to do besides raising the limit.
    """
    limit, needed = memory_limit(), min(needed, 1e18)
    if needed > limit:
        raise Refused(
            f"{name}: {what} would need about {needed / 1e9:,.1f} GB of memory, and the limit is {limit / 1e9:g} GB. "
            f"{remedy}, or set {LIMIT_VARIABLE}={math.ceil(needed / 1e9)}."
        )


def refuse_shape(name: object, height: int, width: int, bytes_per_pixel: float) -> None:
    """Raise Refused for a picture that is too thin, or too large to be read and segmented within the memory limit.

    Args:
        name: the file.
        height: px.
        width: px.
        bytes_per_pixel: what reading alone takes at its peak.
    """
    size = f"{width:,} x {height:,} pixels"
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise Refused(
            f"{name}: {size}: one side is more than {MAX_ASPECT} times the other, so it shows no chest. Crop it."
        )
    refuse_memory(name, height * width * (bytes_per_pixel + SEGMENTING_BYTES), size)


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file to read its bytes.

    Raises Refused for a pipe, a device, a folder, an empty file (files of /proc say that they are) and what cannot be
    opened.
    """
    try:
        # A pipe would otherwise keep `open` waiting until somebody writes to it.
        number = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError as error:
        raise Refused(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: cannot be opened: {_reason(error)}.") from error
    status = os.fstat(number)
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= FILE_LIMITS * memory_limit():
        return os.fdopen(number, "rb")
    os.close(number)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        refuse_memory(path, status.st_size / FILE_LIMITS, f"a file of {status.st_size / 1e9:,.1f} GB")
    raise Refused(f"{path}: {'the file is empty' if stat.S_ISREG(status.st_mode) else 'not a file'}.")


def is_regular(path: str | Path) -> bool:
    """Return whether a path, its links followed, is a regular file."""
    return os.path.isfile(path)


@contextmanager
def guarded(path: object, kind: str = "an image", step: str = "read") -> Iterator[None]:
    """Turn every exception of the block into Refused, with one sentence that names `path`, its `kind` and the `step`.

    Sentences of lungnb (Refused) and a full disk (NotWritten) pass unchanged. The messages of libraries are dropped
    because they may repeat values of a DICOM header; LUNGNB_LOG keeps where they arose.
    """
    try:
        with _quiet:
            yield
    except (Refused, NotWritten):
        raise
    except Exception as error:
        log_traceback(error)
        raise Refused(_sentence(error, path, kind, step)) from None


def _sentence(error: Exception, path: object, kind: str, step: str) -> str:
    if isinstance(error, MemoryError):
        return f"{path}: needs more memory than there is. Scale it down."
    if isinstance(error, RecursionError):
        return f"{path}: is nested too deeply to be read."
    if isinstance(error, OSError) and error.errno:
        return f"{path}: cannot be {step}: {_reason(error)}."
    if isinstance(error, ImportError):
        return f"{path}: cannot be {step}: the package {error.name} is missing or broken. Install it again."
    if step != "read":
        return f"{path}: cannot be {step} ({type(error).__name__}). LUNGNB_LOG=FILE keeps where this arose."
    return f"{path}: cannot be read as {kind}; is it whole, and what its name says? ({type(error).__name__})"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


class _Quiet:
    """Drops warnings while at least one thread is inside: those of libraries may repeat values of a DICOM header.

    `warnings.catch_warnings` alone is not safe with threads: the first to leave would restore what another needs. Code
    in another thread that uses it at the same time may find its filters changed.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.saved = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.saved = warnings.catch_warnings()
                self.saved.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.saved.__exit__(None, None, None)


_quiet = _Quiet()
