"""Scores to follow during training, as Keras metric functions."""

from __future__ import annotations

from collections.abc import Callable

from lungnb.metrics import FORMULAS
from lungnb.networks.backend import keras

ops = keras.ops
TRAINING_SCORES = ("dice", "iou", "accuracy", "precision", "recall")
_PIXELS = (1, 2, 3)  # axes
_THRESHOLD = 0.5  # a higher probability is lung
Metric = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]  # of truth and probability


def training_metrics() -> list[Metric]:
    """Return the scores to follow during training, as Keras metric functions: per image, of thresholded masks.

    They score the lung. `keras.metrics.BinaryIoU()` would include the background in its mean.
    """
    return [_training_metric(name) for name in TRAINING_SCORES]


def _training_metric(name: str) -> Metric:
    def metric(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
        truth, prediction = ops.cast(truth, "float32"), ops.cast(probability > _THRESHOLD, "float32")
        tp = ops.sum(truth * prediction, axis=_PIXELS)
        fp, fn = ops.sum(prediction, axis=_PIXELS) - tp, ops.sum(truth, axis=_PIXELS) - tp
        tn = ops.sum(ops.ones_like(truth), axis=_PIXELS) - tp - fp - fn
        numerator, denominator = FORMULAS[name](tp, fp, fn, tn)
        is_empty = ops.cast(fp + fn == 0, "float32")  # truth and prediction
        return ops.where(denominator > 0, numerator / ops.maximum(denominator, 1), is_empty)

    metric.__name__ = name
    return metric
