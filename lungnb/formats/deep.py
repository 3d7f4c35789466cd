"""Read pictures that Pillow reduces to 8 bits, misreads or refuses: 16-bit colours, and TIFF of other number types."""

from __future__ import annotations

import logging
import math
import sys
import zlib
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

from lungnb.formats.opening import Refused, refuse_shape
from lungnb.formats.pixels import BLOCK_PIXELS

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_TILE = 4  # refuse TIFF files whose tiles have more pixels than this many pictures and than a block
DEEP_BYTES = 32  # memory per pixel while 16-bit colours are read, bytes; measured with 25 Mpx
_DEFLATE = (8, 32946)  # numbers of a TIFF's compression
ORIENTATION_TAG = 274  # of EXIF and TIFF
PHOTOMETRIC_TAG = 262  # of TIFF: 0 says that the value 0 is white
_GREYS, _INK = (0, 1), 5  # a PHOTOMETRIC_TAG that says grey, and CMYK
_COPY_SIDE, _COPY_ASPECT = 0.5, 0.02  # of the first page: a page of its shape and at most half its size is a copy
MAX_PAGES = 16  # look at so many pages of a TIFF file
_OPACITY = (1, 2)  # ExtraSamples of TIFF that are opacity; 0 is not


def deep_mode(opened: Image.Image) -> str:
    """Return how the bytes of 16-bit colours, or grey with opacity, lie in an opened file, such as RGB;16B, or "".

    CMYK is left out, because its values are amounts of ink, not of light. Pillow converts its upper 8 bits.
    """
    args = opened.tile[0].args if isinstance(opened, ImageFile.ImageFile) and opened.tile else None
    mode = args if isinstance(args, str) else str(args[0]) if args else ""
    return mode if ";16" in mode and not mode.startswith(("I", "CMYK")) else ""


def read_deep(file: BinaryIO, kind: str, deep: str) -> np.ndarray:
    """Return the colours of a file, upright: uint16, `(height, width, 2 to 4)`.

    `kind` is Pillow's name of the format, `deep` the `deep_mode`.
    """
    mode, order = deep.split(";16")
    if mode == "LA":
        return _unpacked(file, kind, "RGBA").view(">u2")
    # Pillow keeps one of the two bytes, and takes the other one if it is told that they lie the other way round.
    pairs = np.stack([_unpacked(file, kind, f"{mode};16{first}") for first in "BL"], axis=-1)
    is_big = order == "B" or (order == "N" and sys.byteorder == "big")
    return pairs.view(">u2" if is_big else "<u2")[..., 0]


def _unpacked(file: BinaryIO, kind: str, mode: str) -> np.ndarray:
    """Return the pixels, turned upright, that Pillow decodes from a file whose bytes are ordered as `mode` says."""
    file.seek(0)
    image = Image.open(file, formats=[kind])
    for number, tile in enumerate(image.tile):
        image.tile[number] = tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode)
    return np.asarray(ImageOps.exif_transpose(image))


def read_tiff(file: BinaryIO, path: object, is_mask: bool = False) -> tuple[np.ndarray, int, bool]:
    """Return a TIFF file's first picture, its EXIF orientation, 1 to 8, and whether the file holds more pictures.

    The picture is `(height, width)` or `(height, width, samples)`, of the numbers of the file. Raises Refused, before
    anything is unpacked, if they are not real numbers, are packed in another way than with zlib, or are too many.
    """
    from tifffile import TiffFile, TiffPage

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    file.seek(0)
    with TiffFile(file, name=str(path)) as tiff:
        page = tiff.pages[0]
        if not isinstance(page, TiffPage) or page.axes not in ("YX", "YXS", "SYX"):
            raise Refused(f"{path}: its first page is not one picture. Save each picture as a file of its own.")
        if page.dtype is None or page.dtype.kind not in "buif":
            raise Refused(f"{path}: its pixels are not plain numbers. Save it as 16-bit grey or as float32.")
        if page.photometric == _INK:
            raise Refused(f"{path}: its colours are CMYK, which is not read for {page.dtype} numbers. Save it as grey.")
        if page.compression not in (1, *_DEFLATE) or page.predictor not in (1, 2):
            raise Refused(f"{path}: its compression is not read for {page.dtype} numbers. Save it without compression.")
        refuse_shape(path, page.imagelength, page.imagewidth, 3 * page.dtype.itemsize * page.samplesperpixel + 8)
        chunk = page.chunks[:2] if page.axes == "YXS" else page.chunks[-2:]
        refuse_tile(path, chunk, (page.imagelength, page.imagewidth))
        if page.compression != 1:
            _refuse_bombs(file, path, page, math.prod(page.chunks) * page.dtype.itemsize)
        array = page.asarray(maxworkers=1)
        array = np.moveaxis(array, 0, -1) if page.axes == "SYX" else array
        if is_mask and page.photometric in _GREYS and not set(page.extrasamples) & {*_OPACITY}:
            _refuse_channels(array, path)
        array = array if page.tags.valueof(PHOTOMETRIC_TAG, 1) else black_from_zero(array, is_mask)
        every = (each.aspage() for each in tiff.pages)
        pages = (((each.imagewidth, each.imagelength), bool(each.subfiletype & 1)) for each in every)
        return array, page.tags.valueof(ORIENTATION_TAG, 1), has_other_pages(pages)


