"""Synthetic axial CT slices, painted in Hounsfield units, part over part."""

from __future__ import annotations

import numpy as np

from lungnb.phantoms.drawing import (
    SIDES,
    TAME,
    Phantom,
    View,
    Wild,
    as_seen,
    blur,
    check_size,
    clouds,
    draw_from,
    ellipse,
    inside,
    make_sheet,
    make_view,
    stroke,
    vessel_tree,
    without_specks,
)
from lungnb.phantoms.film import distort

# Each part of the anatomy is one function. The frame's origin is the middle of the rib cage.
_DOME_TOPS = (0.72, 0.79)  # the levels at which the diaphragm comes up, right and left


def ct_phantom(rng: np.random.Generator, size: int = 256, wild: Wild = TAME) -> Phantom:
    """Return a synthetic axial CT slice, float32 `(size, size)`, -1024..3071 HU, and its lung mask.

    The slice lies anywhere from just above the lung tips to just below the lungs, so that the mask may be empty. The
    mask holds the lungs' vessels and lesions; trachea, main bronchi and fluid around the lungs are left out. A
    `wild` slice is beyond what is real, and a uint8 picture of some window. Raises ValueError for a `size` under 32 px.
    """
    check_size(size)
    level = rng.uniform(-0.02, 1.02)  # 0 at the lung tips, 1 at the bases
    grown = np.sqrt(1 - (1 - np.clip(level / 0.5, 0, 1)) ** 2)
    flat = draw_from(rng, 0.9, 1.15, wild.shape, 1.6)
    cage = np.array([7.0 + 6.5 * grown, (4.2 + 5.3 * grown) * flat])  # half axes (cm)
    fat = rng.uniform(0.2, 6.0) if wild.shape else rng.uniform(0.5, 3.0)
    view = _position(rng, 14.5 + fat, size, wild.acquisition)
    lung = _ct_lungs(rng, level, cage, view)
    if wild.pathology and rng.random() < 0.15:  # fluid gathers at the back, and is not lung
        lung = np.minimum(lung, rng.uniform(0.2, 0.9) * cage[1] - view.y + 0.3 * clouds(rng, size, 5))
    image = np.full((size, size), -1000.0, np.float32)
    contrast = rng.choice([0.0, rng.uniform(60, 200)])
    _paint_wall(rng, image, level, cage, fat, view)
    _paint_mediastinum(rng, image, level, cage, contrast, view)
    _paint_abdomen(rng, image, level, cage, view)
    _paint_spine(rng, image, cage, view)
    mask = _paint_lungs(rng, image, lung, cage, contrast, view, wild)
    mask &= ~_paint_airways(image, level, cage, view)
    image = _scan(rng, image, wild.acquisition)
    if not any(wild):
        return Phantom(image, mask)
    grey, seen = _windowed(rng, image, wild)
    return Phantom(grey, mask & seen)


def _position(rng: np.random.Generator, half: float, size: int, wild: float) -> View:
    """Return how the patient, `half` as wide (cm), lies in the scanner; a `wild` one also turns over."""
    if not wild:
        return make_view(rng, size, rng.uniform(2.1, 2.5) * half, tuple(rng.normal(0, 0.7, 2)), tilt=0.06, bend=0.45)
    width = 2.3 * half * np.exp(rng.uniform(np.log(0.75), np.log(1.6)))
    tilt, bend, stretch = wild * np.array([0.15, rng.uniform(0.2, 0.9), 0.1])
    view = make_view(rng, size, width, tuple(rng.normal(0, 0.05, 2) * width), tilt, bend, stretch)
    mirror_x, mirror_y = np.where(rng.random(2) < (0.1, 0.1), -1, 1).astype(np.float32)
    return view._replace(x=mirror_x * view.x, y=mirror_y * view.y)


def _windowed(rng: np.random.Generator, hounsfield: np.ndarray, wild: Wild) -> tuple[np.ndarray, np.ndarray]:
    """Return a slice through a window, uint8, half of them distorted as X-rays are, and what it shows, bool."""
    middle, width = rng.uniform(-650, 100), np.exp(rng.uniform(np.log(350), np.log(2200)))
    if not wild.tone:
        middle, width = -300, 1400
    grey = np.clip((hounsfield - (middle - width / 2)) / np.float32(width), 0, 1)
    if rng.random() < 0.5:
        return distort(rng, grey, wild)
    return np.rint(255 * grey).astype(np.uint8), np.ones(grey.shape, bool)


