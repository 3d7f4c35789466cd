"""A mask told apart into the patient's right and left lung, and whether a person should look at it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lungnb.check import AREA
from lungnb.inference import region_labels

USUAL_ML = (1000, 9000)  # of both lungs together, by CT
MAX_RATIO = 3.0  # of the larger lung to the smaller
_SPECK = 0.1  # of the larger region: what is smaller is no lung beside it
_WIDE = 0.8  # of its height: what is wider than this, across the middle, is both lungs, which touch


def sides(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient's right and left lung of a mask, `(height, width)` or `(slices, height, width)`, bool.

    Two regions beside one another are told apart by where their middles lie. Lungs that touch are cut at the thinnest
    column near their middle. Anything else is one lung, in one piece or in two above one another. The patient's right
    is on the left, as films and slices are shown.
    """
    labels, largest = region_labels(mask)
    regions = [labels == region for region in largest]
    if len(regions) == 2 and _beside(*regions):
        right = min(regions, key=_middle_column)
        return right, mask & ~right
    middle = mask.shape[-1] / 2
    if regions and _is_across(regions[0], middle):
        on_right = np.broadcast_to(np.arange(mask.shape[-1]) < _thinnest_column(regions[0]), mask.shape)
        return mask & on_right, mask & ~on_right
    lung, none = mask.copy(), np.zeros_like(mask)
    return (lung, none) if regions and _middle_column(mask) < middle else (none, lung)


def doubtful(mask: np.ndarray, right: float, left: float, millilitres: float | None = None) -> str:
    """Return why a person should look at a mask, or nothing: by the sizes of the lungs, px, and of volumes mL."""
    reasons, (low, high) = [], AREA
    if not right + left:
        return "no lung"
    if max(right, left) > MAX_RATIO * min(right, left):
        reasons.append("one lung far larger" if min(right, left) else "one lung only")
    if millilitres is not None and not USUAL_ML[0] <= millilitres <= USUAL_ML[1]:
        reasons.append(f"{millilitres:.0f} mL")
    if mask.ndim == 2 and not low <= mask.mean() <= high:
        reasons.append(f"{mask.mean():.0%} of the picture")
    return ", ".join(reasons)


def _beside(larger: np.ndarray, smaller: np.ndarray) -> bool:
    """Whether two regions are two lungs: neither is a speck, nor do they lie above one another."""
    (first, last), (start, end) = _extent(larger), _extent(smaller)
    shared = min(last, end) - max(first, start)
    return smaller.sum() >= _SPECK * larger.sum() and shared < 0.5 * min(last - first, end - start)


def _is_across(region: np.ndarray, middle: float) -> bool:
    """Whether a region is both lungs: wide, and about the middle of the picture."""
    (first, last), (top, bottom) = _extent(region), _extent(region, -2)
    quarter = (last - first) / 4
    return last - first > _WIDE * (bottom - top) and first + quarter < middle < last - quarter


def _thinnest_column(region: np.ndarray) -> int:
    """Return the column, in the middle third of a region, that has least of it."""
    first, last = _extent(region)
    third = (last - first) // 3
    columns = np.arange(first + third, last - third)
    heights = _columns(region)[columns]
    thinnest = columns[heights == heights.min()]
    return int(thinnest[np.abs(thinnest - (first + last) / 2).argmin()])


def _extent(region: np.ndarray, axis: int = -1) -> tuple[int, int]:
    """Return where a region begins along an axis and where it has ended."""
    axes = {number - region.ndim for number in range(region.ndim)} - {axis}
    places = np.flatnonzero(region.any(axis=tuple(axes)))
    return int(places[0]), int(places[-1]) + 1


def _columns(region: np.ndarray) -> np.ndarray:
    return region.sum(axis=tuple(range(region.ndim - 1)))


def _middle_column(region: np.ndarray) -> float:
    """Return the mean column of a region, from its sums over columns, far sooner than from its pixels."""
    return float(ndimage.center_of_mass(_columns(region))[0])
