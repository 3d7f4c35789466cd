"""The patient of a drawn film: measures, and where the borders of lungs, mediastinum and diaphragm lie.

The frame's origin is the midline at the height of the lung tips. Lengths are cm of an adult, also for a child, because
the picture is scaled to the chest.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.drawing import curve
from lungnb.phantoms.findings import Findings

# Cardiothoracic ratio: 0.45 on average in 500 adults (Danzer 1919, Am J Med Sci 157:513). Danzer called 0.53 and more
# abnormal; today's usual limit is 0.5 (J Clin Med 2021;10:2016, doi 10.3390/jcm10092016).
_RATIO_MEAN, _RATIO_SD = 0.45, 0.045
RATIO_RANGE = (0.36, 0.70)
_PLAIN_RATIO_RANGE = (0.36, 0.59)  # without the addition "heart"
_SHARE_LARGE_HEART = 0.2  # so that large hearts are no rarity in training; hospitals differ
_MAGNIFIED = 1.12  # the heart on portable films, which are taken from in front and from near
# The right dome is higher by 1.5 cm in men and 1.2 cm in women, and in 95 % of adults ("Assessment of diaphragmatic
# levels on plain chest radiograph: a new approach", West Afr J Med 2007, 526 films). With these numbers, the left dome
# is as high or higher in 10 % of drawings. The standard deviation is an assumption.
_DOME_MEAN_CM, _DOME_SD_CM = 1.4, 1.1
DOME_RANGE_CM = (-1.0, 3.5)
_LOWEST_DOME_CM = 0.6  # of the left dome above its angle
_CHILD_RATIO_RANGE = (0.45, 0.60)  # up to 0.6 is normal in infants
_LEFT_HEART = (0.62, 0.8)  # share of the heart's width left of the midline; an upright heart hardly passes the spine
# Half of the width between the costophrenic angles: 13.9 cm, standard deviation 1.2 (Alghamdi and others 2021,
# Int J Biomed 11:206, doi 10.21103/Article11(2)_OA14). There the right dome is 5.1 cm above the angle, standard
# deviation 1.1.
_HALF_WIDTH_CM = (12.0, 15.5)
_DOME_SHARE = (0.13, 0.26)  # height of the right dome as a share of the lung's
_DEPTH = (1.35, 1.85)  # of the trunk, as a multiple of half the chest's width
_TIP = (0.24, 0.36)  # midline to the lung's top, such a multiple: the thoracic inlet is about 10 cm wide (Gray 1918)
_CONE, _CORNER = (0.42, 0.68), (1.4, 2.7)
_HALF_SPINE_CM = (1.6, 2.05)  # of thoracic vertebrae, magnified a little
_UPPER_WIDTH = (0.8, 1.25)  # of the upper mediastinum
_MOST_REACH = 0.92  # of the heart, as a share of the way to the ribs: some lung is seen beside the largest
_HANGING_ARMS, _RAISED_ARMS, _RAISED_SHARE = (0.1, 0.8), (2.0, 2.8), 0.6  # rad; raised in children, who are held
_SHIFT_PER_TURN_CM, _SHIFT_SD_CM = 8.0, 0.2
# What a scar does to the lung that has it.
_SHRUNKEN, _RAISED_CM, _PULLED_CM, _SHIFTED_CM = (0.86, 0.97), (0.3, 2.5), (0.5, 3.0), (0.4, 2.0)


class Setting(NamedTuple):
    """The measures in which a chest differs between upright films, portable films and children."""

    height: tuple[float, float]  # of the lungs, as a multiple of half the chest's width
    raised_cm: float  # of the diaphragm
    turn: float  # standard deviation of the rotation: the share by which one half looks wider
    blades_cm: tuple[float, float]  # how far the shoulder blades reach into the lung fields
    slope_cm: tuple[float, float]  # how much lower the front ends of the ribs lie than the back ends
    clavicles_cm: float  # by which the clavicles are raised
    vessels: float  # width of the upper mediastinum
    bones: tuple[float, float]  # width of the bones


# Upright: from the lung's tip to the right dome it is 22 cm (16 to 30; the same 526 films). Portable: poor
# inspiration, flat ribs, shoulder blades that nobody turned out, clavicles that the tilted tube throws up. Children:
# ribs lie flatter, the chest is about as wide as high, and the thymus widens the upper mediastinum.
SETTINGS = {
    "upright": Setting((1.65, 2.25), 0.0, 0.025, (-1.0, 2.0), (6.5, 11.0), 0.0, 1.0, (0.9, 1.15)),
    "portable": Setting((1.25, 1.7), 1.0, 0.06, (1.0, 5.5), (4.0, 7.5), 1.4, 1.3, (0.9, 1.15)),
    "child": Setting((1.25, 1.7), 0.0, 0.025, (-1.0, 2.0), (4.0, 7.5), 0.0, 1.3, (0.6, 0.85)),
}


class Patient(NamedTuple):
    """One patient's measures, cm. Pairs are right and left of the patient; the right is on the left of the picture."""

    widths: tuple[float, float]  # midline to the inner side of the ribs, where the chest is widest
    height: float  # lung tip to costophrenic angle
    depth: float  # of the trunk, front to back
    tip: float  # midline to the top of the lung
    cone: float  # how the chest widens downwards: low for a barrel, high for a cone
    corner: float  # how sharp the costophrenic angles are
    domes: tuple[float, float]  # heights of the diaphragm above the costophrenic angles
    heart: tuple[float, float]  # midline to the heart's borders
    vessels: float  # width of the upper mediastinum, 1 for an average one
    spine: float  # half the width of the vertebrae
    shift: float  # of the mediastinum to the picture's right
    pull: tuple[float, float]  # by which the hila are pulled up
    arms: float  # angle by which the arms are turned out, rad; above 1.57 they are raised
    blades: float  # how far the shoulder blades reach into the lung fields
    slope: float  # how much lower the front ends of the ribs lie than the back ends
    clavicles: float  # by which the clavicles are raised
    bones: float  # width of the bones, 1 for an adult

    @property
    def width(self) -> float:
        """Return half the width of the chest (cm)."""
        return sum(self.widths) / 2


