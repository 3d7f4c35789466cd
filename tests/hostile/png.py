"""PNG files: thin, large, with chunks that grow, with chunks without number, damaged."""

import struct
import zlib
from collections.abc import Iterator
from itertools import product

from hostile import Case, of_bytes
from hostile.streams import GB, chest_rows, deflated, zlibbed

COLOURS = {"grey": (0, 1), "rgb": (2, 3), "palette": (3, 1), "greyalpha": (4, 2), "rgba": (6, 4)}  # type, samples
KINDS = [("grey", 1), ("grey", 8), ("grey", 16), ("rgb", 8), ("rgb", 16), ("palette", 8), ("rgba", 8), ("rgba", 16)]
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_END = b"\0\0\0\0IEND\xaeB`\x82"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, colour: str = "grey", interlaced: bool = False) -> bytes:
    """Return the signature and the IHDR chunk, with a palette if there is one."""
    size = struct.pack(">IIBBBBB", width % 2**32, height % 2**32, depth, COLOURS[colour][0], 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == "palette" else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + palette


def png(
    width: int,
    height: int,
    depth: int = 8,
    colour: str = "grey",
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Return a whole PNG with more chunks before and after its pixels."""
    bits = depth * COLOURS[colour][1]
    sizes = [(width, height)]
    if interlaced:
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES]
    sizes = [(-(-across * bits // 8), down) for across, down in sizes if across > 0 and down > 0]
    rows = [part for row_bytes, down in sizes for part in chest_rows(row_bytes, down, b"\0")]
    start = header(width, height, depth, colour, interlaced)
    return start + before + chunk(b"IDAT", zlibbed(*rows)) + after + chunk(b"IEND")


def with_pixels(data: bytes, width: int = 64, height: int = 64) -> bytes:
    """Return a PNG whose pixels are a stream given."""
    return header(width, height) + chunk(b"IDAT", data) + chunk(b"IEND")


def frames(count: int, said: int | None = None) -> bytes:
    """Return an animated PNG of small frames, which says that it has `said` of them."""
    place = struct.pack(">IIIIHHBB", 8, 8, 0, 0, 1, 1, 0, 0)
    pixels = zlib.compress(bytes(72))
    start = chunk(b"acTL", struct.pack(">II", count if said is None else said, 0))
    moving = (
        chunk(b"fcTL", struct.pack(">I", 2 * number + 1) + place)
        + chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + pixels)
        for number in range(count)
    )
    return png(8, 8, before=start + chunk(b"fcTL", bytes(4) + place), after=b"".join(moving))


def text(kind: bytes, count: int, size: int) -> bytes:
    """Return compressed text chunks, or colour profiles, each of `size` bytes when it is unpacked."""
    begin = {b"zTXt": b"k%d\0\0", b"iCCP": b"k%d\0\0", b"iTXt": b"k%d\0\1\0\0\0"}[kind]
    data = zlibbed(size)
    return b"".join(chunk(kind, begin % number + data) for number in range(count))


def exif(entries: bytes) -> bytes:
    """Return an EXIF chunk of these entries, 12 bytes each."""
    return chunk(b"eXIf", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries) // 12) + entries + bytes(4))


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for (colour, depth), interlaced in product(KINDS, (False, True)):
        for width, height in ((1_000_000, 1), (1, 1_000_000)):
            name = f"thin_{width}x{height}_{colour}{depth}{'_interlaced' * interlaced}.png"
            yield of_bytes(name, png, width, height, depth, colour, interlaced)
        name = f"large_10000x10000_{colour}{depth}{'_interlaced' * interlaced}.png"
        yield of_bytes(name, png, 10_000, 10_000, depth, colour, interlaced)
    for width, height in ((100_000, 1), (300_000, 3), (1, 5_000_000), (50_000_000, 2), (30_000, 3_000), (300, 300_000)):
        yield of_bytes(f"thin_{width}x{height}.png", png, width, height)
    for width, height in ((2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (0, 0), (0, 64), (100_001, 1000)):
        yield of_bytes(f"says_{width}x{height}.png", with_pixels, zlibbed(64 * 65), width, height)
    for kind, (count, size) in product((b"zTXt", b"iCCP", b"iTXt"), ((1, 2 * GB), (60, 60_000_000), (4000, 900_000))):
        for place in ("before", "after"):
            more = {place: (kind, count, size)}
            name = f"{kind.decode()}_{count}x{size // 1000}kB_{place}.png"
            yield of_bytes(name, lambda more: png(64, 64, **{p: text(*what) for p, what in more.items()}), more)
    yield of_bytes(
        "text_300k.png", lambda: png(64, 64, before=b"".join(chunk(b"tEXt", b"k%d\0v" % n) for n in range(300_000)))
    )
    yield of_bytes("text_same_key_300k.png", lambda: png(64, 64, after=chunk(b"tEXt", b"k\0v") * 300_000))
    yield of_bytes("unknown_chunks_700k.png", lambda: png(64, 64, before=chunk(b"prVt") * 700_000))
    yield of_bytes("empty_idat_700k.png", lambda: png(64, 64, before=chunk(b"IDAT") * 700_000))
    yield of_bytes("ends_700k.png", lambda: png(64, 64, after=_END * 700_000))
    for count, said in ((5, 5), (30_000, 30_000), (0, 2**31 - 1), (3, 2**31 - 1), (3, 0)):
        yield of_bytes(f"animated_{count}_says_{said}.png", frames, count, said)
    yield of_bytes("pixels_4GB_in_64x64.png", lambda: with_pixels(zlibbed(4 * GB)))
    yield of_bytes("pixels_too_few.png", lambda: with_pixels(zlibbed(10)))
    yield of_bytes("pixels_no_end.png", lambda: with_pixels(b"\x78\xda" + deflated(GB)[:-5]))
    yield of_bytes("pixels_wrong_filter.png", lambda: with_pixels(zlib.compress(b"\xff" * 64 * 65)))
    yield of_bytes("no_pixels.png", lambda: header(64, 64) + chunk(b"IEND"))
    yield of_bytes("two_headers.png", lambda: header(64, 64) + png(9_999, 9_999)[8:])
    yield of_bytes("cut.png", lambda: png(64, 64)[:60])
    yield of_bytes("cut_header.png", lambda: png(64, 64)[:20])
    yield of_bytes("chunk_2GB_long.png", lambda: header(64, 64) + struct.pack(">I", 2**31 - 1) + b"IDAT" + bytes(100))
    yield of_bytes("wrong_sums.png", lambda: png(64, 64).replace(b"IDAT", b"IDAT\1", 1))
    yield of_bytes("depth_3.png", lambda: png(64, 64, depth=3))
    yield of_bytes("palette_missing.png", lambda: png(64, 64, colour="palette").replace(b"PLTE", b"prVt", 1))
    yield of_bytes("exif_self.png", lambda: png(64, 64, before=exif(struct.pack("<HHII", 0x8769, 4, 1, 8))))
    yield of_bytes(
        "exif_huge_count.png", lambda: png(64, 64, before=exif(struct.pack("<HHII", 0x0112, 3, 2**32 - 1, 8)))
    )
    yield of_bytes(
        "exif_turn_text.png", lambda: png(64, 64, before=exif(struct.pack("<HHII", 0x0112, 2, 4, 0x41414141)))
    )
    yield of_bytes("exif_junk.png", lambda: png(64, 64, before=chunk(b"eXIf", b"II*\0" + b"\xff" * 1000)))
    yield of_bytes("exif_cut.png", lambda: png(64, 64, before=chunk(b"eXIf", b"MM")))
    yield of_bytes("empty.png", lambda: b"", answer="sentence")
    yield of_bytes("text.png", lambda: b"no picture", answer="sentence")
    yield of_bytes("web_page.png", lambda: b"<html>" + png(64, 64), answer="sentence")
