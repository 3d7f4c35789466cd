"""Read the size of JPEG streams, in JPEG or DICOM files, and refuse those that would take minutes to decode."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from lungnb.formats.opening import Refused

MAX_SCANS = 100  # refuse streams with more scans; a progressive JPEG has about ten
MAX_SEGMENTS = 1_000  # refuse streams with more segments besides scans; a colour profile takes 255 at most
MAX_FILLING = 10_000  # refuse this many bytes between segments, which Pillow would skip one by one
_STREAM_START, _SCAN, _PICTURE_END = b"\xff\xd8", 0xDA, 0xD9
_FRAME_HEADERS = {0xF7, *range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segments that hold the size
_OTHER_FRAMES = dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG") | {0xF7: "JPEG-LS"}
_JPEG2000_STARTS = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # first bytes of a codestream and of a file
# Inside a scan, 0xFF is followed by 0, by a restart marker (D0 to D7) or by another 0xFF. Otherwise, a new segment
# begins.
_NEXT_SEGMENT = re.compile(rb"\xff(?=[\x01-\xcf\xd8-\xfe])")


def stream_size(stream: bytes, path: Path) -> tuple[int, int] | None:
    """Return the height and width (px) that a JPEG, JPEG-LS or JPEG 2000 stream claims, None for other streams.

    Sources: ITU-T T.81, B.2.2 (frame header), T.87, C.2.2, and T.800, A.5.1 (SIZ). Raises Refused, naming `path`, for
    a stream that claims several sizes.
    """
    if stream.startswith(_JPEG2000_STARTS):
        places = [match.start() for match in re.finditer(re.escape(_JPEG2000_STARTS[0]), stream)]
        corners = {struct.unpack(">4I", stream[at + 8 : at + 24]) for at in places if len(stream) >= at + 24}
        sizes = {(bottom - top, right - left) for right, bottom, left, top in corners}
    else:
        headers = [place for marker, place in _segments(stream, path) if marker in _FRAME_HEADERS]
        sizes = {struct.unpack(">2H", stream[at + 5 : at + 9]) for at in headers}
    if len(sizes) > 1:
        raise Refused(f"{path}: its compressed picture claims several sizes. Export it again.")
    return next(iter(sizes), None)


def refuse_jpeg(stream: bytes, path: Path) -> None:
    """Raise Refused for a JPEG stream that would take long to decode: many scans, many segments or much filling."""
    scans = 0
    for number, (marker, _) in enumerate(_segments(stream, path)):
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise Refused(f"{path}: has more than {MAX_SCANS} scans. Save it as a usual JPEG or PNG.")
        if number - scans > MAX_SEGMENTS:
            raise Refused(f"{path}: has more than {MAX_SEGMENTS:,} segments. Save it as a usual JPEG or PNG.")


def refuse_other_jpeg(stream: bytes, path: Path) -> None:
    """Raise Refused for JPEG that Pillow does not read: lossless JPEG, JPEG-LS, and JPEG of 12 bits."""
    for marker, place in _segments(stream, path):
        if marker in _FRAME_HEADERS:
            kind = _OTHER_FRAMES.get(marker, "")
            if not kind and len(stream) > place + 4 and stream[place + 4] > 8:
                kind = f"JPEG of {stream[place + 4]} bits"
            if kind:
                raise Refused(f"{path}: is {kind}, which is not read. Convert it to PNG of 16 bits.")
            return


def _segments(stream: bytes, path: Path) -> Iterator[tuple[int, int]]:
    """Yield the marker and the first byte of each segment of a JPEG stream, up to the end of the picture."""
    place, filling = len(_STREAM_START), 0
    while stream.startswith(_STREAM_START) and place + 4 <= len(stream):
        marker = stream[place + 1]
        if stream[place] != 0xFF or marker in (0x00, 0xFF):
            place, filling = place + 1, filling + 1
            if filling > MAX_FILLING:
                raise Refused(f"{path}: has {MAX_FILLING:,} bytes or more between its segments. Save it again.")
            continue
        if marker == _PICTURE_END:
            return
        yield marker, place
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        if marker == _SCAN:
            following = _NEXT_SEGMENT.search(stream, place)
            place = following.start() if following else len(stream)
