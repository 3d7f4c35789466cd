"""Draw what a film, a screen or a camera adds to a chest: exposure, tone, blur, noise, borders, writing."""

import io

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from lungnb.masks import Floats, Grey, Mask
from lungnb.phantoms.drawing import as_bytes, as_unit, blur, curve
from lungnb.phantoms.frame import Wild, clouds


def expose(rng: Generator, water: Floats, depth: float, wild: Wild) -> tuple[Grey, Mask]:
    """Return the film of a patient, and a mask of the part of the film that shows the patient.

    The patient is `depth` cm thick, and each ray crosses `water` cm of water, `(size, size)`. The film has scatter,
    uneven exposure, tone, blur, noise, collimator and marker; bone is white. A `wild` film is distorted too.
    """
    size = len(water)
    wide = blur(water, size / 9)
    water = water + rng.uniform(0.0, 0.25) * wide - rng.uniform(0, 0.4) * (wide - wide.mean())
    water = water + 0.03 * depth * clouds(rng, size, 2)
    black, white = rng.uniform(0.15, 0.33) * depth, rng.uniform(0.85, 1.15) * depth
    grey = np.clip((water - black) / np.float32(white - black), 0, 1) ** np.float32(rng.uniform(0.8, 1.5))
    grey += rng.uniform(0, 0.8) * grey * (1 - grey) * (2 * grey - 1)  # a film's S-shaped response
    grey = blur(grey, rng.uniform(0.3, 0.8) * size / 256)
    noise = rng.standard_normal(grey.shape, dtype=np.float32)
    grey += np.float32(rng.uniform(0.004, 0.025)) * (noise if rng.random() < 0.5 else 1.5 * blur(noise, 0.6))
    grey = grey * rng.uniform(0.85, 1) + rng.uniform(0, 0.06)
    if any(wild):
        return distort(rng, np.clip(grey, 0, 1), wild)
    seen = _open_field(rng, size, 0.35, 0.92)
    return as_bytes(_marker(rng, np.where(seen, grey, rng.uniform(0, 0.05)))), seen


def _open_field(rng: Generator, size: int, often: float, least: float) -> Mask:
    """Return what the collimator leaves open. It closes each margin with probability `often`, to `least` or more."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    slant = rng.normal(0, 0.02)
    edges = np.where(rng.random(4) < often, rng.uniform(least, 0.99, 4), 2)
    x, y = line + slant * line[:, None], line[:, None] - slant * line
    return np.asarray((x < edges[0]) & (x > -edges[1]) & (y < edges[2]) & (y > -edges[3]))


def _marker(rng: Generator, grey: Floats) -> Floats:
    """Return the film with a lead letter in an upper corner: R on the patient's right, or L on the left, or none."""
    size, letter = len(grey), rng.choice(["R", "L", ""], p=[0.5, 0.3, 0.2])
    x = rng.uniform(0.03, 0.12) if letter == "R" else rng.uniform(0.84, 0.92)
    place = (x * size, rng.uniform(0.02, 0.15) * size)
    sheet = Image.new("L", (size, size))
    draw = ImageDraw.Draw(sheet)
    draw.text(place, str(letter), fill=255, font=ImageFont.load_default(size=rng.uniform(0.04, 0.08) * size))
    return np.asarray(np.maximum(grey, as_unit(sheet) * rng.uniform(0.75, 1)))


def distort(rng: Generator, grey: Floats, wild: Wild) -> tuple[Grey, Mask]:
    """Return a distorted picture, and a mask of the part that shows the patient; `grey` is `(size, size)`, 0 to 1.

    Local contrast, any rising tone curve, shadows, blur, coarse pixels, noise, borders, writing, inversion and JPEG are
    each applied now and then, and from a wide range. This is domain randomisation (Tobin and others 2017,
    https://arxiv.org/abs/1703.06907; for segmentation Billot and others 2023, https://arxiv.org/abs/2107.09559).
    """
    size = len(grey)
    if rng.random() < 0.4 * wild.tone:  # local contrast, as processed films have it
        wide = blur(grey, size / rng.uniform(8, 40))
        grey = (1 - rng.uniform(0, 0.7)) * wide + rng.uniform(0.8, 2.5) * (grey - wide)
    grey = grey + rng.uniform(0, 0.15 * wild.texture) * clouds(rng, size, int(rng.integers(2, 12)))
    if rng.random() < 0.3:
        grey = grey * (1 + rng.uniform(0, 0.15 * wild.texture) * clouds(rng, size, int(rng.integers(20, 80))))
    if rng.random() < 0.4 * wild.acquisition:
        grey = blur(grey, rng.uniform(0.3, 2.0) * size / 256)
    grey = _toned(rng, grey) if wild.tone else grey
    noise = rng.standard_normal(grey.shape, dtype=np.float32)
    loud = np.float32(rng.uniform(0, 0.06 * wild.acquisition))
    grey = np.clip(grey + loud * (noise if rng.random() < 0.5 else 1.5 * blur(noise, 0.7)), 0, 1)
    grey, seen = _bordered(rng, grey) if wild.acquisition else (grey, np.ones(grey.shape, bool))
    for _ in range(rng.poisson(0.7 * wild.acquisition)):
        grey = _marker(rng, grey)
    if rng.random() < 0.12 * wild.tone:
        grey = 1 - grey
    picture = Image.fromarray(as_bytes(grey))
    if rng.random() < 0.2 * wild.acquisition:
        coarse = int(size / rng.uniform(1.2, 2.5))
        picture = picture.resize((coarse, coarse), Image.Resampling.BOX).resize((size, size), Image.Resampling.BILINEAR)
    if rng.random() < 0.25 * wild.acquisition:
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=int(rng.integers(10, 80)))
        picture = Image.open(jpeg)
    return np.asarray(picture), seen


def _toned(rng: Generator, grey: Floats) -> Floats:
    """Return greys through a random rising curve from 0 to 1, after their range was stretched."""
    low, high = np.quantile(grey[::4, ::4], (rng.uniform(0, 0.05), rng.uniform(0.9, 1)))
    grey = np.clip((grey - low) / max(high - low, 0.05), 0, 1)
    rises = np.cumsum(rng.dirichlet([1.5] * 5))
    knots = [(0.0, 0.0), *zip(np.linspace(0.2, 1, 5), rises, strict=True)]
    bright, dark = rng.uniform(0.6, 1), rng.uniform(0, 0.25)
    return dark + (bright - dark) * curve(grey, knots)


def _bordered(rng: Generator, grey: Floats) -> tuple[Floats, Mask]:
    """Return the picture with closed margins, dark or bright, or corners in shadow, or neither; and what is open."""
    size, seen = len(grey), np.ones(grey.shape, bool)
    if rng.random() < 0.5:
        tone = rng.choice([rng.uniform(0, 0.1), rng.uniform(0.8, 1)], p=[0.8, 0.2])
        seen = _open_field(rng, size, 0.5, 0.75)
        grey = np.where(seen, grey, np.float32(tone))
    if rng.random() < 0.15:  # a lamp behind a film, or a flash in front of it
        line = np.linspace(-1, 1, size, dtype=np.float32)
        x, y = rng.uniform(-0.5, 0.5, 2)
        grey = grey * (1 - rng.uniform(0.1, 0.5) * np.clip((line - x) ** 2 + (line[:, None] - y) ** 2, 0, 2))
    return grey, seen
