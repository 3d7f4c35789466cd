"""Train a network further on a few images with masks, in a fixed number of steps and without validation images."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from lungnb.artefacts import BACKUP
from lungnb.networks import backend
from lungnb.networks.backend import keras, tf
from lungnb.networks.callbacks import Backup, StepProgress
from lungnb.networks.chest_output import probability_part
from lungnb.networks.data import SEEDS_PER_RUN, Batch, augment
from lungnb.networks.examples import Examples
from lungnb.networks.losses import get_loss
from lungnb.settings import Settings

# Chosen on Montgomery. With few images, strong changes of them matter most.
STEPS = 600  # for up to `_FEW` images, about a minute on two cores
_FEW = 5
_STEPS_PER_IMAGE = 30  # for each further image
BATCH_SIZE = 8
LEARNING_RATE = 1e-3  # of Adam at first; it falls to 0 along a cosine
_STEPS_KEPT = 50  # an interrupted training repeats fewer steps than this
_CHANGES = Settings(rotation=30.0, zoom=0.35, contrast=0.7)
_GAMMA = 1.2  # each image is raised to a power from exp(-_GAMMA) to exp(_GAMMA)
# How far the result goes from the old weights to the new ones. The whole way is worse, above all on images unlike the
# few that it learned from (Wortsman and others 2022, https://arxiv.org/abs/2109.01903).
_SHARE = 0.8
# One film can be unlike the others, so the result goes less far to it. With 0.8, two of eight films lowered the Dice of
# the others, by 0.019 and 0.009. Chosen on Montgomery only, by `benchmarks/adapt_share.py`. No other set was looked at.
_SHARE_OF_ONE = 0.35  # it rises evenly to `_SHARE` at `_FEW` images
RECIPE = {
    "steps": STEPS, "few_images": _FEW, "steps_per_image": _STEPS_PER_IMAGE, "batch_size": BATCH_SIZE,
    "learning_rate": LEARNING_RATE, "schedule": "cosine", "optimizer": "adam", "loss": "bce_iou",
    "rotation": _CHANGES.rotation, "zoom": _CHANGES.zoom, "contrast": _CHANGES.contrast, "flip": _CHANGES.flip,
    "gamma": _GAMMA, "share": _SHARE, "share_of_one": _SHARE_OF_ONE,
}  # fmt: skip


def steps_for(images: int) -> int:
    """Return the number of steps for a number of images.

    >>> steps_for(1), steps_for(5), steps_for(6)
    (600, 600, 630)
    """
    return STEPS + _STEPS_PER_IMAGE * max(images - _FEW, 0)


def share_for(images: int) -> float:
    """Return the share of the way from the old weights to the new ones, 0 to 1, by the number of images.

    >>> tuple(round(share_for(images), 3) for images in (1, 3, 5, 20))
    (0.35, 0.575, 0.8, 0.8)
    """
    return _SHARE_OF_ONE + (_SHARE - _SHARE_OF_ONE) * (min(images, _FEW) - 1) / (_FEW - 1)


def fine_tune(
    model: keras.Model, examples: Examples, folder: Path, title: str, seed: int = 1, progress: bool = True,
    share: float | None = None,
) -> keras.Model:  # fmt: skip
    """Return a copy of a network, trained further on examples. An interrupted training continues from `folder`.

    The result depends only on network, examples, seed and `share` (apart from rounding). A second output `chest` is not
    trained. `share` is how far the result goes from the old weights to the new ones, 0 to 1; None: `share_for`.
    """
    backend.fix_seeds(seed)
    tuned = keras.models.clone_model(probability_part(model))
    tuned.set_weights(probability_part(model).get_weights())
    backend.fuse_batch_norm(tuned)
    steps = steps_for(len(examples.images))
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    tuned.compile(keras.optimizers.Adam(rate), get_loss("bce_iou"), jit_compile=backend.USE_XLA)
    tuned.optimizer.build(tuned.trainable_variables)
    parts = steps // _STEPS_KEPT
    backup = Backup(folder / BACKUP, _STEPS_KEPT)
    first = backup.restore(tuned)
    if first < parts:
        batches = _batches(examples, seed, first * _STEPS_KEPT, model.input_shape[1])
        with closing(StepProgress(title, first * _STEPS_KEPT, steps, progress)) as bar:
            tuned.fit(
                batches, initial_epoch=first, epochs=parts, steps_per_epoch=_STEPS_KEPT, verbose=0, shuffle=False,
                callbacks=[bar, keras.callbacks.TerminateOnNaN(), backup],
            )  # fmt: skip
    result = keras.models.clone_model(model)  # without the optimizer, which would triple the file
    result.set_weights(model.get_weights())
    part = probability_part(result)
    weights = zip(part.get_weights(), tuned.get_weights(), strict=True)
    share = share_for(len(examples.images)) if share is None else share
    part.set_weights([old + share * (new - old) for old, new in weights])
    return result


def _batches(examples: Examples, seed: int, first: int, size: int) -> tf.data.Dataset:
    """Return endless batches from the step `first` on. A batch shows all examples, or as many as it holds, in turn."""
    images, masks = tf.constant(examples.images, tf.float32) / 255, tf.constant(examples.masks, tf.float32)
    count, settings = len(examples.images), _CHANGES.replace(image_size=size)

    def batch_of(step: tf.Tensor) -> Batch:
        chosen = (step * BATCH_SIZE + tf.range(BATCH_SIZE, dtype=tf.int64)) % count
        seeds = (seed, tf.cast(step, tf.int32))
        changed, fitting = augment(tf.gather(images, chosen), tf.gather(masks, chosen), settings, seeds)
        other_seeds = (seed + SEEDS_PER_RUN, seeds[1])
        powers = tf.random.stateless_uniform((BATCH_SIZE, 1, 1, 1), other_seeds, -_GAMMA, _GAMMA)
        return changed ** tf.exp(powers), fitting

    steps = tf.data.Dataset.range(first, np.iinfo(np.int32).max)
    return steps.map(batch_of, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
