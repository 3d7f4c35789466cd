"""TIFF files: chains of directories, second directories broken in many ways, strips and tiles, bombs."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from hostile import Case, of_bytes
from hostile.streams import GB, chest_rows, zlibbed

SHORT, LONG, RATIONAL, FLOAT, LONG8 = 3, 4, 5, 11, 16
WIDTH, HEIGHT, BITS, COMPRESSION, COLOUR, OFFSETS, TURN, SAMPLES, ROWS, COUNTS = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 279,
)  # fmt: skip
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT, EXIF, GPS = 322, 323, 324, 325, 339, 34665, 34853
Directory = dict[int, tuple[int, int, int | bytes]]  # tag: type, count, value or offset


def picture(width: int = 16, height: int = 16, offset: int = 8, size: int = 256, **changes: object) -> Directory:
    """Return the directory of a grey picture of 8 bits; `changes` replace entries, by the names above."""
    plain = {
        **{WIDTH: width, HEIGHT: height, BITS: 8, COMPRESSION: 1, COLOUR: 1, OFFSETS: offset, SAMPLES: 1},
        **{ROWS: height, COUNTS: size},
    }
    entries = {tag: (LONG, 1, value) for tag, value in plain.items()}
    return entries | {globals()[name]: entry for name, entry in changes.items()}


def packed(directory: Directory, following: int, order: str = "<") -> bytes:
    """Return a directory as bytes, with the offset of the following one."""
    entries = b""
    for tag, (kind, count, value) in sorted(directory.items()):
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        entries += value if isinstance(value, bytes) else struct.pack(f"{order}I", value % 2**32)
    return struct.pack(f"{order}H", len(directory)) + entries + struct.pack(f"{order}I", following % 2**32)


def tiff(
    first: Directory, pixels: bytes = bytes(range(256)), after: bytes = b"", following: int | None = None
) -> bytes:
    """Return a TIFF of one directory and what comes after it, which is taken for the second directory if there is any.

    `following` replaces the offset of the second directory.
    """
    start = 8 + len(pixels)
    end = start + 6 + 12 * len(first)
    following = following if following is not None else end if after else 0
    return b"II*\0" + struct.pack("<I", start) + pixels + packed(first, following) + after


def chain(count: int, directory: Directory, loop: bool = False) -> bytes:
    """Return a TIFF of `count` equal directories; the last leads nowhere, or to the first of them."""
    start, size = 264, 6 + 12 * len(directory)
    first = tiff(picture(), following=start + 6 + 12 * len(picture()))
    offsets = [len(first) + number * size for number in range(1, count)] + [len(first) if loop else 0]
    body = packed(directory, 0)[:-4]
    return first + b"".join(body + struct.pack("<I", offset) for offset in offsets)


def broken_directories() -> dict[str, bytes]:
    """Return what a second directory can be, by what is wrong with it."""
    without = lambda *tags: {tag: entry for tag, entry in picture().items() if tag not in tags}  # noqa: E731
    tiles = without(OFFSETS, COUNTS, ROWS)
    nan = struct.pack("<f", float("nan"))
    directories = {
        "empty": {},
        "no_size": without(WIDTH, HEIGHT),
        "no_width": without(WIDTH),
        "no_bits": without(BITS),
        "no_colour": without(COLOUR),
        "no_offsets": without(OFFSETS),
        "no_counts": without(COUNTS),
        "no_rows": without(ROWS),
        "only_bits": {BITS: (SHORT, 1, 8)},
        "size_text": picture(WIDTH=(2, 4, b"abc\0"), HEIGHT=(2, 4, b"abc\0")),
        "size_zero": picture(0, 0),
        "size_huge": picture(2**32 - 1, 2**32 - 1),
        "size_large": picture(60_000, 60_000),
        "size_nan": picture(WIDTH=(FLOAT, 1, nan), HEIGHT=(FLOAT, 1, nan)),
        "size_over_0": picture(WIDTH=(RATIONAL, 1, 200), HEIGHT=(RATIONAL, 1, 200)),
        "size_negative": picture(WIDTH=(9, 1, -16), HEIGHT=(9, 1, -16)),
        "size_many": picture(WIDTH=(LONG, 50, 8), HEIGHT=(LONG, 50, 8)),
        "size_none": picture(WIDTH=(LONG, 0, 0), HEIGHT=(LONG, 0, 0)),
        "bits_13": picture(BITS=(SHORT, 1, 13)),
        "bits_0": picture(BITS=(SHORT, 1, 0)),
        "bits_many": picture(BITS=(SHORT, 30_000, 8)),
        "bits_text": picture(BITS=(2, 4, b"abc\0")),
        "samples_77": picture(SAMPLES=(SHORT, 1, 77)),
        "samples_0": picture(SAMPLES=(SHORT, 1, 0)),
        "colour_999": picture(COLOUR=(SHORT, 1, 999)),
        "colour_text": picture(COLOUR=(2, 4, b"abc\0")),
        "compression_999": picture(COMPRESSION=(SHORT, 1, 999)),
        "compression_jpeg": picture(COMPRESSION=(SHORT, 1, 7)),
        "compression_float": picture(COMPRESSION=(FLOAT, 1, nan)),
        "format_9": picture(SAMPLE_FORMAT=(SHORT, 1, 9)),
        "format_many": picture(SAMPLE_FORMAT=(SHORT, 9999, 8)),
        "offsets_end": picture(OFFSETS=(LONG, 1, 2**32 - 1)),
        "offsets_1e9": picture(OFFSETS=(LONG, 10**9, 8), COUNTS=(LONG, 10**9, 8)),
        "offsets_text": picture(OFFSETS=(2, 4, b"abc\0")),
        "tiles_zero": tiles | {TILE_WIDTH: (LONG, 1, 0), TILE_HEIGHT: (LONG, 1, 0), TILE_OFFSETS: (LONG, 1, 8)},
        "tiles_no_size": tiles | {TILE_OFFSETS: (LONG, 1, 8)},
        "tiles_huge": tiles | {TILE_WIDTH: (LONG, 1, -1), TILE_HEIGHT: (LONG, 1, -1), TILE_OFFSETS: (LONG, 1, 8)},
        "exif_self": picture(EXIF=(LONG, 1, 264)),
        "gps_self": picture(GPS=(LONG, 1, 264)),
        "turn_9999": picture(TURN=(SHORT, 1, 9999)),
        "type_99": picture(WIDTH=(99, 1, 16)),
        "count_4G": picture(WIDTH=(LONG, -1 % 2**32, 8)),
    }
    whole = {name: packed(directory, 0) for name, directory in directories.items()}
    cut = {"65535_entries": b"\xff\xff\1", "one_byte": b"\1", "half": packed(picture(), 0)[:40], "junk": b"\xff" * 500}
    return whole | cut | {"no_end": packed(picture(), 0)[:-4]}


def strips(compression: int, data: bytes, width: int, height: int, bits: int = 8, samples: int = 1) -> bytes:
    """Return a TIFF of one compressed strip."""
    colour = {1: 1, 3: 2, 4: 5}[samples]
    changes = {"COMPRESSION": (SHORT, 1, compression), "BITS": (SHORT, 1, bits), "COLOUR": (SHORT, 1, colour)}
    return tiff(picture(width, height, size=len(data), SAMPLES=(SHORT, 1, samples), **changes), data)


def tiled(side: int, tile: int, count: int = 1) -> bytes:
    """Return a TIFF that says it is of such tiles, whose data is short."""
    entries = picture(side, side)
    for tag in (OFFSETS, COUNTS, ROWS):
        del entries[tag]
    sizes = {TILE_WIDTH: (LONG, 1, tile), TILE_HEIGHT: (LONG, 1, tile)}
    return tiff(entries | sizes | {TILE_OFFSETS: (LONG, count, 8), TILE_COUNTS: (LONG, count, 200)})


def saved(compression: str, width: int, height: int, mode: str = "L") -> bytes:
    """Return a whole TIFF as Pillow writes it."""
    rows = b"".join(content * count for content, count in chest_rows(width, height))
    buffer = io.BytesIO()
    Image.frombytes("L", (width, height), rows).convert(mode).save(buffer, "TIFF", compression=compression)
    return buffer.getvalue()


def cases() -> Iterator[Case]:
    """Yield the cases."""
    small = {WIDTH: (LONG, 1, 16), HEIGHT: (LONG, 1, 16)}
    for count, directory, name in (
        (200, picture(), "whole"),
        (20_000, picture(), "whole"),
        (80_000, picture(), "whole"),
        (300_000, small, "small"),
        (500_000, {BITS: (SHORT, 1, 8)}, "one_entry"),
        (1_500_000, {}, "empty"),
    ):
        yield of_bytes(f"chain_{count}_{name}.tif", chain, count, directory)
    for count in (1, 2, 1000, 50_000):
        yield of_bytes(f"loop_{count}.tif", chain, count, picture(), loop=True)
    for name, directory in broken_directories().items():
        yield of_bytes(f"second_{name}.tif", tiff, picture(), after=directory)
        # The same directory as the only one.
        alone = b"II*\0\x08\1\0\0" + bytes(range(256)) + directory
        yield of_bytes(f"first_{name}.tif", lambda alone=alone: alone)
    for offset in (1, 9, 2**31, 2**32 - 1, 264):
        yield of_bytes(f"second_at_{offset}.tif", tiff, picture(), following=offset)
    for name, width, height in (("large", 10_000, 10_000), ("thin", 1_000_000, 1), ("tall", 1, 1_000_000)):
        for bits in (1, 8, 16, 32):
            yield of_bytes(
                f"{name}_{width}x{height}_{bits}bit.tif",
                lambda w, h, bits: strips(8, zlibbed(*chest_rows(-(-w * bits // 8), h)), w, h, bits),
                width,
                height,
                bits,
            )
    yield of_bytes("deflate_4GB_in_64x64.tif", lambda: strips(8, zlibbed(4 * GB), 64, 64))
    yield of_bytes("packbits_10000x10000.tif", lambda: strips(32773, b"\x81\0" * 781_250, 10_000, 10_000))
    yield of_bytes("packbits_too_long.tif", lambda: strips(32773, b"\x81\0" * 4_000_000, 64, 64))
    for compression, mode in (
        ("group4", "1"),
        ("tiff_lzw", "L"),
        ("tiff_lzw", "RGB"),
        ("packbits", "CMYK"),
    ):
        for width, height in ((10_000, 10_000), (60_000, 1_600), (200_000, 8)):
            name = f"whole_{width}x{height}_{compression}_{mode}.tif"
            yield of_bytes(name, saved, compression, width, height, mode)
    yield of_bytes("whole_5000x5000_jpeg_RGB.tif", saved, "jpeg", 5_000, 5_000, "RGB")
    yield of_bytes("lzw_junk.tif", lambda: strips(5, bytes(range(256)) * 1000, 10_000, 10_000))
    yield of_bytes("fax_junk.tif", lambda: strips(4, bytes(range(256)) * 1000, 10_000, 10_000, 1))
    yield of_bytes("jpeg_junk.tif", lambda: strips(7, bytes(range(256)) * 1000, 10_000, 10_000))
    yield of_bytes("zstd_junk.tif", lambda: strips(50000, bytes(range(256)) * 1000, 5000, 5000))
    yield of_bytes("samples_60000.tif", lambda: tiff(picture(SAMPLES=(SHORT, 1, 60_000))))
    yield of_bytes("rows_4G.tif", lambda: tiff(picture(ROWS=(LONG, 1, 2**32 - 1), COUNTS=(LONG, 1, 2**32 - 1))))
    yield of_bytes("description_4G.tif", lambda: tiff(picture() | {270: (2, 2**32 - 1, 8)}))
    yield of_bytes("description_5MB.tif", lambda: tiff(picture(size=256) | {270: (2, 5_000_000, 8)}, bytes(5_000_000)))
    yield of_bytes("entries_65535.tif", lambda: tiff(picture() | dict.fromkeys(range(1000, 65500), (LONG, 1, 1))))
    yield of_bytes("rationals_1M.tif", lambda: tiff(picture() | {700: (RATIONAL, 1_000_000, 8)}, bytes(8_100_000)))
    for side, tile, count in ((16, 2**31 - 16, 1), (9_000, 1, 1), (9_000, 16, 10**9), (16, 0, 1), (10_000, 65_536, 1)):
        yield of_bytes(f"tiles_{side}_of_{tile}_x{count}.tif", tiled, side, tile, count)
    big = b"II+\0\x08\0\0\0"
    yield of_bytes("bigtiff_far.tif", lambda: big + struct.pack("<Q", 2**63))
    yield of_bytes("bigtiff_entries.tif", lambda: big + struct.pack("<QQ", 16, 2**60) + bytes(1000))
    yield of_bytes(
        "bigtiff_count.tif",
        lambda: big + struct.pack("<QQ", 16, 1) + struct.pack("<HHQQ", WIDTH, LONG8, 2**60, 8) + bytes(8),
    )
    yield of_bytes(
        "bigtiff_loop.tif", lambda: big + struct.pack("<QQ", 16, 1) + struct.pack("<HHQQQ", WIDTH, LONG8, 1, 16, 16)
    )
    yield of_bytes("other_order.tif", lambda: b"MM\0*" + struct.pack(">I", 8) + packed(picture(), 8, ">"))
    yield of_bytes("text.tif", lambda: b"no picture", answer="sentence")
    yield of_bytes("empty.tif", lambda: b"", answer="sentence")
