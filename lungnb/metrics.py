"""The scores of one image and of many: every definition, and every rule for an empty mask, stands here once.

Overlap comes from the four counts of pixels: lung found (tp), lung invented (fp), lung missed (fn), the rest (tn). A
score whose denominator is 0 is 1 when there was nothing to find and nothing was invented, else 0: both masks empty
score 1, one of them empty scores 0 in every overlap.

Surface scores come from the distances between the two borders. Both masks empty are at no distance; where one is empty,
all is missed or invented, and the distance is the image's diagonal, more than any other error can make. So a missed
lung makes every score worse, and none vanishes as NaN. Definitions as in Metrics Reloaded (Maier-Hein and others 2024,
https://doi.org/10.1038/s41592-023-02151-z).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

TOLERANCE = 2.0  # px, or mm where the spacing is known: borders no further apart than this agree, for `nsd`


class Counts(NamedTuple):
    """Pixels of one image, or sums over many: true and false positives, false and true negatives."""

    tp: float
    fp: float
    fn: float
    tn: float


# name: (numerator, denominator) of the four counts. Kept as pairs so that NumPy, for tables, and Keras, while training,
# compute the same thing.
FORMULAS: dict[str, Callable[[float, float, float, float], tuple[float, float]]] = {
    "dice": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
    "iou": lambda tp, fp, fn, tn: (tp, tp + fp + fn),
    "accuracy": lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
    "precision": lambda tp, fp, fn, tn: (tp, tp + fp),
    "recall": lambda tp, fp, fn, tn: (tp, tp + fn),
    "f1": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
    "specificity": lambda tp, fp, fn, tn: (tn, tn + fp),
}
SCORES = tuple(FORMULAS)
SURFACE_SCORES = ("hd95", "assd", "nsd")
LOWER_IS_BETTER = ("hd95", "assd", "loss")


def count_pixels(truth: np.ndarray, prediction: np.ndarray) -> Counts:
    """Count the pixels of two bool masks of one shape, `(height, width)`.

    Raises ValueError when they are not bool masks, or not of one shape.

    Example:
        >>> truth = np.array([[True, True], [False, False]])
        >>> prediction = np.array([[True, False], [True, False]])
        >>> count_pixels(truth, prediction)
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    _check_masks(truth, prediction)
    tp = int(np.count_nonzero(truth & prediction))
    positives, found = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return Counts(tp, found - tp, positives - tp, truth.size - positives - found + tp)


def scores(counts: Counts) -> dict[str, float]:
    """Return every score of `SCORES` from the counts of one image, or, pooled, from the sums over many.

    Example:
        >>> overlap = scores(Counts(tp=6, fp=2, fn=2, tn=90))
        >>> round(overlap["dice"], 3), round(overlap["iou"], 3), round(overlap["accuracy"], 3)
        (0.75, 0.6, 0.96)
    """
    return {name: _ratio(*formula(*counts), counts) for name, formula in FORMULAS.items()}


def dice(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Return the Dice of two bool masks of one shape, 0 to 1; errors as in `count_pixels`.

    Example:
        >>> lung, nothing = np.ones((2, 2), bool), np.zeros((2, 2), bool)
        >>> dice(lung, lung), dice(lung, nothing), dice(nothing, nothing)
        (1.0, 0.0, 1.0)
    """
    return scores(count_pixels(truth, prediction))["dice"]


class ImageScores(NamedTuple):
    """Every score of one image; overlaps and `nsd` from 0 to 1, `hd95` and `assd` in px or mm, 0 for a perfect mask."""

    dice: float
    iou: float
    accuracy: float
    precision: float
    recall: float  # sensitivity
    f1: float
    specificity: float
    hd95: float
    assd: float
    nsd: float


def score_image(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: float | tuple[float, float] | None = None,
    tolerance: float = TOLERANCE,
) -> ImageScores:
    """Return every score of one image's bool masks, `(height, width)`.

    Arguments and errors as in `count_pixels` and `surface_scores`.

    Example:
        >>> truth, prediction = np.zeros((2, 100, 100), bool)
        >>> truth[20:60, 20:60] = prediction[20:60, 24:64] = True  # 4 px too far to the right
        >>> found = score_image(truth, prediction, spacing=0.5)
        >>> round(found.dice, 3), found.hd95  # 4 px of 0.5 mm
        (0.9, 2.0)
    """
    overlap = scores(count_pixels(truth, prediction))
    return ImageScores(**overlap, **surface_scores(truth, prediction, spacing, tolerance))


def surface_scores(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: float | tuple[float, float] | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Return how far the borders of two bool masks, `(height, width)`, lie apart.

    A border is the mask's pixels of which a neighbour (up, down, left or right) is not of the mask or not of the image;
    each has a distance to the nearest pixel of the other border.

    - `hd95`: the 95th percentile of a border's distances, of the two the larger (Hausdorff distance less the worst).
    - `assd`: the mean of all distances of both borders (average symmetric surface distance).
    - `nsd`: the part of both borders that lies within `tolerance` of the other (normalised surface Dice).

    Args:
        truth: mask of the reader.
        prediction: mask of the model.
        spacing: pixel's height and width in mm, or one number for both; None for distances in pixels.
        tolerance: in mm, or in px without `spacing`.

    Raises ValueError for masks that are not bool or not of one shape, and for a spacing that is not above 0.

    Example:
        >>> truth = np.ones((30, 40), bool)
        >>> surface_scores(truth, truth)
        {'hd95': 0.0, 'assd': 0.0, 'nsd': 1.0}
        >>> surface_scores(truth, ~truth)["hd95"]  # nothing predicted: the diagonal of the image, px
        50.0
    """
    _check_masks(truth, prediction)
    step = np.broadcast_to(np.asarray(1.0 if spacing is None else spacing, float), (2,))
    if not (step > 0).all():
        raise ValueError(f"spacing must be above 0 mm, not {spacing}.")
    borders = [_border(mask) * step for mask in (truth, prediction)]
    if not all(map(len, borders)):
        agree = not any(map(len, borders))
        distance = 0.0 if agree else float(np.hypot(*(step * truth.shape)))
        return {"hd95": distance, "assd": distance, "nsd": float(agree)}
    # A tree of the borders' few pixels takes a tenth of the time of a distance transform of all.
    there, back = (KDTree(other).query(own)[0] for own, other in (borders, borders[::-1]))
    both = np.concatenate([there, back])
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(both.mean()),
        "nsd": float((both <= tolerance * (1 + 1e-9)).mean()),  # 20 px of 0.1 mm are 2 mm, and a little
    }


def _border(mask: np.ndarray) -> np.ndarray:
    """Return the row and column of each pixel of a bool mask's border, `(n, 2)`."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.empty((0, 2))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = ndimage.binary_erosion(mask[box])  # what lies beyond the box, as beyond the image, is not of the mask
    return np.argwhere(mask[box] & ~inner) + np.array([rows[0], columns[0]])


def _check_masks(truth: np.ndarray, prediction: np.ndarray) -> None:
    """Raise ValueError when two masks are not bool, or not of one shape."""
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction must have one shape, not {truth.shape} and {prediction.shape}.")
    if truth.dtype != bool or prediction.dtype != bool:
        raise ValueError(
            f"truth and prediction must be bool, not {truth.dtype} and {prediction.dtype}: threshold first."
        )


def _ratio(numerator: float, denominator: float, counts: Counts) -> float:
    if denominator:
        return numerator / denominator
    return float(counts.fp == 0 and counts.fn == 0)
