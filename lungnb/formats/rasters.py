"""Read PNG, JPEG, BMP, TIFF and GIF files, and refuse those that would take too much memory or time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from lungnb.formats.colours import flattened
from lungnb.formats.deep import (
    DEEP_BYTES,
    ORIENTATION_TAG,
    PHOTOMETRIC_TAG,
    black_from_zero,
    deep_mode,
    has_other_pages,
    read_deep,
    read_tiff,
    refuse_tile,
)
from lungnb.formats.dicom_opening import DICOM_SUFFIXES
from lungnb.formats.jpeg import refuse_jpeg, refuse_other_jpeg
from lungnb.formats.opening import Refused, open_file, picture_suffix, refuse_memory, refuse_shape
from lungnb.formats.pixels import has_colours
from lungnb.masks import Mask

RASTER_FORMATS = {  # suffix, and Pillow's name of the format
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"},
}
IMAGE_SUFFIXES = (*RASTER_FORMATS, *DICOM_SUFFIXES)
MAX_RUN_PIXELS = 16_000_000  # refuse run-length encoded BMP files with more pixels
_PILLOW_FORMATS = tuple(sorted(set(RASTER_FORMATS.values())))
# Memory per pixel while a file is read, bytes, by the mode of the picture; measured with 25 Mpx.
_MODE_BYTES = {"1": 4, "L": 4, "P": 8, "I;16": 4, "I": 12, "F": 8}
_COLOUR_BYTES = 10
# Tags of TIFF. A sample format of 2 says that numbers are signed.
_TILE_TAGS, _BITS_TAG, _PLANES_TAG, _SIGN_TAG = (322, 323), 258, 284, 339
_SAMPLES_TAG, _EXTRA_TAG = 277, 338
UPRIGHT = 1  # the orientation of EXIF that turns nothing
_SAMPLE_SIDE = 256  # px; look at so many rows and columns to see whether a picture has colours
_BACK = {6: 8, 8: 6}  # orientations that undo one another; all others undo themselves
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_START_BYTES = 16  # enough to see which format a file holds
_PAIR_SUFFIXES = (".hdr", ".img")
_VOLUME_SUFFIXES = (".nrrd", ".mha", ".mhd", ".mgz")
UNREAD_SUFFIXES = (*_VOLUME_SUFFIXES, ".webp", ".jp2", ".j2k", ".heic", ".avif")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz")
_REDUCED_TAG = 254  # NewSubfileType of TIFF: bit 0 says that a page is a smaller copy of another one
_RUN_LENGTHS = (1, 2)  # BI_RLE8, BI_RLE4: how a BMP says that it is run-length encoded


@contextmanager
def opened_raster(path: Path, is_mask: bool = False) -> Iterator[Image.Image]:
    """Open an image file. Raises Refused, naming the file, for another format, and if its header is beyond a limit.

    A TIFF file of numbers for which Pillow has no mode becomes a picture of float32; see `flattened` for its colours.
    """
    suffix = path.suffix.lower()
    if suffix == ".img" and not any(path.with_suffix(end).exists() for end in (".hdr", ".HDR")):
        raise Refused(
            f"{path}: numbers without a header (.hdr), as JSRT's films of 2,048 x 2,048 pixels are. Convert it to PNG "
            "of 16 bits."
        )
    if suffix in _PAIR_SUFFIXES:
        raise Refused(f"{path}: one of two files of a volume (.hdr and .img). Convert them to a single .nii file.")
    if suffix not in RASTER_FORMATS:
        open_file(path).close()  # refuses what is not there, for a better reason
        if path.name == "DICOMDIR":
            raise Refused(
                f"{path}: not an image format, but a list of the files of a disc. Name the folder in which it lies."
            )
        kind, known = kind_of(path), ", ".join(RASTER_FORMATS if is_mask else IMAGE_SUFFIXES)
        remedy = "Unpack it" if suffix in ARCHIVES else "Convert it"
        remedy = "Convert it to NIfTI" if suffix in _VOLUME_SUFFIXES else remedy
        remedy = f"It holds a {RASTER_FORMATS[kind]}: end its name with {kind}" if kind else remedy
        raise Refused(f"{path}: not {'a mask' if is_mask else 'an image'} format this reads ({known}). {remedy}.")
    # Open the file here, because Pillow maps files that it opens itself into memory, and scrambles some turned TIFFs.
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_memory(path, 2 * size, f"a file of {size / 1e6:,.0f} MB", "Save it in another format")
        if file.read(2) == b"\xff\xd8":
            file.seek(0)
            stream = file.read()
            refuse_jpeg(stream, path)
            refuse_other_jpeg(stream, path)
        with _open_known(file, path, is_mask) as image:
            tile = (_tiff_tag(image, _TILE_TAGS[1]), _tiff_tag(image, _TILE_TAGS[0]))
            refuse_tile(path, tile, (image.height, image.width))
            _refuse_runs(image, path)
            pixel_bytes = DEEP_BYTES if deep_mode(image) else _MODE_BYTES.get(image.mode[:4], _COLOUR_BYTES)
            refuse_shape(path, image.height, image.width, pixel_bytes)
            yield image


def kind_of(path: Path) -> str:
    """Return the ending of the format that a file without an ending holds, by its first bytes, or ""."""
    if not path.suffix:
        with suppress(Refused, OSError), open_file(path) as file:
            return picture_suffix(file.read(_START_BYTES))
    return ""


def _open_known(file: BinaryIO, path: Path, is_mask: bool) -> Image.Image:
    """Return a file as Pillow opens it. A TIFF file that Pillow cannot read becomes a picture of float32."""
    file.seek(0)
    try:
        image: Image.Image = Image.open(file, formats=_PILLOW_FORMATS)
    except Image.DecompressionBombError:
        raise Refused(f"{path}: has more pixels than Pillow opens. Scale it down.") from None
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) not in _TIFF_STARTS:
            raise
    else:
        if not (_is_misread(image) or (is_mask and _has_lost_channel(image))):
            return image
    array, orientation, more = read_tiff(file, path, is_mask)
    image = Image.fromarray(flattened(array, is_mask, path).astype(np.float32))
    image.getexif()[ORIENTATION_TAG] = orientation
    image.info |= {"numbers": f"{array.dtype} numbers", "has_more": more}
    return image


def _is_misread(image: Image.Image) -> bool:
    """Return whether Pillow misreads the numbers of a TIFF file.

    Pillow misreads signed bytes, 16-bit colours in separate planes, and compressed numbers with the high byte first.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    is_signed = image.mode == "L" and _tiff_tag(image, _SIGN_TAG, 1) == 2
    is_apart = _tiff_tag(image, _PLANES_TAG, 1) != 1 and _tiff_tag(image, _BITS_TAG, 8) > 8
    is_swapped = image.tag_v2.prefix == b"MM" and image.mode in ("I", "F") and image.tile[0].codec_name == "libtiff"
    return is_signed or is_swapped or (is_apart and len(image.getbands()) > 1)