def _paint(image: np.ndarray, cover: np.ndarray, hounsfield: float | np.ndarray) -> None:
    """Lay a tissue of `hounsfield` units over the slice, where `cover` (0..1) is above 0."""
    image += (hounsfield - image) * cover


def _ct_lungs(rng: np.random.Generator, level: float, cage: np.ndarray, view: View) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to the border of both lungs; negative where there are none."""
    a, b = cage
    lungs = ellipse(view, 0, 0, a, b) + 0.35 * clouds(rng, len(view.x), 6)
    between = (1.9 + 1.3 * np.clip(level / 0.4, 0, 1)) * rng.uniform(0.85, 1.15)
    out = [ellipse(view, 0, -0.05 * b, between, 0.7 * b), ellipse(view, 0, 0.78 * b, 3.0, 0.42 * b)]
    out.append(rng.uniform(0.2, 1.6) - np.abs(view.x + rng.normal(0, 0.5)))  # in front the lungs may almost meet
    if 0.35 < level < 0.65:  # the hila: vessels too thick to be lung
        out += [ellipse(view, side * between, 0.1 * b, *rng.uniform(0.5, 2.2, 2)) for side in SIDES]
    if level > 0.45:  # the heart, on the patient's left
        full = np.sqrt(np.clip((level - 0.45) / 0.25, 0, 1))
        out.append(ellipse(view, 0.12 * a, -0.28 * b, (0.26 + 0.2 * full) * a, (0.3 + 0.16 * full) * b, 0.5))
    out += [_ct_dome(level, side, cage, view) for side in SIDES if level > _DOME_TOPS[side > 0]]
    lungs = np.minimum(lungs, -np.max(out, axis=0))
    if level < 0.15:  # the tips are round
        tip = np.sqrt(max(1 - (1 - level / 0.15) ** 2, 0))
        round_tip = [ellipse(view, side * 0.6 * a, 0.15 * b, 0.1 + 3.4 * tip, 0.1 + 4.2 * tip) for side in SIDES]
        lungs = np.minimum(lungs, np.maximum(*round_tip))
    return lungs if 0 < level < 1 else np.full_like(lungs, -9)


def _ct_dome(level: float, side: int, cage: np.ndarray, view: View) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to the organs under one dome; the right one begins higher."""
    top = _DOME_TOPS[side > 0]
    size = np.sqrt(min((level - top) / (1 - top), 1))
    return ellipse(view, side * 0.45 * cage[0], -0.12 * cage[1], 0.64 * cage[0] * size, 1.08 * cage[1] * size)


def _paint_wall(
    rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, fat: float, view: View
) -> None:
    """Paint the table, the trunk's skin, fat and muscle, then shoulder blades and ribs."""
    a, b = 15.0 + 1.5 * (level < 0.3) * (0.3 - level) / 0.3, 12.5 - 2.5 * max(0.25 - level, 0) / 0.25
    trunk = _superellipse(view, 1.2, a + fat, b + 0.7 * fat) + 0.25 * clouds(rng, len(image), 4)
    sag = view.y - np.float32(b + 0.7 * fat + 3.2) + 0.006 * view.x**2
    _paint(image, inside(0.2 - np.abs(sag), view.pixel), 150.0)
    _paint(image, inside(1.2 - np.abs(sag - 1.4), view.pixel), -930.0)
    _paint(image, inside(0.15 - np.abs(sag - 2.7), view.pixel), 150.0)
    _paint(image, inside(trunk, view.pixel), 20.0)
    _paint(image, inside(trunk - 0.2, view.pixel), -105.0)
    streaks = inside(np.abs(clouds(rng, len(image), 14)) - 0.12, 0.15)  # fat between the muscles
    _paint(image, inside(trunk - 0.2 - fat, view.pixel), -80 + 135 * streaks)
    if level < 0.55:
        for side in SIDES:
            blade = ellipse(view, side * (0.86 * cage[0] + 0.7), 0.62 * cage[1] + 0.9, 3.4, 0.4, -side * 0.75)
            _paint_bone(image, np.minimum(blade, trunk - 0.6), 0.15, view)
    _paint_ribs(rng, image, cage, view)


