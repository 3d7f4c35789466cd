"""Any image file to a greyscale array, and an array to a PNG.

Nothing else in the module opens an image file, except `dicom.py`, and `volumes.py` for what has many slices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lungnb.files import written
from lungnb.formats.dicom import DICOM_SUFFIXES, Turn, count_frames, is_dicom, open_dicom, read_dicom
from lungnb.formats.jpeg import refuse_jpeg
from lungnb.formats.opening import Refused, guarded, open_file, refuse_memory, refuse_shape
from lungnb.formats.pixels import BLOCK_PIXELS, to_grey

FORMATS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"},
}
SUFFIXES = (*FORMATS, *DICOM_SUFFIXES)
MAX_LABELS = 8  # of a mask: what has more greys is a picture, or came through JPEG
MAX_RUN_PIXELS = 16_000_000  # of a BMP in run lengths
_PILLOW_FORMATS = tuple(sorted(set(FORMATS.values())))
# What a pixel takes besides its segmentation while it is read, bytes, by Pillow's modes; measured with 25 Mpx.
_BYTES = {"1": 4, "L": 4, "P": 8, "I;16": 4, "I": 12, "F": 8}
_BYTES_OF_COLOURS = 10


class Picture(NamedTuple):
    """An image file as it was read."""

    grey: np.ndarray  # (height, width), uint8
    pixel_mm: tuple[float, float] | None = None  # height and width of a pixel, mm; None if unknown
    turn: Turn = Turn()
    has_more: bool = False  # whether the file holds more pictures than this one, the first


def read_image(path: str | Path, window: tuple[float, float] | None = None) -> np.ndarray:
    """Return an image file as greyscale, `(height, width)`, uint8.

    Without `window`, 8-bit images come as they are; colours become luminance, transparency is dropped, EXIF rotation is
    undone. Images with values below -200 are taken for CT slices in Hounsfield units and shown through LUNG_WINDOW.
    Other deeper images (12 or 16 bit, floats) are scaled from their own range. DICOM, of which the first frame is read,
    needs the `medical` extra: CT comes in Hounsfield units, all else as its own VOI LUT or window shows it, bone white.

    With `window` (black, white; HU) the image must be in Hounsfield units.

    Raises ValueError, naming the file, for what is not a readable image of one of the formats, and with `window` for
    what is not in Hounsfield units.
    """
    return read_picture(path, window).grey


def read_picture(path: str | Path, window: tuple[float, float] | None = None) -> Picture:
    """Return an image file as `read_image` does, with the size of its pixels and how it is turned, if it tells."""
    path = Path(path)
    with guarded(path):
        if is_dicom(path) or path.suffix.lower() in DICOM_SUFFIXES:
            values, pixel_mm, turn, frames = read_dicom(path)
            return Picture(to_grey(values, window, path), pixel_mm, turn, frames > 1)
        values, has_more = _read_raster(path)
        return Picture(to_grey(values, window, path), has_more=has_more)


def read_mask(path: str | Path, values: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a mask file as `(height, width)`, bool.

    Lung is whatever is above half of the file's largest value, so that masks of 0/1 and of 0/255 mean the same; in a
    file of labels, 0 to MAX_LABELS at most, all but 0; or, where a data set marks several organs, the grey `values`
    given. Of colours, the strongest counts, so that a blue lung is as bright as a red one.
    """
    with guarded(path):
        array, _ = _read_raster(Path(path), is_mask=True)
        if values is not None:
            return np.isin(array, values)
        if not np.isfinite(array).all():
            raise Refused(f"{path}: some of its values are not numbers (NaN or infinite).")
        labels = array.dtype.kind in "ui" and array.max() <= MAX_LABELS
        return array > (0 if labels else array.max() / 2)


