"""One patient's measures, as a chest X-ray needs them, and where these put the borders of the lungs, bones and arms.

The frame's origin is the midline at the height of the lung tips. Bones and flesh are given as equivalent cm of water.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.drawing import as_seen, curve, ellipse, inside, make_sheet, stroke, thickness
from lungnb.phantoms.frame import SIDES, View, Wild, clouds, draw_from


class Chest(NamedTuple):
    """One patient's measures (cm)."""

    width: float  # midline to the inner side of the ribs
    height: float  # lung tip to costophrenic angle
    depth: float  # of the trunk, front to back
    heart: float  # midline to the heart's left border
    tip: float  # midline to the lung's tip
    domes: tuple[float, float]  # heights of the diaphragm above the costophrenic angles, right and left
    arms: float  # angle by which the arms are turned out, rad
    cone: float  # how the chest widens downwards: low for a barrel, high for a cone
    corner: float  # how sharp the costophrenic angles are
    shift: float  # of the mediastinum to the picture's right
    effusions: tuple[float, float]  # heights of fluid in the chest, right and left; 0 for none


def draw_chest(rng: Generator, wild: Wild) -> Chest:
    """Return a random patient's measures."""
    far = wild.shape
    width = draw_from(rng, 11.5, 14.5, far)
    height = width * draw_from(rng, 1.5, 2.0, far, 1.6)
    dome = draw_from(rng, 0.12, 0.22, far, 1.8) * height
    domes = (dome, dome - draw_from(rng, 0.4, 1.8, far))  # the liver lifts the right one
    heart, tip = width * draw_from(rng, 0.5, 0.7, far, 1.5), width * draw_from(rng, 0.36, 0.46, far, 1.6)
    right, left = rng.uniform(0.05, 0.35, 2) * height * (rng.random(2) < 0.02 + 0.1 * wild.pathology)
    return Chest(
        width, height, draw_from(rng, 17, 25, far, 1.3), heart, tip, domes, draw_from(rng, 0.15, 0.7, far, 1.6),
        draw_from(rng, 0.5, 0.75, far, 1.6), draw_from(rng, 2.0, 3.2, far, 1.5), draw_from(rng, -0.3, 0.3, far, 4),
        (right, left),
    )  # fmt: skip


def lateral(chest: Chest, y: Floats) -> Floats:
    """Return how far from the midline (cm) the lung meets the ribs at the heights `y` (cm)."""
    rise = np.clip(y / np.float32(0.8 * chest.height), 0, 1)
    widening = (1 - (1 - rise) ** 2.3) ** np.float32(chest.cone)
    return np.asarray(chest.tip + (chest.width - chest.tip) * widening)


def medial(chest: Chest, y: Floats, side: int) -> Floats:
    """Return how far from the midline (cm) mediastinum and heart reach to one side at the heights `y` (cm)."""
    h, heart = chest.height, chest.heart
    if side < 0:  # great vessels, superior vena cava, hilum, right atrium
        knots = [(0, 2.2), (0.25, 2.4), (0.45, 2.9), (0.6, 3.3), (0.76, 0.5 * heart + 0.6), (0.95, 0.5 * heart)]
    else:  # great vessels, aortic knob, window, pulmonary trunk, left ventricle
        knots = [(0, 2.0), (0.17, 2.1), (0.27, 3.2), (0.36, 2.7), (0.45, 3.5), (0.6, 0.74 * heart)]
        knots += [(0.7, 0.92 * heart), (0.82, heart), (0.95, 0.93 * heart)]
    border = curve(y, [(at * h, reach) for at, reach in knots])
    round_tip = 1 - np.sqrt(1 - (1 - np.clip(y / np.float32(0.15 * h), 0, 1)) ** 2)
    return np.asarray(border + (chest.tip - 2.0) * round_tip + side * chest.shift)


def diaphragm(chest: Chest, reach: Floats, side: int) -> Floats:
    """Return the height `y` (cm) of the diaphragm at a distance `reach` (cm) from the midline, to one side."""
    summit = 0.48 * chest.width
    outward = np.clip((reach - summit) / (chest.width - summit), 0, 1.05) ** np.float32(chest.corner)
    inward = 0.3 * np.clip((summit - reach) / summit, 0, 1) ** 2
    floor: Floats = chest.height - np.float32(chest.domes[side > 0]) * (1 - outward - inward)
    if not chest.effusions[side > 0]:
        return floor
    # Fluid covers the dome and creeps up the chest wall.
    level = chest.height - np.float32(chest.effusions[side > 0])
    return np.asarray(np.minimum(floor, level - 2.5 * np.clip(reach / chest.width, 0, 1) ** 4))


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
