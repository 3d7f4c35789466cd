"""Any image file to a greyscale array, an array to a PNG, and an array to the square that a network sees.

Nothing else in the module opens an image file, except `dicom.py`, and `volumes.py` for what has many slices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lungnb.formats.dicom import DICOM_SUFFIXES, Turn, count_frames, is_dicom, open_dicom, read_dicom
from lungnb.files import written
from lungnb.formats.jpeg import refuse_jpeg
from lungnb.formats.opening import Refused, guarded, open_file, refuse_memory, refuse_shape

FORMATS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"},
}
SUFFIXES = (*FORMATS, *DICOM_SUFFIXES)
LUNG_WINDOW = (-1000.0, 400.0)  # Hounsfield units shown as black and as white
LUNG_RANGE = (-1500.0, -200.0)  # HU of air and lung, which every CT slice of a chest has, and no 8-bit image
MAX_LABELS = 8  # of a mask: what has more greys is a picture, or came through JPEG
MAX_RUN_PIXELS = 16_000_000  # of a BMP in run lengths
_PILLOW_FORMATS = tuple(sorted(set(FORMATS.values())))
# What a pixel takes besides its segmentation while it is read, bytes, by Pillow's modes; measured with 25 Mpx.
_BYTES = {"1": 4, "L": 4, "P": 8, "I;16": 4, "I": 12, "F": 8}
_BYTES_OF_COLOURS = 10
_AT_ONCE = 2**20  # pixels of which temporary copies are made: those of a whole film would take a gigabyte


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


def hounsfield_to_grey(
    hounsfield: np.ndarray, window: tuple[float, float] = LUNG_WINDOW, name: object = "the array"
) -> np.ndarray:
    """Return CT numbers (HU), of any shape, as uint8: `window[0]` and below black, `window[1]` and above white.

    Raises ValueError, naming `name`, for values that are no Hounsfield units: 8-bit greys, shares from 0 to 1, and all
    else that has none of a chest's air and lung within LUNG_RANGE.
    """
    _refuse_other_units(hounsfield, name)
    return through_window(hounsfield, window)


def volume_window(
    volume: np.ndarray, window: tuple[float, float] | None = None, name: object = "the array"
) -> tuple[float, float]:
    """Return the values that are black and white in every slice of a volume, `(slices, height, width)`.

    With `window`, return it. Else use the rule of `read_image`, except that a range taken from the volume leaves out
    0.5 % at both ends, because one voxel of metal would darken all. Errors as in `read_image`.
    """
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all():
        raise Refused(f"{name}: some of its values are not numbers (NaN or infinite).")
    if window is not None:
        _refuse_other_units(volume, name)
        return window
    scale = _scale(low, high, volume.dtype)
    if scale == (low, high):
        scale = tuple(map(float, np.percentile(volume[:, ::4, ::4], (0.5, 99.5))))
    return scale if scale[1] > scale[0] else (low, max(high, low + max(1.0, 1e-6 * abs(low))))  # of one value


def _refuse_other_units(hounsfield: np.ndarray, name: object) -> None:
    """Raise a ValueError for values without air or lung in Hounsfield units."""
    low, high = LUNG_RANGE
    parts = hounsfield if hounsfield.ndim == 3 else [hounsfield]  # of a volume one slice at a time, to spare memory
    if not any(((part > low) & (part < high)).any() for part in parts):
        raise Refused(
            f"{name}: not in Hounsfield units: its values run from {hounsfield.min():g} to {hounsfield.max():g}, with "
            f"no air or lung between {low:g} and {high:g} HU, so it seems to be rescaled already; "
            "pass the CT numbers as the scanner gave them, or leave window out."
        )


def _scale(low: float, high: float, dtype: np.dtype) -> tuple[float, float]:
    """Return what is black and what is white in a picture of values from `low` to `high`."""
    if low < LUNG_RANGE[1]:
        return LUNG_WINDOW
    if low >= 0 and high <= 1.01 and dtype.kind in "bf":  # some interpolation goes a little beyond 1
        return 0.0, 1.0
    return (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)


def through_window(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return `values` as uint8, from black at `window[0]` to white at `window[1]`."""
    low, high = window
    if not low < high:
        raise Refused(f"window must rise from black to white, in HU, such as {LUNG_WINDOW}, not {window}.")
    shown, step = np.empty(values.shape, np.uint8), max(_AT_ONCE // max(values[:1].size, 1), 1)
    for start in range(0, len(values), step):
        part = np.clip(values[start : start + step], low, high)
        shown[start : start + step] = np.rint((part - low) * (255.0 / (high - low)))
    return shown


def to_grey(array: np.ndarray, window: tuple[float, float] | None = None, name: object = "the array") -> np.ndarray:
    """Return an array of any depth, `(height, width)` or with 1, 3 or 4 channels, as uint8 greyscale.

    Values from 0 to 1 (floats, bool) are stretched to 0..255; see `read_image` for the rest.
    """
    if array.dtype.kind not in "buif":
        raise Refused(f"{name}: its values are not numbers; give a path, an array of numbers, or a list of these.")
    if array.ndim == 3 and array.shape[-1] in (1, 3, 4):
        array = array[..., 0] if array.shape[-1] == 1 else _luminance(array)
    if array.ndim != 2 or not array.size:
        raise Refused(f"{name}: expected (height, width), with 1, 3 or 4 channels at most, not {array.shape}.")
    if not np.isfinite(array).all():
        raise Refused(f"{name}: some of its values are not numbers (NaN or infinite).")
    if window is not None:
        return hounsfield_to_grey(array, window, name)
    if array.dtype == np.uint8:
        return array
    low, high = _scale(float(array.min()), float(array.max()), array.dtype)
    return through_window(array, (low, high)) if high > low else np.zeros_like(array, np.uint8)


def _luminance(array: np.ndarray) -> np.ndarray:
    """Return the luminance of colours, `(height, width, 3 or 4)`, as float64 (ITU-R BT.601), some rows at a time."""
    weights, step = np.array([0.299, 0.587, 0.114]), max(_AT_ONCE // max(array.shape[1], 1), 1)
    parts = [array[start : start + step, :, :3] @ weights for start in range(0, len(array), step)]
    return np.concatenate(parts) if parts else np.zeros(array.shape[:2])


def resample_mm(
    array: np.ndarray,
    spacing_mm: tuple[float, ...],
    new_spacing_mm: float | tuple[float, ...],
    is_mask: bool = False,
) -> np.ndarray:
    """Return an image or a volume of one spacing at another, over the same extent.

    Images are interpolated linearly, and blurred before where they become smaller (no moiré); masks take the nearest
    neighbour. Both get the same shape: the extent over the new spacing, rounded, so that the new spacing is met but for
    that rounding.

    Args:
        array: `(height, width)` or `(slices, height, width)`; uint8 stays uint8, all else comes back as float32.
        spacing_mm: of the array's axes, in their order, mm.
        new_spacing_mm: that wanted, mm; one for each axis, or one for all.
        is_mask: whether it is a mask, which stays bool.

    Example: `resample_mm(volume.hounsfield, volume.spacing_mm, 1.0)`.
    """
    from skimage.transform import resize

    old, new = np.asarray(spacing_mm, float), np.broadcast_to(np.asarray(new_spacing_mm, float), (array.ndim,))
    if old.shape != (array.ndim,) or not (old > 0).all() or not (new > 0).all():
        raise Refused(f"spacing_mm needs a positive number for each of {array.ndim} axes, not {spacing_mm}, {new}.")
    shape = np.maximum(np.rint(array.shape * old / new), 1).astype(int)
    if tuple(shape) == array.shape:
        return array
    if is_mask:
        return resize(array.astype(bool), shape, order=0, anti_aliasing=False)
    new_array = resize(array.astype(np.float32), shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True)
    return np.rint(new_array).astype(np.uint8) if array.dtype == np.uint8 else new_array


class Square(NamedTuple):
    """An image fitted into a square, and where in the square it lies (px)."""

    array: np.ndarray
    top: int
    left: int
    height: int
    width: int


def fit_square(image: np.ndarray, size: int) -> Square:
    """Fit a uint8 image into a `(size, size)` square, area-averaged, aspect ratio kept by black borders.

    The same geometry as `image_dataset_from_directory(pad_to_aspect_ratio=True)`, on which the networks are trained.
    """
    height, width = np.float32(image.shape)
    # TensorFlow's resize_with_pad rounds in this way, in float32: down, and the border before the height and width.
    ratio = max(height, width) / np.float32(size)
    new_height, new_width = max(int(height / ratio), 1), max(int(width / ratio), 1)
    top, left = int((size - height / ratio) / 2), int((size - width / ratio) / 2)
    square = np.zeros((size, size), np.uint8)
    # Exact areas, as TensorFlow takes them; Pillow's box filter counts whole pixels only, and rounds twice.
    down, across = _area_weights(image.shape[0], new_height), _area_weights(image.shape[1], new_width)
    # Some columns at a time, of which SciPy makes a copy in float64.
    step = max(_AT_ONCE // image.shape[0], 1)
    shrunk = np.hstack([down @ image[:, start : start + step] for start in range(0, image.shape[1], step)])
    small = (across @ shrunk.T).T
    square[top : top + new_height, left : left + new_width] = np.rint(small)
    return Square(square, top, left, new_height, new_width)


def unfit_square(probability: np.ndarray, square: Square, height: int, width: int) -> np.ndarray:
    """Cut the image's part out of a `(size, size)` probability map; resize it to the image's own `height`, `width`."""
    part = probability[square.top : square.top + square.height, square.left : square.left + square.width]
    part = np.ascontiguousarray(part, dtype=np.float32)
    return np.array(Image.fromarray(part).resize((width, height), Image.Resampling.BILINEAR))


@lru_cache(maxsize=8)
def _area_weights(rows: int, count: int) -> Any:  # noqa: ANN401
    """Return the sparse `(count, rows)` matrix that averages rows; each counts by its part of a new one."""
    from scipy.sparse import csr_array

    edges = np.arange(count + 1) * (rows / count)
    # The rows that each new one covers: the first, and a number that is enough for all; those beside it weigh nothing.
    row = np.floor(edges[:-1]).astype(int)[:, None] + np.arange(int(np.ceil(rows / count)) + 1)
    overlaps = np.minimum(row + 1, edges[1:, None]) - np.maximum(row, edges[:-1, None])
    new_row, place = np.nonzero((overlaps > 0) & (row < rows))
    weights = overlaps[new_row, place] * (count / rows)
    return csr_array((weights, (new_row, row[new_row, place])), shape=(count, rows))


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """Return a uint8 image with its longest side at most `longest` px, area-averaged; a bool mask by nearest."""
    height, width = image.shape
    if max(height, width) <= longest:
        return image
    size = (max(round(width * longest / max(height, width)), 1), max(round(height * longest / max(height, width)), 1))
    method = Image.Resampling.NEAREST if image.dtype == bool else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize(size, method))


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
    if tile[0] * tile[1] > max(4 * image.width * image.height, _AT_ONCE):
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
