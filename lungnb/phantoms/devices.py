"""Draw the devices on and in patients on portable films: breathing tubes, lines, drains, electrodes, pacemakers."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import ImageDraw

from lungnb.masks import Floats
from lungnb.phantoms.anatomy import Patient
from lungnb.phantoms.drawing import as_seen, curve, ellipse_points, make_sheet, stroke
from lungnb.phantoms.frame import SIDES, View

# Shares of films with devices; a patient in intensive care has most of them.
_BREATHING_TUBE, _CENTRAL_LINE, _STOMACH_TUBE, _DRAIN, _PACEMAKER, _STERNAL_WIRES = 0.4, 0.55, 0.35, 0.12, 0.12, 0.1
_MOST_ELECTRODES, _MOST_CABLES = 5, 5


def draw_devices(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return what devices absorb along each ray (cm of water)."""
    sheet, draw = make_sheet()
    h, w = patient.height, patient.width
    if rng.random() < _BREATHING_TUBE:  # its tip is 3 to 7 cm above the carina
        _tube(draw, [(-12, 0.3), (-4, 0), (rng.uniform(0.08, 0.25) * h, 0)], 0.9, 0.5)
        _tube(draw, [(-12, 0.3), (-4, 0), (rng.uniform(0.08, 0.25) * h, 0.1)], 0.2, 1.0)
    if rng.random() < _STOMACH_TUBE:
        _tube(draw, [(-12, 0.5), (0, 0.4), (0.5 * h, 0.6), (0.95 * h, 1.5), (1.15 * h, rng.uniform(3, 7))], 0.35, 0.9)
    if rng.random() < _CENTRAL_LINE:
        side, start = rng.choice(SIDES), rng.uniform(-9, -2)
        _tube(draw, [(start, side * 5.0), (2.5, side * 2.6), (4, -1.6), (rng.uniform(0.32, 0.5) * h, -2.2)], 0.25, 1.0)
    if rng.random() < _DRAIN:
        side = rng.choice(SIDES)
        down = np.sort(rng.uniform(0.05, 0.8, 3))[::-1] * h
        across = side * w * np.array([1.25, rng.uniform(0.75, 0.95), rng.uniform(0.4, 0.8)])
        stroke(draw, np.column_stack([across, down]), 0.6, 0.8)
    if rng.random() < _PACEMAKER:
        _pacemaker(rng, draw, patient)
    if rng.random() < _STERNAL_WIRES:
        for y in np.linspace(0.2, 0.75, 6) * h:
            stroke(draw, ellipse_points(0, y, 0.7, 0.4, 12), 0.1, 2.0)
    _electrodes(rng, draw, patient)
    return rng.uniform(1.0, 2.5) * as_seen([sheet], view, 0.06)


def _tube(draw: ImageDraw.ImageDraw, knots: Sequence[tuple[float, float]] | Floats, width: float, value: float) -> None:
    """Draw a tube through knots (y, x), from top to bottom."""
    y = np.linspace(float(knots[0][0]), float(knots[-1][0]), 16)
    stroke(draw, np.column_stack([curve(y, knots), y]), width, value)


def _pacemaker(rng: Generator, draw: ImageDraw.ImageDraw, patient: Patient) -> None:
    """Draw a pacemaker: its box below a clavicle, and its wire into the heart."""
    side = rng.choice(SIDES, p=[0.2, 0.8])
    x, y = side * rng.uniform(0.55, 0.8) * patient.width, rng.uniform(0.12, 0.25) * patient.height
    stroke(draw, ellipse_points(x, y, 2.4, 2.0, 20), 0, 2.2, area=True)
    low = (rng.uniform(0.75, 0.9) * patient.height, rng.uniform(1, 5))
    _tube(draw, [(2.5, side * 4.0), (0.2 * patient.height, -1.5), (0.55 * patient.height, -2.5), low], 0.2, 1.5)


def _electrodes(rng: Generator, draw: ImageDraw.ImageDraw, patient: Patient) -> None:
    """Draw electrodes with the cables that lead away from them, and other cables and tubes on the skin."""
    for _ in range(rng.integers(0, _MOST_ELECTRODES + 1)):
        x, y = rng.uniform(-1.1, 1.1) * patient.width, rng.uniform(0, 1.1) * patient.height
        radius = rng.uniform(0.4, 0.8)
        stroke(draw, ellipse_points(x, y, radius, radius, 12), 0, 1.4, area=True)
        knots = np.column_stack([[x, x + rng.normal(0, 3), x + rng.normal(0, 8)], [y, y + 5, y + rng.uniform(10, 25)]])
        stroke(draw, knots, 0.12, rng.uniform(0.6, 1.8))
    for _ in range(rng.integers(0, _MOST_CABLES + 1)):
        down = np.sort(rng.uniform(-0.3, 1.2, 4)) * patient.height
        across = rng.uniform(-1.2, 1.2, 4) * patient.width
        _tube(draw, np.column_stack([down, across]), rng.uniform(0.1, 0.6), rng.uniform(0.2, 1.2))
