"""Load batches of images and masks from a prepared data set, and augment them.

A batch is a pair of float32 tensors `(batch, size, size, 1)`: images from 0 to 1, masks 0 or 1.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.networks import backend
from lungnb.networks.backend import Tensor, keras, ops, tf
from lungnb.networks.examples import Examples, examples_of
from lungnb.settings import Settings

_MASK_THRESHOLD = 127  # of a grey from 0 to 255; higher values are lung
SEEDS_PER_RUN = 100_003  # so that the runs of two seeds share no random numbers
Batch = tuple[Tensor, Tensor]  # a batch of images, and one of masks


def load_batches(
    settings: Settings, split: str, training: bool = False, first_epoch: int = 0, devices: int = 1,
    prepared: Prepared | None = None,
) -> tf.data.Dataset | MemoryBatches:  # fmt: skip
    """Return the batches of one split of the settings' prepared data set, or of `prepared`.

    With `training`, return the batches of all epochs from `first_epoch` on, `count_steps` per epoch. An epoch shows
    the images `repeats` times, each time shuffled and augmented in another way. Its content depends only on the seed
    and its number, so that a resumed training sees the same images as an uninterrupted one.

    If several `devices` share each batch, some images come again at the end, so that each gets a part of the last one.

    TensorFlow makes the batches, in parallel with the training. Where JAX computes, the images stay in the memory of
    its device, and it changes them there; TensorFlow need not be installed.

    Raises ValueError for an unknown split or if `devices` do not divide the batch size, FileNotFoundError without data.
    """
    if settings.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of {devices}, the devices to train on, not {settings.batch_size}."
        )
    prepared = prepared or open_prepared(settings)
    if not backend.HAS_TENSORFLOW:
        examples = _in_memory(prepared, split, settings.image_size)
        return MemoryBatches(examples, settings, first_epoch if training else None)
    pairs = _decoded(prepared, split, settings.image_size)
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


class MemoryBatches(keras.utils.PyDataset):
    """Batches of images and masks that are in the memory of the device that computes; epochs are as in `load_batches`.

    Nothing here counts what was shown, because Keras takes a batch before the training starts.

    Args:
        examples: images `(count, size, size, 1)`, uint8, and masks, bool.
        settings: those that `load_batches` needs.
        epoch: the first epoch, counted from 0, of a training with augmented images; None: all images once, in order
            and unchanged.
    """

    def __init__(self, examples: Examples, settings: Settings, epoch: int | None = None) -> None:
        super().__init__()
        count, self._settings, self._first = len(examples.images), settings, epoch or 0
        if epoch is not None and settings.train_images:
            kept = np.random.default_rng(settings.seed).permutation(count)[: settings.train_images]
            examples = Examples(*(part[kept] for part in examples))
        self._examples = Examples(*map(ops.convert_to_tensor, examples))
        self._is_training = epoch is not None
        self._batch = backend.compiled(self._changed if self._is_training else self._plain)
        self._order = lru_cache(1)(self.order_of)  # drawing it anew for each step would take time
        self._steps = len(self._order(self._first))

    def __len__(self) -> int:
        """Return the number of batches: those of all epochs from the first on, or those that show each image once."""
        return self._steps * (self._settings.epochs - self._first if self._is_training else 1)

    def __getitem__(self, step: int) -> Batch:
        """Return a batch by its number; batch 0 is the first one of the first epoch."""
        epoch, step_of_epoch = divmod(step, self._steps)
        number, chosen = self._order(self._first + epoch)[step_of_epoch]
        return self._batch(np.int32(number), chosen, *self._examples)  # compiled once, for any number

    def order_of(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """Return the steps of an epoch: the number of each in the whole training, and which images it shows."""
        count, size, repeats = len(self._examples.images), self._settings.batch_size, self._settings.repeats
        if self._is_training:
            numbers = range(epoch * repeats, (epoch + 1) * repeats)
            rounds = {n: np.random.default_rng([self._settings.seed, n]).permutation(count) for n in numbers}
        else:
            rounds = {0: np.arange(count)}
        return [
            (n * count + first, order[first : first + size])
            for n, order in rounds.items() for first in range(0, count, size)
        ]  # fmt: skip

    def _plain(self, step: Tensor, chosen: Tensor, images: Tensor, masks: Tensor) -> Batch:  # noqa: ARG002
        images, masks = (ops.take(part, chosen, axis=0) for part in (images, masks))
        return ops.cast(images, "float32") / 255, ops.cast(masks, "float32")

    def _changed(self, step: Tensor, chosen: Tensor, images: Tensor, masks: Tensor) -> Batch:
        plain = self._plain(step, chosen, images, masks)
        return augment(*plain, self._settings, (self._settings.seed, step))


def augment(images: Tensor, masks: Tensor, settings: Settings, seed: tuple[int, int | Tensor]) -> Batch:
    """Flip, rotate and zoom each image and its mask in the same way, and change the image's contrast.

    The same `seed` gives the same change. Pixels from outside the image become black and background.
    """
    low = np.array([-settings.rotation, 1 - settings.zoom, 1 - settings.contrast, 0.0])
    high = np.array([settings.rotation, 1 + settings.zoom, 1 + settings.contrast, 1.0])
    random = backend.random_numbers((ops.shape(images)[0], 4), seed)
    random = random * (high - low).astype("float32") + low.astype("float32")
    angle, zoom, contrast, coin = ops.unstack(random, axis=1)
    mirror = ops.where((coin < 0.5) & settings.flip, -1.0, 1.0)

    # Output pixel (x, y) comes from input pixel (a x + b y + c, d x + e y + f), rotated and scaled about the middle.
    cos, sin = ops.cos(angle * np.pi / 180) / zoom, ops.sin(angle * np.pi / 180) / zoom
    middle, zero = (settings.image_size - 1) / 2, ops.zeros_like(cos)
    a, b, d, e = cos * mirror, -sin, sin * mirror, cos
    c, f = middle - middle * (a + b), middle - middle * (d + e)
    transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
    images = ops.image.affine_transform(images, transform, "bilinear")
    masks = ops.image.affine_transform(masks, transform, "nearest")

    contrast = ops.reshape(contrast, (-1, 1, 1, 1))
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return ops.clip(mean + (images - mean) * contrast, 0.0, 1.0), masks


def _in_memory(prepared: Prepared, split: str, size: int) -> Examples:
    """Return the images and masks of a split, uint8 and bool `(count, size, size, 1)`, in the order of their names."""
    names = _paired_names(prepared, split)
    return examples_of((prepared.pair({"split": split, "id": name}) for name in names), size)


def _paired_names(prepared: Prepared, split: str) -> list[str]:
    """Return the names of a split's images; raise ValueError if there is not one mask for each."""
    names = prepared.file_names(split, "images")
    if names != prepared.file_names(split, "masks"):
        raise ValueError(
            f"{prepared.folder / split}: images and masks do not pair one to one; prepare the data set again."
        )
    return names


def _decoded(prepared: Prepared, split: str, size: int) -> tf.data.Dataset:
    """Return pairs of resized uint8 images and masks `(size, size, 1)`, in the order of their names."""
    names = _paired_names(prepared, split)
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
