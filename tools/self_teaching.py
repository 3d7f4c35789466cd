"""Let the shipped network learn from its own predictions on drawings: the second part of `make weights`.

A network errs in other places if it sees the mirror image, so the mean of both predictions is better than one. In each
round, the network learns these means, made by the network of the round before. It sees the drawings turned, scaled and
with other contrast, which the network that made the means did not. So one prediction becomes about as good as the mean
of two, and the next means become better (data distillation: Radosavovic and others 2018, doi 10.1109/CVPR.2018.00433;
noisy student: Xie and others 2020, doi 10.1109/CVPR42600.2020.01070). The network learns from itself only near the
drawn line. Far from it, it learns the drawn mask, so that it forgets no lung behind pneumonia.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter
from tqdm import tqdm

from drawings import Arrays
from lungnb.networks.backend import keras
from lungnb.networks.model_files import read_network

ROUNDS = 6
LEARNING_RATE, AVERAGE_MOMENTUM = 5e-4, 0.995  # of a round; the average reaches back about 200 steps
_CHUNK = 250  # drawings predicted at a time
_NEAR_PX = 3  # up to here from the drawn line, the predictions are learned; farther away, the drawn mask

Fit = Callable[[keras.Model, list[Arrays], int], keras.Model]  # a network, the drawings of a round, and its number


def learn_from_itself(start: Path, rounds: Path, drawings_of: Callable[[int], Sequence[Arrays]], fit: Fit) -> Path:
    """Run the rounds that `rounds` has no file of, the first with the network `start`; return the file of the last.

    `drawings_of` gives the images and masks of a round by parts. `fit` trains a network on the images and on what it
    shall predict, float16, 0 to 1.
    """
    rounds.mkdir(parents=True, exist_ok=True)
    for number in range(ROUNDS):
        file = rounds / f"round_{number + 1}.keras"
        if not file.exists():
            network = read_network(start)
            targets = [(images, lesson_of(network, images, masks)) for images, masks in drawings_of(number)]
            trained, part = fit(network, targets, number), file.with_name(f".part_{file.name}")
            trained.save(part)
            part.replace(file)
        start = file
    return start


def lesson_of(network: keras.Model, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return what to learn: the mask, and near its border the mean of the predictions; float16, like `images`."""
    lesson, window = mean_of_views(network, images), (1, 2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1)
    lesson[minimum_filter(masks, window)] = 1
    lesson[~maximum_filter(masks, window)] = 0
    return lesson


def mean_of_views(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the mean of what a network predicts for each image and for its mirror image, float16, like `images`."""
    means = np.empty(images.shape, np.float16)
    for first in tqdm(range(0, len(images), _CHUNK), "predicting drawings", unit="chunk"):
        views = images[first : first + _CHUNK, ..., None].astype(np.float32) / 255
        views = np.concatenate([views, views[:, :, ::-1]])
        plain, mirrored = np.split(np.asarray(network.predict(views, batch_size=_CHUNK, verbose=0))[..., 0], 2)
        means[first : first + _CHUNK] = (plain + mirrored[:, :, ::-1]) / 2
    return means