def draw_patient(rng: Generator, findings: Findings, additions: frozenset[str]) -> Patient:
    """Return random measures that suit the findings."""
    setting, half = SETTINGS[findings.setting], rng.uniform(*_HALF_WIDTH_CM)
    height, turned = half * rng.uniform(*setting.height), rng.normal(0, setting.turn)
    widths = [half * (1 - turned), half * (1 + turned)]
    dome = rng.uniform(*_DOME_SHARE) * height + setting.raised_cm
    domes = [dome, dome - _dome_difference(rng, additions)]
    shift, pull = rng.normal(0, _SHIFT_SD_CM) + _SHIFT_PER_TURN_CM * turned, [0.0, 0.0]
    if findings.has_fibrosis:
        side = int(rng.random() < 0.5)
        widths[side] *= rng.uniform(*_SHRUNKEN)
        domes[side] += rng.uniform(*_RAISED_CM)
        pull[side] = rng.uniform(*_PULLED_CM)
        shift += (2 * side - 1) * rng.uniform(*_SHIFTED_CM)
    heart = 2 * half * _heart_ratio(rng, findings, additions)
    left = rng.uniform(*_LEFT_HEART) * heart
    is_raised = findings.setting == "child" and rng.random() < _RAISED_SHARE
    return Patient(
        widths=(widths[0], widths[1]), height=height, depth=half * rng.uniform(*_DEPTH), tip=half * rng.uniform(*_TIP),
        cone=rng.uniform(*_CONE), corner=rng.uniform(*_CORNER), domes=(domes[0], max(domes[1], _LOWEST_DOME_CM)),
        heart=(heart - left, left), vessels=rng.uniform(*_UPPER_WIDTH) * setting.vessels,
        spine=rng.uniform(*_HALF_SPINE_CM), shift=shift, pull=(pull[0], pull[1]),
        arms=rng.uniform(*(_RAISED_ARMS if is_raised else _HANGING_ARMS)), blades=rng.uniform(*setting.blades_cm),
        slope=rng.uniform(*setting.slope_cm), clavicles=rng.normal(setting.clavicles_cm, 0.8),
        bones=rng.uniform(*setting.bones),
    )  # fmt: skip


