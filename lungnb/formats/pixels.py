"""Arrays of any depth and size to the greys and the square that a network sees, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lungnb.formats.opening import Refused

BLOCK_PIXELS = 2**20  # pixels that are copied at once: copies of a whole film would take a gigabyte
LUNG_WINDOW = (-1000.0, 400.0)  # Hounsfield units shown as black and as white
LUNG_RANGE = (-1500.0, -200.0)  # HU of air and lung, which every CT slice of a chest has, and no 8-bit image


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
    shown, step = np.empty(values.shape, np.uint8), max(BLOCK_PIXELS // max(values[:1].size, 1), 1)
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
    weights, step = np.array([0.299, 0.587, 0.114]), max(BLOCK_PIXELS // max(array.shape[1], 1), 1)
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
    step = max(BLOCK_PIXELS // image.shape[0], 1)
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
