"""One patient's measures, as a chest X-ray needs them, and where these put the borders of the lungs.

The frame's origin is the midline at the height of the lung tips.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.drawing import curve
from lungnb.phantoms.frame import Wild, draw_from


class Chest(NamedTuple):
    """One patient's measures (cm), as an X-ray needs them."""

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