def _heart_ratio(rng: Generator, findings: Findings, additions: frozenset[str]) -> float:
    """Return the width of the heart as a share of the width of the chest."""
    low, high = RATIO_RANGE if "heart" in additions else _PLAIN_RATIO_RANGE
    ratio = rng.normal(_RATIO_MEAN, _RATIO_SD)
    if rng.random() < _SHARE_LARGE_HEART:
        ratio = rng.uniform(0.5, high)
    if findings.setting == "child":
        ratio = rng.uniform(*_CHILD_RATIO_RANGE)
    if findings.setting == "portable":
        ratio *= _MAGNIFIED
    return float(np.clip(ratio, low, high))


def _dome_difference(rng: Generator, additions: frozenset[str]) -> float:
    """Return by how much the right dome is higher than the left (cm)."""
    if "diaphragm" not in additions:
        return rng.uniform(0.4, 1.8)
    return float(np.clip(rng.normal(_DOME_MEAN_CM, _DOME_SD_CM), *DOME_RANGE_CM))


def wall(patient: Patient, y: Floats, side: int) -> Floats:
    """Return how far from the midline (cm) the lung meets the ribs at the heights `y` (cm)."""
    width = patient.widths[side > 0]
    rise = np.clip(y / np.float32(0.8 * patient.height), 0, 1)
    widening = (1 - (1 - rise) ** np.float32(2.3)) ** np.float32(patient.cone)
    return np.asarray(patient.tip + (width - patient.tip) * widening, np.float32)


def edge(patient: Patient, y: Floats, side: int) -> Floats:
    """Return how far from the midline (cm) vessels and heart reach to one side at the heights `y` (cm).

    The subclavian vessels arch over the inner part of the lung's tip, so that the lung is veiled there.
    """
    h, v, heart = patient.height, patient.vessels, patient.heart[side > 0]
    if side < 0:  # right: great vessels, superior vena cava, hilum, right atrium
        knots = [(-0.1, 3.3 * v), (0.05, 2.8 * v), (0.15, 2.4 * v), (0.3, 2.25 * v), (0.45, max(2.5 * v, 0.7 * heart))]
        knots += [(0.6, max(2.3, 0.82 * heart)), (0.78, heart), (0.97, 0.88 * heart)]
    else:  # left: great vessels, aortic arch, window, pulmonary trunk, left ventricle
        knots = [(-0.1, 3.3 * v), (0.06, 2.8 * v), (0.17, 2.2 * v), (0.27, 2.9 * v), (0.36, 2.4 * v)]
        knots += [(0.46, max(3.0 * v, 0.46 * heart)), (0.6, max(3.0 * v, 0.7 * heart))]
        knots += [(0.74, 0.92 * heart), (0.87, heart), (1.0, 0.95 * heart)]
    reach = curve(y, [(at * h, reach) for at, reach in knots]) + np.float32(side * patient.shift)
    return np.asarray(np.minimum(reach, np.float32(_MOST_REACH * patient.widths[side > 0])))


def floor(patient: Patient, reach: Floats, side: int) -> Floats:
    """Return the height `y` (cm) of the diaphragm at a distance `reach` (cm) from the midline, to one side."""
    width = patient.widths[side > 0]
    summit = np.float32(0.42 * width)
    outward = np.clip((reach - summit) / (np.float32(width) - summit), 0, 1.05) ** np.float32(patient.corner)
    inward = 0.2 * np.clip((summit - reach) / summit, 0, 1) ** 2
    return np.asarray(patient.height - np.float32(patient.domes[side > 0]) * (1 - outward - inward))
