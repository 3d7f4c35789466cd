"""Draw what is burnt into a film: lead letters, boxes with text, lines of text, and the edges of the film."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from lungnb.masks import Floats, Mask
from lungnb.phantoms.drawing import as_bytes, as_unit
from lungnb.phantoms.frame import View

_WORDS = ("PA", "AP", "ERECT", "SUPINE", "PORTABLE", "MOBILE", "SITTING", "CHEST", "R", "L", "LT", "RT", "ICU", "INSP")
_LETTER, _BOX, _LINES = 0.7, 0.35, 0.25  # shares of films with each
_CLOSED = 0.5  # share of films that end before the picture does, at each of the four sides
_MOST_CM, _LEAST_CM = 9.0, 0.8  # from the lungs to the film's end


def captioned(rng: Generator, grey: Floats) -> Floats:
    """Return a film, `(size, size)`, 0 to 1, with letters and text drawn at random, most of them near its borders."""
    size = len(grey)
    sheet = Image.fromarray(as_bytes(grey))
    draw = ImageDraw.Draw(sheet)
    bright = int(rng.integers(190, 256))
    if rng.random() < _LETTER:
        is_right = rng.random() < 0.6
        x = rng.uniform(0.01, 0.14) if is_right else rng.uniform(0.82, 0.93)
        place = (x * size, rng.uniform(0.01, 0.25) * size)
        draw.text(place, "R" if is_right else "L", fill=bright, font=_font(rng.uniform(0.03, 0.08) * size))
    if rng.random() < _BOX:
        x, y = rng.choice([rng.uniform(0.01, 0.1), rng.uniform(0.75, 0.88)]), rng.uniform(0.01, 0.12)
        for _ in range(rng.integers(1, 3)):
            font, word = _font(rng.uniform(0.025, 0.05) * size), str(rng.choice(_WORDS))
            left, top, right, bottom = draw.textbbox((x * size, y * size), word, font=font)
            draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=bright)
            draw.text((x * size, y * size), word, fill=int(rng.integers(0, 60)), font=font)
            y += (bottom - top + 4) / size
    if rng.random() < _LINES:
        x, y = rng.choice([0.02, 0.7]), rng.choice([0.02, 0.85])
        for line in range(rng.integers(1, 5)):
            text = " ".join([str(rng.choice(_WORDS)), *map(str, rng.integers(0, 99, 2))])
            draw.text((x * size, (y + 0.035 * line) * size), text, fill=bright, font=_font(0.03 * size))
    return as_unit(sheet)


def _font(height_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(round(height_px), 5))


def field(rng: Generator, view: View, half_cm: float, height_cm: float) -> Mask:
    """Return the exposed part of the film. Its sides, or those of the collimator, are 1 to 9 cm outside the lungs.

    Lungs reach `half_cm` to both sides, and from 0 to `height_cm` in height.
    """
    slant = rng.normal(0, 0.015, 4)
    beyond = np.where(rng.random(4) < _CLOSED, rng.uniform(_LEAST_CM, _MOST_CM, 4), 99).astype(np.float32)
    x, y = view.x.mean(0), view.y.mean(1)[:, None]  # straight also where the patient is bent
    out = (x - half_cm, -x - half_cm, -y, y - height_cm)
    across = (y, y, x, x)
    seen = np.ones(view.x.shape, bool)
    for distance, along, limit, turn in zip(out, across, beyond, slant, strict=True):
        seen &= distance + np.float32(turn) * along < limit
    return seen
