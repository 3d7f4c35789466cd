"""JPEG streams, in files of their own or in DICOM files: their size, and whether they would take minutes to decode."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from lungnb.formats.opening import Refused

MAX_SCANS = 100  # of a stream; a progressive one has about ten
MAX_SEGMENTS = 1_000  # besides scans; a colour profile takes 255 at most
MAX_FILLING = 10_000  # bytes between segments, which Pillow passes over one by one
_START, _SCAN, _END = b"\xff\xd8", 0xDA, 0xD9  # of a stream, of a scan, of the picture
_JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # how a codestream begins, and a file
# In the data of a scan, 0xFF is followed by 0, by a restart (D0 to D7) or by another 0xFF; else it begins a segment.
_NEXT = re.compile(rb"\xff(?=[\x01-\xcf\xd8-\xfe])")


def stream_size(stream: bytes, path: Path) -> tuple[int, int] | None:
    """Return the height and the width that a JPEG, JPEG-LS or JPEG 2000 stream claims, None for another stream.

    Sources: ITU-T T.81, B.2.2 (frame header), T.87, C.2.2, and T.800, A.5.1 (SIZ). Raises Refused, naming `path`, for
    a stream with several sizes.
    """
    if stream.startswith(_JPEG2000):
        places = [found.start() for found in re.finditer(re.escape(_JPEG2000[0]), stream)]
        sides = {struct.unpack(">4I", stream[at + 8 : at + 24]) for at in places if len(stream) >= at + 24}
        sizes = {(height - top, width - left) for width, height, left, top in sides}
    else:
        sizes = {
            struct.unpack(">2H", stream[at + 5 : at + 9])
            for marker, at in _segments(stream, path)
            if (marker == 0xF7 or 0xC0 <= marker <= 0xCF) and marker not in (0xC4, 0xC8, 0xCC)
        }
    if len(sizes) > 1:
        raise Refused(f"{path}: its compressed picture claims several sizes. Export it again.")
    return next(iter(sizes), None)


def refuse_jpeg(stream: bytes, path: Path) -> None:
    """Raise Refused for a JPEG stream that would take long to decode: of many scans or segments, or filled up."""
    scans = 0
    for number, (marker, _) in enumerate(_segments(stream, path)):
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise Refused(f"{path}: has more than {MAX_SCANS} scans. Save it as a usual JPEG or PNG.")
        if number - scans > MAX_SEGMENTS:
            raise Refused(f"{path}: has more than {MAX_SEGMENTS:,} segments. Save it as a usual JPEG or PNG.")


def _segments(stream: bytes, path: Path) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG stream and the place where it begins, up to the end of the picture."""
    place, filling = len(_START), 0
    while stream.startswith(_START) and place + 4 <= len(stream):
        marker = stream[place + 1]
        if stream[place] != 0xFF or marker in (0x00, 0xFF):
            place, filling = place + 1, filling + 1
            if filling > MAX_FILLING:
                raise Refused(f"{path}: has {MAX_FILLING:,} bytes or more between its segments. Save it again.")
            continue
        if marker == _END:
            return
        yield marker, place
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        if marker == _SCAN:
            following = _NEXT.search(stream, place)
            place = following.start() if following else len(stream)
