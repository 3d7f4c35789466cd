"""Decide which values of a picture are black and white. All readers use this one rule.

A burnt-in marker, the padding around a scan, a sensor's broken pixels and values that are not numbers are not part
of the picture, and must not darken it.
"""

import math
from typing import NamedTuple

import numpy as np

from lungnb.formats.opening import Refused
from lungnb.masks import Mask, Window

LUNG_WINDOW = (-1000.0, 400.0)  # Hounsfield units shown as black and as white
AIR_HU = -1000
LUNG_RANGE = (-1500.0, -200.0)  # HU of air and lung; every CT slice of a chest has such values, no 8-bit image has
FLESH_RANGE = (-200.0, 200.0)  # HU of fat, muscle and blood
_MIN_CORNERS = 3  # of a slice, that a fill value reaches
MAX_HU = 3071.0  # the largest number of 12 bits; in the corners of a slice, it is no bone and no metal
_MIN_FLESH_SHARE = 0.01  # of a picture of CT; a chest has far more
MAX_SHARE = 1.01  # values from 0 to this are shares; some interpolation goes a little beyond 1
MAX_UNITS = 16  # floats from 0 to this were normalised in some way: no 8-bit picture is so dark
_FILL_SHARE = 0.05  # of a slice of CT: a single value of flesh that fills so much, from the corners, is none
_WRAP, _DEEPEST = 2**16, 4096  # values of 16 bits without sign, and the largest HU that they hold
_CUT_SHARE, _CUT_HU = 0.2, 300  # of CT without negative values is 0, and the median of the others is below
_MAX_GREY = 255  # of pictures of 8 bits
_SHARE_OF_LUNG = 0.001  # from this share of air or lung, a picture is CT, whatever its other values are
_SAMPLE = 2**16  # values that are looked at, evenly spaced over the picture
_PERCENT = 1.0  # at each end may lie anywhere without moving the range
_FEW_VALUES = 16  # padding has so many different values at most, a picture more
_MAX_ENCLOSED = 0.02  # of a picture: padding that does not reach its edge
_PADDING_GAP = 0.25  # padding is farther from the picture's values than this share of their range


class GreyRange(NamedTuple):
    """The values that are shown as black and as white, and a note if values were left out."""

    window: Window
    note: str = ""