def peculiarity(path: str | Path) -> str:
    """Return how a readable image file differs from plain 8-bit greyscale or colour, such as "16-bit"; else nothing."""
    path = Path(path)
    with guarded(path):
        if is_dicom(path):
            frames = count_frames(open_dicom(path, header_only=True))
            return f"{frames} frames, of which the first is read" if frames > 1 else ""
        with _opened(path) as image:
            modes = {"P": "palette colours", "CMYK": "CMYK colours", "F": "floats", "I": "32-bit"}
            deep = "16-bit" if image.mode.startswith("I;16") else modes.get(image.mode)
            clear = image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
            turned = image.getexif().get(0x0112, 1) != 1
            traits = [deep, "transparency" if clear else None]
            traits += ["several pages, of which the first is read" if _has_more(image) else None]
            traits += ["turned by its EXIF data" if turned else None]
            return ", ".join(filter(None, traits))


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Write a uint8 array, `(height, width)` or `(height, width, 3 or 4)`, or a bool one as 0 and 255, as a PNG."""
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    with written(path) as temporary:
        Image.fromarray(array).save(temporary, "PNG")


@contextmanager
def _opened(path: Path, is_mask: bool = False) -> Iterator[Image.Image]:
    """Open a PNG, JPEG, BMP, TIFF or GIF file whose header claims nothing beyond the limits."""
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS if is_mask else SUFFIXES)
        raise Refused(f"{path}: not {'a mask' if is_mask else 'an image'} format this reads ({known}).")
    # Opened here, for Pillow maps into memory what it opens itself, and scrambles a TIFF that is to be turned.
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_memory(path, 2 * size, f"a file of {size / 1e6:,.0f} MB", "Save it in another format")
        if file.read(2) == b"\xff\xd8":
            file.seek(0)
            refuse_jpeg(file.read(), path)
        file.seek(0)
        try:
            image = Image.open(file, formats=_PILLOW_FORMATS)
        except Image.DecompressionBombError:
            raise Refused(f"{path}: has more pixels than Pillow opens. Scale it down.") from None
        with image:
            _refuse_tiles(image, path)
            _refuse_runs(image, path)
            refuse_shape(path, image.height, image.width, _BYTES.get(image.mode[:4], _BYTES_OF_COLOURS))
            yield image


def _refuse_tiles(image: Image.Image, path: Path) -> None:
    """Raise Refused for a TIFF of tiles far larger than its picture: libtiff unpacks a tile whole."""
    tile = [int(image.tag_v2.get(tag, 0)) for tag in (322, 323)] if image.format == "TIFF" else [0, 0]
    if tile[0] * tile[1] > max(4 * image.width * image.height, BLOCK_PIXELS):
        size = f"{tile[0]:,} x {tile[1]:,} pixels"
        raise Refused(f"{path}: has tiles of {size}, far larger than its picture. Save it again.")


def _refuse_runs(image: Image.Image, path: Path) -> None:
    """Raise Refused for a large BMP of run lengths: Pillow decodes them in Python, 6 million pixels a second."""
    is_encoded = image.format == "BMP" and image.info.get("compression") in (1, 2)  # BI_RLE8, BI_RLE4
    if is_encoded and image.width * image.height > MAX_RUN_PIXELS:
        raise Refused(
            f"{path}: is a run-length encoded BMP of more than {MAX_RUN_PIXELS / 1e6:.0f} million pixels, which takes "
            "too long to decode. Save it as PNG."
        )


def _read_raster(path: Path, is_mask: bool = False) -> tuple[np.ndarray, bool]:
    """Return the pixels of an image file, depth kept, and whether it holds more pictures.

    Colours become luminance, or of a mask what they draw.
    """
    with _opened(path, is_mask) as opened:
        white_is_zero = opened.format == "TIFF" and opened.mode.startswith("I;16") and opened.tag_v2.get(262) == 0
        image = ImageOps.exif_transpose(opened)
        if is_mask and image.mode not in ("1", "L", "I", "F") and not image.mode.startswith("I;16"):
            return _drawn(image), _has_more(opened)
        if image.mode not in ("L", "I", "F") and not image.mode.startswith("I;16"):
            image = image.convert("RGB").convert("L") if image.mode != "1" else image.convert("L")
        pixels = np.asarray(image)
        return (np.iinfo(np.uint16).max - pixels if white_is_zero else pixels), _has_more(opened)


def _has_more(image: Image.Image) -> bool:
    """Return whether an opened file holds more pictures than the first, which has been read.

    The number is not counted: that takes minutes for a file of a million empty pages.
    """
    try:
        return bool(getattr(image, "is_animated", False))  # of a GIF, Pillow reads on to tell
    except Exception:  # Pillow raises whatever its parsers meet
        return True  # there is something, though it is damaged


def _drawn(image: Image.Image) -> np.ndarray:
    """Return what a mask in colours draws: the strongest of them, or the opacity, where that alone varies."""
    pixels = np.asarray(image.convert("RGBA"))
    strongest = pixels[..., :3].max(axis=-1)
    return strongest if np.ptp(strongest) else pixels[..., 3]
