"""GIF files: frames without number, large screens, frames that leave the screen, comments, damaged codes."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from hostile import Case, of_bytes
from hostile.streams import chest_rows

_PALETTE = bytes(range(256)) * 3
_DOT = b"\x02\x02\x44\x01\0"  # the codes of one black pixel


def screen(width: int, height: int) -> bytes:
    """Return the beginning of a GIF with a palette of 256 colours."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + _PALETTE


def frame(width: int = 1, height: int = 1, left: int = 0, top: int = 0, codes: bytes = _DOT, flags: int = 0) -> bytes:
    """Return a frame with its delay."""
    return b"!\xf9\4\4\1\0\0\0," + struct.pack("<HHHHB", left, top, width, height, flags) + codes


def gif(width: int, height: int, *parts: bytes) -> bytes:
    """Return a GIF of a screen and what is shown on it."""
    return screen(width, height) + b"".join(parts) + b";"


def blocks(data: bytes) -> bytes:
    """Return data in blocks of 255 bytes, ended by an empty one."""
    return (
        b"".join(bytes([len(part)]) + part for at in range(0, len(data), 255) if (part := data[at : at + 255])) + b"\0"
    )


def whole(width: int, height: int) -> bytes:
    """Return a whole GIF, which its codes make small."""
    rows = b"".join(content * count for content, count in chest_rows(width, height))
    buffer = io.BytesIO()
    Image.frombytes("L", (width, height), rows).save(buffer, "GIF")
    return buffer.getvalue()


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for count in (10, 1_000, 30_000, 400_000):
        yield of_bytes(f"frames_{count}.gif", lambda count: gif(1, 1, frame() * count), count)
        yield of_bytes(f"frames_{count}_large_screen.gif", lambda count: gif(9_000, 9_000, frame() * count), count)
    for width, height in ((65_535, 65_535), (65_535, 1), (1, 65_535), (10_000, 10_000), (0, 0)):
        yield of_bytes(f"screen_{width}x{height}.gif", gif, width, height, frame())
        yield of_bytes(f"screen_{width}x{height}_twice.gif", gif, width, height, frame(), frame())
        yield of_bytes(f"frame_{width}x{height}_in_10x10.gif", gif, 10, 10, frame(width, height))
        yield of_bytes(f"second_frame_{width}x{height}.gif", gif, 10, 10, frame(), frame(width, height))
        yield of_bytes(f"third_frame_{width}x{height}.gif", gif, 10, 10, frame(), frame(), frame(width, height))
    yield of_bytes("frame_outside.gif", gif, 10, 10, frame(5, 5, 60_000, 60_000))
    yield of_bytes("second_frame_outside.gif", gif, 10, 10, frame(), frame(5, 5, 65_535, 65_535))
    for width, height in ((10_000, 10_000), (65_535, 1_500), (65_535, 1), (1, 65_535)):
        yield of_bytes(f"whole_{width}x{height}.gif", whole, width, height)
    clears = blocks(b"\x24\x49\x92" * 2_000_000)  # nothing but code 4, which clears the table
    yield of_bytes("clears.gif", lambda: gif(1000, 1000, frame(1000, 1000, codes=b"\2" + clears)))
    for size in (0, 1, 12, 13, 255):
        yield of_bytes(f"code_size_{size}.gif", gif, 100, 100, frame(100, 100, codes=bytes([size]) + blocks(bytes(99))))
    yield of_bytes("codes_junk.gif", gif, 100, 100, frame(100, 100, codes=b"\x08" + blocks(bytes(range(256)) * 100)))
    yield of_bytes("comment_9MB.gif", lambda: gif(1, 1, b"!\xfe" + blocks(b"A" * 9_000_000), frame()))
    yield of_bytes("comments_1M.gif", lambda: gif(1, 1, b"!\xfe\1A\0" * 1_000_000, frame()))
    yield of_bytes("extensions_1M.gif", lambda: gif(1, 1, b"!\xff\0" * 1_000_000, frame()))
    yield of_bytes("delays_1M.gif", lambda: gif(1, 1, b"!\xf9\4\0\0\0\0\0" * 1_000_000, frame()))
    yield of_bytes("loops.gif", gif, 1, 1, b"!\xff\x0bNETSCAPE2.0\3\1\xff\xff\0", frame(), frame())
    yield of_bytes("second_frame_cut.gif", gif, 10, 10, frame(), frame()[:12])
    yield of_bytes("second_frame_no_codes.gif", gif, 10, 10, frame(), frame(codes=b"\2\0"))
    yield of_bytes("second_frame_palette_cut.gif", gif, 10, 10, frame(), frame(flags=0x87))
    yield of_bytes("no_frame.gif", gif, 10, 10)
    yield of_bytes("junk_after_screen.gif", gif, 10, 10, b"\xff" * 5_000_000)
    yield of_bytes("interlaced.gif", gif, 1000, 1000, frame(1000, 1000, flags=0x40))
    yield of_bytes("cut.gif", lambda: screen(64, 64)[:20], answer="sentence")
    yield of_bytes("empty.gif", lambda: b"", answer="sentence")
