"""Draw pictures that are neither an upright chest film nor an axial CT slice, for the check of wrong inputs.

Turned, cut and upside-down films; other parts of the body; textures, gradients, noise, shapes and text.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from lungnb.masks import Floats, Grey
from lungnb.phantoms.body_parts import BODY_PARTS
from lungnb.phantoms.captions import captioned
from lungnb.phantoms.drawing import as_bytes, as_unit, blur
from lungnb.phantoms.exposure import develop
from lungnb.phantoms.film import distort
from lungnb.phantoms.frame import Phantom, Wild, clouds
from lungnb.phantoms.processing import process
from lungnb.phantoms.radiograph import film_phantom
from lungnb.phantoms.wrong_inputs import FILM_PARTS, SCENES

_MOST_LUNG = 0.3  # of the lungs that a cut film may still show
_CUT = (0.2, 0.45)  # side of what is cut out, as a share of the film's
_TRIES, _LEAST_CONTRAST = 8, 40  # grey levels
_DISTORTED_SHARE = 0.4
_DISTORTION = Wild(tone=1.0, texture=1.0, acquisition=1.0)
_FROM_FILMS_SHARE = 0.5  # because turned and cut films are the likeliest mistakes, and the hardest to see
_LETTERS = list("abcdefghijklmnopqrstuvwxyz    ")


def other_picture(rng: Generator, size: int = 256) -> Grey:
    """Return a picture, uint8 `(size, size)`, that is neither an upright chest film nor an axial CT slice of the chest.

    >>> other_picture(np.random.default_rng(1), 64).shape
    (64, 64)
    """
    kinds = FROM_FILMS if rng.random() < _FROM_FILMS_SHARE else SCENERY
    grey = kinds[str(rng.choice(list(kinds)))](rng, size)
    if rng.random() < _DISTORTED_SHARE:
        return distort(rng, grey.astype(np.float32), _DISTORTION)[0]
    return as_bytes(grey)


def turned(rng: Generator, size: int) -> Floats:
    """Return a film that lies on its side."""
    return np.ascontiguousarray(np.rot90(as_unit(film_phantom(rng, size).image), rng.choice([1, 3])))


def upside_down(rng: Generator, size: int) -> Floats:
    """Return a film that is upside down, mirrored or not."""
    return np.ascontiguousarray(as_unit(film_phantom(rng, size).image)[::-1, :: rng.choice([-1, 1])])


def cut(rng: Generator, size: int) -> Floats:
    """Return a small part of a film, enlarged; see `few_lungs`."""
    film = film_phantom(rng, size)
    part = Image.fromarray(film.image[few_lungs(rng, film)])
    return as_unit(part.resize((size, size), Image.Resampling.BILINEAR))


def few_lungs(rng: Generator, film: Phantom) -> tuple[slice, slice]:
    """Return rows and columns of a part of a film that shows something, but at most `_MOST_LUNG` of the lungs."""
    size = len(film.mask)
    for _ in range(_TRIES):
        side = int(rng.uniform(*_CUT) * size)
        top, left = rng.integers(0, size - side, 2).tolist()
        part = slice(top, top + side), slice(left, left + side)
        if film.mask[part].sum() <= _MOST_LUNG * film.mask.sum() and np.ptp(film.image[part]) > _LEAST_CONTRAST:
            return part
    return slice(size - size // 4, size), slice(0, size // 4)  # a lower corner


def body_part(rng: Generator, size: int) -> Floats:
    """Return a film of another part of the body."""
    water = BODY_PARTS[str(rng.choice(list(BODY_PARTS)))](rng, size)
    film = develop(rng, np.maximum(water, 0), np.zeros(water.shape, bool), noisy=False)
    return captioned(rng, process(rng, film))


def texture(rng: Generator, size: int) -> Floats:
    """Return clouds of several sizes, or stripes."""
    if rng.random() < 0.3:
        line = np.linspace(-1, 1, size, dtype=np.float32)
        wave = np.sin(rng.uniform(5, 80) * (line * rng.normal() + line[:, None] * rng.normal()) + clouds(rng, size, 4))
        return np.asarray(0.5 + rng.uniform(0.1, 0.5) * wave)
    layers = [rng.uniform(0, 0.3) * clouds(rng, size, int(cells)) for cells in rng.integers(2, 100, 3)]
    return np.asarray(rng.uniform(0.2, 0.8) + np.sum(layers, axis=0), np.float32)


def gradient(rng: Generator, size: int) -> Floats:
    """Return a picture of one grey, or of greys that change evenly or around a centre."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.4, 2) * (rng.random() < 0.8)
    x, y = rng.uniform(-0.6, 0.6, 2)
    bowl = rng.normal(0, 0.4) * (rng.random() < 0.5) * ((line - x) ** 2 + (line[:, None] - y) ** 2)
    return np.asarray(rng.uniform(0, 1) + slope[0] * line + slope[1] * line[:, None] + bowl, np.float32)


def noise(rng: Generator, size: int) -> Floats:
    """Return noise of any strength and grain."""
    grain = blur(rng.standard_normal((size, size), dtype=np.float32), rng.uniform(0.01, 3.0))
    return np.asarray(rng.uniform(0.2, 0.8) + rng.uniform(0.05, 0.4) * grain / grain.std(), np.float32)


def shapes(rng: Generator, size: int) -> Floats:
    """Return ellipses, boxes, polygons and lines on one grey: also pairs side by side, which are still no lungs."""
    sheet = Image.new("L", (size, size), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(sheet)
    for _ in range(rng.integers(1, 12)):
        x, y, half_x, half_y = *rng.uniform(0, size, 2), *rng.uniform(0.02, 0.3, 2) * size
        box, fill = (x - half_x, y - half_y, x + half_x, y + half_y), int(rng.integers(0, 256))
        kind = rng.integers(0, 4)
        if kind == 0:
            draw.ellipse(box, fill=fill)
        elif kind == 1:
            draw.rectangle(box, fill=fill)
        elif kind == 2:
            draw.polygon([*map(tuple, (rng.normal((x, y), half_x, (5, 2))).tolist())], fill=fill)
        else:
            draw.line(box, fill=fill, width=int(rng.integers(1, 8)))
    return blur(as_unit(sheet), rng.uniform(0.1, 1.5))


def text(rng: Generator, size: int) -> Floats:
    """Return a page of text, dark on bright or bright on dark."""
    paper, ink = (rng.integers(180, 256), rng.integers(0, 90))[:: rng.choice([-1, 1])]
    sheet = Image.new("L", (size, size), int(paper))
    draw, height = ImageDraw.Draw(sheet), rng.uniform(0.03, 0.09) * size
    font = ImageFont.load_default(size=max(round(height), 5))
    for row in range(rng.integers(1, 20)):
        line = "".join(rng.choice(_LETTERS, rng.integers(5, 60)))
        draw.text((0.06 * size, (0.5 + 1.3 * row) * height), line, fill=int(ink), font=font)
    return as_unit(sheet)


_Draw = Callable[[Generator, int], Floats]
FROM_FILMS: dict[str, _Draw] = {"turned": turned, "upside down": upside_down, "cut": cut, **FILM_PARTS}
SCENERY: dict[str, _Draw] = {
    "body part": body_part, "texture": texture, "gradient": gradient, "noise": noise, "shapes": shapes, "text": text,
    **SCENES,
}  # fmt: skip
OTHERS = FROM_FILMS | SCENERY
