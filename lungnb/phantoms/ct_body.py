"""Paint the body around the lungs in a CT slice: wall, ribs, mediastinum, spine and what lies under the diaphragm.

Each part covers what was painted before. The frame's origin is the middle of the rib cage.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.drawing import ellipse, inside
from lungnb.phantoms.frame import SIDES, View, clouds

DOME_TOPS = (0.72, 0.79)  # the levels at which the diaphragm comes up, right and left
_TABLE_HU, _TABLE_FOAM_HU, _SKIN_HU, _FAT_HU = 150.0, -930.0, 20.0, -105.0
_COMPACT_HU, _SPONGY_HU, _CARTILAGE_HU, _CORD_HU, _GAS_HU = 700.0, 220.0, 110.0, 35.0, -980.0
_BLOOD_HU, _HEART_HU, _OESOPHAGUS_HU = 45.0, 48.0, 30.0


class CrossSection(NamedTuple):
    """The section of a patient that a slice shows."""

    level: float  # 0 at the lung tips, 1 at the bases
    cage: Floats  # half axes of the rib cage, across and front to back, cm
    fat: float  # thickness of the fat under the skin, cm
    view: View


def paint(image: Floats, cover: Floats, hounsfield: float | Floats) -> None:
    """Lay a tissue of `hounsfield` units over the slice, where `cover` (0..1) is above 0."""
    image += (hounsfield - image) * cover


def paint_body(rng: Generator, image: Floats, section: CrossSection, contrast_hu: float) -> None:
    """Paint everything except the lungs and the airways; contrast agent adds `contrast_hu` to the blood."""
    _paint_wall(rng, image, section)
    _paint_mediastinum(rng, image, section, contrast_hu)
    _paint_abdomen(rng, image, section)
    _paint_spine(rng, image, section)


def dome(section: CrossSection, side: int) -> Floats:
    """Return the rough distance (cm, positive inside) to the organs under one dome; the right one begins higher."""
    top, (a, b) = DOME_TOPS[side > 0], section.cage
    size = np.sqrt(min((section.level - top) / (1 - top), 1))
    return ellipse(section.view, side * 0.45 * a, -0.12 * b, 0.64 * a * size, 1.08 * b * size)


def _paint_wall(rng: Generator, image: Floats, section: CrossSection) -> None:
    """Paint the table, the trunk's skin, fat and muscle, then shoulder blades and ribs."""
    level, cage, fat, view = section
    a = 15.0 + 1.5 * (level < 0.3) * (0.3 - level) / 0.3 + fat
    b = 12.5 - 2.5 * max(0.25 - level, 0) / 0.25 + 0.7 * fat
    across, down = np.abs(view.x / np.float32(a)), np.abs((view.y - np.float32(1.2)) / np.float32(b))
    norm = (across ** np.float32(2.5) + down ** np.float32(2.5)) ** np.float32(0.4)  # of an ellipse with flat sides
    trunk = np.float32(b) * (1 - norm) + 0.25 * clouds(rng, len(image), 4)
    sag = view.y - np.float32(b + 3.2) + 0.006 * view.x**2
    paint(image, inside(0.2 - np.abs(sag), view.pixel_cm), _TABLE_HU)
    paint(image, inside(1.2 - np.abs(sag - 1.4), view.pixel_cm), _TABLE_FOAM_HU)
    paint(image, inside(0.15 - np.abs(sag - 2.7), view.pixel_cm), _TABLE_HU)
    paint(image, inside(trunk, view.pixel_cm), _SKIN_HU)
    paint(image, inside(trunk - 0.2, view.pixel_cm), _FAT_HU)
    streaks = inside(np.abs(clouds(rng, len(image), 14)) - 0.12, 0.15)  # fat between the muscles
    paint(image, inside(trunk - 0.2 - fat, view.pixel_cm), -80 + 135 * streaks)
    if level < 0.55:
        for side in SIDES:
            blade = ellipse(view, side * (0.86 * cage[0] + 0.7), 0.62 * cage[1] + 0.9, 3.4, 0.4, -side * 0.75)
            _paint_bone(image, np.minimum(blade, trunk - 0.6), 0.15, view)
    _paint_ribs(rng, image, section)


def _paint_bone(image: Floats, distance: Floats, shell_cm: float, view: View) -> None:
    """Paint a bone: compact outside, `shell_cm` thick, spongy inside."""
    paint(image, inside(distance, view.pixel_cm), _COMPACT_HU)
    paint(image, inside(distance - shell_cm, view.pixel_cm), _SPONGY_HU)


