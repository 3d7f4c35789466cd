"""The definitions of all scores, and their values for empty masks.

Overlap scores come from four counts of pixels: true positives (tp), false positives (fp), false negatives (fn) and
true negatives (tn). Surface scores come from the distances between the borders of the two masks. All scores of an image
are `scores(count_pixels(truth, prediction)) | surface_scores(truth, prediction)`.

If both masks are empty, all overlap scores and the NSD are 1, and HD95 and ASSD are 0. If only one is empty, Dice, IoU,
precision, recall and NSD are 0, and HD95 and ASSD are the image diagonal, which no other error can exceed. No score is
NaN.

Distances are in mm if the pixel spacing is known, otherwise in percent of the longer image side, because distances in
pixels cannot be compared between image sizes. The definitions follow Metrics Reloaded (Maier-Hein and others 2024,
https://doi.org/10.1038/s41592-023-02151-z).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from lungnb.masks import Mask, bounding_box

TOLERANCE_MM = 2.0  # of `nsd`: borders agree up to this distance, about as far as two readers draw them apart
TOLERANCE_PERCENT = 0.5  # of the longer side: the same distance on a film of 40 cm
LOW_DICE = 0.9  # lessons and tables count masks with a lower Dice: they need a look, but did not fail
FAILED_DICE = 0.7  # a mask with a lower Dice failed: as much is wrong as if one of two equal lungs were missing (2/3)
ROUNDING = 1e-9  # by which sums and means of numbers near 1 are wrong at most; 20 px of 0.1 mm are a little over 2 mm


class Counts(NamedTuple):
    """Numbers of pixels, of one image or summed over many: true and false positives, false and true negatives."""

    tp: float
    fp: float
    fn: float
    tn: float


# The numerator and the denominator of each score. They are separate because NumPy, for tables, and Keras, in training,
# share these formulas, and each handles a denominator of 0 in its own way.
FORMULAS: dict[str, Callable[[float, float, float, float], tuple[float, float]]] = {
    "dice": lambda tp, fp, fn, _tn: (2 * tp, 2 * tp + fp + fn),
    "iou": lambda tp, fp, fn, _tn: (tp, tp + fp + fn),
    "accuracy": lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
    "precision": lambda tp, fp, _fn, _tn: (tp, tp + fp),
    "recall": lambda tp, _fp, fn, _tn: (tp, tp + fn),
    "f1": lambda tp, fp, fn, _tn: (2 * tp, 2 * tp + fp + fn),
    "specificity": lambda _tp, fp, _fn, tn: (tn, tn + fp),
}
OVERLAP_SCORES = tuple(FORMULAS)
SURFACE_SCORES = ("hd95", "assd", "nsd")


def count_pixels(truth: Mask, prediction: Mask) -> Counts:
    """Count the pixels of two bool masks of the same shape, `(height, width)`.

    Raises ValueError if they are not bool, or differ in shape.

    Example:
        >>> truth = np.array([[True, True], [False, False]])
        >>> prediction = np.array([[True, False], [True, False]])
        >>> count_pixels(truth, prediction)
        Counts(tp=1, fp=1, fn=1, tn=1)
    """
    _check_masks(truth, prediction)
    tp = int(np.count_nonzero(truth & prediction))
    lung, predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return Counts(tp, fp=predicted - tp, fn=lung - tp, tn=truth.size - lung - predicted + tp)


def scores(counts: Counts) -> dict[str, float]:
    """Return every score of `OVERLAP_SCORES` from the counts of one image, or pooled scores from the sums over many.

    Example:
        >>> overlap = scores(Counts(tp=6, fp=2, fn=2, tn=90))
        >>> round(overlap["dice"], 3), round(overlap["iou"], 3), round(overlap["accuracy"], 3)
        (0.75, 0.6, 0.96)
    """
    is_perfect = float(counts.fp == counts.fn == 0)  # the score if its denominator is 0
    fractions = {name: formula(*counts) for name, formula in FORMULAS.items()}
    return {name: above / below if below else is_perfect for name, (above, below) in fractions.items()}


def dice(truth: Mask, prediction: Mask) -> float:
    """Return the Dice of two bool masks of the same shape, 0 to 1; errors as in `count_pixels`.

    Example:
        >>> lung, nothing = np.ones((2, 2), bool), np.zeros((2, 2), bool)
        >>> dice(lung, lung), dice(lung, nothing), dice(nothing, nothing)
        (1.0, 0.0, 1.0)
    """
    return scores(count_pixels(truth, prediction))["dice"]


def distance_unit(spacing_mm: float | Sequence[float] | None) -> str:
    """Return the unit of distances: `mm` if the pixel spacing is known, otherwise `%` of the longer image side.

    Example:
        >>> distance_unit(0.5), distance_unit(None)
        ('mm', '%')
    """
    return "%" if spacing_mm is None else "mm"


def surface_scores(
    truth: Mask, prediction: Mask, spacing_mm: float | Sequence[float] | None = None, tolerance: float | None = None,
) -> dict[str, float]:  # fmt: skip
    """Return scores of the distance between the borders of two bool masks, `(height, width)`.

    Masks of volumes are `(slices, height, width)`. A pixel of the mask is on its border if a neighbour (up, down, left,
    right, and in the next slices) is outside the mask or the image. Its distance is that to the nearest border pixel of
    the other mask.

    - `hd95`: the 95th percentile of the distances, for the border where it is larger (Hausdorff distance).
    - `assd`: the mean over the pixels of both borders (average symmetric surface distance).
    - `nsd`: the share of pixels of both borders with a distance up to `tolerance` (normalised surface Dice).

    `spacing_mm` is the pixel spacing along each axis, or one number for all. Then distances are in mm, and the default
    tolerance is `TOLERANCE_MM`. Without it, distances are in percent of the longest side, and the default tolerance is
    `TOLERANCE_PERCENT`. Raises ValueError as `count_pixels` does, and if the spacing is not above 0.

    Example:
        >>> truth = np.ones((30, 40), bool)
        >>> surface_scores(truth, truth)
        {'hd95': 0.0, 'assd': 0.0, 'nsd': 1.0}
        >>> surface_scores(truth, ~truth)["hd95"]  # nothing predicted: the diagonal, in percent of the longer side
        125.0
    """
    _check_masks(truth, prediction)
    size = 100 / max(truth.shape) if spacing_mm is None else spacing_mm
    pixel_size = np.broadcast_to(np.asarray(size, float), truth.ndim)
    if not (pixel_size > 0).all():
        raise ValueError(f"spacing_mm must be above 0 mm, not {spacing_mm}.")
    if tolerance is None:
        tolerance = TOLERANCE_PERCENT if spacing_mm is None else TOLERANCE_MM
    borders = [_border(mask) * pixel_size for mask in (truth, prediction)]
    if not all(map(len, borders)):
        are_empty = not any(map(len, borders))
        distance = 0.0 if are_empty else float(np.linalg.norm(pixel_size * truth.shape))
        return {"hd95": distance, "assd": distance, "nsd": float(are_empty)}
    # A tree of the few border pixels takes a tenth of the time of a distance transform of the image.
    there, back = (KDTree(target).query(start)[0] for start, target in (borders, borders[::-1]))
    both = np.concatenate([there, back])
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(both.mean()),
        "nsd": float((both <= tolerance * (1 + ROUNDING)).mean()),
    }


def _border(mask: Mask) -> NDArray[np.intp]:
    """Return the position of each border pixel of a bool mask, `(n, axes)`."""
    box = bounding_box(mask)
    inner = ndimage.binary_erosion(mask[box])  # pixels beyond the box count as outside the mask
    return np.argwhere(mask[box] & ~inner) + np.array([side.start or 0 for side in box], np.intp)


def _check_masks(truth: Mask, prediction: Mask) -> None:
    """Raise ValueError if two masks are not bool, or differ in shape."""
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction must have the same shape, not {truth.shape} and {prediction.shape}.")
    if truth.dtype != bool or prediction.dtype != bool:
        raise ValueError(
            f"truth and prediction must be bool, not {truth.dtype} and {prediction.dtype}: threshold first."
        )
