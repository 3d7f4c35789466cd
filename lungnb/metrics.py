"""The scores of one image and of many: every definition, and every rule for an empty mask, stands here once.

All scores come from the four counts of pixels: lung found (tp), lung invented (fp), lung missed (fn), the rest (tn).
A score whose denominator is 0 is 1 when there was nothing to find and nothing was invented, else 0: both masks empty
score 1, one of them empty scores 0 in every overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


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
TRAINING_SCORES = ("dice", "iou", "accuracy", "precision", "recall")


def count_pixels(truth: np.ndarray, prediction: np.ndarray) -> Counts:
    """Count the pixels of two bool masks of one shape, `(height, width)`.

    Raises ValueError when they are not bool masks, or not of one shape.

    Example: `count_pixels(np.eye(2, dtype=bool), np.ones((2, 2), bool))` is `Counts(tp=2, fp=2, fn=0, tn=0)`.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth and prediction must have one shape, not {truth.shape} and {prediction.shape}.")
    if truth.dtype != bool or prediction.dtype != bool:
        raise ValueError(
            f"truth and prediction must be bool, not {truth.dtype} and {prediction.dtype}: threshold first."
        )
    tp = int(np.count_nonzero(truth & prediction))
    positives, found = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    return Counts(tp, found - tp, positives - tp, truth.size - positives - found + tp)


def scores(counts: Counts) -> dict[str, float]:
    """Return every score of `SCORES` from the counts of one image, or, pooled, from the sums over many."""
    return {name: _ratio(*formula(*counts), counts) for name, formula in FORMULAS.items()}


def score_image(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Return every score of one image's bool masks, `(height, width)`; see `count_pixels` for errors."""
    return scores(count_pixels(truth, prediction))


def _ratio(numerator: float, denominator: float, counts: Counts) -> float:
    if denominator:
        return numerator / denominator
    return float(counts.fp == 0 and counts.fn == 0)


def training_metrics() -> list[Callable]:
    """Return the scores to follow while training as Keras metric functions: per image, thresholded at 0.5.

    Unlike `keras.metrics.BinaryIoU()`, which averages the background in, they look at the lung alone.
    """
    return [_training_metric(name) for name in TRAINING_SCORES]


def _training_metric(name: str) -> Callable:
    from lungnb.backend import keras  # scoring tables needs no Keras

    ops = keras.ops

    def metric(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
        truth, found = ops.cast(truth, "float32"), ops.cast(probability > 0.5, "float32")
        tp = ops.sum(truth * found, axis=(1, 2, 3))
        fp, fn = ops.sum(found, axis=(1, 2, 3)) - tp, ops.sum(truth, axis=(1, 2, 3)) - tp
        tn = ops.sum(ops.ones_like(truth), axis=(1, 2, 3)) - tp - fp - fn
        numerator, denominator = FORMULAS[name](tp, fp, fn, tn)
        empty = ops.cast(fp + fn == 0, "float32")
        return ops.where(denominator > 0, numerator / ops.maximum(denominator, 1), empty)

    metric.__name__ = name
    return metric
