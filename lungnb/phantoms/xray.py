"""Draw synthetic frontal chest X-rays: add up the water (cm) that each ray crosses; `expose` makes the film of it."""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats, Mask
from lungnb.phantoms.chest import Chest, arms, diaphragm, draw_chest, lateral, medial, ribs, shoulder_girdle, spine
from lungnb.phantoms.drawing import as_seen, curve, ellipse, inside, make_sheet, stroke, thickness, vessel_tree
from lungnb.phantoms.film import expose
from lungnb.phantoms.frame import SIDES, TAME, Phantom, View, Wild, clouds, make_view, without_specks

_SMALLEST_LUNG = 0.01  # of the picture; smaller parts of a lung's mask are dropped


def xray_phantom(rng: Generator, size: int, acquisition: Generator, wild: Wild = TAME) -> Phantom:
    """Return a synthetic frontal chest X-ray, uint8 `(size, size)`, bone white, and its lung mask.

    The mask is the lung field as a reader draws it: without heart, mediastinum, and the parts that lie under the
    diaphragm or that fluid hides. `rng` makes the patient. `acquisition` makes posture, tone and noise, so that one
    patient can be taken twice.
    """
    chest = draw_chest(rng, wild)
    view = _posture(acquisition, chest, size, wild.acquisition)
    air, mask = _lungs(chest, view)
    soft = np.clip(air / (0.35 * chest.depth), 0, 1)
    water = _trunk(rng, chest, view) - 0.8 * air - _airways(chest, view)
    if not wild.acquisition or rng.random() < 0.8:  # or else the arms are held aside
        water += arms(chest, view)
    water += ribs(rng, chest, view) + spine(rng, chest, view) + shoulder_girdle(rng, chest, view)
    water += soft * (_lung_vessels(rng, chest, view) + _opacities(rng, chest, view, 3 if wild.pathology else 1))
    water += _breasts(rng, chest, view) - _stomach_bubble(rng, chest, view)
    if wild.pathology:
        water += _devices(rng, chest, view) - _bowel_gas(rng, chest, view)
    image, seen = expose(acquisition, np.maximum(water, 0), chest.depth, wild)
    return Phantom(image, mask & seen)


def _posture(rng: Generator, chest: Chest, size: int, wild: float) -> View:
    """Return how the patient stands in front of the film; a `wild` one is cropped, turned, bent and stretched."""
    middle = np.array([0, chest.height * 0.46])
    whole = max(chest.height * 1.25, chest.width * 2.35)
    if not wild:
        centre = middle + rng.normal(0, (0.7, 1.0))
        return make_view(rng, size, whole * rng.uniform(1.03, 1.2), centre, tilt=0.03, bend_cm=0.35)
    width = whole * np.exp(rng.uniform(np.log(0.8), np.log(1.6)))
    centre = middle + rng.normal(0, 0.06, 2) * width
    tilt, bend, stretch = wild * np.array([0.09, rng.uniform(0.1, 0.7), 0.1])
    view = make_view(rng, size, width, centre, tilt, bend, stretch)
    return view if rng.random() < 0.95 else view._replace(x=-view.x)  # the heart on the right


def _lungs(chest: Chest, view: View) -> tuple[Floats, Mask]:
    """Return the air along each ray (cm, also the little behind heart and diaphragm) and the lung field's mask."""
    wall = lateral(chest, view.y)
    depth = 0.78 * chest.depth * np.clip(0.5 + view.y / np.float32(0.6 * chest.height), 0, 1)
    depth = depth * np.sqrt(np.clip(1.01 - (view.x / wall) ** 2, 0, 1))
    depth = depth * np.sqrt(np.clip(view.y / np.float32(0.15 * chest.height) + 0.1, 0, 1))  # the tips fade
    air, mask = np.zeros_like(depth), np.zeros(depth.shape, bool)
    for side in SIDES:
        reach = side * view.x
        inner, floor = medial(chest, view.y, side), diaphragm(chest, reach, side)
        out = np.minimum(wall - reach, view.y)
        beside = 0.4 * np.clip(reach / inner, 0, 1) ** 2  # lung in front of and behind the heart
        beside = np.maximum(beside, inside(reach - inner, 0.35))
        above = np.maximum(inside(floor - view.y, 0.4), 0.3 * np.exp(np.minimum(floor - view.y, 0) / 3))
        air += depth * inside(out, 0.3) * beside * above
        mask |= without_specks((out > 0) & (reach > inner) & (view.y < floor), _SMALLEST_LUNG)
    return air, mask


def _trunk(rng: Generator, chest: Chest, view: View) -> Floats:
    w, plump = chest.width, rng.uniform(1.0, 3.5)
    knots = [(-12, 5.5), (-5, 6.0), (-2.5, 8.0), (-0.5, 14), (1.5, w + 4.5), (4, w + 6), (7, w + 4.5), (11, w + 1.2)]
    half = curve(view.y, [*knots, (16, w + 0.5 + 0.5 * plump), (34, w + plump)])
    depth = curve(view.y, [(-9, 11), (0, 13), (7, 0.92 * chest.depth), (14, chest.depth), (34, 1.05 * chest.depth)])
    return np.asarray(depth * np.clip(1 - np.abs(view.x / half) ** np.float32(2.6), 0, 1) ** np.float32(0.5))


