"""Files of unusual kinds."""

import os
from pathlib import Path

import pytest


def make_pipe(path: Path) -> None:
    """Make a named pipe; skip the test if the system has none."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)
