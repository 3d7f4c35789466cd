"""Draw simple films of other parts of the body: hand, skull, knee, pelvis, and a chest from the side.

A network learns from them which films are not upright films of a chest. Functions return the water (cm) along each ray.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import ImageDraw

from lungnb.masks import Floats
from lungnb.phantoms.drawing import as_seen, curve, ellipse, ellipse_points, inside, make_sheet, stroke, thickness
from lungnb.phantoms.frame import SIDES, View, clouds, make_view


def _view(rng: Generator, size: int, width_cm: float, centre: tuple[float, float]) -> View:
    """Return a view of about `width_cm`, turned a little."""
    return make_view(rng, size, width_cm * rng.uniform(0.8, 1.3), np.array(centre), tilt=0.15, bend_cm=0.02 * width_cm)


def hand(rng: Generator, size: int) -> Floats:
    """Return a hand with its fingers upwards, and the two bones of the forearm."""
    view, (sheet, draw) = _view(rng, size, 22, (0, 0)), make_sheet()
    flesh = 2.5 * thickness(ellipse(view, 0, 2, 4.2, 5), 3)
    flesh = np.maximum(flesh, 4 * thickness(ellipse(view, 0, 15, 3.2, 10), 3))
    spread = rng.uniform(0.6, 1.5)
    fingers = [(-3.4, -0.75, 4.6), (-2.1, -0.18, 7.0), (-0.7, -0.04, 7.8), (0.7, 0.09, 7.2), (2.1, 0.25, 5.6)]
    for finger, (x, angle, length) in enumerate(fingers):
        turn, start = angle * spread, np.array([x, 1.5 if finger == 0 else -1.5])
        ahead = np.array([np.sin(turn), -np.cos(turn)])
        middle = start + 0.5 * length * ahead
        flesh = np.maximum(flesh, 1.7 * thickness(ellipse(view, middle[0], middle[1], 0.95, 0.62 * length, turn), 0.95))
        stroke(draw, [(0.35 * x, 5.2), start - 0.3 * ahead], 0.8, 1.4)
        ends = start + np.outer([0.05, 0.47, 0.52, 0.76, 0.8, 0.98], length * ahead)
        for one, other in ends.reshape(3, 2, 2):
            stroke(draw, [one, other], 0.75, 1.3)
            stroke(draw, [one, other], 0.35, 0.8)
    for x, y in rng.normal([[-1.2, 6], [0, 6.2], [1.2, 6], [-1, 7.2], [0.3, 7.3], [1.3, 7.1]], 0.1):
        _disc(draw, x, y, 0.65, 1.2)
    for x, width in ((-1.1, 1.8), (1.4, 1.2)):
        _shaft(draw, [(x, 8.2), (0.8 * x, 13), (0.9 * x, 26)], width, 1.8)
    return np.asarray(flesh + as_seen([sheet], view, 0.06))


def skull(rng: Generator, size: int) -> Floats:
    """Return a skull seen from the front: vault, orbits, nose, teeth, lower jaw and neck."""
    view, (sheet, draw) = _view(rng, size, 26, (0, 2)), make_sheet()
    vault = ellipse(view, 0, 0, 7.5, 9)
    water = 14 * thickness(vault, 7.5) + 9 * thickness(ellipse(view, 0, 9, 5.5, 6), 5)
    water = water + 9 * np.clip(1 - np.abs(view.x / np.float32(6)) ** 3, 0, 1) * inside(view.y - 10, 3)
    water = water + rng.uniform(3, 6) * inside(0.35 - np.abs(vault + 0.35), 0.2)
    for side in SIDES:
        orbit = ellipse(view, side * 3.1, 1.8, 2.0, 1.7, 0.2 * side)
        water = water - 3 * inside(orbit, 0.8) + 2 * inside(0.2 - np.abs(orbit), 0.2)
        jaw = [(side * 5.0, 4), (side * 4.8, 9), (side * 3, 12), (0, 13)]
        stroke(draw, jaw, 1.3, 1.8)
        stroke(draw, [(side * 5.6, 2), (side * 3, 4.5)], 1.0, 1.5)
    for x in np.linspace(-2.4, 2.4, 8):
        stroke(draw, [(x, 8.2), (x, 9.6)], 0.5, 2.2)
        stroke(draw, [(x, 10), (x, 11.3)], 0.5, 2.2)
    water = water - 2.5 * inside(ellipse(view, 0, 4.6, 1.1, 2.0), 0.6)
    for y in np.arange(12, 24, 2.0):
        stroke(draw, [(-1.3, y), (1.3, y)], 1.5, 1.5)
    return np.asarray(water + as_seen([sheet], view, 0.1))


def knee(rng: Generator, size: int) -> Floats:
    """Return one knee or two, seen from the front."""
    is_pair = rng.random() < 0.5
    view, (sheet, draw) = _view(rng, size, 34 if is_pair else 20, (0, 0)), make_sheet()
    water = np.zeros_like(view.x)
    for middle in (-8.5, 8.5) if is_pair else (0.0,):
        half = curve(view.y, [(-16, 6.8), (-6, 5.8), (0, 5.4), (4, 4.8), (9, 5.4), (16, 4.8)])
        water = water + 10 * thickness(half - np.abs(view.x - np.float32(middle)), 5.0)
        side = 1 if middle >= 0 else -1
        _shaft(draw, [(middle, -18), (middle, -6), (middle, -3)], 2.8, 2.6)
        _shaft(draw, [(middle, 4), (middle, 10), (middle, 20)], 2.6, 2.6)
        _shaft(draw, [(middle + 3.2 * side, 3.5), (middle + 2.8 * side, 12), (middle + 2.6 * side, 20)], 1.2, 1.6)
        for x in (-1.8, 1.8):
            _disc(draw, middle + x, -2.4, 2.2, 2.3)
            stroke(draw, [(middle + x - 1.7, 1.6), (middle + x + 1.7, 1.6)], 2.2, 2.2)
        _disc(draw, middle, -4.2, 2.0, 2.9)
    return np.asarray(water + as_seen([sheet], view, 0.1))


def pelvis(rng: Generator, size: int) -> Floats:
    """Return pelvis and hips seen from the front, with gas in the bowels."""
    view, (sheet, draw) = _view(rng, size, 40, (0, 2)), make_sheet()
    half = curve(view.y, [(-20, 15), (-4, 17), (6, 18.5), (20, 17)])
    water = 21 * np.clip(1 - np.abs(view.x / half) ** 3, 0, 1) ** np.float32(0.5)
    water = water - 7 * inside(1.5 - np.abs(view.x), 3) * inside(view.y - 13, 6)
    for side in SIDES:
        wing = [(2.5, -3), (6, -10), (12, -11), (14, -7), (11, -1), (8.5, 2), (4, 2)]
        stroke(draw, np.array(wing) * (side, 1), 0, 1.4, area=True)
        stroke(draw, np.array([*wing, wing[0]]) * (side, 1), 0.6, 2.4)
        ring = np.array([(1.0, 6), (5, 4.5), (8, 5), (7, 9), (5, 12.5), (2, 9.5), (1.0, 7)]) * (side, 1)
        stroke(draw, ring, 1.3, 2.0)
        _disc(draw, side * 9.2, 4.0, 2.5, 2.6)
        _shaft(draw, [(side * 10, 4.6), (side * 13, 7.5), (side * 13.2, 13), (side * 12.2, 28)], 2.8, 2.4)
    stroke(draw, [(-4, -4), (4, -4), (1.5, 4.5), (-1.5, 4.5)], 0, 1.9, area=True)
    for y in np.arange(-14, -4, 3.4):
        stroke(draw, [(-2.2, y), (2.2, y)], 2.7, 2.0)
    for _ in range(rng.integers(0, 7)):
        x, y, half_x, half_y = rng.uniform([-9, -14, 0.8, 0.8], [9, 3, 2.5, 2.5])
        water = water - rng.uniform(1, 5) * thickness(ellipse(view, x, y, half_x, half_y, 0.5), 1.5)
    return np.asarray(water + as_seen([sheet], view, 0.1))


def lateral_chest(rng: Generator, size: int) -> Floats:
    """Return a chest seen from the side: breastbone, heart, both lungs one behind the other, and spine."""
    view, (sheet, draw) = _view(rng, size, 38, (0, 11)), make_sheet()
    back, h = rng.choice(SIDES), rng.uniform(20, 26)
    half = curve(view.y, [(-12, 6), (-3, 8), (6, 12), (16, 13), (34, 13)])
    water = 32 * np.clip(1 - np.abs(view.x / half) ** 3, 0, 1) ** np.float32(0.5)
    lung = np.minimum(half - 3 - np.abs(view.x), view.y + 1)
    water = water - 17 * inside(lung, 3) * inside(np.float32(h) + 0.35 * back * view.x - view.y, 1)
    water = water + 9 * thickness(ellipse(view, -4.0 * back, 0.68 * h, 5, 6.5, 0.4 * back), 5)
    for y in np.arange(-10, 32, 2.5):
        x = back * (7.5 - 0.012 * (y - 12) ** 2)
        stroke(draw, [(x - 1.5, y), (x + 1.5, y)], 2.0, 2.6)
        stroke(draw, [(x, y), (-back * 8, y + 9)], 0.9, 0.6)
    stroke(draw, [(-back * 9, 3), (-back * 11, 14)], 1.0, 2.0)
    return np.asarray(water + 0.4 * clouds(rng, size, 30) * inside(lung, 3) + as_seen([sheet], view, 0.12))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, value: float) -> None:
    """Draw a round bone, compact outside."""
    stroke(draw, ellipse_points(x, y, radius, radius, 16), 0, value, area=True)
    stroke(draw, ellipse_points(x, y, 0.8 * radius, 0.8 * radius, 16), 0, 0.75 * value, area=True)


def _shaft(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: float, value: float) -> None:
    """Draw a long bone, compact outside."""
    stroke(draw, points, width, value)
    stroke(draw, points, 0.55 * width, 0.6 * value)


BODY_PARTS: dict[str, Callable[[Generator, int], Floats]] = {
    "hand": hand, "skull": skull, "knee": knee, "pelvis": pelvis, "lateral chest": lateral_chest,
}  # fmt: skip
