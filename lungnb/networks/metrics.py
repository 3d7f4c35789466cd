"""The scores of `lungnb.metrics` as Keras metrics, to follow while a network trains."""

from __future__ import annotations

from collections.abc import Callable

from lungnb.metrics import FORMULAS

TRAINING_SCORES = ("dice", "iou", "accuracy", "precision", "recall")


def training_metrics() -> list[Callable]:
    """Return the scores to follow while training as Keras metric functions: per image, thresholded at 0.5.

    Unlike `keras.metrics.BinaryIoU()`, which averages the background in, they look at the lung alone.
    """
    return [_training_metric(name) for name in TRAINING_SCORES]


def _training_metric(name: str) -> Callable:
    from lungnb.networks.backend import keras  # scoring tables needs no Keras

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
