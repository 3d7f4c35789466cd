"""What is opened: regular files alone, and no more memory than the user allows."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class Refused(ValueError):
    """A file that is not opened, or not read to its end."""


def memory_limit() -> int:
    """Return the most bytes that one file may take: LUNGNB_MAX_GB, else 1 GB."""
    return int(float(os.environ.get("LUNGNB_MAX_GB") or 1) * 1e9)


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file to be read; raise ValueError for a pipe, a device or a folder."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Refused(f"{path}: is not a regular file; name a file.")
    return open(path, "rb")
