"""Disease in the lungs of a drawn film: tuberculosis, pneumonia, fluid, and small patches that anybody may have.

Functions return how much of the air along each ray is filled, 0 to 1. No disease moves the reader's line.
"""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.anatomy import Patient, wall
from lungnb.phantoms.drawing import ellipse, inside
from lungnb.phantoms.findings import Findings
from lungnb.phantoms.frame import SIDES, View, clouds

_BOTH_SIDES = 0.45  # share of patients with tuberculosis in both lungs
_WHITE_LUNGS = 0.25  # share of pneumonias that fill most of the lungs
_CAVITY_CM = (0.8, 2.6)  # radius
_CAVITY_WALL_CM = (0.3, 1.1)
_MOST_FILLED = 0.95
_MINOR_SHARE = 0.4  # of the other patients, who have a nodule or a patch


def filled(rng: Generator, patient: Patient, findings: Findings, view: View) -> Floats:
    """Return the share of the air along each ray that disease has replaced, `(size, size)`, 0 to 0.95."""
    size = len(view.x)
    texture = clouds(rng, size, 12) + 0.7 * clouds(rng, size, 30) + 0.5 * clouds(rng, size, 80)
    fill = np.zeros_like(view.x)
    if findings.has_tuberculosis:
        sides = SIDES if rng.random() < _BOTH_SIDES else (int(rng.choice(SIDES)),)
        for side in sides:
            fill = fill + _tuberculosis(rng, patient, findings, view, side, texture)
    elif findings.has_pneumonia:
        fill = _pneumonia(rng, patient, view, texture)
    elif rng.random() < _MINOR_SHARE:
        for _ in range(rng.integers(1, 4)):
            x, y = rng.choice(SIDES) * rng.uniform(0.3, 0.8) * patient.width, rng.uniform(0.1, 0.9) * patient.height
            radius = float(rng.choice([rng.uniform(0.4, 1.0), rng.uniform(1.5, 4)]))
            fill = fill + rng.uniform(0.1, 0.4) * _patch(rng, view, float(x), y, radius, texture)
    return np.asarray(np.clip(fill, 0, _MOST_FILLED))


def fluid(rng: Generator, patient: Patient, findings: Findings, view: View) -> Floats:
    """Return the share of the air along each ray that fluid or thickened pleura replaces, `(size, size)`, 0 to 1.

    An effusion has a level that rises towards the chest wall. Thick pleura lines the wall, or caps the tip.
    """
    covered = np.zeros_like(view.x)
    if not (findings.has_effusion or findings.has_thick_pleura):
        return covered
    for side in rng.permutation(SIDES).tolist()[: 2 if findings.setting == "portable" else 1]:
        reach = side * view.x
        if findings.has_effusion:
            share = rng.uniform(0.05, 0.25) if rng.random() < 0.7 else rng.uniform(0.25, 0.7)
            climb = 3.5 * np.clip(reach / np.float32(patient.width), 0, 1.1) ** 3
            below = view.y - np.float32(patient.height * (1 - share)) + climb
            covered = np.maximum(covered, inside(below, rng.uniform(0.4, 4)) * (reach > 0) * rng.uniform(0.7, 1))
        if findings.has_thick_pleura:
            thick = rng.uniform(0.2, 1.2) + 0.3 * clouds(rng, len(view.x), 7)
            is_cap = rng.random() < 0.6
            near = thick - np.minimum(wall(patient, view.y, side) - reach, view.y if is_cap else np.float32(9))
            where = view.y < 0.35 * patient.height if is_cap else view.y > rng.uniform(0, 0.6) * patient.height
            covered = np.maximum(covered, 0.6 * inside(near, 0.5) * where * (reach > 0))
    return covered


def _patch(rng: Generator, view: View, x: float, y: float, radius: float, texture: Floats) -> Floats:
    """Return a ragged cloud, 0 to 1."""
    long = radius * rng.uniform(0.7, 1.6)
    distance = ellipse(view, x, y, radius, long, rng.uniform(0, 3.14)) + np.float32(0.35 * radius) * texture
    return inside(distance, 1.3 * radius)


