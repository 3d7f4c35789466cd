"""Losses of `(batch, height, width, 1)`, truth 0 or 1 and probability from 0 to 1; each returns one value per image.

Overlap losses are computed for each image, not for the batch, so that a small lung counts as much as a large one.
"""

from __future__ import annotations

from collections.abc import Callable

from lungnb.networks.backend import keras

ops = keras.ops
Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]  # of truth and probability
register = keras.saving.register_keras_serializable("lungnb")
_PIXELS = (1, 2, 3)  # axes
_SMOOTH = 1.0  # px; the loss of an empty prediction for an empty mask becomes 0, and gradients stay finite


@register
def bce(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
    """Return the binary cross-entropy, averaged over the pixels."""
    truth = ops.cast(truth, probability.dtype)
    return ops.mean(ops.binary_crossentropy(truth, probability), axis=_PIXELS)


@register
def dice_loss(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
    """Return 1 - Dice, 2 |A and B| / (|A| + |B|), of probabilities (Milletari 2016, https://arxiv.org/abs/1606.04797)."""
    both, total = _soft_overlap(truth, probability)
    return 1 - (2 * both + _SMOOTH) / (total + _SMOOTH)


@register
def iou_loss(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
    """Return 1 - IoU, |A and B| / |A or B|, of probabilities."""
    both, total = _soft_overlap(truth, probability)
    return 1 - (both + _SMOOTH) / (total - both + _SMOOTH)


@register
def bce_dice(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
    """Return the binary cross-entropy plus the Dice loss."""
    return bce(truth, probability) + dice_loss(truth, probability)


@register
def bce_iou(truth: keras.KerasTensor, probability: keras.KerasTensor) -> keras.KerasTensor:
    """Return the binary cross-entropy plus the IoU loss."""
    return bce(truth, probability) + iou_loss(truth, probability)


LOSSES: dict[str, Loss] = {
    "bce": bce,
    "dice": dice_loss,
    "iou": iou_loss,
    "bce_dice": bce_dice,
    "bce_iou": bce_iou,
}


def get_loss(name: str) -> Loss:
    """Return the loss called `name`; raise ValueError for an unknown name and list the known ones."""
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}.")
    return LOSSES[name]


def _soft_overlap(
    truth: keras.KerasTensor, probability: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return |A and B| and |A| + |B| of each image."""
    truth = ops.cast(truth, probability.dtype)
    return ops.sum(truth * probability, axis=_PIXELS), ops.sum(truth + probability, axis=_PIXELS)
