"""Train the output `chest` of a network, which says whether an image shows a chest: a part of `make weights`.

A network that segments lungs marks something as lung in any picture. The classifier here compares the picture with what
the network marked in it. It sees both in coarse form only: the averages of the image, of the probability of lung p, and
of p(1 - p), which is high where the network is uncertain. It does not use features from inside the network, so that the
classifier remains valid when the network is adapted to other masks.

The network that predicts the lungs is frozen. The classifier learns from drawings alone: chests of the kind "mixed",
and pictures of the kind "other". The epoch is chosen on chests from wider ranges and on others of another seed.
"""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from drawings import draw, drawing_pool
from lungnb.files import written
from lungnb.formats.pixels import fit_square
from lungnb.masks import LUNG_SHARE
from lungnb.messages import print_lines
from lungnb.networks import backend
from lungnb.networks.backend import Tensor, keras, layers
from lungnb.networks.chest_output import CHEST

POOLED_PX = 32  # side of the averages that the classifier sees
_CHANNELS = (12, 24, 32, 40)  # of its convolutions, each of which halves the side except the first
_HIDDEN = 32  # units between convolutions and output
_DROPOUT = 0.3  # strong, because it learns from drawings and is used on films
TRAINING = {"mixed": (8000, 21), "other": (20000, 31)}  # kinds: number of drawings, and their seed
VALIDATION = {"mixed-wider": (800, 22), "other": (800, 32)}
EPOCHS, BATCH_SIZE, LEARNING_RATE = 12, 64, 1e-3
_WEIGHT_DECAY = 1e-3
_LARGEST_SHIFT = 2  # px of the pooled maps, which are 32 px wide
_RESHAPED_SHARE, _ASPECTS = 0.5, (0.6, 1.6)  # of the drawings that are cut to another aspect ratio, and which
_LEAST_CHEST = 0.85  # of a chest's height or width that remains when it is cut
_INVERTED_SHARE = 0.1  # because films are sometimes printed inverted
FLAGGED_CHESTS = 0.03  # share of the chests for validation that shall lie below 0.5, the limit of `segment`


class Pooled(NamedTuple):
    """What the classifier learns from."""

    maps: np.ndarray  # (count, 32, 32, 3), float32
    is_chest: np.ndarray  # (count, 1), float32


def add_chest(model: keras.Model, drawings: Path | None = None, seed: int = 1) -> keras.Model:
    """Return a network with the trained output `chest`; its probability of lung is unchanged.

    If a folder for `drawings` is named, read the drawings there, and draw and save those that are missing.
    """
    backend.fix_seeds(seed)
    extended = with_chest(model)
    with drawing_pool() as pool:
        training, validation = (pooled(extended, kinds, drawings, pool) for kinds in (TRAINING, VALIDATION))
    classifier = extended.get_layer(CHEST)
    fit(classifier, training, validation)
    print_lines(set_limit(classifier, validation))
    return extended


