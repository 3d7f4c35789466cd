"""Turn arrays of any depth into the greys that a network sees."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lungnb.arrays import Floats, Grey, Window
from lungnb.formats.opening import Refused

BLOCK_PIXELS = 2**20  # convert so many pixels at once, because copies of a whole film would take a gigabyte
LUNG_WINDOW = (-1000.0, 400.0)  # Hounsfield units shown as black and as white
LUNG_RANGE = (-1500.0, -200.0)  # HU of air and lung; every CT slice of a chest has such values, no 8-bit image has
MAX_SHARE = 1.01  # values from 0 to this are shares; some interpolation goes a little beyond 1
VOLUME_PERCENTILES = (0.5, 99.5)  # of a volume that is not in HU, shown as black and as white
_LUMINANCE = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


def hounsfield_to_grey(hounsfield: np.ndarray, window: Window = LUNG_WINDOW, name: object = "the array") -> Grey:
    """Return CT numbers as uint8 greys.

    Args:
        hounsfield: Hounsfield units, of any shape.
        window: HU that become 0 (black) and 255 (white). Values outside become 0 or 255 too.
        name: what the message calls the array.

    Raises ValueError if the values are not Hounsfield units, because no air or lung is among them (LUNG_RANGE). This
    holds for 8-bit greys and for values from 0 to 1.

    >>> hounsfield_to_grey(np.array([-1000.0, -300.0, 400.0])).tolist()
    [0, 128, 255]
    """
    _refuse_other_units(hounsfield, name)
    return through_window(hounsfield, window)


def volume_window(volume: np.ndarray, window: Window | None = None, name: object = "the array") -> Window:
    """Return the values that are black and white in every slice of a volume, `(slices, height, width)`.

    That is `window` if it is given. Otherwise the rule of `read_image` holds with one exception: a range taken from the
    volume itself leaves out 0.5 % at both ends, because one voxel of metal would darken everything. Raises as
    `read_image`.
    """
    low, high = float(volume.min()), float(volume.max())
    if not np.isfinite([low, high]).all():
        raise Refused(f"{name}: some of its values are not numbers (NaN or infinite). Save it without them.")
    if window is not None:
        _refuse_other_units(volume, name)
        return window
    scale = _grey_scale(low, high, volume.dtype)
    if scale == (low, high):
        black, white = np.percentile(volume[:, ::4, ::4], VOLUME_PERCENTILES)  # a sixteenth of the voxels, for speed
        scale = float(black), float(white)
    if scale[0] < scale[1]:
        return scale
    return low, max(high, low + max(1.0, 1e-6 * abs(low)))  # nearly all values are equal


def _refuse_other_units(hounsfield: np.ndarray, name: object) -> None:
    """Raise Refused for values without air or lung in Hounsfield units."""
    low, high = LUNG_RANGE
    parts = hounsfield if hounsfield.ndim == 3 else [hounsfield]  # one slice of a volume at a time, to spare memory
    if not any(((part > low) & (part < high)).any() for part in parts):
        raise Refused(
            f"{name}: not in Hounsfield units: its values run from {hounsfield.min():g} to {hounsfield.max():g}, with "
            f"no air or lung between {low:g} and {high:g} HU, so it seems to be rescaled already; "
            "pass the CT numbers as the scanner gave them, or leave window out."
        )


def _grey_scale(low: float, high: float, dtype: np.dtype) -> Window:
    """Return what is black and what is white in a picture of values from `low` to `high`."""
    if low < LUNG_RANGE[1]:
        return LUNG_WINDOW
    if low >= 0 and high <= MAX_SHARE and dtype.kind in "bf":
        return 0.0, 1.0
    return (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)


def through_window(values: np.ndarray, window: Window) -> Grey:
    """Return values of any shape as uint8, from 0 at `window[0]` and below to 255 at `window[1]` and above.

    Raises ValueError if the window does not rise.
    """
    low, high = window
    if not low < high:
        raise Refused(f"window must rise from black to white, in HU, such as {LUNG_WINDOW}, not {window}.")
    grey = np.empty(values.shape, np.uint8)
    for rows in row_blocks(values.shape):
        grey[rows] = np.rint((np.clip(values[rows], low, high) - low) * (255.0 / (high - low)))
    return grey


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices along the first axis of an array that hold BLOCK_PIXELS values or one row each."""
    step = max(BLOCK_PIXELS // max(math.prod(shape[1:]), 1), 1)
    return (slice(start, start + step) for start in range(0, shape[0], step))


def to_grey(array: np.ndarray, window: Window | None = None, name: object = "the array") -> Grey:
    """Return an array of any depth, `(height, width)` or with 1, 3 or 4 channels, as uint8 `(height, width)`.

    Colours become luminance. Floats and bools from 0 to 1 are stretched to 0..255. `read_image` says how other values
    are scaled, and what `window` does.

    Raises ValueError, naming `name`, for another shape and for values that are not finite numbers.

    >>> to_grey(np.array([[0.0, 0.5, 1.0]])).tolist()
    [[0, 128, 255]]
    """
    if array.dtype.kind not in "buif":
        raise Refused(f"{name}: its values are not numbers; give a path, an array of numbers, or a list of these.")
    if array.ndim == 3 and array.shape[-1] in (1, 3, 4):
        array = array[..., 0] if array.shape[-1] == 1 else _luminance(array)
    if array.ndim != 2 or not array.size:
        raise Refused(f"{name}: expected (height, width), with 1, 3 or 4 channels at most, not {array.shape}.")
    if not np.isfinite(array).all():
        raise Refused(f"{name}: some of its values are not numbers (NaN or infinite). Save it without them.")
    if window is not None:
        return hounsfield_to_grey(array, window, name)
    if array.dtype == np.uint8:
        return array
    low, high = _grey_scale(float(array.min()), float(array.max()), array.dtype)
    return through_window(array, (low, high)) if high > low else np.zeros_like(array, np.uint8)


def _luminance(array: np.ndarray) -> Floats:
    """Return the luminance of colours, `(height, width, 3 or 4)`, as float64 `(height, width)`."""
    parts = [array[rows, :, :3] @ np.array(_LUMINANCE) for rows in row_blocks(array.shape[:2])]
    return np.concatenate(parts) if parts else np.zeros(array.shape[:2])
