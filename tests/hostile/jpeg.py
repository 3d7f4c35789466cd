"""JPEG files: scans, segments and pictures without number, sizes that cannot be, kinds that few readers know."""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from hostile import Case, of_bytes
from hostile.streams import chest_rows


def jpeg(width: int = 256, height: int = 256, mode: str = "L", **options: object) -> bytes:
    """Return a whole JPEG."""
    rows = b"".join(content * count for content, count in chest_rows(width, height))
    buffer = io.BytesIO()
    Image.frombytes("L", (width, height), rows).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def resized(content: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose header says another size."""
    start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: start + 5] + struct.pack(">HH", height, width) + content[start + 9 :]


def scans(count: int, width: int, height: int, mode: str = "L") -> bytes:
    """Return a progressive JPEG in which the last scan comes `count` times."""
    content = resized(jpeg(64, 64, mode, progressive=True), width, height)
    last = content.rfind(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + b"\xff\xd9"


def segments(marker: int, count: int, data: bytes) -> bytes:
    """Return a JPEG with equal segments before the picture."""
    content = jpeg()
    return content[:2] + (bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data) * count + content[2:]


def with_exif(entries: bytes, count: int | None = None) -> bytes:
    """Return a JPEG with an EXIF segment of these entries."""
    count = len(entries) // 12 if count is None else count
    return segments(0xE1, 1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4))


def pictures(count: int, entries: int | None = None) -> bytes:
    """Return a JPEG that says it holds `count` pictures (MPO), with the places of `entries` of them."""
    entries = min(count, 4000) if entries is None else entries
    head = struct.pack("<H", 2) + struct.pack("<HHII", 0xB001, 4, 1, count)
    head += struct.pack("<HHII", 0xB002, 7, 16 * count % 2**32, 38) + bytes(4)
    return segments(0xE2, 1, b"MPF\0II*\0\x08\0\0\0" + head + bytes(16 * entries))


def marked(start: int) -> bytes:
    """Return a JPEG whose frame is of another kind, by its marker."""
    return jpeg().replace(b"\xff\xc0", bytes([0xFF, start]), 1)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for count, side in (
        (100, 256),
        (1_000, 256),
        (30_000, 256),
        (100, 4_000),
        (3_000, 4_000),
        (100, 10_000),
        (3_000, 10_000),
        (30_000, 9_500),
    ):
        yield of_bytes(f"scans_{count}_{side}.jpg", scans, count, side, side)
        yield of_bytes(f"scans_{count}_{side}_colour.jpg", scans, count, side, side, "RGB")
    yield of_bytes("scans_3000_thin.jpg", scans, 3_000, 65_500, 100)
    for width, height in ((65_535, 65_535), (10_000, 10_000), (0, 0), (65_535, 1), (1, 65_535), (256, 0)):
        yield of_bytes(
            f"says_{width}x{height}.jpg", lambda width, height: resized(jpeg(), width, height), width, height
        )
        yield of_bytes(
            f"says_{width}x{height}_progressive.jpg",
            lambda width, height: resized(jpeg(progressive=True), width, height),
            width,
            height,
        )
    for width, height in ((65_500, 1), (1, 65_500), (65_500, 1_500)):
        yield of_bytes(f"thin_{width}x{height}.jpg", jpeg, width, height)
    yield of_bytes("large_10000x10000_colour.jpg", jpeg, 10_000, 10_000, "RGB", quality=1)
    yield of_bytes("large_10000x10000_cmyk.jpg", jpeg, 10_000, 10_000, "CMYK", quality=1)
    yield of_bytes("large_10000x10000_progressive.jpg", jpeg, 10_000, 10_000, "RGB", quality=1, progressive=True)
    for name, marker, data in (
        ("exif", 0xE1, b"Exif\0\0"),
        ("profile", 0xE2, b"ICC_PROFILE\0\1\xff"),
        ("photoshop", 0xED, b"Photoshop 3.0\0"),
        ("comment", 0xFE, b""),
        ("mpf", 0xE2, b"MPF\0"),
    ):
        yield of_bytes(f"{name}_150x64kB.jpg", segments, marker, 150, data + bytes(65_533 - len(data)))
        yield of_bytes(f"{name}_500k_small.jpg", segments, marker, 9_900_000 // (4 + len(data)), data)
    yield of_bytes("fill_9MB.jpg", lambda: jpeg()[:2] + b"\xff" * 9_000_000 + jpeg()[2:])
    yield of_bytes("restarts_9MB.jpg", lambda: jpeg()[:-2] + b"\xff\xd0" * 4_500_000 + b"\xff\xd9")
    yield of_bytes("tables_60k.jpg", segments, 0xDB, 60_000, bytes([0]) + b"\1" * 64)
    for count in (2, 1_000, 10**6, 2**32 - 1):
        yield of_bytes(f"pictures_{count}.jpg", pictures, count)
    yield of_bytes("pictures_no_places.jpg", pictures, 50, 0)
    for name, marker in {
        "extended": 0xC1,
        "lossless": 0xC3,
        "arithmetic": 0xC9,
        "arithmetic_progressive": 0xCA,
        "hierarchical": 0xC5,
    }.items():
        yield of_bytes(f"kind_{name}.jpg", marked, marker)
    yield of_bytes("bits_12.jpg", lambda: jpeg().replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c", 1))
    yield of_bytes(
        "channels_255.jpg",
        lambda: jpeg().replace(b"\xff\xc0\0\x0b\x08\1\0\1\0\1", b"\xff\xc0\0\x0b\x08\1\0\1\0\xff", 1),
    )
    entry = lambda tag, kind, count, value: struct.pack("<HHII", tag, kind, count, value)  # noqa: E731
    exifs = {
        "loop": entry(0x8769, 4, 1, 8), "turn_99": entry(0x0112, 3, 1, 99), "turn_many": entry(0x0112, 3, 2**32 - 1, 8),
        "turn_text": entry(0x0112, 2, 3, 0x414141), "turn_ratio": entry(0x0112, 5, 1, 8),
        "gps_loop": entry(0x8825, 4, 1, 8),
        "makernote": entry(0x927C, 7, 2**31, 8), "thumbnail": entry(0x0201, 4, 1, 2**32 - 1),
        "resolution_zero": entry(0x011A, 5, 1, 40),
        "types_unknown": entry(0x0112, 99, 1, 1) * 1000, "same_5000": entry(0x0112, 3, 1, 6) * 5000,
    }  # fmt: skip
    for name, entries in exifs.items():
        yield of_bytes(f"exif_{name}.jpg", with_exif, entries)
    yield of_bytes("exif_65535_entries.jpg", with_exif, b"", 65_535)
    yield of_bytes("no_tables.jpg", lambda: jpeg().replace(b"\xff\xdb", b"\xff\xfe"))
    yield of_bytes("no_codes.jpg", lambda: jpeg().replace(b"\xff\xc4", b"\xff\xfe"))
    yield of_bytes("cut.jpg", lambda: jpeg()[:700])
    yield of_bytes("cut_header.jpg", lambda: jpeg()[:100])
    yield of_bytes("start_only.jpg", lambda: b"\xff\xd8\xff", answer="sentence")
    yield of_bytes("empty.jpg", lambda: b"", answer="sentence")
