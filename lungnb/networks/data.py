"""The prepared tree to batches of images and masks, through `image_dataset_from_directory`; augmentation of both alike.

A batch is a pair of float32 tensors `(batch, size, size, 1)`: images from 0 to 1, masks 0 or 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lungnb.datasets.prepared import open_prepared
from lungnb.networks.backend import keras
from lungnb.settings import Settings

Dataset = Any  # tf.data.Dataset; TensorFlow is imported where it is used


def load_batches(
    settings: Settings, split: str, training: bool = False, first_epoch: int = 0, devices: int = 1
) -> Dataset:
    """Return the batches of one split as a `tf.data.Dataset`.

    With `training`, the batches of all epochs from `first_epoch` on, one after another, `count_steps` an epoch; each
    pass over the images, of which an epoch makes `repeats`, is shuffled and augmented anew. What an epoch holds is a
    matter of the seed and its number alone, so that training resumed at an epoch sees what uninterrupted training would
    have seen.

    Where batches are to be shared out among `devices`, the first images come again at the end, as many as it takes for
    every device to have a part of the last batch.

    Raises ValueError for an unknown split and for a batch size that cannot be shared out, FileNotFoundError when
    nothing is prepared.
    """
    import tensorflow as tf

    if settings.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of {devices}, the devices to train on, not {settings.batch_size}."
        )
    # Decoded once, and kept small: a mask and an image of 256x256 take 128 KB as uint8.
    decoded = _decoded(settings, split)
    if split == "train" and settings.train_images:
        whole = int(decoded.cardinality())
        decoded = decoded.shuffle(whole, settings.seed, reshuffle_each_iteration=False).take(settings.train_images)
    decoded = decoded.cache()
    decoded = decoded.concatenate(decoded.take(-int(decoded.cardinality()) % devices))
    if not training:
        return decoded.batch(settings.batch_size).map(_to_unit).prefetch(tf.data.AUTOTUNE)

    count = int(decoded.cardinality())

    def batches_of(passage: Any) -> Dataset:  # noqa: ANN401
        batches = decoded.shuffle(count, seed=settings.seed * 100_003 + passage).batch(settings.batch_size)
        return batches.enumerate(passage * count)

    def prepare(step: Any, batch: tuple) -> tuple:  # noqa: ANN401
        images, masks = _to_unit(*batch)
        return augment(images, masks, settings, seed=(settings.seed, step))

    passages = tf.data.Dataset.range(first_epoch * settings.repeats, settings.epochs * settings.repeats)
    return passages.flat_map(batches_of).map(prepare, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def count_steps(settings: Settings, split: str) -> int:
    """Return the number of batches that hold each image of a split once, or `repeats` times for the training split."""
    images, training = len(open_prepared(settings).file_names(split, "images")), split == "train"
    if training and settings.train_images:
        images = min(images, settings.train_images)
    return -(-images // settings.batch_size) * (settings.repeats if training else 1)


def augment(images: Any, masks: Any, settings: Settings, seed: tuple[int, int]) -> tuple[Any, Any]:  # noqa: ANN401
    """Flip, rotate and zoom images and masks alike, masks by nearest neighbour; change the images' contrast.

    The same `seed` gives the same change. What comes in from outside the picture is black, and not lung.
    """
    import tensorflow as tf

    count, size = tf.shape(images)[0], settings.image_size
    low = [-settings.rotation, 1 - settings.zoom, 1 - settings.contrast, 0.0]
    high = [settings.rotation, 1 + settings.zoom, 1 + settings.contrast, 1.0]
    seed = tf.cast(tf.stack(seed), tf.int32)
    drawn = tf.random.stateless_uniform((count, 4), seed) * (np.subtract(high, low).astype("float32")) + low
    angle, zoom, contrast, coin = tf.unstack(drawn, axis=1)
    mirror = tf.where((coin < 0.5) & settings.flip, -1.0, 1.0)

    # Output pixel (x, y) comes from input pixel (a x + b y + c, d x + e y + f), turned and scaled about the middle.
    cos, sin = tf.cos(angle * np.pi / 180) / zoom, tf.sin(angle * np.pi / 180) / zoom
    middle, zero = (size - 1) / 2, tf.zeros_like(cos)
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    c, f = middle - middle * (a + b), middle - middle * (d + e)
    transform = tf.stack([a, b, c, d, e, f, zero, zero], axis=1)
    # TensorFlow's own, as all of the pipeline is: Keras's operations are those of the backend, which may be another.
    warp = partial(
        tf.raw_ops.ImageProjectiveTransformV3,
        transforms=transform, output_shape=(size, size), fill_value=0.0, fill_mode="CONSTANT",
    )  # fmt: skip
    images = warp(images=images, interpolation="BILINEAR")
    masks = warp(images=masks, interpolation="NEAREST")

    contrast = tf.reshape(contrast, (-1, 1, 1, 1))
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(mean + (images - mean) * contrast, 0.0, 1.0), masks


def _decoded(settings: Settings, split: str) -> Dataset:
    """Return pairs of uint8 images and masks `(size, size, 1)` by order of name, resized, not yet batched."""
    import tensorflow as tf

    prepared = open_prepared(settings)
    names = prepared.file_names(split, "images")
    if names != prepared.file_names(split, "masks"):
        raise ValueError(
            f"{prepared.folder / split}: images and masks do not pair one to one; prepare the data set again."
        )
    parts = []
    for part, interpolation in (("images", "area"), ("masks", "nearest")):
        dataset = keras.utils.image_dataset_from_directory(
            prepared.folder / split / part,
            labels=None,
            color_mode="grayscale",
            batch_size=None,
            image_size=(settings.image_size, settings.image_size),
            shuffle=False,
            interpolation=interpolation,
            pad_to_aspect_ratio=True,
            verbose=False,
        )
        if [Path(path).stem for path in dataset.file_paths] != names:
            raise ValueError(f"{prepared.folder / split / part}: other files appeared; prepare the data set again.")
        parts.append(dataset.map(lambda grey: tf.cast(tf.round(grey), tf.uint8), tf.data.AUTOTUNE))
    return tf.data.Dataset.zip(*parts)


def _to_unit(images: Any, masks: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Scale uint8 images to [0, 1]; make masks 0 or 1."""
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 255.0, tf.cast(masks > 127, tf.float32)
