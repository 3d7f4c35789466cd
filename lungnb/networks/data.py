"""Load batches of images and masks from a prepared data set, and augment them.

A batch is a pair of float32 tensors `(batch, size, size, 1)`: images from 0 to 1, masks 0 or 1.
"""

from functools import partial
from pathlib import Path

import numpy as np

from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.networks.backend import keras, tf
from lungnb.settings import Settings

_MASK_THRESHOLD = 127  # of a grey from 0 to 255; higher values are lung
SEEDS_PER_RUN = 100_003  # so that the runs of two seeds share no random numbers
Batch = tuple[tf.Tensor, tf.Tensor]  # a batch of images, and one of masks


def load_batches(
    settings: Settings, split: str, training: bool = False, first_epoch: int = 0, devices: int = 1,
    prepared: Prepared | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Return the batches of one split of the settings' prepared data set, or of `prepared`.

    With `training`, return the batches of all epochs from `first_epoch` on, `count_steps` per epoch. An epoch shows
    the images `repeats` times, each time shuffled and augmented in another way. Its content depends only on the seed
    and its number, so that a resumed training sees the same images as an uninterrupted one.

    If several `devices` share each batch, some images come again at the end, so that each gets a part of the last one.

    Raises ValueError for an unknown split or if `devices` do not divide the batch size, FileNotFoundError without data.
    """
    if settings.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of {devices}, the devices to train on, not {settings.batch_size}."
        )
    pairs = _decoded(prepared or open_prepared(settings), split, settings.image_size)
    if split == "train" and settings.train_images:
        images = int(pairs.cardinality())
        pairs = pairs.shuffle(images, settings.seed, reshuffle_each_iteration=False).take(settings.train_images)
    pairs = pairs.cache()  # as uint8, because an image and a mask of 256x256 then take 128 KB
    pairs = pairs.concatenate(pairs.take(-int(pairs.cardinality()) % devices))
    if not training:
        return pairs.batch(settings.batch_size).map(_to_unit).prefetch(tf.data.AUTOTUNE)

    count = int(pairs.cardinality())

    def batches_of(repeat: tf.Tensor) -> tf.data.Dataset:
        batches = pairs.shuffle(count, seed=settings.seed * SEEDS_PER_RUN + repeat).batch(settings.batch_size)
        return batches.enumerate(repeat * count)

    def prepare(step: tf.Tensor, batch: Batch) -> Batch:
        images, masks = _to_unit(*batch)
        return augment(images, masks, settings, seed=(settings.seed, step))

    repeats = tf.data.Dataset.range(first_epoch * settings.repeats, settings.epochs * settings.repeats)
    return repeats.flat_map(batches_of).map(prepare, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def count_steps(settings: Settings, split: str, prepared: Prepared | None = None) -> int:
    """Return the number of steps per epoch. An epoch shows each image once, or a training image `repeats` times."""
    images = len((prepared or open_prepared(settings)).file_names(split, "images"))
    is_training = split == "train"
    if is_training and settings.train_images:
        images = min(images, settings.train_images)
    return -(-images // settings.batch_size) * (settings.repeats if is_training else 1)


def augment(images: tf.Tensor, masks: tf.Tensor, settings: Settings, seed: tuple[int, int | tf.Tensor]) -> Batch:
    """Flip, rotate and zoom each image and its mask in the same way, and change the image's contrast.

    The same `seed` gives the same change. Pixels from outside the image become black and background.
    """
    count, size = tf.shape(images)[0], settings.image_size
    low = [-settings.rotation, 1 - settings.zoom, 1 - settings.contrast, 0.0]
    high = [settings.rotation, 1 + settings.zoom, 1 + settings.contrast, 1.0]
    seed = tf.cast(tf.stack(seed), tf.int32)
    random = tf.random.stateless_uniform((count, 4), seed) * (np.subtract(high, low).astype("float32")) + low
    angle, zoom, contrast, coin = tf.unstack(random, axis=1)
    mirror = tf.where((coin < 0.5) & settings.flip, -1.0, 1.0)

    # Output pixel (x, y) comes from input pixel (a x + b y + c, d x + e y + f), rotated and scaled about the middle.
    cos, sin = tf.cos(angle * np.pi / 180) / zoom, tf.sin(angle * np.pi / 180) / zoom
    middle, zero = (size - 1) / 2, tf.zeros_like(cos)
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    c, f = middle - middle * (a + b), middle - middle * (d + e)
    transform = tf.stack([a, b, c, d, e, f, zero, zero], axis=1)
    # Use TensorFlow here, as in the whole pipeline, because Keras's operations may belong to another backend.
    warp = partial(
        tf.raw_ops.ImageProjectiveTransformV3,
        transforms=transform, output_shape=(size, size), fill_value=0.0, fill_mode="CONSTANT",
    )  # fmt: skip
    images = warp(images=images, interpolation="BILINEAR")
    masks = warp(images=masks, interpolation="NEAREST")

    contrast = tf.reshape(contrast, (-1, 1, 1, 1))
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(mean + (images - mean) * contrast, 0.0, 1.0), masks


def _decoded(prepared: Prepared, split: str, size: int) -> tf.data.Dataset:
    """Return pairs of resized uint8 images and masks `(size, size, 1)`, in the order of their names."""
    names = prepared.file_names(split, "images")
    if names != prepared.file_names(split, "masks"):
        raise ValueError(
            f"{prepared.folder / split}: images and masks do not pair one to one; prepare the data set again."
        )
    parts = []
    for part, interpolation in (("images", "area"), ("masks", "nearest")):
        dataset = keras.utils.image_dataset_from_directory(
            prepared.folder / split / part, labels=None, color_mode="grayscale", batch_size=None,
            image_size=(size, size), interpolation=interpolation,
            pad_to_aspect_ratio=True, shuffle=False, verbose=False,
        )  # fmt: skip
        if [Path(path).stem for path in dataset.file_paths] != names:
            raise ValueError(f"{prepared.folder / split / part}: other files appeared; prepare the data set again.")
        parts.append(dataset.map(lambda grey: tf.cast(tf.round(grey), tf.uint8), tf.data.AUTOTUNE))
    return tf.data.Dataset.zip(*parts)


def _to_unit(images: tf.Tensor, masks: tf.Tensor) -> Batch:
    """Scale uint8 images to [0, 1]; make masks 0 or 1."""
    return tf.cast(images, tf.float32) / 255.0, tf.cast(masks > _MASK_THRESHOLD, tf.float32)
