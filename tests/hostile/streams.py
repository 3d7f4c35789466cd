"""Compressed streams that grow a thousandfold, made at once: a block is compressed once and repeated.

What is compressed is given in parts: bytes, a pair of bytes and how often they come, or a number of zero bytes.
"""

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

_BLOCK = 4 * 2**20  # bytes, about
GB = 10**9
LIGHT, DARK = b"\xd8", b"\x18"
Part = bytes | int | tuple[bytes, int]


def deflated(*parts: Part) -> bytes:
    """Return parts as one raw deflate stream."""
    pieces = []
    for content, count in map(_repeated, parts):
        at_once = min(max(_BLOCK // max(len(content), 1), 1), max(count, 1))
        pieces += [_flushed(content * at_once)] * (count // at_once) + [_flushed(content * (count % at_once))]
    return b"".join(pieces) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def zlibbed(*parts: Part) -> bytes:
    """Return parts as a zlib stream."""
    return b"\x78\xda" + deflated(*parts) + struct.pack(">I", checksum(zlib.adler32, parts, 1))


def gzipped(*parts: Part) -> bytes:
    """Return parts as a gzip file of one member."""
    end = struct.pack("<II", checksum(zlib.crc32, parts, 0), size_of(parts) % 2**32)
    return b"\x1f\x8b\x08\0\0\0\0\0\2\xff" + deflated(*parts) + end


def size_of(parts: tuple[Part, ...]) -> int:
    """Return how many bytes parts are."""
    return sum(len(content) * count for content, count in map(_repeated, parts))


def checksum(function: Callable[[bytes, int], int], parts: tuple[Part, ...], start: int) -> int:
    """Return a running checksum of parts."""
    for content, count in map(_repeated, parts):
        at_once = max(2**20 // max(len(content), 1), 1)
        block = content * at_once
        for _ in range(count // at_once):
            start = function(block, start)
        start = function(content * (count % at_once), start)
    return start


def chest_rows(row_bytes: int, rows: int, start: bytes = b"") -> list[Part]:
    """Return the rows of a picture in which a network finds lungs: two dark fields on light ground.

    `start` begins each row. Values are the same in every byte, whatever the depth and the number of channels.
    """
    fifth, border = row_bytes // 5, rows // 5
    fields = (LIGHT * fifth + DARK * fifth) * 2 + LIGHT * (row_bytes - 4 * fifth) if fifth else DARK * row_bytes
    light = start + LIGHT * row_bytes
    return [(light, border), (start + fields, rows - 2 * border), (light, border)]


def _repeated(part: Part) -> tuple[bytes, int]:
    """Return what a part repeats, and how often."""
    if isinstance(part, tuple):
        return part
    return (b"\0", part) if isinstance(part, int) else (part, 1)


@lru_cache(maxsize=4)
def _flushed(part: bytes) -> bytes:
    """Return a part compressed so that another may follow it."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(part) + stream.flush(zlib.Z_FULL_FLUSH)