def _superellipse(view: View, y: float, a: float, b: float) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to an ellipse with flattened sides."""
    across, down = np.abs(view.x / np.float32(a)), np.abs((view.y - np.float32(y)) / np.float32(b))
    return np.float32(b) * (1 - (across ** np.float32(2.5) + down ** np.float32(2.5)) ** np.float32(0.4))


def _paint_bone(image: np.ndarray, distance: np.ndarray, shell: float, view: View) -> None:
    """Paint a bone: compact outside, `shell` cm thick, spongy inside."""
    _paint(image, inside(distance, view.pixel), 700.0)
    _paint(image, inside(distance - shell, view.pixel), 220.0)


def _paint_ribs(rng: np.random.Generator, image: np.ndarray, cage: np.ndarray, view: View) -> None:
    """Paint the arcs that a level slice cuts out of the slanting ribs, their cartilage and the breastbone."""
    ring = 0.65 + ellipse(view, 0, 0, *cage)
    around = np.arctan2(view.y / np.float32(cage[1]), np.abs(view.x) / np.float32(cage[0]))
    arcs = np.cos(rng.integers(6, 9) * around + rng.uniform(0, 6.28) + 0.4 * np.sign(view.x)) - rng.uniform(-0.1, 0.4)
    bone = np.minimum(0.42 - np.abs(ring), 1.2 * arcs)
    cartilage = around < -0.9  # in front
    _paint(image, inside(bone, view.pixel) * cartilage, 110.0)
    _paint_bone(image, np.where(cartilage, np.float32(-9), bone), 0.17, view)
    _paint_bone(image, ellipse(view, 0, -cage[1] - 0.6, 2.0, 0.6), 0.15, view)


def _paint_mediastinum(
    rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, contrast: float, view: View
) -> None:
    """Paint what lies between the lungs: fat, oesophagus, the great vessels and the heart with its blood."""
    a, b = cage
    fat = clouds(rng, len(image), 16)
    _paint(image, inside(ellipse(view, 0, 0, a, b), view.pixel), -90 + 135 * inside(fat + 0.1, 0.4))
    parts = [(0.9, 0.45 * b, 0.8, 0.6, 30.0)]
    if level < 0.3:
        parts += [(x, -0.15 * b - 0.5 * abs(x), 0.65, 0.7, 45 + contrast) for x in (-2.1, -0.9, 0.9, 2.2)]
    elif level < 0.55:
        parts += [(-0.9, -0.4 * b, 1.6, 1.6, 45 + contrast), (-2.4, -0.15 * b, 0.8, 1.0, 45 + contrast)]
        parts += [(1.4, -0.25 * b, 1.4, 1.2, 45 + 1.2 * contrast)]
    else:
        full = min((level - 0.45) / 0.25, 1) ** 0.5
        parts += [(0.12 * a, -0.28 * b, (0.24 + 0.2 * full) * a, (0.28 + 0.16 * full) * b, 48.0)]
        parts += [(0.02 * a, -0.36 * b, 2.6, 2.2, 45 + contrast), (0.22 * a, -0.2 * b, 2.9, 2.0, 45 + 1.1 * contrast)]
    if level > 0.25:
        parts += [(2.0, 0.52 * b, 1.15, 1.15, 45 + contrast)]
    for x, y, half_x, half_y, hounsfield in parts:
        _paint(image, inside(ellipse(view, x, y, half_x, half_y, 0.5), max(0.15, view.pixel)), hounsfield)


def _paint_abdomen(rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, view: View) -> None:
    """Paint liver, spleen and stomach under the domes; the stomach's gas is a trap: air, and no lung."""
    hounsfield, gas = rng.uniform(40, 110, 2), rng.uniform(0.8, 2.2)
    for side, top, value in zip(SIDES, _DOME_TOPS, hounsfield, strict=True):
        if level > top:
            organ = np.minimum(_ct_dome(level, side, cage, view), ellipse(view, 0, 0, *cage))
            _paint(image, inside(organ, view.pixel), value + 6 * clouds(rng, len(image), 40))
    if level > 0.9 and rng.random() < 0.6:
        _paint(image, inside(ellipse(view, 0.4 * cage[0], -0.45 * cage[1], 1.4 * gas, gas), view.pixel), -980.0)


