"""Zip archives: names that lead out of the folder, links, bombs of many kinds, damage."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hostile import Case, of_bytes
from hostile.png import png
from hostile.streams import GB, Part, checksum, deflated, size_of

UNPACK = ("unpack", "{path}", "{out}")
OUTSIDE = {  # names that lead out of the folder, on one system or another
    "up": "../escaped", "up_later": "a/../../escaped", "absolute": "/escaped", "drive": "C:/escaped",
    "drive_later": "a/C:/x",
    "share": "//host/x", "back": "..\\escaped", "back_absolute": "\\escaped", "space": ".. /x",
    "escape": "\x1b[31m/../x",
}  # fmt: skip
ODD = {
    "dot": "./x", "dots": ".../x", "trailing": "a/.. ", "newline": "a\nb", "zero": "a\0../x", "colon": "a:b/x",
    "empty": "", "long": "x" * 300,
    "deep": "a/" * 2500 + "b", "device": "CON", "stream": "a.png:b", "bell": "a\7\x1b[2J", "not_utf8": "a\udcff",
    "hidden": ".x.download",
}  # fmt: skip


class Member(NamedTuple):
    """A file in an archive, and what the archive says of it."""

    name: str
    parts: tuple[Part, ...] = (b"x",)
    said_size: int | None = None
    said_packed: int | None = None
    mode: int = stat.S_IFREG | 0o644
    flags: int = 0x800  # names are UTF-8
    method: int = zipfile.ZIP_DEFLATED


def archive(*members: Member, overlapping: int = 0, comment: bytes = b"") -> bytes:
    """Return a zip archive; the first of its members is listed `overlapping` times more."""
    body, listed = b"", []
    for member in members:
        packed = deflated(*member.parts)
        size = size_of(member.parts)
        said = (member.said_packed or len(packed), member.said_size if member.said_size is not None else size)
        name = member.name.encode(errors="surrogateescape")
        sizes = struct.pack("<IIIHH", checksum(zlib.crc32, member.parts, 0), *said, len(name), 0)
        start = struct.pack("<HHHHH", 20, member.flags, member.method, 0, 33)
        end = struct.pack("<HHHII", 0, 0, 0, member.mode << 16, len(body))
        listed.append(b"PK\1\2\x14\3" + start + sizes + end + name)
        body += b"PK\3\4" + start + sizes + name + packed
    listed += listed[:1] * overlapping
    table = b"".join(listed)
    count = min(len(listed), 65_535)
    return (
        body
        + table
        + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(table), len(body), len(comment))
        + comment
    )


def stored(names: list[str], content: bytes = b"x", method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive as Python writes it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(buffer, "w", method) as opened:  # of equal names
        for name in names:
            opened.writestr(name, content)
    return buffer.getvalue()


def bombs() -> Iterator[Case]:
    """Yield archives that grow."""
    megabytes = 10**6
    contents = {
        "one_2GB": lambda: archive(Member("x", (2 * GB,))),
        "one_4GB": lambda: archive(Member("x", (4 * GB,))),
        "thirty_64MB": lambda: archive(*[Member(f"x{number}", (64 * megabytes,)) for number in range(30)]),
        "three_hundred_30MB": lambda: archive(*[Member(f"x{number}", (30 * megabytes,)) for number in range(300)]),
        "nine_thousand_900kB": lambda: archive(*[Member(f"x{number}", (900_000,)) for number in range(9_000)]),
        "overlapping": lambda: archive(Member("x", (60 * megabytes,)), overlapping=300),
        "says_packed_large": lambda: archive(Member("x", (2 * GB,), said_packed=2**30)),
        "says_small": lambda: archive(Member("x", (2 * GB,), said_size=1000)),
        "says_large": lambda: archive(Member("x", said_size=2**32 - 2)),
        "table_large": lambda: archive(Member("x"), overlapping=200_000),
        "files_60000": lambda: stored([f"{number}" for number in range(60_000)]),
        "folders_60000": lambda: stored([f"{number}/" for number in range(60_000)]),
        "lzma_memory": lambda: archive(Member("x", method=zipfile.ZIP_LZMA)),
        "lzma": lambda: stored(["x"], bytes(70 * megabytes), zipfile.ZIP_LZMA),
        "bzip2": lambda: stored(["x"], bytes(70 * megabytes), zipfile.ZIP_BZIP2),
    }
    for name, content in contents.items():
        yield of_bytes(f"{name}.zip", content)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    cases = [*bombs(), of_bytes("good.zip", lambda: stored(["a/x.png", "a/y.png"], png(64, 64)), answer="done")]
    for name, path in OUTSIDE.items():
        cases.append(
            of_bytes(f"name_{name}.zip", lambda path: archive(Member("a"), Member(path)), path, answer="sentence")
        )
    for name, path in ODD.items():
        cases.append(of_bytes(f"name_{name}.zip", lambda path: archive(Member("a"), Member(path)), path))
    for kind in ("S_IFLNK", "S_IFIFO", "S_IFCHR", "S_IFBLK", "S_IFSOCK"):
        member = Member("x", (b"/etc/passwd",), mode=getattr(stat, kind) | 0o777)
        cases.append(of_bytes(f"kind_{kind}.zip", archive, member, answer="sentence"))
    cases.append(
        of_bytes(
            "through_link.zip",
            archive,
            Member("l", (b"..",), mode=stat.S_IFLNK | 0o777),
            Member("l/escaped"),
            answer="sentence",
        )
    )
    pairs = {
        "file_and_folder": ["a", "a/b"],
        "folder_and_file": ["a/b", "a"],
        "twice": ["a", "a"],
        "cases": ["A", "a"],
        "accents": ["\xe9", "e\u0301"],
    }
    for name, names in pairs.items():
        cases.append(of_bytes(f"{name}.zip", stored, names))
    plain = stored(["a", "b"], b"x" * 1000, zipfile.ZIP_DEFLATED)
    damage = {
        "cut": plain[:-5], "cut_start": plain[20:], "half": plain[: len(plain) // 2],
        "encrypted": archive(Member("x", flags=0x801)),
        "method_99": archive(Member("x", method=99)),
        "wrong_sum": plain.replace(struct.pack("<I", zlib.crc32(b"x" * 1000)), b"sums"),
        "junk_inside": plain[:40] + b"\xff" * 5 + plain[45:], "web_page": b"<!DOCTYPE html>" + plain, "empty": b"",
        "none": stored([]),
        "prefixed": b"junk" * 1000 + plain, "comment": archive(Member("x"), comment=b"PK\5\6" * 5000),
        "zip64": plain.replace(b"PK\5\6", b"PK\6\6"),
        "setuid": archive(Member("x", mode=stat.S_IFREG | 0o6777)), "count": plain[:-14] + b"\xff" * 4 + plain[-10:],
    }  # fmt: skip
    cases += [of_bytes(f"damaged_{name}.zip", lambda content: content, content) for name, content in damage.items()]
    yield from (case._replace(command=UNPACK) for case in cases)
