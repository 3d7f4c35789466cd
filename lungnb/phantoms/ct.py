"""Draw synthetic axial CT slices in Hounsfield units: body, lungs, airways, and what a scanner makes of them."""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats, Grey, Mask
from lungnb.phantoms.ct_body import DOME_TOPS, CrossSection, dome, paint, paint_body
from lungnb.phantoms.drawing import as_bytes, as_seen, blur, ellipse, inside, make_sheet, stroke, vessel_tree
from lungnb.phantoms.film import distort
from lungnb.phantoms.frame import SIDES, TAME, Phantom, View, Wild, clouds, draw_from, make_view, without_specks

HU_RANGE = (-1024, 3071)  # values that a scanner stores
_AIR_HU, _AIRWAY_WALL_HU, _VESSEL_HU = -1000.0, 30.0, 30.0
_CARINA, _LAST_BRONCHI = 0.36, 0.5  # levels at which the trachea forks, and below which no large airway is drawn
_HILA = (0.35, 0.7)  # levels from the upper lobe's vessels to the lower lung veins
_HEART_TOP = 0.45  # level
_RECESS_TOP = 0.42  # level from which the right lung reaches behind the heart; a little below the fork
_SMALLEST_LUNG = 0.0002  # of the picture; smaller parts of the mask are dropped


def ct_phantom(rng: Generator, size: int = 256, wild: Wild = TAME) -> Phantom:
    """Return a synthetic axial CT slice, float32 `(size, size)`, -1024..3071 HU, and its lung mask.

    The slice lies anywhere from just above the lung tips to just below the lungs, so the mask may be empty. The mask
    includes the lungs' vessels and lesions. It excludes trachea, main bronchi and fluid around the lungs. A `wild`
    slice is uint8, shown through a random window.
    """
    level = rng.uniform(-0.02, 1.02)
    grown = np.sqrt(1 - (1 - np.clip(level / 0.5, 0, 1)) ** 2)
    flat = draw_from(rng, 0.9, 1.15, wild.shape, 1.6)
    cage = np.array([7.0 + 6.5 * grown, (4.2 + 5.3 * grown) * flat])
    fat = rng.uniform(0.2, 6.0) if wild.shape else rng.uniform(0.5, 3.0)
    section = CrossSection(level, cage, fat, _position(rng, 14.5 + fat, size, wild.acquisition))
    lung = _lung_distance(rng, section)
    if wild.pathology and rng.random() < 0.15:  # fluid gathers at the back, and is not lung
        lung = np.minimum(lung, rng.uniform(0.2, 0.9) * cage[1] - section.view.y + 0.3 * clouds(rng, size, 5))
    image = np.full((size, size), _AIR_HU, np.float32)
    contrast_hu = rng.choice([0.0, rng.uniform(60, 200)])
    paint_body(rng, image, section, contrast_hu)
    mask = _paint_lungs(rng, image, lung, section, contrast_hu, wild)
    mask &= ~_paint_airways(image, section)
    image = _scan(rng, image, wild.acquisition)
    if not any(wild):
        return Phantom(image, mask)
    grey, seen = _windowed(rng, image, wild)
    return Phantom(grey, mask & seen)


def _position(rng: Generator, half_cm: float, size: int, wild: float) -> View:
    """Return how the patient, whose half width is `half_cm`, lies in the scanner; a `wild` one may also turn over."""
    if not wild:
        return make_view(rng, size, rng.uniform(2.1, 2.5) * half_cm, rng.normal(0, 0.7, 2), tilt=0.06, bend_cm=0.45)
    width_cm = 2.3 * half_cm * np.exp(rng.uniform(np.log(0.75), np.log(1.6)))
    tilt, bend_cm, stretch = wild * np.array([0.15, rng.uniform(0.2, 0.9), 0.1])
    view = make_view(rng, size, width_cm, rng.normal(0, 0.05, 2) * width_cm, tilt, bend_cm, stretch)
    mirror_x, mirror_y = np.where(rng.random(2) < (0.1, 0.1), -1, 1).astype(np.float32)
    return view._replace(x=mirror_x * view.x, y=mirror_y * view.y)


def _lung_distance(rng: Generator, section: CrossSection) -> Floats:
    """Return the rough distance (cm, positive inside) to the border of both lungs; negative if there are none."""
    level, (a, b), _, view = section
    lungs = ellipse(view, 0, 0, a, b) + 0.35 * clouds(rng, len(view.x), 6)
    between = (1.9 + 1.3 * np.clip(level / 0.4, 0, 1)) * rng.uniform(0.85, 1.15)
    out = [ellipse(view, 0, -0.05 * b, between, 0.7 * b), ellipse(view, 0, 0.78 * b, 3.0, 0.42 * b)]
    out.append(rng.uniform(0.2, 1.6) - np.abs(view.x + rng.normal(0, 0.5)))  # in front the lungs may almost meet
    if _HILA[0] < level < _HILA[1]:  # whose vessels are too thick to count as lung
        out += [ellipse(view, side * between, 0.1 * b, *rng.uniform(0.5, 2.2, 2).tolist()) for side in SIDES]
    if level > _HEART_TOP:
        out.append(_heart(section))
    lungs = np.minimum(lungs, -np.max(out, axis=0))
    if level > _RECESS_TOP:
        lungs = np.maximum(lungs, _recess(rng, section))
    domes = [dome(section, side) for side in SIDES if level > DOME_TOPS[side > 0]]
    if domes:
        lungs = np.minimum(lungs, -np.max(domes, axis=0))
    if level < 0.15:  # the tips are round
        tip = np.sqrt(max(1 - (1 - level / 0.15) ** 2, 0))
        right, left = (ellipse(view, side * 0.6 * a, 0.15 * b, 0.1 + 3.4 * tip, 0.1 + 4.2 * tip) for side in SIDES)
        lungs = np.minimum(lungs, np.maximum(right, left))
    return lungs if 0 < level < 1 else np.full_like(lungs, -9)