def _tuberculosis(
    rng: Generator, patient: Patient, findings: Findings, view: View, side: int, texture: Floats
) -> Floats:
    """Return patches, small nodules and cavities of one lung, most of them near the tip and the outer wall."""
    low, high = (0.02, 0.38) if findings.has_upper_patches else (0.4, 0.85)
    streaks = np.clip(texture, 0, 1.5) * inside(np.float32(rng.uniform(0.3, 0.7) * patient.height) - view.y, 8)
    fill = rng.uniform(0, 0.25) * streaks * (side * view.x > 0)
    for _ in range(rng.integers(1, 5)):
        y = rng.uniform(low, high) * patient.height
        x = side * rng.uniform(0.35, 1.0) * float(wall(patient, np.array(y), side))
        fill = fill + rng.uniform(0.15, 0.75) * _patch(rng, view, x, y, rng.uniform(1, 4), texture)
    if rng.random() < 0.2:  # dense as a whole, from the tip down
        down = np.float32(rng.uniform(0.12, 0.4) * patient.height) - view.y + 1.2 * texture
        fill = fill + rng.uniform(0.4, 0.9) * inside(down, rng.uniform(0.5, 4)) * (side * view.x > 0)
    for _ in range(rng.integers(1, 4) if findings.has_cavity else 0):
        radius, thick = rng.uniform(*_CAVITY_CM), rng.uniform(*_CAVITY_WALL_CM)
        y = rng.uniform(low, high + 0.05) * patient.height
        x = side * rng.uniform(0.4, 0.85) * float(wall(patient, np.array(y), side))
        distance = ellipse(view, x, y, radius, radius * rng.uniform(0.7, 1.1), rng.uniform(0, 3)) + 0.15 * texture
        ring = inside(np.float32(thick / 2) - np.abs(distance + np.float32(thick / 2)), 0.4)
        fill = fill * (1 - 0.8 * inside(distance, 0.4)) + rng.uniform(0.3, 0.7) * ring
    return np.asarray(fill)


def _pneumonia(rng: Generator, patient: Patient, view: View, texture: Floats) -> Floats:
    """Return pneumonia of both lungs, mostly low and near the wall: ground glass, consolidation, up to white lungs.

    Of 96 patients with COVID-19, 43 % had findings on the first film, mostly ground glass (51 % of these), in the lower
    zones in 90 % (Khoo and others 2021, Singapore Med J 62:458). Of 268 others with findings, 68 % had them in both
    lungs and 58 % in the periphery (Egypt J Radiol Nucl Med 2020, 51:193).
    """
    is_white = rng.random() < _WHITE_LUNGS
    texture = rng.uniform(0.2, 1.0) * texture  # from smooth ground glass to patches
    fill = np.zeros_like(view.x)
    for side in SIDES:
        severity = rng.uniform(0.5, 1.0) if is_white else rng.uniform(0.05, 0.6)
        top = rng.uniform(-0.4, 0.2) if is_white else rng.uniform(0.1, 0.7)
        low = inside(view.y - np.float32(top * patient.height) + 0.9 * texture, rng.uniform(5, 16))
        outer = np.clip(side * view.x / np.float32(patient.width), 0, 1) ** np.float32(rng.choice([0.2, 1.0]))
        zone = severity * low * outer * (1 + 0.2 * texture) * (side * view.x > 0)
        for _ in range(rng.integers(0, 4)):
            y = rng.uniform(0.3, 1.0) * patient.height
            x = side * rng.uniform(0.2, 1.0) * patient.width
            zone = zone + rng.uniform(0.2, 0.8) * _patch(rng, view, x, y, rng.uniform(1.5, 4.5), texture)
        fill = fill + zone
    return np.asarray(fill)
