"""Unusual files, and what is in a folder."""

import os
from pathlib import Path

import pytest


def make_pipe(path: Path) -> None:
    """Make a named pipe; skip the test if the system has none."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def tree(folder):
    """Return every file below a folder with its content."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {file: file.read_bytes() for file in files if ".keras" not in file.parts}  # which Keras writes in HOME


DAMAGED = {
    "empty": b"", "list": b"[]", "null": b"null", "text": b'"x"', "cut": b"{", "bytes": b"\xff\xfe\x00",
    "brackets": b"[" * 100_000, "objects": b'{"a":' * 100_000, "constant": b"NaN", "digits": b"9" * 10_000,
}  # fmt: skip