def with_chest(model: keras.Model) -> keras.Model:
    """Return a network with two outputs: its probability of lung, unchanged, and `chest`, `(batch, 1)`, 0 to 1.

    `chest` is near 1 for an upright chest film and an axial CT slice of a chest. It is untrained, and shares no weights
    with the network. If the network has that output already, return it with a new one.

    Raises ValueError if the side of the network's image is not a multiple of 32 px.
    """
    image, probability = model.inputs[0], model.outputs[0]
    size = image.shape[1]
    if size % POOLED_PX:
        raise ValueError(f"the network takes {size} px; take one of a multiple of {POOLED_PX} px for output {CHEST}.")
    chest = classifier()(_pooled(image, probability, size // POOLED_PX))
    return keras.Model(image, [probability, chest], name=model.name)


def _pooled(image: Tensor, probability: Tensor, factor: int) -> Tensor:
    """Return the averages of image, probability and uncertainty, `(batch, 32, 32, 3)`."""
    no_lung = layers.Rescaling(-1.0, 1.0, name="no_lung")(probability)
    uncertainty = layers.Multiply(name="uncertainty")([probability, no_lung])
    maps = layers.Concatenate(name="maps")([image, probability, uncertainty])
    return layers.AveragePooling2D(factor, name="pooled")(maps)


def classifier() -> keras.Model:
    """Return an untrained classifier of pooled maps, `(batch, 32, 32, 3)`; it returns `(batch, 1)`, 0 to 1."""
    maps = x = keras.Input((POOLED_PX, POOLED_PX, 3))
    for number, channels in enumerate(_CHANNELS):
        x = layers.Conv2D(channels, 3, strides=2 if number else 1, padding="same", activation="relu")(x)
    x = layers.Dropout(_DROPOUT)(layers.Flatten()(x))  # flat, because the place of a lung tells how the film lies
    x = layers.Dropout(_DROPOUT)(layers.Dense(_HIDDEN, activation="relu")(x))
    return keras.Model(maps, layers.Dense(1, activation="sigmoid")(x), name=CHEST)


def pooled_part(model: keras.Model) -> keras.Model:
    """Return the part of a network with `chest` that computes the pooled maps which the classifier sees."""
    return keras.Model(model.inputs[0], model.get_layer("pooled").output)


def pooled(model: keras.Model, kinds: dict[str, tuple[int, int]], drawings: Path | None, pool: Executor) -> Pooled:
    """Return the pooled maps of drawings, and whether they show chests."""
    part, size = pooled_part(model), model.inputs[0].shape[1]
    maps, is_chest = [], []
    for kind, (count, seed) in kinds.items():
        rng = np.random.default_rng(seed)
        images = [changed(rng, image, kind != "other") for image in drawn(pool, kind, count, seed, size, drawings)]
        batch = np.stack([fit_square(image, size).array for image in images])[..., None]
        parts = [batch[start : start + BATCH_SIZE] for start in range(0, len(batch), BATCH_SIZE)]
        maps += [part.predict_on_batch(images.astype(np.float32) / 255) for images in parts]
        is_chest += [np.full((len(batch), 1), kind != "other", np.float32)]
    return Pooled(np.concatenate(maps), np.concatenate(is_chest))


def drawn(pool: Executor, kind: str, count: int, seed: int, size: int, folder: Path | None) -> np.ndarray:
    """Return at most `count` drawings, uint8 `(n, size, size)`; read them from a file in `folder` or save them there.

    Chests without lungs, which are slices just above or below them, are left out: they look like other slices.
    """
    file = folder / f"{kind}_{seed}_{count}_{size}.npy" if folder else None
    if file and file.exists():
        return np.asarray(np.load(file))
    phantoms = draw(pool, 1, count, kind, seed, size)
    images = np.stack([image for image, mask in phantoms if kind == "other" or mask.mean() >= LUNG_SHARE[0]])
    if file:
        with written(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, images)
    return images


def changed(rng: Generator, image: np.ndarray, is_chest: bool) -> np.ndarray:
    """Return a drawing, some of them inverted, and some cut to another aspect ratio, as files have it."""
    if rng.random() < _INVERTED_SHARE:
        image = 255 - image
    if rng.random() > _RESHAPED_SHARE:
        return image
    aspect = rng.uniform(*_ASPECTS)
    keep = np.minimum([1 / aspect, aspect], 1)  # of height and width
    keep = np.maximum(keep, _LEAST_CHEST) if is_chest else keep
    height, width = np.rint(keep * image.shape).astype(int).tolist()
    top, left = rng.integers(0, len(image) - height + 1), rng.integers(0, len(image) - width + 1)
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def fit(classifier: keras.Model, training: Pooled, validation: Pooled) -> None:
    """Train the classifier on the maps and their mirror images, shifted a little; keep the best epoch."""
    maps = np.concatenate([training.maps, training.maps[:, :, ::-1]])
    rng, is_chest = np.random.default_rng(1), np.concatenate([training.is_chest] * 2)
    for one, shift in zip(maps, rng.integers(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, (len(maps), 2)), strict=True):
        one[:] = shifted(one, *shift.tolist())
    steps = EPOCHS * -(-len(maps) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY)
    classifier.compile(optimizer, "binary_crossentropy", jit_compile=backend.USE_XLA)
    best = keras.callbacks.EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True)
    classifier.fit(maps, is_chest, BATCH_SIZE, EPOCHS, verbose=2, validation_data=tuple(validation), callbacks=[best])


def shifted(maps: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return maps, `(height, width, channels)`, moved by some pixels; the border is repeated."""
    rows, columns = (
        np.clip(np.arange(side) - shift, 0, side - 1) for side, shift in zip(maps.shape, (down, right), strict=False)
    )
    return np.asarray(maps[np.ix_(rows, columns)])


def set_limit(classifier: keras.Model, validation: Pooled) -> str:
    """Shift the classifier's logits so that `FLAGGED_CHESTS` of the chests lie below 0.5; return what that gives."""
    values = classifier.predict(validation.maps, verbose=0)[:, 0].astype(float)
    logits = np.log(np.clip(values, 1e-6, 1 - 1e-6) / (1 - np.clip(values, 1e-6, 1 - 1e-6)))
    is_chest = validation.is_chest[:, 0] > 0
    shift = float(np.quantile(logits[is_chest], FLAGGED_CHESTS))
    last = classifier.layers[-1]
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias - np.float32(shift)])
    chests, others = logits[is_chest] - shift, logits[~is_chest] - shift
    return (
        f"Below 0.5: {(chests < 0).mean():.1%} of the chests and {(others < 0).mean():.1%} of the other pictures. "
        f"Above 0.9: {(chests > np.log(9)).mean():.1%} and {(others > np.log(9)).mean():.1%}. Logits: {-shift:+.2f}."
    )
