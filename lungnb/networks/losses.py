"""Losses and scores of `(batch, height, width, 1)`, truth 0 or 1 and probability from 0 to 1: one value per image.

Overlap losses are computed for each image, not for the batch, so that a small lung counts as much as a large one.
"""

from collections.abc import Callable

from lungnb.masks import LUNG_THRESHOLD
from lungnb.metrics import FORMULAS
from lungnb.networks.backend import Tensor, keras, ops
from lungnb.settings import CHOICES

Loss = Callable[[Tensor, Tensor], Tensor]  # of truth and probability; scores in training are such functions, too
register = keras.saving.register_keras_serializable("lungnb")
_PIXELS = (1, 2, 3)  # axes
_SMOOTH = 1.0  # px; the loss of an empty prediction for an empty mask becomes 0, and gradients stay finite
TRAINING_SCORES = ("dice", "iou", "accuracy", "precision", "recall")


@register
def bce(truth: Tensor, probability: Tensor) -> Tensor:
    """Return the binary cross-entropy, averaged over the pixels."""
    truth = ops.cast(truth, probability.dtype)
    return ops.mean(ops.binary_crossentropy(truth, probability), axis=_PIXELS)


@register
def dice_loss(truth: Tensor, probability: Tensor) -> Tensor:
    """Return 1 - Dice, 2 |A and B| / (|A| + |B|), of probabilities (Milletari 2016, https://arxiv.org/abs/1606.04797)."""
    both, total = _soft_overlap(truth, probability)
    return 1 - (2 * both + _SMOOTH) / (total + _SMOOTH)


@register
def iou_loss(truth: Tensor, probability: Tensor) -> Tensor:
    """Return 1 - IoU, |A and B| / |A or B|, of probabilities."""
    both, total = _soft_overlap(truth, probability)
    return 1 - (both + _SMOOTH) / (total - both + _SMOOTH)


@register
def bce_dice(truth: Tensor, probability: Tensor) -> Tensor:
    """Return the binary cross-entropy plus the Dice loss."""
    return bce(truth, probability) + dice_loss(truth, probability)


@register
def bce_iou(truth: Tensor, probability: Tensor) -> Tensor:
    """Return the binary cross-entropy plus the IoU loss."""
    return bce(truth, probability) + iou_loss(truth, probability)


LOSSES = {"bce": bce, "dice": dice_loss, "iou": iou_loss, "bce_dice": bce_dice, "bce_iou": bce_iou}
OWN_LOSSES: dict[str, Loss] = {}  # not in LOSSES, because a search tries all of these


def add_loss(loss: Loss) -> Loss:
    """Make a loss of your own known by the name of its function, as `add_network` does; return the function.

    `loss(truth, probability)` takes tensors `(batch, height, width, 1)` and returns one value per image. Write it with
    `keras.ops`. Raises ValueError for a name that a loss of lungnb has, or that is none, as that of a lambda.
    """
    name = getattr(loss, "__name__", "")
    if not name.isidentifier() or name in LOSSES:
        raise ValueError(f"{name or loss}: give the function another name, which no loss of lungnb has.")
    OWN_LOSSES[name] = loss
    CHOICES["loss"] = tuple(dict.fromkeys((*CHOICES["loss"], name)))
    return loss


def get_loss(name: str) -> Loss:
    """Return the loss called `name`; raise ValueError for an unknown name and list the known ones."""
    losses = LOSSES | OWN_LOSSES
    if name not in losses:
        raise ValueError(f"loss must be one of {', '.join(losses)}, not {name!r}.")
    return losses[name]


def _soft_overlap(truth: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return |A and B| and |A| + |B| of each image."""
    truth = ops.cast(truth, probability.dtype)
    return ops.sum(truth * probability, axis=_PIXELS), ops.sum(truth + probability, axis=_PIXELS)


def training_metrics() -> list[Loss]:
    """Return the scores to follow during training, as Keras metric functions: per image, of thresholded masks.

    They score the lung. `keras.metrics.BinaryIoU()` would include the background in its mean.
    """
    return [_training_metric(name) for name in TRAINING_SCORES]


def _training_metric(name: str) -> Loss:
    def metric(truth: Tensor, probability: Tensor) -> Tensor:
        truth, prediction = ops.cast(truth, "float32"), ops.cast(probability > LUNG_THRESHOLD, "float32")
        tp = ops.sum(truth * prediction, axis=_PIXELS)
        fp, fn = ops.sum(prediction, axis=_PIXELS) - tp, ops.sum(truth, axis=_PIXELS) - tp
        tn = ops.sum(ops.ones_like(truth), axis=_PIXELS) - tp - fp - fn
        numerator, denominator = FORMULAS[name](tp, fp, fn, tn)
        is_empty = ops.cast(fp + fn == 0, "float32")  # truth and prediction
        return ops.where(denominator > 0, numerator / ops.maximum(denominator, 1), is_empty)

    metric.__name__ = name
    return metric