def _paint_spine(rng: np.random.Generator, image: np.ndarray, cage: np.ndarray, view: View) -> None:
    """Paint a vertebra: body, arch, processes and the canal."""
    y, half = 0.7 * cage[1] + 0.3, rng.uniform(1.5, 2.0)
    parts = [ellipse(view, 0, y, half, 0.8 * half), 0.5 - np.abs(ellipse(view, 0, y + 0.8 * half + 0.7, 1.3, 1.2))]
    parts += [ellipse(view, 0, y + 0.8 * half + 3.0, 0.4, 1.5)]
    parts += [ellipse(view, side * 2.4, y + 0.8 * half + 0.9, 1.6, 0.4, side * 0.4) for side in SIDES]
    _paint_bone(image, np.max(parts, axis=0), 0.2, view)
    _paint(image, inside(ellipse(view, 0, y + 0.8 * half + 0.7, 0.85, 0.75), view.pixel), 35.0)


def _paint_lungs(
    rng: np.random.Generator,
    image: np.ndarray,
    lung: np.ndarray,
    cage: np.ndarray,
    contrast: float,
    view: View,
    wild: Wild,
) -> np.ndarray:
    """Paint lungs, denser to the back, with their vessels and now and then a lesion; return their mask."""
    size = len(image)
    sheet, draw = make_sheet()
    for side in SIDES:
        for x0, y0, x1, y1, width in vessel_tree(rng, (side * 3.0, 0.05 * cage[1]), side, 0.14 * cage[0]):
            part = rng.uniform(0.0, 0.6) if rng.random() < 0.3 else 0.08  # most cross the slice, few run along it
            stroke(draw, [(x0, y0), (x0 + part * (x1 - x0), y0 + part * (y1 - y0))], 0.9 * width, 1.0)
    air = draw_from(rng, -870, -780, wild.tone, 2.5) + 25 * view.y / cage[1] + 18 * clouds(rng, size, 51)
    cover = inside(lung, view.pixel)
    _paint(image, cover, air)
    _paint(image, cover * as_seen([sheet], view, 0.06), 30 + 0.8 * contrast)
    for _ in range((4 if wild.pathology else 1) * rng.choice([0, 1, 2], p=[0.7, 0.2, 0.1])):
        radius = rng.choice([rng.uniform(0.4, 1.2), rng.uniform(1, 3)])
        x, y = rng.choice(SIDES) * rng.uniform(0.4, 0.8) * cage[0], rng.uniform(-0.5, 0.6) * cage[1]
        lesion = ellipse(view, x, y, radius, radius) + 0.3 * radius * clouds(rng, size, 24)
        _paint(image, cover * inside(lesion, 0.3 * radius), rng.uniform(-500, 40))
    return without_specks(lung > 0, 0.0002)


def _paint_airways(image: np.ndarray, level: float, cage: np.ndarray, view: View) -> np.ndarray:
    """Paint trachea or main bronchi with their walls; return where they are, `(size, size)` bool."""
    air = np.zeros(image.shape, bool)
    if level > 0.5:
        return air
    reach, half = (0, 0.9) if level < 0.36 else (0.9 + 14 * (level - 0.36), 0.65)
    for side in SIDES[: 1 if level < 0.36 else 2]:
        tube = ellipse(view, side * reach, 0.18 * cage[1], 1.1 * half, half)
        _paint(image, inside(tube + 0.15, view.pixel), 30.0)
        _paint(image, inside(tube, view.pixel), -1000.0)
        air |= tube > -0.15
    return air


def _scan(rng: np.random.Generator, image: np.ndarray, wild: float) -> np.ndarray:
    """Return the slice as a scanner gives it: blurred, noisy, cut to the tube's round field now and then, float32."""
    size = len(image)
    image = blur(image, rng.uniform(0.4, 0.8) * size / 256)
    grain = blur(rng.standard_normal(image.shape, dtype=np.float32), rng.uniform(0.4, 0.8))
    image += np.float32(rng.uniform(15, 120 if wild else 60)) * grain
    if rng.random() < 0.4:
        line = np.linspace(-1, 1, size, dtype=np.float32)
        image[np.hypot(line, line[:, None]) > 1] = -1024
    return np.clip(image, -1024, 3071).astype(np.float32)