def _airways(chest: Chest, view: View) -> Floats:
    """Return the air (cm) in trachea and main bronchi."""
    carina = np.float32(0.33 * chest.height)
    air = 2.2 * thickness(0.85 - np.abs(view.x + 0.03 * view.y), 0.85) * inside(carina - view.y, 1.0)
    for side, drop in zip(SIDES, (3.2, 2.4), strict=True):
        bronchus = ellipse(view, side * 1.6 - 0.2, float(carina + 0.5 * drop), 2.4, 0.6, side * np.arctan2(drop, 3.4))
        air = np.maximum(air, 1.3 * thickness(bronchus, 0.6))
    return np.asarray(air)


def _lung_vessels(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return the vessels, which branch and fade from the hila outwards; the finest ones are only a texture."""
    sheet, draw = make_sheet()
    for side in SIDES:
        root = (side * 3.0, chest.height * (0.48 if side < 0 else 0.45))
        for x0, y0, x1, y1, width in vessel_tree(rng, root, side, 0.115 * chest.height):
            stroke(draw, [(x0, y0), (x1, y1)], width, 2.5 * width)
        stroke(draw, [(root[0], root[1] - 1.2), (root[0] + 0.4 * side, root[1] + 1.5)], 1.3, 1.6)
    grain = clouds(rng, len(view.x), 48)
    return rng.uniform(1.0, 1.6) * as_seen([sheet], view, 0.12) + 0.2 * grain


def _opacities(rng: Generator, chest: Chest, view: View, most: int) -> Floats:
    """Return nodules and cloudy patches; most lungs have none, unless `most` is above 1."""
    cloudy = np.zeros_like(view.x)
    for _ in range(most * rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1])):
        radius = rng.choice([rng.uniform(0.5, 1.2), rng.uniform(1.5, 4)])
        x, y = rng.choice(SIDES) * rng.uniform(4, 10), rng.uniform(0.1, 0.8) * chest.height
        patch = ellipse(view, x, y, radius, radius * rng.uniform(0.7, 1.4))
        patch += 0.3 * radius * clouds(rng, len(cloudy), 24)  # a ragged border
        cloudy += rng.uniform(1, 3.5) * inside(patch, 1.2 * radius)
    return cloudy


def _breasts(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return breast shadows, for half of the patients."""
    radius, thick = rng.uniform(5, 7.5), rng.uniform(1, 4) * (rng.random() < 0.5)
    y, shadow = rng.uniform(0.62, 0.75) * chest.height, np.zeros_like(view.x)
    if thick:
        for side in SIDES:
            shadow += thick * thickness(ellipse(view, side * 0.6 * chest.width, y, radius, radius * 0.85), radius)
    return shadow


def _stomach_bubble(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return the gas (cm) in the stomach, under the left dome: dark, and no lung; two patients in three have it."""
    x, radius, gas = rng.uniform(0.35, 0.6) * chest.width, rng.uniform(1.2, 3), rng.uniform(3, 8)
    below = rng.uniform(0.5, 1.5) + 0.7 * radius
    if rng.random() < 0.35:
        return np.zeros_like(view.x)
    y = float(diaphragm(chest, np.array(x), 1)) + below
    return gas * thickness(ellipse(view, x, y, radius * 1.3, 0.7 * radius), 0.7 * radius)


def _bowel_gas(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return the gas (cm) of bowels under the diaphragm: dark, and no lung."""
    gas = np.zeros_like(view.x)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(-0.9, 0.9) * chest.width, chest.height * rng.uniform(1.0, 1.4)
        half_x, half_y = rng.uniform(0.8, 3, 2)
        bubble = ellipse(view, x, y, half_x, half_y, rng.uniform(0, 3.14))
        gas = np.maximum(gas, rng.uniform(1, 6) * thickness(bubble, 1.5))
    return gas * inside(view.y - chest.height + 1, 1.0)


def _devices(rng: Generator, chest: Chest, view: View) -> Floats:
    """Return wires, tubes, electrodes and a pacemaker, each in some of the patients."""
    sheet, draw = make_sheet()
    for _ in range(rng.poisson(0.7)):  # wires and tubes, from somewhere above to somewhere below
        across, down = rng.uniform(-1, 1, 4) * chest.width, np.sort(rng.uniform(-0.3, 1.2, 4)) * chest.height
        at = np.linspace(down[0], down[-1], 30)
        line = np.column_stack([curve(at, np.column_stack([down, across])), at])
        stroke(draw, line, rng.uniform(0.1, 0.5), rng.uniform(0.4, 2.5))
    for _ in range(rng.poisson(0.5)):  # electrodes, buttons
        x, y, radius = rng.uniform(-1, 1) * chest.width, rng.uniform(0, 1.1) * chest.height, rng.uniform(0.3, 1.0)
        turn = np.linspace(0, 6.28, 12)
        stroke(draw, np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)]), 0, 2.0, area=True)
    if rng.random() < 0.08:
        x, y = rng.choice(SIDES) * rng.uniform(0.45, 0.8) * chest.width, rng.uniform(0.1, 0.3) * chest.height
        box = np.array([(-2.2, -1.4), (1.6, -1.8), (2.2, 1.2), (-1.8, 1.7)]) * rng.uniform(0.7, 1.2)
        stroke(draw, box + np.array([x, y]), 0, 2.5, area=True)
    return rng.uniform(1, 6) * as_seen([sheet], view, 0.08)
