"""Unusual but good files, which must give a mask. A limit that refuses one of them is too low."""

import io
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hostile import Case, of_bytes
from hostile.bmp import RUNS_8, bmp
from hostile.dicom import DEFLATED, JPEG, JPEG_2000, RLE, encapsulated, film
from hostile.png import png
from hostile.tiff import (
    COUNTS,
    LONG,
    OFFSETS,
    ROWS,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    picture,
    tiff,
)  # fmt: skip
from lungnb.phantoms.make import make_phantom


def phantom(size: int = 256) -> np.ndarray:
    """Return a drawn chest film, `(size, size)`, uint8."""
    return make_phantom(0, size=size).image


def saved(path: Path, image: Callable[[Image.Image], Image.Image], **options: object) -> None:
    """Write what a function makes of the phantom, in the format that the path says."""
    image(Image.fromarray(phantom())).save(path, **options)


def coded(form: str, **options: object) -> bytes:
    """Return the phantom as a coded picture, for the inside of a DICOM file."""
    buffer = io.BytesIO()
    Image.fromarray(phantom()).save(buffer, form, **options)
    return buffer.getvalue()


def compressed(content: bytes, syntax: str) -> bytes:
    """Return a DICOM file with its picture coded by pydicom."""
    import pydicom

    file, buffer = pydicom.dcmread(io.BytesIO(content)), io.BytesIO()
    file.compress(syntax)
    file.save_as(buffer)
    return buffer.getvalue()


def volume(path: Path, shape: tuple[int, int, int], dtype: type = np.int16) -> None:
    """Write a NIfTI volume, air outside and soft tissue inside."""
    import nibabel

    array = np.full(shape, -1000, dtype)
    array[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = 40
    array[shape[0] // 3 : shape[0] // 2, shape[1] // 3 : -shape[1] // 3] = -800
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-0.7, -0.7, 1.0, 1.0])), path)


def images() -> Iterator[Case]:
    """Yield images."""
    turned = Image.Exif()
    turned[0x0112] = 6
    more = {"save_all": True, "append_images": [Image.fromarray(np.roll(phantom(), shift, 0)) for shift in (1, 2)]}
    many = more | {"append_images": more["append_images"] * 30, "compression": "tiff_deflate"}
    forms = {
        "plain.png": (_same, {}),
        "progressive.jpg": (_in("RGB"), {"progressive": True}),
        "cmyk.jpg": (_in("CMYK"), {}),
        "turned.jpg": (_same, {"exif": turned}),
        "profile_3MB.jpg": (_in("RGB"), {"icc_profile": bytes(3_000_000)}),
        "deep.png": (_times(200, np.uint16), {}),
        "palette.png": (_in("P"), {}),
        "transparent.png": (_in("RGBA"), {}),
        "turned.png": (_same, {"exif": turned}),
        "text_100kB.png": (_same, {"pnginfo": _text(100_000)}),
        "deep.tif": (_times(200, np.uint16), {"compression": "tiff_lzw"}),
        "floats.tif": (_times(1 / 255, np.float32), {}),
        "pages_3.tif": (_same, more),
        "pages_61.tif": (_same, many),
        "jpeg_inside.tif": (_same, {"compression": "jpeg"}),
        "frames_3.gif": (_same, more),
        "frames_61.gif": (_same, more | {"append_images": many["append_images"]}),
        "pictures_3.jpg": (_in("RGB"), more | {"format": "MPO"}),
        "long_spine.png": (_sized(300, 3000), {}),
        "film_3000.jpg": (_sized(3000, 3000), {"quality": 95}),
        "film_3000_progressive.jpg": (_sized(3000, 3000), {"quality": 95, "progressive": True}),
        "film_4300x3500_deep.png": (
            lambda grey: _times(16, np.uint16)(_sized(3500, 4300)(grey)),
            {"compress_level": 1},
        ),
        "film_6000_colour.png": (lambda grey: _sized(6000, 6000)(grey).convert("RGB"), {"compress_level": 1}),
    }
    for name, (image, options) in forms.items():
        yield Case(f"good_{name}", partial(saved, image=image, **options), "mask")
    yield of_bytes("good_interlaced.png", png, 512, 512, interlaced=True, answer="mask")
    runs = b"".join(b"\xff" + bytes([shade]) + b"\1\0\0\0" for shade in range(256)) + b"\0\1"
    yield of_bytes("good_runs.bmp", bmp, 256, 256, runs, RUNS_8, answer="mask")
    yield Case("good_tiled.tif", tiled, "mask")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from images()
    raw = phantom().tobytes()
    contents = {
        "plain": partial(film, PixelData=raw),
        "deflated": partial(film, syntax=DEFLATED, PixelData=raw),
        "window": partial(film, PixelData=raw, WindowCenter="128", WindowWidth="200", PixelSpacing="0.2\\0.2"),
        "jpeg": lambda: encapsulated(coded("JPEG", quality=90), JPEG),
        "jpeg2000": lambda: encapsulated(coded("JPEG2000"), JPEG_2000),
        "runs": lambda: compressed(film(PixelData=raw), RLE),
    }
    for name, content in contents.items():
        yield Case(f"good_{name}.dcm", lambda path, content=content: path.write_bytes(content()), "mask")
    yield Case("good_300_slices.nii", partial(volume, shape=(512, 512, 300)), "mask")  # 157 MB: over no limit
    yield Case("good_100_slices.nii.gz", partial(volume, shape=(512, 512, 100)), "mask")
    yield Case("good_floats.nii", partial(volume, shape=(96, 96, 40), dtype=np.float32), "mask")
    yield Case("good_2_slices.nii", partial(volume, shape=(64, 64, 2)), "mask")


def tiled(path: Path) -> None:
    """Write a TIFF of four tiles."""
    grey, start = phantom(256), 8 + 256 * 256
    tiles = b"".join(grey[y : y + 128, x : x + 128].tobytes() for y in (0, 128) for x in (0, 128))
    entries = picture(256, 256)
    for tag in (OFFSETS, COUNTS, ROWS):
        del entries[tag]
    lists = start + 6 + 12 * (len(entries) + 4)
    entries |= {TILE_WIDTH: (LONG, 1, 128), TILE_HEIGHT: (LONG, 1, 128)}
    entries |= {TILE_OFFSETS: (LONG, 4, lists), TILE_COUNTS: (LONG, 4, lists + 16)}
    offsets = struct.pack("<8I", *(8 + 128 * 128 * number for number in range(4)), *[128 * 128] * 4)
    path.write_bytes(tiff(entries, tiles) + offsets)


def _same(grey: Image.Image) -> Image.Image:
    return grey


def _in(mode: str) -> Callable[[Image.Image], Image.Image]:
    return lambda grey: grey.convert(mode)


def _sized(width: int, height: int) -> Callable[[Image.Image], Image.Image]:
    return lambda grey: grey.resize((width, height))


def _times(factor: float, dtype: type) -> Callable[[Image.Image], Image.Image]:
    return lambda grey: Image.fromarray((np.asarray(grey) * np.float64(factor)).astype(dtype))


def _text(size: int) -> PngInfo:
    text = PngInfo()
    text.add_text("comment", "x" * size, zip=True)
    return text