def grey_range(values: np.ndarray, window_hu: Window | None = None, name: object = "the array") -> GreyRange:
    """Return the values of an image or a volume that are shown as black and as white.

    - `window_hu`, if it is given; the values must then be Hounsfield units.
    - CT, which has values below -200 that are not only padding (such as -999): LUNG_WINDOW.
    - bools and floats from 0 to 1: 0 and 1. Other values from 0 to 255: 0 and 255, except floats of a few units.
    - All others: the smallest and the largest value of the picture. Values far from all others are not part of it: the
      few different ones of padding, and 1 % at either end, such as those of markers, metal and broken pixels.

    Values that are not numbers (NaN, infinite) are left out. Raises Refused, naming `name`, if there are no others, and
    if there is a window but no value is air or lung in HU.

    >>> grey_range(np.arange(4000.0)).window
    (0.0, 3999.0)
    >>> grey_range(np.append(np.arange(4000.0), 65535))
    GreyRange(window=(0.0, 3999.0), note='values outside 0 to 3999 are left out')
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:  # perhaps too large for NumPy to compare
        values = values.astype(float)
    low, high, note = float(values.min()), float(values.max()), ""
    if not np.isfinite([low, high]).all():
        values, note = values[np.isfinite(values)], "values that are not numbers are black"
        if not values.size:
            raise Refused(f"{name}: none of its values is a number. Save it again.")
        low, high = float(values.min()), float(values.max())
    if window_hu is not None:
        _refuse_other_units(values, name)
        return GreyRange(window_hu, note)
    if LUNG_RANGE[0] < low < LUNG_RANGE[1] and _is_one_padding(values, low):
        shown = grey_range(values[values > low], name=name)
        return GreyRange(shown.window, ", ".join(filter(None, [f"values of {low:g} are left out", shown.note, note])))
    if low >= 0 and high <= MAX_SHARE and values.dtype.kind in "bf":
        return GreyRange((0.0, 1.0), note)
    if low >= 0 and high <= 255 and (values.dtype.kind != "f" or high > MAX_UNITS):
        return GreyRange((0.0, 255.0), note)
    if _share_of_lung(values) > _SHARE_OF_LUNG:
        return GreyRange(LUNG_WINDOW, ", ".join(filter(None, [_doubt_of_units(values), note])))
    first, last = _ends_of_picture(values)
    picture_low = float(values.min(where=values >= first, initial=high))
    if low < LUNG_RANGE[1] and picture_low < 0:
        return GreyRange(LUNG_WINDOW, note)
    if first > low or last < high:
        low, high = picture_low, float(values.max(where=values <= last, initial=low))
        note = ", ".join(filter(None, [f"values outside {low:g} to {high:g} are left out", note]))
    return GreyRange((low, high if high > low else low + max(1.0, 1e-6 * abs(low))), note)


def without_fill(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a CT slice with AIR_HU in the place of a value that fills its corners, such as 1e20 or 0, and a note.

    The value fills at least three corners, so it is no metal. Slices with several such values stay as they are. A value
    of flesh, such as 0, also fills 5 % of the slice beside other flesh, and only its regions at the corners are air.

    >>> without_fill(np.array([[9999.0, 0, 9999], [0, 0, 0], [9999, 0, 9999]]))[0].max()
    np.float64(0.0)
    """
    from scipy.ndimage import label

    corners = (slice(None, None, max(len(values) - 1, 1)), slice(None, None, max(values.shape[1] - 1, 1)))
    distinct, counts = np.unique(values[corners], return_counts=True)
    fill = distinct[counts.argmax()]
    if counts.max() < _MIN_CORNERS:
        return values, ""
    is_fill = values == fill
    if _is_flesh(fill):
        regions, _ = label(is_fill)
        is_fill &= np.isin(regions, regions[corners])
        is_drawn = len(np.unique(_sample(values))) <= _FEW_VALUES
        if is_drawn or is_fill.mean() < _FILL_SHARE or _is_flesh(values[~is_fill]).mean() < _FILL_SHARE:
            return values, ""
    elif not MAX_HU <= fill < np.inf:
        return values, ""
    return np.where(is_fill, AIR_HU, values), f"values of {fill:g}, which fill the corners, are black"


def _is_flesh(values: np.ndarray) -> Mask:
    return np.asarray((values >= FLESH_RANGE[0]) & (values <= FLESH_RANGE[1]))


