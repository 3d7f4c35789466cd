"""Hostile zip archives: each is refused in a sentence, within its limits, and nothing of it stays."""

import errno
import io
import os
import re
import stat
import struct
import time
import warnings
import zipfile
import zlib

import pytest

from lungnb.artefacts import raw_folder
from lungnb.datasets import archives
from lungnb.datasets.archives import find_fault, unpack
from lungnb.datasets.fetch import DownloadError, download
from lungnb.datasets.sources import CATALOGUE, RemoteFile, Source

MIB = 2**20


def make_zip(members, method=zipfile.ZIP_DEFLATED):
    """A zip archive, as bytes, of pairs of a name and a content."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as zipped:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            zipped.writestr(name, content)
    return buffer.getvalue()


def special(name, kind):
    """Return a member that is not a plain file, such as a pipe."""
    member = zipfile.ZipInfo(name)
    member.external_attr = (kind | 0o666) << 16
    return member


def edited(content, offset, value, kind="<I"):
    """An archive with another value in the last entry of its table of contents."""
    content = bytearray(content)
    struct.pack_into(kind, content, content.rfind(b"PK\1\2") + offset, value)
    return bytes(content)


def damaged(content):
    """An archive with another first byte of the packed `a.png`."""
    start = content.index(b"a.png") + len("a.png")
    return content[:start] + b"\xff" + content[start + 1 :]


def table_only(entries):
    """Return an archive that has only a table of contents, with `entries` empty members."""
    table = (struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, *7 * [0], 1, *6 * [0]) + b"a") * entries
    counts = struct.pack("<QQQQ", entries, entries, len(table), 0)
    end = (
        struct.pack("<4sQHHLL", b"PK\6\6", 44, 45, 45, 0, 0)
        + counts
        + struct.pack("<4sLQL", b"PK\6\7", 0, len(table), 1)
    )
    return table + end + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)


def overlapping(entries):
    """A bomb all of whose members are the same few bytes of the archive."""
    zeros, packer = bytes(8 * MIB), zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(zeros) + packer.flush()
    sizes = (zlib.crc32(zeros), len(packed), len(zeros), 1)
    member = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 0) + b"a" + packed
    table = entries * (struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, *6 * [0]) + b"a")
    return member + table + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, entries, entries, len(table), len(member), 0)


BOMB = make_zip([("a", bytes(257 * MIB))])
PLAIN = make_zip([("a.png", b"image" * 100)])
STORED = make_zip([("a.png", b"image" * 100)], zipfile.ZIP_STORED)
HOSTILE = {
    "one large member": (BOMB, "bomb"),
    "many members": (make_zip([(f"a{i}", bytes(33 * MIB)) for i in range(8)]), "bomb"),
    "overstated packed size": (edited(BOMB, 20, 2**30), "overlap"),
    "understated size": (edited(BOMB, 24, 1000), "CRC"),
    "overstated size": (edited(PLAIN, 24, 2**31), "bomb"),
    "overlapping": (overlapping(2), "overlap"),
    "number of members": (make_zip([(f"{i}", b"") for i in range(11)]), "11 files are more than 10"),
    "folders within folders": (make_zip([("a", "1"), ("b/" * 5, ""), ("c/" * 5, "")]), "folders are more than 10"),
    "table of contents": (table_only(720_000), "table of contents"),
    "twice": (make_zip([("a", "1"), ("a", "2")]), "'a' cannot have this name"),
    "file, then folder": (make_zip([("a", "1"), ("a/b", "2")]), "'a/b' cannot have this name"),
    "file, then deeper folder": (make_zip([("a", "1"), ("a/b/c", "2")]), "'a/b/c' cannot have this name"),
    "folder, then file": (make_zip([("a/b", "1"), ("a", "2")]), "'a' cannot have this name"),
    "the folder itself": (make_zip([(".", "1")]), "'.' cannot have this name"),
    "long name": (make_zip([("x" * 300, "1")]), "cannot have this name"),
    "deep name": (make_zip([("a/" * 2500 + "b", "1")]), "more than 500 characters"),
    "line break": (make_zip([("a\nb", "1")]), "control characters"),
    "carriage return": (make_zip([("a\rb", "1")]), "control characters"),
    "escape": (make_zip([("\x1b[31mred", "1")]), "control characters"),
    "delete": (make_zip([("a\x7fb", "1")]), "control characters"),
    "C1 control": (make_zip([("a\x9b31m", "1")]), "control characters"),
    "NUL": (make_zip([("aXb", "1")]).replace(b"aXb", b"a\0b"), "control characters"),
    "parent of Windows": (make_zip([("a/.. /x", "1")]), "leads out"),
    "inner drive": (make_zip([("a/C:/x", "1")]), "leads out"),
    "encrypted": (edited(PLAIN, 8, 0x801, "<H"), "encrypted"),
    "unknown method": (edited(PLAIN, 10, 99, "<H"), "another method"),
    "LZMA": (make_zip([("a", "1")], zipfile.ZIP_LZMA), "another method"),
    "BZ2": (make_zip([("a", "1")], zipfile.ZIP_BZIP2), "another method"),
    "pipe": (make_zip([("a", "1"), (special("b", stat.S_IFIFO), "")]), "'b' is a link or a device"),
    "device": (make_zip([("a", "1"), (special("b", stat.S_IFBLK), "")]), "'b' is a link or a device"),
    "nothing": (make_zip([]), "no data"),
    "folders alone": (make_zip([("a/", "")]), "no data"),
    "damaged": (damaged(PLAIN), "'a.png' is damaged"),
    "cut short": (edited(edited(STORED, 20, len(STORED) - 10), 24, len(STORED) - 10), "'a.png' is damaged"),
    "cut within": (PLAIN[:40] + PLAIN[60:], "a.zip"),
    "two disks": (table_only(1).replace(b"PK\6\7\0", b"PK\6\7\1"), "not a whole zip"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("here", ["fetched", "by hand"])
def test_hostile_archive_gives_a_sentence_and_nothing_stays(home, monkeypatch, name, here):
    content, says = HOSTILE[name]
    monkeypatch.setattr(archives, "MAX_FILES", 10)
    address = ("http://127.0.0.1/a.zip",) if here == "fetched" else ()
    monkeypatch.setattr("lungnb.datasets.fetch.fetch_web", lambda url, target, progress: target.write_bytes(content))
    source = Source("tiny", "Tiny", "xray", "MIT", "None", files=(RemoteFile("a.zip", address),))
    monkeypatch.setitem(CATALOGUE, "tiny", source)
    raw_folder("tiny").mkdir(parents=True)
    if here == "by hand":
        (raw_folder("tiny") / "a.zip").write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(DownloadError) as error:
        download("tiny", progress=False)
    assert says in str(error.value) and str(error.value).isprintable()
    assert len(re.findall(r"\. [A-Z]", str(error.value))) <= 1
    assert time.monotonic() - begun < 10
    left = [path.name for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == (["a.zip"] if here == "by hand" else [])


def test_as_many_files_as_the_limit_are_unpacked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    (tmp_path / "a.zip").write_bytes(make_zip([("in/", ""), ("a", "1"), ("in/b", "2")]))
    unpack(tmp_path / "a.zip", tmp_path / "two", progress=False)
    (tmp_path / "b.zip").write_bytes(make_zip([(name, "1") for name in "abc"]))
    assert capsys.readouterr().out == ""
    unpack(tmp_path / "b.zip", tmp_path / "three")
    assert "Unpacking: 100%" in capsys.readouterr().out
    assert len([*(tmp_path / "three").iterdir()]) == 3 and (tmp_path / "two" / "in" / "b").read_text() == "2"


def test_real_ratios_pass(tmp_path):
    """An archive may grow to 256 MiB at any ratio, and 200-fold at any size."""
    (tmp_path / "masks.zip").write_bytes(make_zip([(f"{i}.bmp", bytes(32 * MIB)) for i in range(8)]))
    unpack(tmp_path / "masks.zip", tmp_path / "masks", progress=False)
    assert sum(path.stat().st_size for path in (tmp_path / "masks").iterdir()) == 256 * MIB
    noise = os.urandom(2 * MIB)
    (tmp_path / "large.zip").write_bytes(make_zip([("noise", noise), ("zeros", bytes(300 * MIB))]))
    unpack(tmp_path / "large.zip", tmp_path / "large", progress=False)
    assert (tmp_path / "large" / "noise").read_bytes() == noise


def test_the_limits_of_what_an_archive_may_grow_to():
    """The limit is 256 MiB at any ratio, otherwise 200-fold; never above 100 GiB or the free disk space."""
    gib = 2**30
    for size, packed, free in ((gib // 4, 1, gib), (100 * gib, gib // 2, 100 * gib)):
        archives._refuse_large(size, packed, free)
    for size, packed, free, kind, says in (
        (gib // 4 + 1, 1, gib, ValueError, "bomb"),
        (100 * gib, gib // 2 - 1, 100 * gib, ValueError, "bomb"),
        (100 * gib + 1, gib, 200 * gib, ValueError, "room"),
        (100 * gib, gib, 100 * gib - 1, OSError, "room"),  # a disk can be cleaned up
    ):
        with pytest.raises(kind, match=says):
            archives._refuse_large(size, packed, free)


@pytest.mark.parametrize("start", [b"<html>", b"<HTML lang='de'>", b"\r\n  <!DOCTYPE html>"])
def test_a_web_page_is_named_however_it_begins(tmp_path, start):
    (tmp_path / "a.zip").write_bytes(start + PLAIN)
    assert find_fault(tmp_path / "a.zip", RemoteFile("a.zip")).startswith("is a web page, not the file")


def test_a_disk_without_room_keeps_the_archive(tmp_path, monkeypatch):
    """An OSError does not mean that the archive is damaged, so the archive is not fetched again."""
    usage = archives.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=10))
    (tmp_path / "a.zip").write_bytes(PLAIN)
    with pytest.raises(OSError, match="more than there is room for"):
        unpack(tmp_path / "a.zip", tmp_path / "in", progress=False)


def test_a_disk_that_fills_while_unpacking_does_not_blame_the_archive(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(archives.shutil, "copyfileobj", fail)
    (tmp_path / "a.zip").write_bytes(PLAIN)
    with pytest.raises(OSError, match="no space left"):
        unpack(tmp_path / "a.zip", tmp_path / "in", progress=False)


def test_names_and_rights_are_those_of_plain_files(tmp_path):
    setuid = zipfile.ZipInfo("set/run")
    setuid.external_attr = (stat.S_IFREG | 0o6777) << 16
    members = [
        ("dir\\b.png", "b"),
        ("A.txt", "1"),
        (setuid, "x"),
        ("./c", "c"),
        ("a..b.png", "d"),
        ("empty/", ""),
        ("dir/", ""),  # after a file in it
        ("Füße 1. Bild.png", "ü"),
    ]
    (tmp_path / "a.zip").write_bytes(b"before" + make_zip(members))
    unpack(tmp_path / "a.zip", tmp_path / "in", progress=False)
    files = {path.relative_to(tmp_path / "in").as_posix(): path for path in (tmp_path / "in").rglob("*")}
    assert {"dir/b.png", "A.txt", "set/run", "c", "a..b.png", "empty", "Füße 1. Bild.png"} <= set(files)
    assert not any(path.stat().st_mode & 0o7111 for path in files.values() if path.is_file())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("make", [getattr(os, "mkfifo", None), os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_a_folder_or_a_device_is_not_an_archive(home, monkeypatch, make):
    source = Source("tiny", "Tiny", "xray", "MIT", "None", files=(RemoteFile("a.zip"),))
    monkeypatch.setitem(CATALOGUE, "tiny", source)
    raw_folder("tiny").mkdir(parents=True)
    make(raw_folder("tiny") / ".." / "x.zip")
    assert find_fault(raw_folder("tiny") / ".." / "x.zip", RemoteFile("x.zip")) == "is not a regular file"
    make(raw_folder("tiny") / "a.zip")
    if (raw_folder("tiny") / "a.zip").is_dir():
        return  # a folder is taken for data
    with pytest.raises(DownloadError, match="not a regular file"):
        download("tiny", progress=False)