def _has_lost_channel(image: Image.Image) -> bool:
    """Return whether Pillow drops the second of two grey channels of a TIFF file, although it is not opacity."""
    is_grey = _tiff_tag(image, PHOTOMETRIC_TAG, 2) <= 1
    return is_grey and _tiff_tag(image, _SAMPLES_TAG, 1) > 1 and not _tiff_tag(image, _EXTRA_TAG)


def _tiff_tag(image: Image.Image, tag: int, default: int = 0) -> int:
    """Return a number from the header of a TIFF file, `default` if there is none."""
    value = image.tag_v2.get(tag, default) if isinstance(image, TiffImagePlugin.TiffImageFile) else default
    return int(value[0] if isinstance(value, tuple) else value)


def _refuse_runs(image: Image.Image, path: Path) -> None:
    """Raise Refused for a large run-length encoded BMP: Pillow decodes it in Python, 6 million pixels a second."""
    is_encoded = image.format == "BMP" and image.info.get("compression") in _RUN_LENGTHS
    if is_encoded and image.width * image.height > MAX_RUN_PIXELS:
        raise Refused(
            f"{path}: is a run-length encoded BMP of more than {MAX_RUN_PIXELS / 1e6:.0f} million pixels, which takes "
            "too long to decode. Save it as PNG."
        )


