"""Read PNG, JPEG, BMP, TIFF and GIF files with Pillow, and refuse those that would take too much memory or time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from lungnb.formats.dicom_opening import DICOM_SUFFIXES
from lungnb.formats.jpeg import refuse_jpeg
from lungnb.formats.opening import Refused, open_file, refuse_memory, refuse_shape
from lungnb.formats.pixels import BLOCK_PIXELS

RASTER_FORMATS = {  # suffix, and Pillow's name of the format
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"},
}
IMAGE_SUFFIXES = (*RASTER_FORMATS, *DICOM_SUFFIXES)
MAX_RUN_PIXELS = 16_000_000  # refuse run-length encoded BMP files with more pixels
MAX_TILE = 4  # refuse TIFF files whose tiles have more pixels than this many pictures and than a block
_PILLOW_FORMATS = tuple(sorted(set(RASTER_FORMATS.values())))
# Memory per pixel while a file is read, bytes, by the mode of the picture; measured with 25 Mpx.
_MODE_BYTES = {"1": 4, "L": 4, "P": 8, "I;16": 4, "I": 12, "F": 8}
_COLOUR_BYTES = 10
_TILE_TAGS, _PHOTOMETRIC_TAG = (322, 323), 262  # of TIFF; a photometric interpretation of 0 says that 0 is white
_RUN_LENGTHS = (1, 2)  # BI_RLE8, BI_RLE4: how a BMP says that it is run-length encoded


@contextmanager
def opened_raster(path: Path, is_mask: bool = False) -> Iterator[Image.Image]:
    """Open an image file. Raises Refused, naming the file, for another format, and if its header is beyond a limit."""
    if path.suffix.lower() not in RASTER_FORMATS:
        known = ", ".join(RASTER_FORMATS if is_mask else IMAGE_SUFFIXES)
        raise Refused(f"{path}: not {'a mask' if is_mask else 'an image'} format this reads ({known}). Convert it.")
    # Open the file here, because Pillow maps files that it opens itself into memory, and scrambles some turned TIFFs.
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
            refuse_shape(path, image.height, image.width, _MODE_BYTES.get(image.mode[:4], _COLOUR_BYTES))
            yield image


def _refuse_tiles(image: Image.Image, path: Path) -> None:
    """Raise Refused for a TIFF whose tiles are far larger than its picture, because libtiff unpacks whole tiles."""
    width, height = (_tiff_tag(image, tag) for tag in _TILE_TAGS)
    if width * height > max(MAX_TILE * image.width * image.height, BLOCK_PIXELS):
        size = f"{width:,} x {height:,} pixels"
        raise Refused(f"{path}: has tiles of {size}, far larger than its picture. Save it again.")


def _tiff_tag(image: Image.Image, tag: int, default: int = 0) -> int:
    """Return a number from the header of a TIFF file, `default` if there is none."""
    return int(image.tag_v2.get(tag, default)) if isinstance(image, TiffImagePlugin.TiffImageFile) else default


def _refuse_runs(image: Image.Image, path: Path) -> None:
    """Raise Refused for a large run-length encoded BMP: Pillow decodes it in Python, 6 million pixels a second."""
    is_encoded = image.format == "BMP" and image.info.get("compression") in _RUN_LENGTHS
    if is_encoded and image.width * image.height > MAX_RUN_PIXELS:
        raise Refused(
            f"{path}: is a run-length encoded BMP of more than {MAX_RUN_PIXELS / 1e6:.0f} million pixels, which takes "
            "too long to decode. Save it as PNG."
        )


def read_raster(path: Path, is_mask: bool = False) -> tuple[np.ndarray, bool]:
    """Return the pixels of an image file, `(height, width)`, depth kept, and whether it holds more pictures.

    Colours become luminance; in a mask, the strongest colour or the opacity.
    """
    with opened_raster(path, is_mask) as opened:
        is_deep = opened.mode.startswith("I;16")
        is_zero_white = is_deep and not _tiff_tag(opened, _PHOTOMETRIC_TAG, 1)
        image = ImageOps.exif_transpose(opened)
        if is_mask and image.mode not in ("1", "L", "I", "F") and not is_deep:
            return _drawn(image), has_more(opened)
        if image.mode not in ("L", "I", "F") and not is_deep:
            image = image.convert("RGB").convert("L") if image.mode != "1" else image.convert("L")
        pixels = np.asarray(image)
        return (np.iinfo(np.uint16).max - pixels if is_zero_white else pixels), has_more(opened)


def _drawn(image: Image.Image) -> np.ndarray:
    """Return what a mask in colours draws: the strongest colour, or the opacity if only that varies."""
    pixels = np.asarray(image.convert("RGBA"))
    strongest = pixels[..., :3].max(axis=-1)
    return strongest if np.ptp(strongest) else pixels[..., 3]


def has_more(image: Image.Image) -> bool:
    """Return whether an opened file holds more pictures; a count would take minutes for a million empty pages."""
    try:
        return bool(getattr(image, "is_animated", False))  # of a GIF, Pillow reads on to tell
    except Exception:  # Pillow raises whatever its parsers meet
        return True  # there is something, though it is damaged
