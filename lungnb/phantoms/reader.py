"""The line that a reader draws around a lung: a smooth curve through a few points, not the exact border."""

import numpy as np
from numpy.random import Generator
from scipy.interpolate import PchipInterpolator

from lungnb.masks import Floats
from lungnb.phantoms.anatomy import Patient, edge, floor, wall

_LATERAL = (0.82, 0.6, 0.42, 0.26, 0.13, 0.05)  # heights of points along the ribs, as shares of the lung's height
_BESIDE_SPINE = (0.1, 0.2)  # ... along the spine, above the aortic arch
_MEDIAL = {-1: (0.33, 0.6, 0.72, 0.85), 1: (0.27, 0.36, 0.6, 0.74, 0.87)}  # ... along vessels and heart
_ALONG_DOME = (0.4, 0.62, 0.85)  # points on the diaphragm, as shares of the chest's half width
_RIB_CM = 0.15  # from the lung to the outer edge of the first rib, which the line follows over the tip
_UNSTEADY_CM = 0.12  # by which a hand misses, standard deviation: assumed, not measured
_HABIT_CM = 0.15  # by which readers set the medial line further in or out, standard deviation: assumed
# By how much readers draw the lung over the edge of the spine, where it is seen through the tissue in front: see "What
# was seen of the test images" in lungnb/weights/README.md.
_OVER_SPINE_CM = {-1: 0.4, 1: 0.25}
_POINTS_PER_PART = 8  # of the polygon, between two points of the reader


def reader_line(rng: Generator, patient: Patient, side: int) -> Floats:
    """Return the reader's line around one lung, a polygon, `(n, 2)` float, x and y in cm.

    The line follows the outer edge of the first rib, runs a few mm inside the edge of the spine above the aortic arch,
    and follows a straight line across the hilum, the heart, and the healthy diaphragm into both angles. It does not
    depend on consolidation and fluid, as readers of the Montgomery set infer the border behind severe disease and leave
    out the heart (readme of the set; Candemir and others 2014, IEEE TMI 33:577, doi 10.1109/TMI.2013.2290491).
    """
    points, corner = reader_points(rng, patient, side)
    lines = []
    for part in (points[: corner + 1], np.vstack([points[corner:], points[:1]])):
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(part, axis=0).T))])
        fine = np.linspace(0, along[-1], _POINTS_PER_PART * len(part))
        lines.append(PchipInterpolator(along, part)(fine))
    return np.concatenate(lines) * (side, 1)


def reader_points(rng: Generator, patient: Patient, side: int) -> tuple[Floats, int]:
    """Return the points that the reader sets (distance from the midline and y, cm), and which is the inner corner.

    The first point is the costophrenic angle. From there they go up the ribs, over the tip, and down to the inner
    corner, between heart and diaphragm, and back along the diaphragm.
    """
    h, width, spine = patient.height, patient.widths[side > 0], patient.spine + rng.normal(0.1, _HABIT_CM)
    corner_y = _inner_corner(patient, side)
    heights = np.array(_LATERAL) * h
    ribs = np.column_stack([wall(patient, heights, side), heights])
    over = spine - _OVER_SPINE_CM[side]
    tip = [(patient.tip, -_RIB_CM), ((patient.tip + over) / 2, 0.005 * h), (over + 0.35, 0.045 * h)]
    beside = [(over + 0.1, at * h) for at in _BESIDE_SPINE]
    heights = np.array([at * h for at in _MEDIAL[side] if at * h < corner_y - 0.5])
    inner = np.maximum(edge(patient, heights, side) + rng.normal(0, _HABIT_CM), spine)
    corner = (max(float(edge(patient, np.array(corner_y), side)), spine), corner_y)
    reach = np.array([at * width for at in _ALONG_DOME if at * width > corner[0] + 0.8])
    dome = np.column_stack([reach, floor(patient, reach, side)])
    parts = ([(width, h)], ribs, tip + beside, np.column_stack([inner, heights]), [corner])
    chain = [np.array(part) for part in parts]
    points = np.vstack([*chain, dome])
    return points + rng.normal(0, _UNSTEADY_CM, points.shape), sum(map(len, chain)) - 1


def _inner_corner(patient: Patient, side: int) -> float:
    """Return the height (cm) at which the border of the heart meets the diaphragm."""
    heights = np.linspace(0.5, 1.05, 60) * patient.height
    is_below = heights >= floor(patient, edge(patient, heights, side), side)
    return float(heights[np.argmax(is_below)]) if is_below.any() else 0.98 * patient.height
