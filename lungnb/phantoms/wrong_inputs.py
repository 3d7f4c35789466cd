"""Draw more pictures that do not show a whole chest: turned and half films, photographs, slices of abdomen and head.

`lungnb.phantoms.others` chooses among these and others. Functions return greys, float32 `(size, size)`, 0 to 1.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from lungnb.masks import Floats, Grey
from lungnb.phantoms.ct_body import paint
from lungnb.phantoms.drawing import as_unit, blur, ellipse, inside
from lungnb.phantoms.frame import SIDES, TAME, WILD, clouds, make_view
from lungnb.phantoms.radiograph import film_phantom

_HALF = (0.42, 0.56)  # of a film's width; a wider part could show both lungs
_WINDOWS_HU = ((-160, 240), (-1000, 400), (-1350, 150))  # soft tissue, whole range, lung
_TONES = 64  # different rows and columns of tiles
_LEAF_SIDES = (0.02, 0.6)  # half side of the smallest and largest leaf, as a share of the picture


def any_film(rng: Generator, size: int) -> Grey:
    """Return a film. Half of the films are wild."""
    wild = WILD if rng.random() < 0.5 else TAME
    return np.asarray(film_phantom(rng, size, wild).image)


def turned_film(rng: Generator, size: int) -> Floats:
    """Return a film, wild or not, turned by 90, 180 or 270 degrees."""
    return as_unit(np.ascontiguousarray(np.rot90(any_film(rng, size), int(rng.integers(1, 4)))))


def half_film(rng: Generator, size: int) -> Floats:
    """Return the left or the right half of a film, wild or not, with black borders or cut to a square."""
    film, width = any_film(rng, size), round(size * rng.uniform(*_HALF))
    half = film[:, :width] if rng.random() < 0.5 else film[:, -width:]
    if rng.random() < 0.3:  # enlarge a square part of the half
        top = int(rng.integers(0, size - width))
        return as_unit(Image.fromarray(half[top : top + width]).resize((size, size)))
    framed, left = np.zeros((size, size), np.float32), (size - width) // 2
    framed[:, left : left + width] = as_unit(half)
    return framed


def photograph(rng: Generator, size: int) -> Floats:
    """Return shaded shapes of all sizes that cover one another, as things do in photographs.

    This is the dead leaves model (Lee, Mumford and Huang 2001, https://doi.org/10.1023/A:1011109015675).
    """
    sheet, small, large = np.full((size, size), rng.uniform(0, 1), np.float32), *_LEAF_SIDES
    line = np.linspace(0, 1, size, dtype=np.float32)
    grain = clouds(rng, size, int(rng.integers(10, 60)))
    for _ in range(rng.integers(5, 60)):
        half = small * (large / small) ** (rng.random() ** 2)
        x, y = rng.uniform(-0.1, 1.1, 2)
        leaf = Image.new("L", (size, size))
        points = rng.normal((x, y), (half, half * rng.uniform(0.4, 1.5)), (int(rng.integers(3, 8)), 2)) * size
        corners = (x - half, y - half * rng.uniform(0.5, 2), x + half, y + half * rng.uniform(0.5, 2))
        box = [float(at * size) for at in corners]
        draw = ImageDraw.Draw(leaf)
        if rng.random() < 0.5:
            draw.ellipse(box, fill=255)
        else:
            draw.polygon([*map(tuple, points.tolist())], fill=255)
        slope = rng.normal(0, 0.4, 2).astype(np.float32)
        shade = rng.uniform(0, 1) + slope[0] * (line - x) + slope[1] * (line[:, None] - y) + rng.uniform(0, 0.1) * grain
        cover = as_unit(np.asarray(leaf))
        sheet = sheet + cover * (shade - sheet)
    return np.asarray(np.clip(blur(sheet, rng.uniform(0.1, 1.5) * size / 128), 0, 1), np.float32)


def ball(rng: Generator, size: int) -> Floats:
    """Return one to three balls on an even ground, lit from a side, with craters: a moon, a fruit, a coin."""
    sheet = np.full((size, size), rng.uniform(0, 0.4) if rng.random() < 0.7 else rng.uniform(0.5, 1), np.float32)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        radius, (x, y) = rng.uniform(0.2, 1.3), rng.uniform(-0.6, 0.6, 2)
        across, down = (line - x) / np.float32(radius), (line[:, None] - y) / np.float32(radius)
        height = np.sqrt(np.clip(1 - across**2 - down**2, 0, 1)).astype(np.float32)
        light = rng.normal(0, 0.6, 2)
        face = rng.uniform(0.2, 0.6) + rng.uniform(0.1, 0.5) * height + light[0] * across + light[1] * down
        for _ in range(rng.integers(0, 25)):
            pit_x, pit_y, pit = *rng.uniform(-0.8, 0.8, 2), rng.uniform(0.02, 0.2)
            distance = np.hypot(across - pit_x, down - pit_y) / np.float32(pit)
            face = face + rng.normal(0, 0.15) * np.clip(1.5 - distance, 0, 1)
        sheet = np.where(height > 0, face + rng.uniform(0, 0.1) * clouds(rng, size, 40), sheet)
    return np.asarray(np.clip(blur(np.asarray(sheet, dtype=np.float32), 0.7), 0, 1), np.float32)


def tiles(rng: Generator, size: int) -> Floats:
    """Return a pattern that repeats: bricks, tiles, coins in rows."""
    count, flat = rng.integers(2, 14), rng.uniform(0.4, 2.0)
    line = np.arange(size, dtype=np.float32) / size
    rows = line[:, None] * count * flat + 0.2 * clouds(rng, size, 4) * rng.random()
    shift = rng.choice([0.0, 0.5]) * (np.floor(rows) % 2)
    columns = line * count + shift + 0.2 * clouds(rng, size, 4) * rng.random()
    within_x, within_y = columns % 1 - 0.5, rows % 1 - 0.5
    gap = rng.uniform(0.02, 0.25)
    is_round = rng.random() < 0.4
    distance = np.hypot(within_x, within_y) if is_round else np.maximum(np.abs(within_x), np.abs(within_y))
    row, column = (np.floor(at).astype(int) % _TONES for at in (rows, columns))
    tones = rng.normal(0, rng.uniform(0, 0.2), (_TONES, _TONES))[row, column]
    joint, face = rng.uniform(0, 1, 2)
    cover = inside((0.5 - gap - distance).astype(np.float32), 0.05)
    grey = joint + (face + tones - joint) * cover + rng.uniform(0, 0.1) * clouds(rng, size, 50)
    return np.asarray(np.clip(grey, 0, 1), np.float32)


def abdomen_slice(rng: Generator, size: int) -> Floats:
    """Return an axial CT slice below the lungs, through a window: liver, kidneys, bowel with gas, spine."""
    half, flat = rng.uniform(13, 20), rng.uniform(0.6, 0.85)
    view = make_view(rng, size, rng.uniform(2.05, 2.7) * half, rng.normal(0, 0.7, 2), tilt=0.06, bend_cm=0.5)
    image = np.full((size, size), -1000, np.float32)
    trunk, fat = ellipse(view, 0, 0, half, flat * half), rng.uniform(0.8, 4)
    paint(image, inside(trunk, view.pixel_cm), -105)
    paint(image, inside(trunk - fat, view.pixel_cm), 50)
    paint(image, inside(trunk - fat - 1.5, view.pixel_cm), -90 + 80 * inside(clouds(rng, size, 12), 0.3))
    a, b = half - fat - 1.5, flat * half - fat - 1.5
    if rng.random() < 0.6:
        liver = ellipse(view, -0.45 * a, -0.15 * b, 0.5 * a, 0.75 * b) + 0.3 * clouds(rng, size, 5)
        paint(image, inside(liver, view.pixel_cm), rng.uniform(50, 120))
    for side in SIDES:
        paint(image, inside(ellipse(view, side * 0.5 * a, 0.5 * b, 2.7, 3.2), view.pixel_cm), rng.uniform(30, 180))
    for _ in range(rng.integers(2, 14)):
        x, y, radius = rng.uniform(-0.75, 0.75) * a, rng.uniform(-0.8, 0.25) * b, rng.uniform(0.8, 2.6)
        bowel = ellipse(view, x, y, radius * rng.uniform(0.8, 1.6), radius)
        paint(image, inside(bowel, view.pixel_cm), 40)
        if rng.random() < 0.4:
            paint(image, inside(bowel - 0.4, view.pixel_cm) * (view.y < y + rng.uniform(-0.5, 0.5)), -950)
    vertebra = ellipse(view, 0, 0.68 * b, 2.4, 1.9)
    paint(image, inside(vertebra, view.pixel_cm), 600)
    paint(image, inside(vertebra - 0.25, view.pixel_cm), 220)
    return _through_window(rng, image)


def head_slice(rng: Generator, size: int) -> Floats:
    """Return an axial CT slice of a head, through a window: skull, brain and ventricles, or air in the sinuses."""
    half, long = rng.uniform(6.8, 8.2), rng.uniform(1.1, 1.35)
    view = make_view(rng, size, rng.uniform(2.5, 3.4) * half, rng.normal(0, 0.5, 2), tilt=0.1, bend_cm=0.2)
    image = np.full((size, size), -1000, np.float32)
    head = ellipse(view, 0, 0, half, long * half)
    paint(image, inside(head, view.pixel_cm), 20)
    paint(image, inside(head - 0.6, view.pixel_cm), 900)
    paint(image, inside(head - rng.uniform(1.1, 1.8), view.pixel_cm), 32 + 10 * clouds(rng, size, 14))
    if rng.random() < 0.6:
        for side in SIDES:
            paint(image, inside(ellipse(view, side * 1.3, -0.5, 0.8, 2.6, 0.3 * side), view.pixel_cm), 5)
    else:
        for x, y, radius in rng.uniform((-4, -7, 0.5), (4, 1, 2), (int(rng.integers(2, 7)), 3)):
            paint(image, inside(ellipse(view, x, y, radius, radius) + 0.2, view.pixel_cm), 600)
            paint(image, inside(ellipse(view, x, y, radius, radius), view.pixel_cm), -980)
    return _through_window(rng, image)


def _through_window(rng: Generator, hounsfield: Floats) -> Floats:
    """Return a noisy slice as one of the usual windows shows it."""
    low, high = _WINDOWS_HU[rng.integers(len(_WINDOWS_HU))]
    size = len(hounsfield)
    noisy = blur(hounsfield, 0.6) + rng.uniform(10, 60) * blur(rng.standard_normal((size, size), dtype=np.float32), 0.6)
    return np.asarray(np.clip((noisy - low) / np.float32(high - low), 0, 1), np.float32)


FILM_PARTS: dict[str, Callable[[Generator, int], Floats]] = {"turned film": turned_film, "half film": half_film}
SCENES: dict[str, Callable[[Generator, int], Floats]] = {
    "photograph": photograph, "ball": ball, "tiles": tiles, "abdomen slice": abdomen_slice, "head slice": head_slice,
}  # fmt: skip
