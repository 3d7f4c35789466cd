"""Single pictures: bit depths, ranges, padding, turns."""

import struct
import zlib

import numpy as np
from PIL import Image

from lungnb.segmentation.predict import segment
from unusual import MIN_DICE, Result, case, ct_slice, dice, film, judge

RNG = np.random.default_rng(0)


def deep():
    """Return the film in 12 bits."""
    return film().astype(np.uint16) * 16


def png16(path, array):
    """Write a PNG with 16 bits a channel: `(height, width)`, or with 2 (grey, alpha), 3 or 4 channels."""
    height, width = array.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if array.ndim == 2 else array.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in array))
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n"
    for name, part in chunks:
        content += struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
    path.write_bytes(content)
    return path


def tiff(path, array, **options):
    """Write a TIFF as scientific programs do."""
    import tifffile

    tifffile.imwrite(path, array, **options)
    return path


def with_marker(array, value):
    """Return a picture with a burnt-in square in a corner."""
    marked = array.copy()
    marked[5:20, 5:20] = value
    return marked


@case
def marker_in_a_deep_film(folder):
    """16-bit PNG with a bright marker."""
    return judge(png16(folder / "a.png", with_marker(deep(), 65535)), "film")


@case
def broken_pixels(folder):
    """16-bit PNG with broken pixels."""
    film16 = deep()
    film16.flat[RNG.integers(0, film16.size, 60)] = RNG.integers(30_000, 65_535, 60)
    return judge(png16(folder / "a.png", film16), "film")


@case
def padding_of_a_deep_film(folder):
    """16-bit PNG padded with 65535."""
    padded = np.pad(deep(), ((0, 0), (8, 8)), constant_values=65535)
    unpadded = np.pad(film(), ((0, 0), (8, 8)))
    Image.fromarray(unpadded).save(folder / "plain.png")
    return judge_alike(png16(folder / "a.png", padded), folder / "plain.png")


def judge_alike(path, plain):
    """Compare the mask of a file with that of an ordinary file."""
    score = dice(segment(path).mask, segment(plain).mask)
    return Result("right" if score >= MIN_DICE else "wrong", f"Dice {score:.3f}")


@case
def deep_colour_png(folder):
    """16-bit colour PNG that uses 12 bits."""
    return judge(png16(folder / "a.png", np.dstack([deep()] * 3)), "film")


@case
def deep_colour_and_alpha_png(folder):
    """16-bit colour PNG with opacity."""
    return judge(png16(folder / "a.png", np.dstack([*[deep()] * 3, np.full_like(deep(), 65535)])), "film")


@case
def deep_grey_and_alpha_png(folder):
    """16-bit grey PNG with opacity."""
    return judge(png16(folder / "a.png", np.dstack([deep(), np.full_like(deep(), 65535)])), "film")


@case
def deep_colour_tiff(folder):
    """16-bit colour TIFF that uses 12 bits."""
    return judge(tiff(folder / "a.tif", np.dstack([deep()] * 3), photometric="rgb"), "film")


for kind in ("f2", "f4", "f8", "i2", "i4", "i8", ">f4", ">i2"):

    def typed(folder, kind=kind):
        return judge(tiff(folder / "a.tif", ct_slice().astype(kind)), "ct")

    typed.__doc__ = f"CT slice as TIFF of type {kind}."
    case(typed)


for kind, order in (("u2", "<"), ("u2", ">"), ("u4", "<"), ("f4", "<"), ("f8", ">")):

    def negative(folder, kind=kind, order=order):
        stored = (255 - film()).astype(kind)
        if kind[0] == "u":  # the last value is black
            stored = np.iinfo(kind).max - film().astype(kind) * (np.iinfo(kind).max // 255)
        return judge(tiff(folder / "a.tif", stored, photometric="miniswhite", byteorder=order), "film")

    negative.__doc__ = f"TIFF of type {order}{kind} whose 0 is white."
    case(negative)


@case
def large_numbers(folder):
    """Film as 32-bit TIFF with values above 2^31."""
    return judge(tiff(folder / "a.tif", film().astype(np.uint32) * 2**23 + 2**31), "film")


@case
def shares(folder):
    """Film as float64 TIFF from 0 to 1."""
    return judge(tiff(folder / "a.tif", film() / 255.0), "film")


@case
def big_tiff(folder):
    """CT slice as BigTIFF."""
    return judge(tiff(folder / "a.tif", ct_slice(), bigtiff=True), "ct")


@case
def nan_outside(folder):
    """TIFF whose outside is NaN."""
    values = ct_slice().astype(np.float32)
    values[values < -990] = np.nan
    return judge(tiff(folder / "a.tif", values), "ct")


for offset in (1024, 32768):

    def shifted(folder, offset=offset):
        values = ct_slice().astype(np.int32) + offset
        return judge(png16(folder / "a.png", values.clip(0).astype(np.uint16)), "ct", "CT")

    shifted.__doc__ = f"CT slice as PNG, {offset} added."
    case(shifted)


@case
def shifted_with_padding(folder):
    """CT slice as PNG, 32768 added, padded with 0."""
    values = ct_slice().astype(np.int32) + 32768
    yy, xx = np.mgrid[:256, :256] - 127.5
    values[np.hypot(yy, xx) > 127] = 0
    return judge(png16(folder / "a.png", values.astype(np.uint16)), "ct", "CT")


@case
def padding_below_air(folder):
    """CT slice padded with -3024."""
    values = ct_slice().copy()
    yy, xx = np.mgrid[:256, :256] - 127.5
    values[np.hypot(yy, xx) > 127] = -3024
    return judge(tiff(folder / "a.tif", values), "ct")


@case
def turned_by_exif(folder):
    """JPEG that is stored turned, as its EXIF data say."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(film()).transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "a.jpg", quality=98, exif=exif)
    return judge(folder / "a.jpg", "film")
