"""Check that a zip archive is the published one, and unpack it safely."""

import errno
import hashlib
import io
import re
import shutil
import stat
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from lungnb.datasets.sources import RemoteFile

MAX_FILES, MAX_BYTES = 200_000, 100 * 2**30  # of an unpacked archive; folders count as files
MAX_TABLE = 32 * 2**20  # bytes of an archive's table of contents, which zipfile reads at once
# Real archives of BMP files grow 3-fold (CT slices with their masks) to 93-fold (masks only). A bomb grows 1000-fold,
# and so do empty masks. That is why an archive may always grow to LARGE bytes.
MAX_RATIO, LARGE = 200, 256 * 2**20
MAX_PATH = 500  # characters of a member's path
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # not LZMA, where the archive decides how much memory it takes
_BAD_NAME = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def find_fault(path: Path, file: RemoteFile) -> str | None:
    """Return what is wrong with a downloaded file, or None."""
    if not path.is_file():  # because opening a pipe could take for ever
        return "is not a regular file"
    with path.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            return "is a web page, not the file (a quota, a permission or a login is in the way)"
        opened.seek(0)
        if file.sha256 and hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "is not the published file: its SHA-256 checksum differs"
    with suppress(zipfile.BadZipFile):
        if zipfile.is_zipfile(path):  # it looks at the end of the file
            return None
    return "is not a whole zip archive"


def unpack(archive: Path, folder: Path, skip: tuple[str, ...] = (), progress: bool = True) -> None:
    """Unpack a zip archive into `folder`, without the members whose path contains one of `skip`.

    Raises ValueError, before anything is written, for an archive that is empty, would write elsewhere, make links, or
    grow like a bomb, and OSError if the disk is too small. Raises ValueError or zipfile.BadZipFile if a member is
    damaged or two members have the same name; the caller then removes the folder.
    """
    with _Archive(io.FileIO(archive)) as opened, zipfile.ZipFile(opened) as zipped:
        members = zipped.infolist()
        if len(members) > MAX_FILES:
            raise ValueError(f"its {len(members):,} files are more than {MAX_FILES:,}")
        if not any(member.file_size for member in members):
            raise ValueError("it holds no data")
        for member in members:
            member.filename = member.filename.replace("\\", "/")  # because some programs on Windows write backslashes
            _refuse_hostile(member)
        _refuse_many(members)
        packed = archive.stat().st_size
        if sum(member.compress_size for member in members) > packed:
            raise ValueError("its members overlap, as those of a zip bomb do")
        members = [m for m in members if not any(part in f"/{m.filename}" for part in skip)] or members
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_large(sum(member.file_size for member in members), packed, shutil.disk_usage(folder).free)
        for member in tqdm(members, "Unpacking", unit="file", file=sys.stdout, disable=not progress):
            _extract(zipped, member, folder)


class _Archive(io.BufferedReader):
    """A file from which zipfile cannot read more than MAX_TABLE bytes at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_TABLE:
            raise ValueError(f"its table of contents has {size:,} bytes, more than {MAX_TABLE:,}")
        return super().read(size)


def _refuse_hostile(member: zipfile.ZipInfo) -> None:
    """Raise ValueError for a member that leads out of the folder, has an unsafe name, or cannot be unpacked."""
    name, parts = member.filename, member.filename.split("/")
    # Windows ignores dots and spaces at the end of a name, so that ".. " is ".." there.
    if not parts[0] or any(part[1:2] == ":" or (".." in part and not part.strip(". ")) for part in parts):
        raise ValueError(f"its member {name[:80]!r} leads out of the folder")
    if re.search(r"[\x00-\x1f\x7f-\x9f]", name + member.orig_filename):  # zipfile cuts a name at a NUL
        raise ValueError(f"the name of its member {name[:80]!r} has control characters")
    if len(name) > MAX_PATH:
        raise ValueError(f"the name of its member {name[:80]!r} has more than {MAX_PATH} characters")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"its member {name[:80]!r} is a link or a device")
    if member.flag_bits & 1:
        raise ValueError(f"its member {name[:80]!r} is encrypted")
    if member.compress_type not in METHODS:
        raise ValueError(f"its member {name[:80]!r} is compressed by another method than deflate")


def _refuse_many(members: list[zipfile.ZipInfo]) -> None:
    """Raise ValueError for too many files and folders, because one member can make hundreds of folders."""
    paths: set[str] = set()
    for member in members:
        path = member.filename.rstrip("/")
        while path and path not in paths:
            paths.add(path)
            path = path.rpartition("/")[0]
        if len(paths) > MAX_FILES:
            raise ValueError(f"its files and folders are more than {MAX_FILES:,}")


def _refuse_large(size: int, packed: int, free: int) -> None:
    """Raise ValueError if an archive of `packed` bytes would grow like a bomb, OSError if the disk is too small."""
    if size > max(LARGE, MAX_RATIO * packed):
        raise ValueError(
            f"its {packed:,} bytes would grow to {size:,}, as a zip bomb does; if you trust it, unpack it yourself"
        )
    if size > min(MAX_BYTES, free):
        kind = ValueError if size > MAX_BYTES else OSError  # because a disk can be cleaned up
        raise kind(f"its files, {size / 1e9:,.1f} GB in all, are more than there is room for")


def _extract(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack one member with the usual permissions; never overwrite a file."""
    path = folder / member.filename
    try:
        if member.is_dir():
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(member) as packed, path.open("xb") as file:
                shutil.copyfileobj(packed, file, 2**20)
    except OSError as error:
        if error.errno in _BAD_NAME:  # the same name, perhaps in another case, or too long a name
            raise ValueError(f"its member {member.filename[:80]!r} cannot have this name: {error.strerror}") from error
        raise
    except (EOFError, zlib.error) as error:
        raise ValueError(f"its member {member.filename[:80]!r} is damaged") from error
