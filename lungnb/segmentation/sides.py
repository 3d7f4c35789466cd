"""Separate a mask into the patient's right and left lung."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lungnb.masks import largest_regions

_SPECK = 0.1  # of the larger region: what is smaller is no lung beside it
_WIDE = 0.8  # of its height: what is wider than this, across the middle, is both lungs, which touch


def split_sides(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient's right and left lung of a mask, `(height, width)` or `(slices, height, width)`, bool.

    Two regions beside one another are told apart by where their middles lie. Lungs that touch are cut at the thinnest
    column near their middle. Anything else is one lung, in one piece or in two above one another. The patient's right
    is on the left, as films and slices are shown.

    Example:
        >>> mask = np.array([[1, 1, 0, 0, 1], [1, 1, 0, 1, 1]], bool)
        >>> right, left = split_sides(mask)
        >>> int(right.sum()), int(left.sum())
        (4, 3)
    """
    regions = [_Region(*region) for region in largest_regions(mask)]
    if len(regions) == 2 and _beside(*regions):
        first = min(regions, key=lambda region: region.middle())
        right = np.zeros_like(mask)
        right[first.box] = first.mask
        return right, mask & ~right
    middle = mask.shape[-1] / 2
    if regions and _is_across(regions[0], middle):
        on_right = np.arange(mask.shape[-1]) < _thinnest_column(regions[0])
        return mask & on_right, mask & ~on_right
    lung, none = mask.copy(), np.zeros_like(mask)
    return (lung, none) if regions and regions[0].middle() < middle else (none, lung)


class _Region(NamedTuple):
    """A connected region: its mask within the box that it fills, and the box."""

    mask: np.ndarray
    box: tuple[slice, ...]

    def extent(self, axis: int = -1) -> tuple[int, int]:
        """Return where it begins along an axis and where it has ended."""
        return self.box[axis].start, self.box[axis].stop

    def columns(self) -> np.ndarray:
        """Return how much of it lies in each column of its box."""
        return self.mask.sum(axis=tuple(range(self.mask.ndim - 1)))

    def middle(self) -> float:
        """Return its mean column, from its sums over columns, far sooner than from its pixels."""
        return self.box[-1].start + float(ndimage.center_of_mass(self.columns())[0])


def _beside(larger: _Region, smaller: _Region) -> bool:
    """Whether two regions are two lungs: neither is a speck, nor do they lie above one another."""
    (first, last), (start, end) = larger.extent(), smaller.extent()
    shared = min(last, end) - max(first, start)
    return smaller.mask.sum() >= _SPECK * larger.mask.sum() and shared < 0.5 * min(last - first, end - start)


def _is_across(region: _Region, middle: float) -> bool:
    """Whether a region is both lungs: wide, and about the middle of the picture."""
    (first, last), (top, bottom) = region.extent(), region.extent(-2)
    quarter = (last - first) / 4
    return last - first > _WIDE * (bottom - top) and first + quarter < middle < last - quarter


def _thinnest_column(region: _Region) -> int:
    """Return the column, in the middle third of a region, that has least of it, the nearest to its middle."""
    heights = region.columns()
    third = len(heights) // 3
    inner = heights[third : len(heights) - third]
    thinnest = np.flatnonzero(inner == inner.min())
    return region.box[-1].start + third + int(thinnest[np.abs(thinnest - len(inner) / 2).argmin()])