def with_sign(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return CT whose negative values were saved in 16 bits without sign, -1000 as 64536, with their sign, and a note.

    All values are then near 0 or 65,536: air or lung, and flesh on both sides of 0 HU.

    >>> with_sign(np.append(np.arange(150), np.arange(64000, 65536)).reshape(1, -1))[0].min()
    np.float64(-1536.0)
    """
    if not _WRAP - _DEEPEST < values.max() < _WRAP:
        return values, ""
    hu = _sample(values).astype(float)
    hu[hu > _DEEPEST] -= _WRAP
    parts = [hu[(low <= hu) & (hu < high)] for low, high in (LUNG_RANGE, (FLESH_RANGE[0], 0), (0, FLESH_RANGE[1]))]
    has_parts = all(part.size > _MIN_FLESH_SHARE * hu.size and len(np.unique(part)) > _FEW_VALUES for part in parts)
    if not has_parts or np.abs(hu).max() > _DEEPEST:
        return values, ""
    signed = np.where(values > _DEEPEST, values - np.float32(_WRAP), values)
    return signed, "its negative values were saved without sign, and are read with it"


def doubt_of_sign(hu: np.ndarray) -> str:
    """Return a note on CT in HU whose negative values were cut off: much of it is 0, and the rest flesh; or "".

    Pictures that were shown through a window, of 8 bits, have no such values either.
    """
    sample = _sample(hu)
    flesh = sample[sample > 0]
    is_cut = 0 < flesh.size < (1 - _CUT_SHARE) * sample.size and np.median(flesh) <= _CUT_HU
    if sample.min() or hu.max() <= _MAX_GREY or not is_cut:
        return ""
    return "no values below 0 HU, as air and lung have: they were cut off. Export the CT again, with signed values"


def _doubt_of_units(values: np.ndarray) -> str:
    """Return a note on CT in which hardly any value is flesh: it is shifted, or the lungs are cut out; or ""."""
    sample = _sample(values)
    if _is_flesh(sample).mean() > _MIN_FLESH_SHARE or len(np.unique(sample)) <= _FEW_VALUES:  # CT may be drawn
        return ""
    return "hardly any values of soft tissue (-200 to 200 HU): the values are shifted from Hounsfield units, or cut out"


def _is_one_padding(values: np.ndarray, low: float) -> bool:
    """Return whether `low` is padding and the only negative value, such as -999 for no data. CT has more of them."""
    sample = _sample(values)
    picture = sample[sample > low]
    if not picture.size or picture.min() < 0 or len(np.unique(picture)) <= _FEW_VALUES:
        return False
    return _share_enclosed(sample == low) <= _MAX_ENCLOSED


def _share_enclosed(padding: Mask) -> float:
    """Return the share of a picture, or of the middle slice of a volume, that is padding with picture all around.

    In drawn CT, only the lungs are enclosed in this way. Real padding reaches the edge, except for a few broken pixels.
    """
    from scipy.ndimage import binary_fill_holes

    plane = padding[len(padding) // 2] if padding.ndim == 3 else padding
    if plane.ndim != 2:
        return 0.0
    return float((binary_fill_holes(~plane) & plane).mean())


def _sample(values: np.ndarray) -> np.ndarray:
    step = math.ceil((values.size / _SAMPLE) ** (1 / values.ndim))
    return values[(slice(None, None, step),) * values.ndim]


def _refuse_other_units(hounsfield: np.ndarray, name: object) -> None:
    """Raise Refused if no value is air or lung in HU (LUNG_RANGE), as in 8-bit images and values from 0 to 1."""
    low, high = LUNG_RANGE
    if not _share_of_lung(hounsfield):
        raise Refused(
            f"{name}: not in Hounsfield units: its values run from {hounsfield.min():g} to {hounsfield.max():g}, with "
            f"no air or lung between {low:g} and {high:g} HU, so it seems to be rescaled already; "
            "pass the CT numbers as the scanner gave them, or leave window out."
        )


def _share_of_lung(values: np.ndarray) -> float:
    """Return the share of the values that are air or lung in HU (LUNG_RANGE)."""
    low, high = LUNG_RANGE
    parts = values if values.ndim == 3 else [values]  # one slice of a volume at a time, to spare memory
    return sum(np.count_nonzero((part > low) & (part < high)) for part in parts) / values.size


def _ends_of_picture(values: np.ndarray) -> tuple[float, float]:
    """Return two limits that separate the values of the picture from all others. The picture may not reach them."""
    distinct, counts = np.unique(_sample(values), return_counts=True)
    distinct, ends = distinct.astype(float), [-np.inf, np.inf]
    while len(distinct) > _FEW_VALUES:
        gaps = np.diff(distinct)
        cut = int(gaps.argmax()) + 1
        # The picture has the more values on one side of the widest gap; on the other there may be padding.
        padding, picture = sorted((slice(None, cut), slice(cut, None)), key=lambda part: len(distinct[part]))
        if len(distinct[padding]) > _FEW_VALUES or gaps[cut - 1] < _PADDING_GAP * np.ptp(distinct[picture]):
            break
        ends[picture.stop is not None] = float(distinct[cut - 1 : cut + 1].mean())
        distinct, counts = distinct[picture], counts[picture]
    shares = np.cumsum(counts) / counts.sum()
    low, high = distinct[np.searchsorted(shares, (_PERCENT / 100, 1 - _PERCENT / 100))]
    return max(ends[0], low - (high - low)), min(ends[1], high + (high - low))