class Raster(NamedTuple):
    """The first picture of an image file."""

    pixels: np.ndarray  # (height, width), upright, of the depth of the file
    has_more: bool
    orientation: int  # 1 to 8, in which way EXIF turns what the file stores
    is_coloured: bool = False  # whether much of an image has strong colours, of which only the brightness is left


def read_raster(path: Path, is_mask: bool = False) -> Raster:
    """Return the pixels of an image file. Colours become luminance; in a mask, the strongest colour or the opacity."""
    with opened_raster(path, is_mask) as opened:
        deep, file = deep_mode(opened), getattr(opened, "fp", None)  # which Pillow forgets when it has read
        orientation = orientation_of(opened)
        if deep and file:
            colours = read_deep(file, opened.format or "", deep)
            pixels, is_coloured = flattened(colours, is_mask, path), has_colours(colours)
        else:
            pixels, is_coloured = _pixels(opened, is_mask, path)
        return Raster(pixels, has_more(opened), orientation, is_coloured)


def refuse_pages(raster: Raster, path: object) -> None:
    """Raise Refused for a mask file of several pictures, because each of them may be a lung."""
    if raster.has_more:
        raise Refused(f"{path}: holds several pictures (pages or frames). Save each as a file, or a volume as NIfTI.")


def _pixels(opened: Image.Image, is_mask: bool, path: Path) -> tuple[np.ndarray, bool]:
    """Return the pixels of an opened file as `read_raster` does, and whether an image has strong colours."""
    is_deep = opened.mode.startswith("I;16")
    has_wide_numbers = is_deep or opened.mode in ("I", "F")  # Pillow inverts all others
    is_zero_white = has_wide_numbers and not _tiff_tag(opened, PHOTOMETRIC_TAG, 1)
    is_unsigned = opened.mode == "I" and _tiff_tag(opened, _BITS_TAG) == 32 and _tiff_tag(opened, _SIGN_TAG, 1) == 1
    image = ImageOps.exif_transpose(opened)
    if is_mask and image.mode not in ("1", "L", "I", "F") and not is_deep:
        return flattened(np.asarray(image if image.mode == "LA" else image.convert("RGBA")), is_mask, path), False
    is_coloured = False
    if image.mode not in ("L", "I", "F") and not is_deep:
        image = image.convert("RGB") if image.mode != "1" else image
        sample = image.resize((_SAMPLE_SIDE, _SAMPLE_SIDE), Image.Resampling.NEAREST)
        is_coloured = image.mode == "RGB" and has_colours(np.asarray(sample))
        image = image.convert("L")
    pixels = np.asarray(image)
    if is_unsigned:
        pixels = pixels.view(np.uint32)  # Pillow takes them for signed numbers
    if is_mask and opened.mode == "L" and not _tiff_tag(opened, PHOTOMETRIC_TAG, 1):
        return black_from_zero(~pixels, is_mask), False  # which Pillow has inverted
    return black_from_zero(pixels, is_mask) if is_zero_white else pixels, is_coloured


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened file, 1 (not turned) to 8."""
    orientation = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return orientation if orientation in range(1, 9) else UPRIGHT


def turned_otherwise(mask: Mask, orientation: int, other: int) -> Mask:
    """Return a mask, turned by the EXIF orientation of its file, as if the file had the orientation `other`."""
    image = Image.fromarray(mask)
    for turn in (_BACK.get(orientation, orientation), other):
        image.getexif()[ORIENTATION_TAG] = turn
        image = ImageOps.exif_transpose(image)
    return np.asarray(image)


def has_more(image: Image.Image) -> bool:
    """Return whether an opened file holds more pictures; a count would take minutes for a million empty pages.

    Smaller copies of the first page do not count, such as the thumbnail that scanners add.
    """
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            more = has_other_pages(_pages(image))
            image.seek(0)
            return more
        return bool(image.info.get("has_more", getattr(image, "is_animated", False)))  # reads a frame of a GIF
    except Exception:  # Pillow raises whatever its parsers meet
        return True  # there is something, though it is damaged


def _pages(image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[tuple[int, int], bool]]:
    with suppress(EOFError):
        for number in count():
            image.seek(number)
            yield image.size, bool(_tiff_tag(image, _REDUCED_TAG) & 1)
