"""Decide which values of a mask file are lung. All readers of masks use this one rule."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungnb.formats.opening import Refused
from lungnb.formats.ranges import LUNG_RANGE
from lungnb.masks import Floats, Mask

MAX_LABELS = 8  # a map of more labels shows the whole body, not two lungs and their lobes
LOBES = (10, 11, 12, 13, 14)  # of the lungs, in label maps of TotalSegmentator
_SAMPLE = 2**17  # values that are looked at, evenly spaced over the mask
_AREA_SHARE = 0.3  # of a label's pixels have equal neighbours; of the greys at a soft edge, fewer have
_BACKGROUND_SHARE = 0.3  # of the pixels have the value of the background
_STRAY_SHARE = 0.01  # of the pixels are darker than the background at most, if JPEG made them so
_EXACT_SHARE = 0.5  # of the values of a label map fill areas; in a JPEG or a soft mask, fewer do
_LABEL_SHARE = 0.03  # of the pixels above the background have the value of a label, if edges are blurred
_MIN_JUMP = 0.02  # of the range of values, from one label to the next; a soft mask rises in smaller steps
_NEAR = 0.1  # of the range of values: so close to a label, a blurred value belongs to it
_FAINT_AREA_SHARE = 0.8  # as _AREA_SHARE, for a label that close to the background
_LUNG_SHARE = 0.4  # a label that close to the background is a lung if it has this share of the bright pixels
EXPORT_AGAIN = "export it again, as PNG, from the program that drew it"  # what to do if there is a `doubt_of` a mask
_JPEG_LABEL = 16  # from this label on, the noise of JPEG is small
_FAR = (3, 6)  # steps of the sampled grid from the bright label: beyond its blurred edge, and still around it
_MAX_IGNORED = 2  # values below 0 may say which pixels to ignore; maps of distances have more values
_MOST = 0.5  # of the pixels around a bright label are drawn in a soft mask
_BELOW_SHARE = 0.05  # of the pixels of such a map are below 0; where interpolation overshoots, fewer are
_LUNG_HU = -500.0  # the median of aerated lung is below
# The airways have at most this share of the air in a mask, and their median, HU, is below the first number, and below
# that of all of it by the second
_AIRWAY_SHARE, _AIRWAY_HU, _AIRWAY_GAP_HU = 0.05, -900.0, 50.0
_DISTANCES = (
    "has many values below 0 and above, as maps of distances, logits and CT have. Save the lungs as 1 and everything "
    "else as 0."
)
_BLURRED = (
    "has the labels {} and values between labels, as interpolation and JPEG make. Save it as PNG without "
    "interpolation, with one value for both lungs and 0 elsewhere."
)


class MaskValues(NamedTuple):
    """The meaning of the values of a mask: which of them are lung."""

    labels: tuple[float, ...]  # those of lung, ascending
    threshold: float  # lung is this value and above
    grey_share: float = 0.0  # of pixels whose value is not near a label, as in a picture
    problem: str = ""  # why the values do not say what is lung, and what to do


def lung_mask(
    array: np.ndarray, mask_values: tuple[int, ...] | None = None, name: object = "the mask",
    hu: Floats | None = None, values: MaskValues | None = None,
) -> Mask:  # fmt: skip
    """Return the bool mask of lung from a mask of labels, `(..., height, width)`.

    `mask_values` are the labels of lung; without them, `find_values` decides. `values` is its result, if it is known.

    Raises Refused, naming `name`, if values are below 0 and none above, if `find_values` has a problem with them, and
    if the labels are of other organs too: more than MAX_LABELS, or LOBES and others, or, in the volume `hu` of the
    mask's shape, some of air like lung and some of flesh, or a small one of air like the trachea.
    """
    if mask_values:
        return np.isin(np.rint(array), mask_values)
    stored, array = array, _numbers(array)
    values = values or find_values(array)
    if stored is not array and not values.labels and np.isfinite(stored).any():
        raise Refused(
            f"{name}: holds only 0 and values that are not numbers (NaN). Save the lungs as 1, and "
            "0 instead of NaN if there is no lung."
        )
    if values.problem:
        raise Refused(f"{name}: {values.problem}")
    if not values.labels and array.min() < array.max():  # such as 255 in 8 bits with a sign
        raise Refused(f"{name}: has values below 0 and none above. Save the lungs as 1 and everything else as 0.")
    lungs = _lungs_among(values.labels, array, hu)
    if lungs is not None:
        raise Refused(
            f"{name}: has the labels {_in_words(values.labels)}, and not all of them mark lung. Name those of lung by "
            f"the setting mask_values (`adapt` and `score`: --labels), such as mask_values={','.join(map(str, lungs))}."
        )
    # Compare numbers of one kind, because NumPy would make floats of all pixels.
    return np.asarray(array >= (values.threshold if array.dtype.kind == "f" else math.ceil(values.threshold)))


def find_values(array: np.ndarray) -> MaskValues:
    """Return what the values of a mask mean. Those that are not numbers (NaN, infinite) count as 0.

    - A few values that fill areas are labels, whatever they are. All are lung except 0, or, if no pixel is 0, except
        the smallest. Values between labels, as at soft edges and in JPEG files, belong to the nearest label.
    - In other masks, such as probabilities, lung is above half of the largest value; above 0.5 for floats up to 1. If
      the background is lighter than that, lung is nearer to the largest value than to the background.
    - A map of distances is a problem, and so are blurred lungs of which one has a label near the background: half of
      the largest value is not the edge of the lungs.

    >>> find_values(np.array([[0, 0, 0, 127, 127, 255, 255]] * 2)).threshold
    63.5
    """
    array = _numbers(array)
    smallest, largest = array.min(), array.max()
    low, high = max(float(smallest), 0.0), float(largest)
    if high <= low:  # one value
        return MaskValues((high,), high) if high > 0 else MaskValues((), 1.0)
    if np.count_nonzero(array == smallest) + np.count_nonzero(array == largest) == array.size:
        return MaskValues((high,), (low + high) / 2)
    step = math.ceil((array.size / _SAMPLE) ** (1 / array.ndim))
    part = array[(slice(None, None, step),) * (array.ndim - 2)]
    pixel, right, under = part[..., :-1:step, :-1:step], part[..., :-1:step, 1::step], part[..., 1::step, :-1:step]
    distinct, number, counts = np.unique(pixel, return_inverse=True, return_counts=True)
    margin = _NEAR * (high - low)
    below = distinct < -margin
    if below.sum() > _MAX_IGNORED and counts[below].sum() > _BELOW_SHARE * pixel.size:
        return MaskValues((high,), high / 2, 1.0, _DISTANCES)
    alike = np.bincount(number.ravel(), ((pixel == right) & (pixel == under)).ravel(), len(distinct))
    fills_area = alike >= _AREA_SHARE * counts
    low = _background(distinct, counts, fills_area, low)
    is_area = (distinct > low) & fills_area
    jumps = np.concatenate([np.abs(np.subtract(pixel, part, dtype=float))[pixel != part] for part in (right, under)])
    is_sharp = jumps.size > 0 and np.median(jumps) >= _MIN_JUMP * (high - low)
    count = (distinct > low).sum()
    # A few values are labels even if the largest fills no area, such as a stray pixel, or a line of 255 around objects.
    is_stray = not is_area[-1] and count <= MAX_LABELS
    if is_area.any() and (is_stray or (is_sharp and is_area.sum() > _EXACT_SHARE * count)):
        exact = distinct[is_area].tolist()
        return MaskValues(tuple(exact), (low + exact[0]) / 2)
    is_large = counts >= _LABEL_SHARE * counts[distinct > low].sum()
    between = distinct[is_area & is_large & (distinct > low + margin) & (distinct < high - margin)]
    labels = (*between.tolist(), high) if len(between) <= MAX_LABELS else (high,)
    bright = pixel >= (low + high) / 2
    is_faint = (alike >= _FAINT_AREA_SHARE * counts) & (counts >= _LUNG_SHARE * np.count_nonzero(bright))
    faint = distinct[is_faint & (distinct > low) & (distinct <= low + margin)]
    if len(faint) and _is_apart(bright, pixel > low):
        problem = _BLURRED.format(_in_words((float(faint[0]), high)))
        return MaskValues((float(faint[0]), *labels), (low + float(faint[0])) / 2, 0.0, problem)
    nearest = np.min([np.abs(pixel - float(value)) for value in (low, *labels)], axis=0)
    threshold = (low + labels[0]) / 2 if len(labels) > 1 else math.nextafter(_half(pixel, low, high), math.inf)
    return MaskValues(labels, threshold, float((nearest > margin).mean()))


def _half(pixel: np.ndarray, low: float, high: float) -> float:
    """Return the threshold of lung in a mask without labels, such as probabilities: its pixels are above."""
    half = 0.5 if pixel.dtype.kind == "f" and high <= 1 else high / 2
    is_light = low >= half and np.count_nonzero(pixel == low) > _BACKGROUND_SHARE * pixel.size  # the background
    return (low + high) / 2 if is_light else half


def _background(distinct: np.ndarray, counts: np.ndarray, fills_area: np.ndarray, low: float) -> float:
    """Return the value of the background: `low`, or, if only a few pixels that fill no area have that, a larger one.

    JPEG makes such pixels around the lungs if the background is not black.
    """
    is_below, high = distinct <= low, float(distinct[-1])
    if fills_area[is_below].any() or counts[is_below].sum() >= _STRAY_SHARE * counts.sum():
        return low
    is_dark = fills_area & (counts > _BACKGROUND_SHARE * counts.sum()) & (distinct < (low + high) / 2)
    return float(distinct[is_dark][0]) if is_dark.any() else low


def doubt_of(path: Path, values: MaskValues) -> str:
    """Return why the values of a mask file are in doubt, or "". JPEG adds noise of a few units; see `EXPORT_AGAIN`.

    >>> doubt_of(Path("a.jpg"), MaskValues((2, 4), 1))
    'is a JPEG file with labels up to 4, and JPEG changes such small values'
    """
    largest = max(values.labels, default=0)
    is_changed = path.suffix.lower() in (".jpg", ".jpeg") and 0 < largest < _JPEG_LABEL
    return f"is a JPEG file with labels up to {largest:g}, and JPEG changes such small values" if is_changed else ""


def _is_apart(bright: Mask, drawn: Mask) -> bool:
    """Return whether most pixels around the bright ones are undrawn; in a soft mask, those around lungs are grey."""
    near, far = (ndimage.binary_dilation(bright, iterations=distance) for distance in _FAR)
    return bool((drawn[far & ~near]).mean() < _MOST)


def _numbers(array: np.ndarray) -> np.ndarray:
    """Return the array with 0 in the place of values that are not numbers."""
    if array.dtype.kind != "f" or np.isfinite([array.min(), array.max()]).all():
        return array
    return np.where(np.isfinite(array), array, 0)


def _lungs_among(labels: tuple[float, ...], mask: np.ndarray, hu: Floats | None) -> tuple[int, ...] | None:
    """Return which labels of a mask are probably lung, or None if all are."""
    lobes = tuple(label for label in LOBES if label in labels)
    if len(labels) > 1 and hu is not None:
        step = math.ceil((mask.size / _SAMPLE) ** (1 / mask.ndim))
        mask, hu = (array[(slice(None, None, step),) * mask.ndim] for array in (mask, hu))
        medians = {round(label): np.median(hu[mask == label]) for label in labels if (mask == label).any()}
        air = tuple(label for label, median in medians.items() if median < _LUNG_HU)
        of_air = hu[np.isin(mask, air)]
        lungs = tuple(label for label in air if not _is_airway(hu[mask == label], of_air))
        if air and max(medians.values()) > LUNG_RANGE[1]:
            return lobes if lobes and {*lobes} <= {*air} else lungs or air
        if lungs and len(lungs) < len(air):
            return lungs
    is_of_body = len(labels) > MAX_LABELS or (len(lobes) > 1 and len(labels) > len(lobes))
    return (lobes or LOBES) if is_of_body else None


def _is_airway(hu: np.ndarray, of_air: np.ndarray) -> bool:
    """Return whether a label is small, and darker than all labels of air, as the trachea is beside the lungs; in HU."""
    limit = min(_AIRWAY_HU, float(np.median(of_air)) - _AIRWAY_GAP_HU)
    return bool(hu.size < _AIRWAY_SHARE * of_air.size and np.median(hu) < limit)


def _in_words(labels: tuple[float, ...]) -> str:
    """Return labels as text.

    >>> _in_words((1, 10, 11, 12, 80))
    '1, 10 to 12, 80'
    """
    runs: list[list[float]] = []
    for label in labels:
        if runs and label == runs[-1][-1] + 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    words = [f"{run[0]:g} to {run[-1]:g}" if len(run) > 1 else f"{run[0]:g}" for run in runs]
    more = [f"and {len(words) - MAX_LABELS} more"] if len(words) > MAX_LABELS else []
    return ", ".join([*words[:MAX_LABELS], *more])
