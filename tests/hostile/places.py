"""Pipes, sockets, devices, links and folders where a file should be, and names that no table or terminal takes."""

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hostile import Case
from hostile.png import png

SUFFIXES = (".png", ".jpg", ".bmp", ".tif", ".gif", ".dcm", ".nii", ".nii.gz", "")
DEVICES = {
    "zero": "/dev/zero",
    "random": "/dev/random",
    "full": "/dev/full",
    "terminal": "/dev/tty",
    "input": "/dev/stdin",
}
FILES = {
    "kmsg": "/proc/kmsg",
    "pagemap": "/proc/self/pagemap",
    "memory": "/proc/self/mem",
    "clear": "/proc/self/clear_refs",
}
NAMES = {  # "forged" must not come at the start of a line
    "carriage_return": "x\rforged.png",
    "newline": "x\nforged: all is well.png",
    "escape": "x\x1b[2J\x1b[31mforged.png",
    "escape_8bit": "x\x9b31mforged.png",
    "title": "x\x1b]0;forged\x07.png",
    "backspace": "xxxx\b\b\b\bforged.png",
    "turned": "x\u202egnp.exe.png",
    "line_separator": "x\u2028forged.png",
    "not_utf8": os.fsdecode(b"x\xff\xfe.png"),
    "formula": "=HYPERLINK(1).png",
    "formula_plus": "+1.png",
    "formula_minus": "-1+1.png",
    "formula_at": "@SUM(1).png",
    "formula_tab": "\t=1.png",
    "quotes": "a\"b'c,d;e.png",
    "html": "<script>alert(1)<!--.png",
    "brackets": "[ab]*?.png",
    "backslashes": "a\\nb\\x1b\\u0041.png",
    "long": "x" * 251 + ".png",
    "spaces": "  .png",
    "dots": "...png",
    "home": "~.png",
    "option": "--out.png",
}


def pipe(path: Path) -> None:
    """Make a pipe that nothing writes to."""
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """Make a socket; its path may be long, so it is bound from its folder."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def link(path: Path, to: str) -> None:
    """Make a link."""
    path.symlink_to(to)


def closed(path: Path) -> None:
    """Make a file that may not be read (except by root)."""
    path.write_bytes(png(64, 64))
    path.chmod(0)


def folder(path: Path, held: str = "") -> None:
    """Make a folder with the name of a file, and something in it."""
    path.mkdir()
    if held == "pipe":
        os.mkfifo(path / "x.png")
        os.mkfifo(path / "y")
    elif held:
        (path / held).write_bytes(png(64, 64))


def nested_folders(path: Path, depth: int = 300) -> None:
    """Make folders in one another with a picture in the last."""
    deepest = path.joinpath(*["d"] * depth)
    deepest.mkdir(parents=True)
    (deepest / "x.png").write_bytes(png(64, 64))


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for suffix in SUFFIXES:
        ending = suffix or "_no_suffix"
        yield Case(f"pipe{ending}", pipe, "sentence", f"x{suffix}")
        yield Case(f"socket{ending}", unix_socket, "sentence", f"x{suffix}")
        for name, to in (DEVICES | FILES).items():
            if suffix in (".png", ".tif", ".dcm", ".nii.gz", ""):
                yield Case(f"link_{name}{ending}", partial(link, to=to), "sentence", f"x{suffix}")
        yield Case(f"link_self{ending}", partial(link, to=f"x{suffix}"), "sentence", f"x{suffix}")
        yield Case(f"link_nowhere{ending}", partial(link, to="nowhere"), "sentence", f"x{suffix}")
        yield Case(f"folder{ending}", folder, "nothing", f"x{suffix}")
    yield Case("folder_of_pipes", partial(folder, held="pipe"), "sentence", "folder")
    yield Case("folder_named.png", partial(folder, held="x.png"), "mask", "folder.png")
    yield Case("folder_loop", lambda path: (folder(path, "x.png"), link(path / "loop", str(path))), "mask", "folder")
    yield Case("folders_300_deep", nested_folders, "mask", "folder")
    yield Case("closed.png", closed, file="x.png")
    for name, file in NAMES.items():
        yield Case(f"name_{name}.png", lambda path: path.write_bytes(png(64, 64)), "mask", file)
        yield Case(f"name_{name}_broken.png", lambda path: path.write_bytes(b"no picture"), "sentence", file)