def black_from_zero(pixels: np.ndarray, is_mask: bool = False) -> np.ndarray:
    """Invert values of which 0 is white, so that 0 is black. If some are negative, all are measurements, and stay.

    In a mask, floats, signed numbers, and unsigned numbers up to half of their type's maximum stay too. They are
    labels, even if the file says that 0 is white.

    >>> black_from_zero(np.array([0, 255], np.uint8)).tolist(), black_from_zero(np.array([1.0, 4.0])).tolist()
    ([255, 0], [4.0, 1.0])
    """
    kind = pixels.dtype.kind
    if is_mask and (kind in "if" or (kind == "u" and pixels.max() <= np.iinfo(pixels.dtype).max // 2)):
        return pixels
    if kind in "bu":
        return ~pixels
    finite = pixels[np.isfinite(pixels)]
    if not finite.size or finite.min() < 0:
        return pixels
    return np.asarray(finite.max() - pixels + finite.min())


def _refuse_channels(array: np.ndarray, path: object) -> None:
    """Raise Refused for grey channels that differ, such as one for each lung: they may be any organ, or background."""
    if array.ndim == 3 and (array != array[..., :1]).any():
        raise Refused(
            f"{path}: has {array.shape[-1]} channels, and which of them are lung is unknown. Save one channel: "
            "the lungs as 1 and everything else as 0."
        )


def refuse_tile(path: object, tile: tuple[int, ...], picture: tuple[int, int]) -> None:
    """Raise Refused for a TIFF whose tiles, (height, width) in px, are far larger than its picture.

    Libraries unpack whole tiles, whatever is in the picture.
    """
    if math.prod(tile) > max(MAX_TILE * math.prod(picture), BLOCK_PIXELS):
        size = f"{tile[1]:,} x {tile[0]:,} pixels"
        raise Refused(f"{path}: has tiles of {size}, far larger than its picture. Save it again.")


def _refuse_bombs(file: BinaryIO, path: object, page: TiffPage, most: int) -> None:
    """Raise Refused if a strip or a tile unpacks to more than `most` bytes, because tifffile would unpack it all."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        if len(zlib.decompressobj().decompress(file.read(count), most + 1)) > most:
            raise Refused(f"{path}: holds more bytes than its pixels have. Save it again.")


def is_smaller_copy(size: tuple[int, int], first: tuple[int, int], is_marked: bool) -> bool:
    """Return whether a page of a TIFF file is a smaller copy of the first: it is marked so, or has the same shape.

    >>> is_smaller_copy((64, 48), (640, 480), False), is_smaller_copy((640, 480), (640, 480), True)
    (True, False)
    """
    width, height = (side / of_first for side, of_first in zip(size, first, strict=True))
    is_alike = abs(width - height) * min(first) <= 1 or abs(width - height) <= _COPY_ASPECT * max(width, height)
    return max(width, height) < 1 and (is_marked or (is_alike and max(width, height) <= _COPY_SIDE))


def has_other_pages(pages: Iterable[tuple[tuple[int, int], bool]]) -> bool:
    """Return whether a TIFF file has another page than the first and its smaller copies.

    `pages` are the size of each, (width, height), and whether it is marked as a smaller copy.
    """
    try:
        (first, _), *others = islice(pages, MAX_PAGES)
        return len(others) > MAX_PAGES - 2 or not all(is_smaller_copy(size, first, marked) for size, marked in others)
    except Exception:  # libraries raise whatever their parsers meet
        return True  # there is something, though it is damaged