def _paint_ribs(rng: Generator, image: Floats, section: CrossSection) -> None:
    """Paint the arcs that a level slice cuts out of the slanting ribs, their cartilage and the breastbone."""
    (a, b), view = section.cage, section.view
    ring = 0.65 + ellipse(view, 0, 0, a, b)
    around = np.arctan2(view.y / np.float32(b), np.abs(view.x) / np.float32(a))
    arcs = np.cos(rng.integers(6, 9) * around + rng.uniform(0, 6.28) + 0.4 * np.sign(view.x)) - rng.uniform(-0.1, 0.4)
    bone = np.minimum(0.42 - np.abs(ring), 1.2 * arcs)
    cartilage = around < -0.9  # in front
    paint(image, inside(bone, view.pixel_cm) * cartilage, _CARTILAGE_HU)
    _paint_bone(image, np.where(cartilage, np.float32(-9), bone), 0.17, view)
    _paint_bone(image, ellipse(view, 0, -b - 0.6, 2.0, 0.6), 0.15, view)


def _paint_mediastinum(rng: Generator, image: Floats, section: CrossSection, contrast_hu: float) -> None:
    """Paint what lies between the lungs: fat, oesophagus, the great vessels and the heart with its blood."""
    level, (a, b), _, view = section
    fat, blood_hu = clouds(rng, len(image), 16), _BLOOD_HU + contrast_hu
    paint(image, inside(ellipse(view, 0, 0, a, b), view.pixel_cm), -90 + 135 * inside(fat + 0.1, 0.4))
    parts = [(0.9, 0.45 * b, 0.8, 0.6, _OESOPHAGUS_HU)]
    if level < 0.3:
        parts += [(x, -0.15 * b - 0.5 * abs(x), 0.65, 0.7, blood_hu) for x in (-2.1, -0.9, 0.9, 2.2)]
    elif level < 0.55:
        parts += [(-0.9, -0.4 * b, 1.6, 1.6, blood_hu), (-2.4, -0.15 * b, 0.8, 1.0, blood_hu)]
        parts += [(1.4, -0.25 * b, 1.4, 1.2, _BLOOD_HU + 1.2 * contrast_hu)]
    else:
        full = min((level - 0.45) / 0.25, 1) ** 0.5
        parts += [(0.12 * a, -0.28 * b, (0.24 + 0.2 * full) * a, (0.28 + 0.16 * full) * b, _HEART_HU)]
        parts += [(0.02 * a, -0.36 * b, 2.6, 2.2, blood_hu)]
        parts += [(0.22 * a, -0.2 * b, 2.9, 2.0, _BLOOD_HU + 1.1 * contrast_hu)]
    if level > 0.25:
        parts += [(2.0, 0.52 * b, 1.15, 1.15, blood_hu)]
    for x, y, half_x, half_y, hounsfield in parts:
        paint(image, inside(ellipse(view, x, y, half_x, half_y, 0.5), max(0.15, view.pixel_cm)), hounsfield)


def _paint_abdomen(rng: Generator, image: Floats, section: CrossSection) -> None:
    """Paint liver, spleen and stomach under the domes. The stomach's gas is a trap: it is air, and no lung."""
    level, (a, b), _, view = section
    hounsfield, gas = rng.uniform(40, 110, 2), rng.uniform(0.8, 2.2)
    for side, top, value in zip(SIDES, DOME_TOPS, hounsfield, strict=True):
        if level > top:
            organ = np.minimum(dome(section, side), ellipse(view, 0, 0, a, b))
            paint(image, inside(organ, view.pixel_cm), value + 6 * clouds(rng, len(image), 40))
    if level > 0.9 and rng.random() < 0.6:
        paint(image, inside(ellipse(view, 0.4 * a, -0.45 * b, 1.4 * gas, gas), view.pixel_cm), _GAS_HU)


def _paint_spine(rng: Generator, image: Floats, section: CrossSection) -> None:
    """Paint a vertebra: body, arch, processes and the canal."""
    view, y, half = section.view, 0.7 * section.cage[1] + 0.3, rng.uniform(1.5, 2.0)
    parts = [ellipse(view, 0, y, half, 0.8 * half), 0.5 - np.abs(ellipse(view, 0, y + 0.8 * half + 0.7, 1.3, 1.2))]
    parts += [ellipse(view, 0, y + 0.8 * half + 3.0, 0.4, 1.5)]
    parts += [ellipse(view, side * 2.4, y + 0.8 * half + 0.9, 1.6, 0.4, side * 0.4) for side in SIDES]
    _paint_bone(image, np.max(parts, axis=0), 0.2, view)
    paint(image, inside(ellipse(view, 0, y + 0.8 * half + 0.7, 0.85, 0.75), view.pixel_cm), _CORD_HU)
