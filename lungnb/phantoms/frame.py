"""Define what a phantom is, how much it varies beyond real images, and where the patient lies in the picture.

Phantoms are drawn in the patient's frame, in cm: x to the picture's right (the patient's left), y downwards.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy import ndimage

from lungnb.masks import Floats, Mask

SIDES = (-1, 1)  # picture left (the patient's right), picture right
MIN_SIZE = 32  # px; a smaller picture holds no chest


class Phantom(NamedTuple):
    """A synthetic image and its exact lung mask."""

    image: np.ndarray  # (size, size); uint8, or float32 in Hounsfield units for `kind` "ct"
    mask: Mask  # (size, size); True on the lungs


class Wild(NamedTuple):
    """The amounts by which phantoms vary more than real images: 0 is none, 1 for training, above 1 for wider ranges."""

    shape: float = 0.0  # of chest and organs
    pathology: float = 0.0  # effusions, opacities, lesions, devices, gas in bowels
    tone: float = 0.0  # any rising curve of greys, local contrast, inversion, any CT window, any density of the lungs
    texture: float = 0.0  # shadows and grain of all sizes
    acquisition: float = 0.0  # posture, scale, cropping, borders, writing, blur, noise, coarse pixels, JPEG


TAME, WILD = Wild(), Wild(*[1.0] * 5)


class View(NamedTuple):
    """The position of each pixel in the patient, cm."""

    x: Floats  # (size, size) float32, cm
    y: Floats
    pixel_cm: float  # width of a pixel


def make_view(
    rng: Generator, size: int, width_cm: float, centre: Floats, tilt: float, bend_cm: float, stretch: float = 0.02
) -> View:
    """Return a random view, `width_cm` across, with `centre` (x and y, cm) in its middle.

    It is turned by about `tilt` rad, bent by `bend_cm`, stretched by a share `stretch`. Raises ValueError below 32 px.
    """
    if size < MIN_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} px or more, not {size}.")
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle, stretched = rng.normal(0, tilt), np.exp(rng.normal(0, stretch))
    right, down = line * np.float32(width_cm * stretched), (line * np.float32(width_cm))[:, None]
    x = np.cos(angle) * right - np.sin(angle) * down + centre[0] + bend_cm * clouds(rng, size, 5)
    y = np.sin(angle) * right + np.cos(angle) * down + centre[1] + bend_cm * clouds(rng, size, 5)
    return View(x.astype(np.float32), y.astype(np.float32), width_cm / size)


def draw_from(rng: Generator, low: float, high: float, wild: float, by: float = 2.0) -> float:
    """Return a random number between `low` and `high`; if `wild` is 1, from a range `by` times as wide."""
    middle, half = (low + high) / 2, (high - low) / 2 * (1 + wild * (by - 1))
    return rng.uniform(middle - half, middle + half)


def clouds(rng: Generator, size: int, cells: int) -> Floats:
    """Return a smooth random field, `(size, size)` float32, `cells` bumps across, mean 0, standard deviation 0.7."""
    small = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def without_specks(mask: Mask, smallest: float) -> Mask:
    """Return a mask without parts smaller than the share `smallest` of the picture: bending cuts pixels off corners."""
    labels, _ = ndimage.label(mask)
    is_large = np.bincount(labels.ravel()) >= smallest * mask.size
    is_large[0] = False
    return np.asarray(is_large[labels])
