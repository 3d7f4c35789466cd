"""BMP files: run lengths that grow, sizes and palettes that cannot be."""

import struct
from collections.abc import Iterator

from hostile import Case, of_bytes

RUNS_8, RUNS_4, FIELDS = 1, 2, 3  # compressions


def bmp(
    width: int,
    height: int,
    data: bytes,
    compression: int = 0,
    bits: int = 8,
    colours: int = 256,
    offset: int = 1078,
    header_size: int = 40,
    masks: bytes = b"",
) -> bytes:
    """Return a BMP with a grey palette; a negative height means from the top."""
    start = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    sizes = struct.pack("<IiiHHIIiiII", header_size, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    palette = masks or b"".join(bytes([shade, shade, shade, 0]) for shade in range(256))
    return start + sizes + palette + data


def cases() -> Iterator[Case]:
    """Yield the cases."""
    plain = bytes(64 * 64)
    for side in (64, 5_000, 10_000, 40_000):
        yield of_bytes(
            f"runs_{side}.bmp", bmp, side, side, b"\xff\x40" * min(side * side // 255, 4_000_000) + b"\0\1", RUNS_8
        )
        yield of_bytes(f"jumps_{side}.bmp", bmp, side, side, b"\0\2\xff\xff" * 1_000_000 + b"\0\1", RUNS_8)
        yield of_bytes(f"line_ends_{side}.bmp", bmp, side, side, b"\0\0" * 2_000_000 + b"\0\1", RUNS_8)
    yield of_bytes("runs_4bit.bmp", bmp, 10_000, 10_000, b"\xff\x44" * 400_000 + b"\0\1", RUNS_4, 4)
    yield of_bytes("runs_too_long.bmp", bmp, 64, 64, b"\xff\x40" * 4_000_000 + b"\0\1", RUNS_8)
    yield of_bytes("runs_cut.bmp", bmp, 64, 64, b"\xff", RUNS_8)
    yield of_bytes("runs_thin.bmp", bmp, 1_000_000, 1, b"\xff\x40" * 4_000 + b"\0\1", RUNS_8)
    yield of_bytes("thin_1000000x1.bmp", bmp, 1_000_000, 1, bytes(1_000_000))
    yield of_bytes("thin_1x1000000.bmp", bmp, 1, 1_000_000, bytes(4_000_000))
    yield of_bytes("thin_5000000x1_1bit.bmp", bmp, 5_000_000, 1, bytes(625_000), 0, 1)
    sides = {"minimum": -(2**31), "maximum": 2**31 - 1, "negative": -64, "zero": 0}
    for name, side in sides.items():
        yield of_bytes(f"width_{name}.bmp", bmp, side, 64, plain)
        yield of_bytes(f"height_{name}.bmp", bmp, 64, side, plain)
        yield of_bytes(f"sides_{name}.bmp", bmp, side, side, plain)
    for colours in (0, 1, 257, 2**31, 2**32 - 1):
        yield of_bytes(f"colours_{colours}.bmp", bmp, 64, 64, plain, colours=colours)
    for bits in (0, 2, 3, 16, 24, 32, 64, 65535):
        yield of_bytes(f"bits_{bits}.bmp", bmp, 64, 64, plain, bits=bits)
    for name, masks in {"zero": bytes(16), "all": b"\xff" * 16, "same": b"\1\0\0\0" * 4}.items():
        yield of_bytes(f"masks_{name}.bmp", bmp, 64, 64, plain * 4, FIELDS, 32, masks=masks, header_size=56)
    for size in (0, 11, 12, 39, 108, 124, 2**31, 2**32 - 1):
        yield of_bytes(f"header_{size}.bmp", bmp, 64, 64, plain, header_size=size)
    for offset in (0, 1, 2**31, 2**32 - 1):
        yield of_bytes(
            f"pixels_at_{offset}.bmp",
            lambda offset: bmp(64, 64, plain).replace(struct.pack("<I", 1078), struct.pack("<I", offset), 1),
            offset,
        )
    yield of_bytes("compression_99.bmp", bmp, 64, 64, plain, 99)
    yield of_bytes("cut.bmp", lambda: bmp(64, 64, plain)[:40], answer="sentence")
    yield of_bytes("empty.bmp", lambda: b"", answer="sentence")