def _recess(rng: Generator, section: CrossSection) -> Floats:
    """Return the rough distance (cm, positive inside) to the border of the azygo-oesophageal recess.

    There, the right lung reaches between heart and vertebra to the oesophagus: hardly in some patients, in others over
    the midline. How far is an assumption.
    """
    _, (a, b), _, view = section
    medial, lateral = rng.uniform(-1.8, 0.8), -0.5 * a
    middle, half = (medial + lateral) / 2, (medial - lateral) / 2
    recess = ellipse(view, middle, rng.uniform(0.3, 0.42) * b, half, rng.uniform(1.0, 2.2))
    vertebra, oesophagus = ellipse(view, 0, 0.7 * b + 0.3, 2.1, 1.7), ellipse(view, 0.9, 0.45 * b, 1.0, 0.8)
    out = np.max([_heart(section), vertebra, oesophagus], axis=0)
    return np.asarray(np.minimum(recess + 0.2 * clouds(rng, len(view.x), 10), -out))


def _heart(section: CrossSection) -> Floats:
    """Return the rough distance (cm, positive inside) to the border of the heart, on the patient's left."""
    level, (a, b), _, view = section
    full = np.sqrt(np.clip((level - _HEART_TOP) / 0.25, 0, 1))
    return ellipse(view, 0.12 * a, -0.28 * b, (0.26 + 0.2 * full) * a, (0.3 + 0.16 * full) * b, 0.5)


def _paint_lungs(
    rng: Generator, image: Floats, lung: Floats, section: CrossSection, contrast_hu: float, wild: Wild
) -> Mask:
    """Paint lungs, denser to the back, with their vessels and now and then a lesion; return their mask."""
    size, (a, b), view = len(image), section.cage, section.view
    sheet, draw = make_sheet()
    for side in SIDES:
        for x0, y0, x1, y1, width in vessel_tree(rng, (side * 3.0, 0.05 * b), side, 0.14 * a):
            part = rng.uniform(0.0, 0.6) if rng.random() < 0.3 else 0.08  # most cross the slice, few run along it
            stroke(draw, [(x0, y0), (x0 + part * (x1 - x0), y0 + part * (y1 - y0))], 0.9 * width, 1.0)
    air = draw_from(rng, -870, -780, wild.tone, 2.5) + 25 * view.y / b + 18 * clouds(rng, size, 51)
    cover = inside(lung, view.pixel_cm)
    paint(image, cover, air)
    paint(image, cover * as_seen([sheet], view, 0.06), _VESSEL_HU + 0.8 * contrast_hu)
    for _ in range((4 if wild.pathology else 1) * rng.choice([0, 1, 2], p=[0.7, 0.2, 0.1])):
        radius = rng.choice([rng.uniform(0.4, 1.2), rng.uniform(1, 3)])
        x, y = rng.choice(SIDES) * rng.uniform(0.4, 0.8) * a, rng.uniform(-0.5, 0.6) * b
        lesion = ellipse(view, x, y, radius, radius) + 0.3 * radius * clouds(rng, size, 24)
        paint(image, cover * inside(lesion, 0.3 * radius), rng.uniform(-500, 40))
    return without_specks(lung > 0, _SMALLEST_LUNG)


def _paint_airways(image: Floats, section: CrossSection) -> Mask:
    """Paint trachea or main bronchi with their walls; return where they are."""
    level, (_, b), _, view = section
    air = np.zeros(image.shape, bool)
    if level > _LAST_BRONCHI:
        return air
    is_trachea = level < _CARINA
    reach, half = (0.0, 0.9) if is_trachea else (0.9 + 14 * (level - _CARINA), 0.65)
    for side in SIDES[: 1 if is_trachea else 2]:
        tube = ellipse(view, side * reach, 0.18 * b, 1.1 * half, half)
        paint(image, inside(tube + 0.15, view.pixel_cm), _AIRWAY_WALL_HU)
        paint(image, inside(tube, view.pixel_cm), _AIR_HU)
        air |= tube > -0.15
    return air


def _scan(rng: Generator, image: Floats, wild: float) -> Floats:
    """Return the slice as a scanner gives it, float32: blurred, noisy, now and then cut to its round field."""
    size = len(image)
    image = blur(image, rng.uniform(0.4, 0.8) * size / 256)
    grain = blur(rng.standard_normal(image.shape, dtype=np.float32), rng.uniform(0.4, 0.8))
    image += np.float32(rng.uniform(15, 120 if wild else 60)) * grain
    if rng.random() < 0.4:
        line = np.linspace(-1, 1, size, dtype=np.float32)
        image[np.hypot(line, line[:, None]) > 1] = HU_RANGE[0]
    return np.clip(image, *HU_RANGE).astype(np.float32)


def _windowed(rng: Generator, hounsfield: Floats, wild: Wild) -> tuple[Grey, Mask]:
    """Return a slice through a window, and a mask of where it shows the patient; half of the slices are distorted."""
    middle, width = rng.uniform(-650, 100), np.exp(rng.uniform(np.log(350), np.log(2200)))
    if not wild.tone:
        middle, width = -300, 1400
    grey = np.clip((hounsfield - (middle - width / 2)) / np.float32(width), 0, 1)
    if rng.random() < 0.5:
        return distort(rng, grey, wild)
    return as_bytes(grey), np.ones(grey.shape, bool)
