"""The bones of a drawn film, as equivalent cm of water: ribs, spine, clavicles, shoulder blades and upper arms."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from lungnb.masks import Floats
from lungnb.phantoms.anatomy import Patient, wall
from lungnb.phantoms.drawing import as_seen, curve, ellipse_points, inside, make_sheet, stroke, thickness
from lungnb.phantoms.frame import SIDES, View, clouds

_RIBS = 10  # pairs that are seen
_FRONT_RIBS = 7  # pairs whose bony front end is seen; then cartilage follows, which is not
_FRONT_END = (0.72, 0.83)  # where the bony part of a rib ends, as a share of the way from spine to breastbone
_JOINT_CM = (4.0, 3.5)  # shoulder joint: beside the widest place of the ribs, below the lung tips
_ARM_CM = 24.0


def draw_skeleton(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return all bones along each ray (cm of water)."""
    sheets = [*_ribs(rng, patient), *_girdle(rng, patient)]
    bones = as_seen(sheets, view, 0.06)
    bones = bones * (1 - 0.6 * inside(view.y - np.float32(0.95 * patient.height), 4))  # less sharp in the abdomen
    reach = np.abs(view.x) / np.float32(patient.width)
    return np.asarray(bones * (1 + 0.5 * np.clip(reach, 0, 1) ** 6) + _spine(rng, patient, view))


def rib(patient: Patient, number: int, side: int, along: Floats) -> Floats:
    """Return points on a rib, counted from 0, `(n, 2)`, x and y in cm; `along` is 0 at the spine, 1 at the breastbone.

    A rib is half an ellipse, the front end lower than the back end, as seen from in front.
    """
    h, upper = patient.height, min(number / 3, 1)
    top, bow = ((-0.03 + 0.097 * number) * h - 0.3, 0.7) if number else (0.45, 0.2)  # the first lies on the lung's tip
    drop = patient.slope * (0.42 + 0.58 * upper) * (1 + 0.03 * number)
    half = wall(patient, np.array(top + 0.5 * drop), side) + 0.35
    if number == 0:  # it runs around the lung's tip
        half = np.maximum(0.42 * patient.width, patient.tip + 1.0)
    x = 1.6 + (half - 1.6) * np.sin(np.pi * along)
    y = top + drop * (1 - np.cos(np.pi * along)) / 2 - bow * np.sin(np.pi * np.clip(2 * along, 0, 1))
    return np.column_stack([side * x, y])


def _ribs(rng: Generator, patient: Patient) -> list[Image.Image]:
    """Return sheets with the back arches and the front arches."""
    (back, draw_back), (front, draw_front) = make_sheet(), make_sheet()
    dense, width = rng.uniform(1.0, 2.2), 1.25 * patient.bones
    wobble = rng.normal(0, 0.12, (2, _RIBS))
    for side in SIDES:
        for number in range(_RIBS):
            shift = (0, wobble[(side + 1) // 2, number])
            points = rib(patient, number, side, np.linspace(0.02, 0.52, 7)) + shift
            stroke(draw_back, points, width, dense)
            stroke(draw_back, points + np.array([0, 0.03]), 0.7 * width, 0.6 * dense)
            if number < _FRONT_RIBS:
                points = rib(patient, number, side, np.linspace(0.5, rng.uniform(*_FRONT_END), 6)) + shift
                stroke(draw_front, points, 1.25 * width, 0.62 * dense)
                stroke(draw_front, points, 0.85 * width, 0.4 * dense)
    return [back, front]


def _spine(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return the vertebrae: bodies and the discs between them, pedicles, spinous processes."""
    period, half = patient.height / rng.uniform(9.5, 11.5), np.float32(patient.spine) + 0.012 * view.y
    bend = rng.normal(0, 0.35) * np.sin(view.y / np.float32(rng.uniform(5, 9)) + rng.uniform(0, 6.28))
    reach, along = np.abs(view.x + bend), (view.y / np.float32(period)) % 1 - 0.5
    at_disc = np.exp(-(((np.abs(along) - 0.5) * np.float32(period / 0.25)) ** 2))
    body = thickness(half - 0.15 * (1 - at_disc) - reach, 1.5) * (2.0 - 0.8 * at_disc)
    pedicle = np.exp(-(((reach - 1.2) / 0.3) ** 2) - ((along + 0.1) * np.float32(period / 0.45)) ** 2)
    spinous = np.exp(-((reach / 0.3) ** 2) - ((along - 0.2) * np.float32(period / 0.6)) ** 2)
    wings = inside(half + 1.0 - reach, 0.5) * np.exp(-(((along + 0.15) * np.float32(period / 0.5)) ** 2))
    dense = rng.uniform(0.35, 0.9) * (1 + 0.15 * clouds(rng, len(view.x), 24))
    return np.asarray(dense * (body + 0.7 * pedicle + 0.8 * spinous + 0.35 * wings))


def arm(patient: Patient, side: int) -> Floats:
    """Return the positions of the shoulder joint and the elbow of one side, `(2, 2)`, x and y in cm."""
    joint = np.array([side * (patient.width + _JOINT_CM[0]), _JOINT_CM[1] - 1.5 * (patient.arms > np.pi / 2)])
    return np.array([joint, joint + _ARM_CM * np.array([side * np.sin(patient.arms), np.cos(patient.arms)])])


def _girdle(rng: Generator, patient: Patient) -> list[Image.Image]:
    """Return sheets with clavicles and upper arms, and with the shoulder blades."""
    (clavicles, draw), (blades, draw_blades) = make_sheet(), make_sheet()
    w, b, dense = patient.width, patient.bones, rng.uniform(0.7, 1.4)
    reach = np.linspace(1.6, w + 3, 10)
    knots = [(1.6, 3.3), (0.25 * w, 3.0), (0.55 * w, 1.6), (0.8 * w, 0.3), (w + 3, 0.0)]
    outline = np.array([(w + 2.3, 3.0), (w - 1.5, 1.2), (w - 2.0, 3), (w - 1.4, 8), (w + 0.4, 14), (w + 1.6, 12.5)])
    steep = rng.uniform(0.7, 1.3)
    for side in SIDES:
        height = steep * curve(reach, knots) - patient.clavicles + rng.normal(0, 0.3)
        bone = np.column_stack([side * reach, height])
        stroke(draw, bone, 1.25 * b, 2.0 * dense)
        stroke(draw, bone, 0.8 * b, 1.3 * dense)
        blade = (outline - (patient.blades + rng.normal(0, 0.4), rng.normal(0, 0.5))) * (side, 1)
        stroke(draw_blades, blade, 0, 0.5 * dense, area=True)
        stroke(draw_blades, blade[[0, 5, 4, 3, 2, 1]], 0.5 * b, 1.2 * dense)
        stroke(draw_blades, [blade[2], (side * (w + 4), 0.8)], 0.8 * b, 1.2 * dense)
        stroke(draw_blades, arm(patient, side), 2.4 * b, 1.7)
        stroke(draw_blades, arm(patient, side), 1.2 * b, 1.1)
        x, y = arm(patient, side)[0]
        stroke(draw, ellipse_points(x - side * 0.6, y, 2.2, 2.2, 16), 0, 0.7, area=True)
    return [clavicles, blades]
