"""Open untrusted files within limits of memory, and turn every error about a file into one sentence.

All readers open their files with `open_file`. They check what a header claims with `refuse_memory` before they unpack
anything, and work inside `guarded`.
"""

import hashlib
import importlib
import logging
import math
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from lungnb.artefacts import slip_in
from lungnb.files import NotWritten
from lungnb.messages import log_traceback

LIMIT_VARIABLE = "LUNGNB_MAX_GB"  # environment variable: the memory that one file may take, GB
DEFAULT_LIMIT_GB = 1.0
FILE_LIMITS = 4  # refuse files larger than this many times the memory limit
MAX_ASPECT = 100  # refuse pictures whose longer side is more than this many times the shorter
SEGMENTING_BYTES = 16  # memory that segmenting takes per pixel at its peak: grey, probability, mask, labels
_CHECK = "Check its name and folder"
_START_BYTES = 512
# Pictures, which are read under each other's names: their first bytes in small letters, format and suffix
_PICTURES = {
    rb"\x89png": ("PNG", ".png"),
    rb"\xff\xd8\xff": ("JPEG", ".jpg"),
    rb"gif8": ("GIF", ".gif"),
    rb"bm.{4}\x00{4}": ("BMP", ".bmp"),
    rb"ii[*+]\x00|mm\x00[*+]": ("TIFF", ".tif"),
}
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff")
# What files hold that are not named after their format, by their first bytes, what to do, and their right suffixes
_CONTENTS: dict[bytes, tuple[str, str, tuple[str, ...]]] = {
    rb"<!doctype html|<html|<\?xml|\{": ("text or a web page", "Download the file itself", ()),
    rb"pk\x03\x04|bzh|\xfd7zxz|7z\xbc|rar!": ("an archive", "Unpack it", ()),
    rb"%pdf": ("a PDF document", "Export its picture as PNG", ()),
    rb".{8}webp": ("a WebP picture", "Convert it to PNG", ()),
    rb".{4}(ftyp|jp  )": ("an HEIC, AVIF or JPEG 2000 picture, or a video", "Convert it to PNG", ()),
    rb"nrrd|objecttype": ("an NRRD or MetaImage volume", "Convert it to NIfTI", ()),
    rb"\x1f\x8b": ("a compressed file", "Unpack it", (".gz", ".tgz")),
    rb".{344}n\+1\x00": ("a NIfTI volume", "End its name with .nii", (".nii",)),
    **{
        first: (f"a {kind} picture", f"End its name with {suffix}", _PICTURE_SUFFIXES)
        for first, (kind, suffix) in _PICTURES.items()
    },
}
_LOST = {  # what files hold instead of their content, and what to do
    rb"version https://git-lfs": ("a pointer of Git LFS", "Get the file itself by git lfs pull"),
    rb"\x00{512}": ("zeros instead of a picture", "Copy it again"),
}
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))  # those this system has


class Refused(ValueError):
    """A file or an array cannot be used. The message names it, says what is wrong and what to do."""


def need_package(name: str, path: object, purpose: str) -> None:
    """Raise Refused, naming the file `path`, if a package of the extra `medical` is missing; silence its log."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise Refused(f"{path}: {purpose} needs {name}; pip install 'lungnb[medical]'.") from error
    logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # it may repeat values of a header


def memory_limit() -> int:
    """Return the bytes of memory that a file may take: LUNGNB_MAX_GB or 1 GB. Raises Refused if it is not a number."""
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise Refused(f"{LIMIT_VARIABLE} must be a positive number of GB, such as 4, not {text!r}.")
    return int(gigabytes * 1e9)


def refuse_memory(name: object, needed_bytes: float, what: str, remedy: str = "Scale it down") -> None:
    """Raise Refused if a file needs more memory than the limit.

    `what` needs the memory, such as "40,000 x 40,000 pixels". `remedy` is what to do other than to raise the limit.
    """
    limit, needed_bytes = memory_limit(), min(needed_bytes, 1e18)
    if needed_bytes > limit:
        raise Refused(
            f"{name}: {what} would need about {needed_bytes / 1e9:,.1f} GB of memory, and the limit is "
            f"{limit / 1e9:g} GB. {remedy}, or set {LIMIT_VARIABLE}={math.ceil(needed_bytes / 1e9)}."
        )


def refuse_shape(name: object, height: int, width: int, bytes_per_pixel: float) -> None:
    """Raise Refused for a picture (px) that is too thin, or too large to be read and segmented within the memory limit.

    `bytes_per_pixel` is the memory that reading alone takes at its peak.
    """
    size = f"{width:,} x {height:,} pixels"
    if not min(height, width):
        raise Refused(f"{name}: {size}: it shows nothing. Copy or export it again.")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise Refused(
            f"{name}: {size}: one side is more than {MAX_ASPECT} times the other, so it shows no chest. Crop it."
        )
    refuse_memory(name, height * width * (bytes_per_pixel + SEGMENTING_BYTES), size)


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file to read its bytes.

    Raises Refused for a pipe, a device, a folder, a file that cannot be opened, and an empty file, such as in /proc.
    """
    try:
        number = os.open(path, os.O_RDONLY | _FLAGS)  # `open` would wait until somebody writes to a pipe
    except FileNotFoundError as error:
        raise Refused(f"{path}: {_why_missing(os.fspath(path))}") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: cannot be opened: {_reason(error)}. Check its name and permissions.") from error
    status = os.fstat(number)
    is_file = stat.S_ISREG(status.st_mode)
    if is_file and 0 < status.st_size <= FILE_LIMITS * memory_limit():
        return os.fdopen(number, "rb")
    os.close(number)
    if not is_file:
        raise Refused(f"{path}: not a file. Name a regular file.")
    refuse_memory(path, status.st_size / FILE_LIMITS, f"a file of {status.st_size / 1e9:,.1f} GB")
    raise Refused(f"{path}: the file is empty. Copy or export it again.")


