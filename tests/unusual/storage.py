"""Single pictures: how PNG, BMP, GIF, JPEG and TIFF files store them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from unusual import SIZE, case, cases, ct_slice, film, judge
from unusual.exports import save
from unusual.pictures import deep, judge_alike, png16, tiff

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(path, array, *chunks, passes=()):
    """Write a grey PNG of 8 or 16 bits with more `chunks` (name and content), perhaps interlaced in `passes`."""
    kind = ">u2" if array.dtype.itemsize == 2 else "u1"
    parts = [array[row::rows, column::columns] for row, column, rows, columns in passes] or [array]
    data = zlib.compress(b"".join(b"\0" + row.astype(kind).tobytes() for part in parts for row in part))
    header = struct.pack(">IIBBBBB", *array.shape[::-1], 8 * array.dtype.itemsize, 0, 0, 0, int(bool(passes)))
    content = b"\x89PNG\r\n\x1a\n"
    for name, part in ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")):
        content += struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
    path.write_bytes(content)
    return path


def palette(path, **options):
    """Write the film as a picture of palette colours in another order, the first of them perhaps transparent."""
    image = Image.fromarray(255 - film(), "P")
    image.putpalette([255 - number // 3 for number in range(768)])
    image.save(path, **options)
    return path


def animated_png(path):
    first = Image.fromarray(film())
    first.save(path, save_all=True, append_images=[Image.fromarray(np.fliplr(film()))])
    return path


# Right: the mask of the ordinary film. Of several frames, the first is read, and the table says so.
PNGS = {
    "a gamma of 1": lambda path: png(path, film(), (b"gAMA", struct.pack(">I", 100_000))),
    "interlaced rows": lambda path: png(path, film(), passes=ADAM7),
    "interlaced rows of 16 bits": lambda path: png(path, deep(), passes=ADAM7),
    "a transparent grey": lambda path: png(path, film(), (b"tRNS", struct.pack(">H", 0))),
    "12 significant bits": lambda path: png(path, deep(), (b"sBIT", b"\x0c")),
    "a palette in another order": palette,
    "a palette with a transparent colour": lambda path: palette(path, transparency=255),
    "two frames (APNG)": animated_png,
}


@cases("Film as PNG with {}.", PNGS)
def pngs(folder, make):
    return judge(make(folder / "a.png"), "film", "first")


def bmp(path, header, rows, height, palette=b""):
    """Write a BMP of the film with a header of Windows: bits and compression, and the bytes of its rows."""
    bits, compression = header
    info = struct.pack("<IiiHHIIiiII", 40, SIZE, height, 1, bits, compression, len(rows), 2835, 2835, 0, 0)
    start = 14 + len(info) + len(palette)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + palette + rows)
    return path


GREYS = b"".join(bytes([number, number, number, 0]) for number in range(256))


def run_lengths(rows):
    """Return rows of bytes as BI_RLE8 packs them, in runs of one."""
    return b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in rows.tolist()) + b"\0\1"


def in_15_bits():
    return (film() >> 3).astype("<u2") * (1 + 32 + 1024)


# Right: the mask of the ordinary film; a format that is not read needs a sentence.
BMPS = {
    "rows from the top": lambda path: bmp(path, (8, 0), film().tobytes(), -SIZE, GREYS),
    "rows packed in runs": lambda path: bmp(path, (8, 1), run_lengths(film()[::-1]), SIZE, GREYS),
    "an inverted palette": lambda path: bmp(
        path, (8, 0), (255 - film()[::-1]).tobytes(), SIZE, GREYS[::-1][1:] + b"\0"
    ),
    "32 bits and no opacity": lambda path: bmp(
        path, (32, 0), np.dstack([*[film()[::-1]] * 3, 0 * film()]).tobytes(), SIZE
    ),
}  # fmt: skip


@cases("Film as BMP with {}.", BMPS)
def bmps(folder, make):
    return judge(make(folder / "a.bmp"), "film", "BMP")


def animation(path):
    first = Image.fromarray(film())
    first.save(path, save_all=True, append_images=[Image.fromarray(np.fliplr(film()))], duration=50)
    return path


def multi_picture(path):
    """Write two JPEG pictures in one file, as telephones do (MPO)."""
    first = Image.fromarray(film()).convert("RGB")
    first.save(path, "MPO", save_all=True, append_images=[first.resize((64, 64))], quality=98)
    return path


def cut(path):
    buffer = io.BytesIO()
    Image.fromarray(film()).save(buffer, "JPEG", quality=95)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    return path


def web_picture(path):
    Image.fromarray(film()).save(path, "WEBP", lossless=True)
    return path


# Right: the mask of the ordinary film, or the sentence that more pictures are in the file, or that it is damaged.
OTHERS = {
    "an animated GIF": ("a.gif", animation, "first"), "a JPEG of two pictures": ("a.jpg", multi_picture, "first"),
    "half of a JPEG": ("a.jpg", cut, "whole"), "WebP called .png": ("a.png", web_picture, "named after its format"),
    "a progressive JPEG": ("a.jpg", lambda path: save(path, film(), quality=98, progressive=True), "none"),
    "PNG without a suffix": ("IM0001", lambda path: save(path, film(), format="PNG"), "IM0001", "end its name"),
    "a picture with an unfinished name": ("a.png.part", lambda path: save(path, film(), format="PNG"), ".part"),
}  # fmt: skip


@cases("Film as {}.", OTHERS)
def others(folder, kind):
    name, make, *words = kind
    return judge(make(folder / name), "film", *words)


def with_alpha(path):
    return tiff(
        path, np.dstack([film(), np.full_like(film(), 255)]), photometric="minisblack", extrasamples=["unassalpha"]
    )


def cmyk(path, kind="u1"):
    black = (255 - film()).astype(kind) * (np.iinfo(kind).max // 255)
    return tiff(path, np.dstack([0 * black, 0 * black, 0 * black, black]), photometric="separated")


def grey_in_cmyk(path, kind="u1"):
    ink = (255 - film()).astype(kind) * (np.iinfo(kind).max // 255)
    return tiff(path, np.dstack([ink, ink, ink, 0 * ink]), photometric="separated")


def packed_12(path, order="<"):
    """Write the film in 12 bits, two pixels in three bytes."""
    first, second = deep()[:, ::2].astype(np.uint32), deep()[:, 1::2].astype(np.uint32)
    rows = np.dstack([first >> 4, (first & 15) << 4 | second >> 8, second & 255]).astype(np.uint8).tobytes()
    entries = [(256, 4, SIZE), (257, 4, SIZE), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1),
               (278, 4, SIZE), (279, 4, len(rows))]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(
            f"{order}HHI" + ("HH" if kind == 3 else "I"), tag, kind, 1, *([value, 0] if kind == 3 else [value])
        )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    path.write_bytes((start + directory + bytes(4)).ljust(122, b"\0") + rows)
    return path


def through_table(path):
    table = np.stack([np.arange(255, -1, -1, dtype=np.uint16) * 257] * 3)
    return tiff(path, 255 - film(), photometric="palette", colormap=table)


# Right: the mask of the ordinary film, or a sentence that the file is not read.
TIFFS = {
    "LZW and differences": lambda path: tiff(path, deep(), compression="lzw", predictor=True),
    "LZW, the high byte first": lambda path: tiff(path, deep(), compression="lzw", predictor=True, byteorder=">"),
    "floats from 0 to 1, packed as differences": lambda path: tiff(
        path, (film() / 255).astype("f4"), compression="deflate", predictor=True
    ),
    "colours in planes": lambda path: tiff(path, np.stack([film()] * 3), photometric="rgb", planarconfig="separate"),
    "16-bit colours in planes": lambda path: tiff(
        path, np.stack([deep()] * 3), photometric="rgb", planarconfig="separate"
    ),
    "opacity": with_alpha, "CMYK of black ink": cmyk, "CMYK of three inks": grey_in_cmyk,
    "16-bit CMYK of black ink": lambda path: cmyk(path, "u2"),
    "16-bit CMYK of three inks": lambda path: grey_in_cmyk(path, "u2"),
    "12 bits a pixel": packed_12, "12 bits a pixel, the high byte first": lambda path: packed_12(path, ">"),
    "a table of colours": through_table,
    "tiles": lambda path: tiff(path, deep(), tile=(64, 64)),
    "floats from 0 to 255": lambda path: tiff(path, film().astype("f4")),
    "floats from -1 to 1": lambda path: tiff(path, (film() / 127.5 - 1).astype("f4")),
    "floats of mean 0 and deviation 1": lambda path: tiff(path, ((film() - film().mean()) / film().std()).astype("f4")),
    "JPEG of colours": lambda path: save(path, np.dstack([film()] * 3), compression="jpeg", quality=98),
    "ImageJ's stack of one IFD": lambda path: tiff(path, np.stack([film(), film()[::-1]]), imagej=True, truncate=True),
}  # fmt: skip


@cases("Film as TIFF of {}.", TIFFS)
def tiffs(folder, make):
    return judge(make(folder / "a.tif"), "film", "Save it")


def bordered(value, kind=np.float32):
    """Return the film in 12 bits with a border without data."""
    values = deep().astype(kind)
    values[:8] = values[-8:] = values[:, :8] = values[:, -8:] = value
    return values


# Right: the mask of a film with a black border.
BORDERS = {
    "floats, -9999": bordered(-9999), "floats, -999": bordered(-999), "floats, -1": bordered(-1),
    "16 bits with a sign, -32768": bordered(-32768, np.int16), "16 bits with a sign, -1000": bordered(-1000, np.int16),
    "16 bits, 65535": bordered(65535, np.uint16), "32 bits, 4294967295": bordered(2**32 - 1, np.uint32),
    "floats, the smallest": bordered(np.finfo(np.float32).min), "floats, nan": bordered(np.nan),
}  # fmt: skip


@cases("Film as TIFF with a border without data of {}.", BORDERS)
def borders(folder, values):
    plain = film().copy()
    plain[:8] = plain[-8:] = plain[:, :8] = plain[:, -8:] = 0
    return judge_alike(tiff(folder / "a.tif", values), save(folder / "plain.png", plain))


def normalised(folder):
    return tiff(folder / "a.tif", ((ct_slice().clip(-1000, 400) + 1000) / 1400).astype("f4"))


# Right: the mask of the ordinary slice, or a sentence that it is not read, or not CT in Hounsfield units.
SLICES = {
    "pages of a volume": lambda folder: tiff(folder / "a.tif", np.stack([ct_slice()] * 5)),
    "floats, packed as differences": lambda folder: tiff(
        folder / "a.tif", ct_slice().astype("f4"), compression="lzw", predictor=True
    ),
    "floats, the high byte first, packed": lambda folder: tiff(
        folder / "a.tif", ct_slice().astype("f4"), compression="lzw", byteorder=">"
    ),
    "the window of the lungs, 0 to 1": normalised,
}  # fmt: skip


@cases("CT slice as TIFF of {}.", SLICES)
def ct_slices(folder, make):
    return judge(make(folder), "ct", "Save it")


@case
def deep_png_of_colours_and_key(folder):
    """16-bit colour PNG with interlaced rows and opacity."""  # right
    return judge(png16(folder / "a.png", np.dstack([deep(), deep(), deep(), deep() * 0 + 65535])), "film")
