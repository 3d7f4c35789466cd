"""The bones in a frontal chest X-ray and the flesh of the arms, as the water that a ray would cross instead (cm)."""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.chest import Chest, lateral
from lungnb.phantoms.drawing import as_seen, curve, ellipse, inside, make_sheet, stroke, thickness
from lungnb.phantoms.frame import SIDES, View, clouds


def arms(chest: Chest, view: View) -> Floats:
    """Return the flesh of the upper arms, hanging or turned outwards, and the heads of their bones."""
    water = np.zeros_like(view.x)
    for side in SIDES:
        joint, elbow = _arm(chest, side)
        x, y = (joint + elbow) / 2
        water += 7.5 * thickness(ellipse(view, x, y, 4.3, 14.5, -side * chest.arms), 4.3)
        water += 1.4 * thickness(ellipse(view, joint[0] - 0.4 * side, joint[1] - 0.9, 2.1, 2.6), 1.6)
    return water


def _arm(chest: Chest, side: int) -> tuple[Floats, Floats]:
    """Return where (x and y, cm) shoulder joint and elbow of one side are."""
    joint = np.array([side * (chest.width + 4.0), 4.0])
    return joint, joint + 24 * np.array([side * np.sin(chest.arms), np.cos(chest.arms)])


def ribs(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return the ribs: rings tilted forwards and down, so that each is seen as a back arch and a front arch."""
    wall = lateral(chest, np.maximum(view.y, 0.03 * chest.height)) + 0.5
    across = np.minimum(np.abs(view.x) / wall, 1)
    bow = np.sqrt(1 - across**2)
    spacing, tilt = chest.height / rng.uniform(8.3, 9.6), rng.uniform(2.6, 4.2)
    strength, steep = rng.uniform(1.5, 2.4), np.minimum(tilt * across / (wall * np.maximum(bow, 0.1)), 2.5)
    bones = np.zeros_like(view.x)
    for front, half, count in ((-1, 0.55, 11), (1, 0.7, 7)):
        lift = np.float32(front * tilt) * (bow if front < 0 else 1.5 * bow**1.2)
        number = (view.y - lift + 0.2 * spacing + 0.12 * clouds(rng, len(bow), 8)) / np.float32(spacing) + 1
        off = np.abs(number % 1 - 0.5) * np.float32(spacing) / np.hypot(1, steep)
        bone = thickness(half - off, half) - 0.55 * thickness(0.7 * half - off, 0.7 * half)
        ends = inside(across - (0.13 if front < 0 else 0.42), 0.02 if front < 0 else 0.25)
        along_ray = (1.0 if front < 0 else 0.7) / np.maximum(bow, 0.4)  # at the sides a ray runs along the rib
        bones += bone * ends * along_ray * ((number >= 1) & (number < 1 + count))
    seen = inside(wall - np.abs(view.x), 0.2) * inside(view.y + 0.5, 2) * inside(chest.height + 1 - view.y, 8)
    return np.asarray(np.float32(strength) * bones * seen)


def spine(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return the vertebrae: bodies and the discs between them, pedicles, spinous processes."""
    period, half = chest.height / rng.uniform(9.5, 11), 1.6 + 0.02 * view.y
    bend = rng.normal(0, 0.25) * np.sin(view.y / np.float32(6))
    reach, along = np.abs(view.x + bend), (view.y / np.float32(period)) % 1 - 0.5
    body = thickness(half - reach, 1.8) * (1.9 - 0.7 * np.exp(-(((np.abs(along) - 0.5) * period / 0.22) ** 2)))
    pedicle = np.exp(-(((reach - 1.1) / 0.35) ** 2) - ((along + 0.1) * period / 0.5) ** 2)
    spinous = np.exp(-((reach / 0.3) ** 2) - ((along - 0.2) * period / 0.7) ** 2)
    return np.asarray(rng.uniform(0.8, 1.2) * (body + 0.9 * pedicle + 0.9 * spinous))


def shoulder_girdle(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return clavicles, shafts of the upper arms, and shoulder blades, more or less turned out of the lung fields."""
    (clavicles, draw), (blades, draw_blades) = make_sheet(), make_sheet()
    w, turned, lift, dense = chest.width, rng.uniform(-1.5, 2.5), rng.normal(0.7, 0.8), rng.uniform(0.7, 1.3)
    knots = [(1.8, 3.6), (0.3 * w, 3.2), (0.6 * w, 1.4), (0.85 * w, 0.2), (w + 3, 0.6)]
    reach = np.linspace(1.8, w + 3, 25)
    outline = [(w + 2.3, 3.2), (w - 3, 0.8), (w - 3.4, 2), (w - 2.2, 8), (w - 0.6, 13.5), (w + 0.2, 13)]
    for side in SIDES:
        bone = np.column_stack([side * reach, curve(reach, knots) + lift * (reach / w)])
        stroke(draw, bone, 1.25, 2.5)  # compact bone, and spongy bone in it
        stroke(draw, bone, 0.7, 1.8)
        blade = np.add(outline, (turned, lift)) * (side, 1)
        stroke(draw_blades, blade, 0, 0.6 * dense, area=True)
        stroke(draw_blades, blade[[0, 5, 4, 3, 2]], 0.5, 1.2 * dense)
        stroke(draw_blades, [blade[2], (side * (w + 4), 1.2)], 0.8, 1.3 * dense)
        stroke(draw_blades, _arm(chest, side), 2.2, 2.0)
        stroke(draw_blades, _arm(chest, side), 1.2, 1.4)
    return as_seen([clavicles, blades], view, 0.15)