def digest_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raises what `open_file` raises."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _why_missing(path: str) -> str:
    """Return why there is probably no file of this name, and what to do."""
    parts = re.split("[,; ]+", path)
    if len(parts) > 1 and all(map(os.path.lexists, parts)):
        return "names several files at once. Separate them by blanks, without quotation marks around them."
    if slip := slip_in(path):
        return f"there is no such file. Its name {slip}"
    if {*"*?"} & {*path}:
        return f"no file fits this pattern. {_CHECK}; on Linux, capitals count."
    return f"there is no such file. {_CHECK}."


@contextmanager
def guarded(path: object, kind: str = "an image", step: str = "read") -> Iterator[None]:
    """Turn every exception of the block into Refused, with one sentence that names `path`, its `kind` and the `step`.

    The errors of lungnb itself (Refused, NotWritten) pass unchanged. Messages of libraries are dropped, because they
    may repeat values of a DICOM header. The lines of code that failed go to the file that LUNGNB_LOG names.
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
        return f"{path}: is nested too deeply to be read. Export it again."
    if isinstance(error, OSError) and error.errno:
        return f"{path}: cannot be {step}: {_reason(error)}. Check the file and its disk."
    if isinstance(error, ImportError):
        return f"{path}: cannot be {step}: the package {error.name} is missing or broken. Install it again."
    if step != "read":
        return f"{path}: cannot be {step} ({type(error).__name__}). Set LUNGNB_LOG=FILE to see where the error arose."
    remedy = "Check that it is whole and named after its format."
    return other_contents(path) or f"{path}: cannot be read as {kind} ({type(error).__name__}). {remedy}"


def other_contents(path: object) -> str:
    """Return what a file holds instead of what its name says, and what to do, as a sentence; or ""."""
    with suppress(Refused, OSError), open_file(str(path)) as file:
        start, suffix = file.read(_START_BYTES).lower(), Path(str(path)).suffix.lower()
        for first, (what, remedy) in _LOST.items():
            if re.match(first, start, re.DOTALL):
                return f"{path}: holds {what}. {remedy}."
        for first, (what, remedy, suffixes) in _CONTENTS.items():
            if re.match(first, start, re.DOTALL) and suffix not in suffixes:
                return f"{path}: holds {what}, so it is not named after its format. {remedy}."
    return ""


def picture_suffix(start: bytes) -> str:
    """Return the suffix of the picture format that a file with these first bytes holds, or "".

    >>> picture_suffix(b"GIF89a")
    '.gif'
    """
    return next((suffix for first, (_, suffix) in _PICTURES.items() if re.match(first, start.lower(), re.DOTALL)), "")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


class _Quiet:
    """Drop warnings while at least one thread is inside, because warnings may repeat values of a DICOM header.

    `warnings.catch_warnings` alone is not safe with threads: the first thread to leave would restore the filters that
    another still needs. Other code that uses `catch_warnings` at the same time may find its filters changed.
    """

    def __init__(self) -> None:
        self._lock, self._threads, self._filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                self._filters.enter_context(warnings.catch_warnings(action="ignore"))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._filters.close()


_quiet = _Quiet()
