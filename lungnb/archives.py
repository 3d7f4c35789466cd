"""What arrives from elsewhere: is it the file it should be, and, for a zip archive, unpack it without harm."""

from __future__ import annotations

import hashlib
import shutil
import stat
import sys
import zipfile
from pathlib import Path

from tqdm import tqdm

from lungnb.datasets import RemoteFile

MAX_FILES, MAX_BYTES = 200_000, 100 * 2**30  # of an unpacked archive
# Real masks shrink a thousandfold (an empty slice is all zeros), so the ratio counts for large files alone.
MAX_RATIO, LARGE = 200, 64 * 2**20


def find_fault(path: Path, file: RemoteFile) -> str | None:
    """Return what is wrong with a file that arrived, or None."""
    with path.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            return "is a web page, not the file (a quota, a permission or a login stands before it)"
        opened.seek(0)
        if file.sha256 and hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "is not the published file: its SHA-256 checksum differs"
    if is_archive(file) and not zipfile.is_zipfile(path):
        return "is not a whole zip archive"
    return None


def is_archive(file: RemoteFile) -> bool:
    """Return whether a file is to be unpacked."""
    return file.name.lower().endswith(".zip")


def unpack(archive: Path, folder: Path, skip: tuple[str, ...] = (), progress: bool = True) -> None:
    """Unpack a zip archive into `folder`, without the members whose path contains one of `skip`.

    Raises ValueError, before anything is written, for an archive that would write elsewhere, make links, or fill the
    disk.
    """
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            _refuse_hostile(member)
        wanted = [m for m in zipped.infolist() if not any(part in f"/{m.filename}" for part in skip)]
        members = wanted or zipped.infolist()
        size = sum(member.file_size for member in members)
        folder.mkdir(parents=True, exist_ok=True)
        if len(members) > MAX_FILES or size > min(MAX_BYTES, shutil.disk_usage(folder).free):
            raise ValueError(
                f"its {len(members):,} files, {size / 1e9:,.1f} GB in all, are more than there is room for"
            )
        for member in tqdm(members, "Unpacking", unit="file", file=sys.stdout, disable=not progress):
            zipped.extract(member, folder)


def _refuse_hostile(member: zipfile.ZipInfo) -> None:
    """Raise ValueError for a member that leads out of the folder, is no plain file or folder, or is a bomb."""
    parts = member.filename.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or parts[0][1:2] == ":":
        raise ValueError(f"its member {member.filename!r} leads out of the folder")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"its member {member.filename!r} is a link or a device")
    if member.file_size > max(LARGE, MAX_RATIO * member.compress_size):
        raise ValueError(f"its member {member.filename!r} would grow to {member.file_size:,} bytes, as a zip bomb does")
