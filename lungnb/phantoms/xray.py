"""Synthetic frontal chest X-rays: how much water each ray crosses, part by part (cm); `phantom_film` exposes it."""

from __future__ import annotations

import numpy as np

from lungnb.phantoms.chest import Chest, diaphragm, draw_chest, lateral, medial
from lungnb.phantoms.drawing import (
    SIDES,
    TAME,
    Phantom,
    View,
    Wild,
    as_seen,
    check_size,
    clouds,
    curve,
    ellipse,
    inside,
    make_sheet,
    make_view,
    stroke,
    thickness,
    vessel_tree,
    without_specks,
)
from lungnb.phantoms.film import expose

# Each part of the anatomy is one function.


def xray_phantom(
    rng: np.random.Generator,
    size: int = 256,
    acquisition: np.random.Generator | None = None,
    wild: Wild = TAME,
) -> Phantom:
    """Return a synthetic frontal chest X-ray, uint8 `(size, size)`, bone white, and its lung mask.

    The mask is the lung field as a reader draws it: without heart, mediastinum, what lies under the diaphragm, and what
    fluid hides. `rng` makes the patient; `acquisition` (`rng` unless given) the posture, tone and noise, so that one
    patient can be taken twice. A `wild` one is beyond what is real. Raises ValueError for a `size` under 32 px.
    """
    check_size(size)
    acquisition = acquisition or rng
    chest = draw_chest(rng, wild)
    view = _posture(acquisition, chest, size, wild.acquisition)
    air, mask = _lungs(chest, view)
    soft = np.clip(air / (0.35 * chest.depth), 0, 1)
    water = _trunk(rng, chest, view) - 0.8 * air - _airways(chest, view)
    if not wild.acquisition or rng.random() < 0.8:  # or else the arms are held aside
        water += _arms(chest, view)
    water += _ribs(rng, chest, view) + _spine(rng, chest, view) + _shoulder_girdle(rng, chest, view)
    water += soft * (_lung_vessels(rng, chest, view) + _opacities(rng, chest, view, 3 if wild.pathology else 1))
    water += _breasts(rng, chest, view) - _stomach_bubble(rng, chest, view)
    if wild.pathology:
        water += _devices(rng, chest, view) - _bowel_gas(rng, chest, view)
    image, seen = expose(acquisition, np.maximum(water, 0), chest.depth, wild)
    return Phantom(image, mask & seen)


def _posture(rng: np.random.Generator, chest: Chest, size: int, wild: float) -> View:
    """Return how the patient stands before the film; a `wild` one is cropped, turned, bent, stretched."""
    middle = np.array([0, chest.height * 0.46])
    whole = max(chest.height * 1.25, chest.width * 2.35)
    if not wild:
        centre = middle + rng.normal(0, (0.7, 1.0))
        return make_view(rng, size, whole * rng.uniform(1.03, 1.2), tuple(centre), tilt=0.03, bend=0.35)
    width = whole * np.exp(rng.uniform(np.log(0.8), np.log(1.6)))
    centre = middle + rng.normal(0, 0.06, 2) * width
    tilt, bend, stretch = wild * np.array([0.09, rng.uniform(0.1, 0.7), 0.1])
    view = make_view(rng, size, width, tuple(centre), tilt, bend, stretch)
    return view if rng.random() < 0.95 else view._replace(x=-view.x)  # the heart on the right


def _lungs(chest: Chest, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the air along each ray (cm, also the little behind heart and diaphragm) and the lung field's mask."""
    wall = lateral(chest, view.y)
    depth = 0.78 * chest.depth * np.clip(0.5 + view.y / np.float32(0.6 * chest.height), 0, 1)
    depth = depth * np.sqrt(np.clip(1.01 - (view.x / wall) ** 2, 0, 1))
    # The tips are round, and fade.
    depth = depth * np.sqrt(np.clip(view.y / np.float32(0.15 * chest.height) + 0.1, 0, 1))
    air, mask = np.zeros_like(depth), np.zeros(depth.shape, bool)
    for side in SIDES:
        reach = side * view.x
        inner, floor = medial(chest, view.y, side), diaphragm(chest, reach, side)
        out = np.minimum(wall - reach, view.y)
        beside = 0.4 * np.clip(reach / inner, 0, 1) ** 2  # lung in front of and behind the heart
        beside = np.maximum(beside, inside(reach - inner, 0.35))
        above = np.maximum(inside(floor - view.y, 0.4), 0.3 * np.exp(np.minimum(floor - view.y, 0) / 3))
        air += depth * inside(out, 0.3) * beside * above
        mask |= without_specks((out > 0) & (reach > inner) & (view.y < floor), 0.01)
    return air, mask


def _trunk(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return neck, shoulders and trunk."""
    w, plump = chest.width, rng.uniform(1.0, 3.5)
    knots = [(-12, 5.5), (-5, 6.0), (-2.5, 8.0), (-0.5, 14), (1.5, w + 4.5), (4, w + 6), (7, w + 4.5), (11, w + 1.2)]
    half = curve(view.y, [*knots, (16, w + 0.5 + 0.5 * plump), (34, w + plump)])
    depth = curve(view.y, [(-9, 11), (0, 13), (7, 0.92 * chest.depth), (14, chest.depth), (34, 1.05 * chest.depth)])
    return depth * np.clip(1 - np.abs(view.x / half) ** np.float32(2.6), 0, 1) ** np.float32(0.5)


def _arms(chest: Chest, view: View) -> np.ndarray:
    """Return the flesh of the upper arms, hanging or turned outwards, and the heads of their bones."""
    arms = np.zeros_like(view.x)
    for side in SIDES:
        joint, elbow = _arm(chest, side)
        arms += 7.5 * thickness(ellipse(view, *(joint + elbow) / 2, 4.3, 14.5, -side * chest.arms), 4.3)
        arms += 1.4 * thickness(ellipse(view, joint[0] - 0.4 * side, joint[1] - 0.9, 2.1, 2.6), 1.6)
    return arms


def _arm(chest: Chest, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where (cm) shoulder joint and elbow of one side are."""
    joint = np.array([side * (chest.width + 4.0), 4.0])
    return joint, joint + 24 * np.array([side * np.sin(chest.arms), np.cos(chest.arms)])


def _airways(chest: Chest, view: View) -> np.ndarray:
    """Return the air (cm) in trachea and main bronchi."""
    carina = np.float32(0.33 * chest.height)
    air = 2.2 * thickness(0.85 - np.abs(view.x + 0.03 * view.y), 0.85) * inside(carina - view.y, 1.0)
    for side, drop in zip(SIDES, (3.2, 2.4), strict=True):
        bronchus = ellipse(view, side * 1.6 - 0.2, carina + 0.5 * drop, 2.4, 0.6, side * np.arctan2(drop, 3.4))
        air = np.maximum(air, 1.3 * thickness(bronchus, 0.6))
    return air


def _ribs(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the ribs: rings tilted forwards and down, so that each is seen as a back arch and a front arch."""
    wall = lateral(chest, np.maximum(view.y, 0.03 * chest.height)) + 0.5
    across = np.minimum(np.abs(view.x) / wall, 1)
    bow = np.sqrt(1 - across**2)
    spacing, tilt = chest.height / rng.uniform(8.3, 9.6), rng.uniform(2.6, 4.2)
    strength, steep = rng.uniform(1.5, 2.4), np.minimum(tilt * across / (wall * np.maximum(bow, 0.1)), 2.5)
    bones = np.zeros_like(view.x)
    for front, half, count in ((-1, 0.55, 11), (1, 0.7, 7)):
        lift = np.float32(front * tilt) * (bow if front < 0 else 1.5 * bow**1.2)
        number = (view.y - lift + 0.2 * spacing + 0.12 * clouds(rng, len(bow), 8)) / np.float32(spacing) + 1
        off = np.abs(number % 1 - 0.5) * np.float32(spacing) / np.hypot(1, steep)
        bone = thickness(half - off, half) - 0.55 * thickness(0.7 * half - off, 0.7 * half)
        ends = inside(across - (0.13 if front < 0 else 0.42), 0.02 if front < 0 else 0.25)
        along_ray = (1.0 if front < 0 else 0.7) / np.maximum(bow, 0.4)  # at the sides a ray runs along the rib
        bones += bone * ends * along_ray * ((number >= 1) & (number < 1 + count))
    seen = inside(wall - np.abs(view.x), 0.2) * inside(view.y + 0.5, 2) * inside(chest.height + 1 - view.y, 8)
    return np.float32(strength) * bones * seen


def _spine(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the vertebrae: bodies and the discs between them, pedicles, spinous processes."""
    period, half = chest.height / rng.uniform(9.5, 11), 1.6 + 0.02 * view.y
    bend = rng.normal(0, 0.25) * np.sin(view.y / np.float32(6))
    reach, along = np.abs(view.x + bend), (view.y / np.float32(period)) % 1 - 0.5
    body = thickness(half - reach, 1.8) * (1.9 - 0.7 * np.exp(-(((np.abs(along) - 0.5) * period / 0.22) ** 2)))
    pedicle = np.exp(-(((reach - 1.1) / 0.35) ** 2) - ((along + 0.1) * period / 0.5) ** 2)
    spinous = np.exp(-((reach / 0.3) ** 2) - ((along - 0.2) * period / 0.7) ** 2)
    return rng.uniform(0.8, 1.2) * (body + 0.9 * pedicle + 0.9 * spinous)


def _shoulder_girdle(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return clavicles, upper arms' shafts and shoulder blades, these more or less turned out of the lung fields."""
    (clavicles, draw), (blades, draw_blades) = make_sheet(), make_sheet()
    w, turned, lift, dense = chest.width, rng.uniform(-1.5, 2.5), rng.normal(0.7, 0.8), rng.uniform(0.7, 1.3)
    knots = [(1.8, 3.6), (0.3 * w, 3.2), (0.6 * w, 1.4), (0.85 * w, 0.2), (w + 3, 0.6)]
    reach = np.linspace(1.8, w + 3, 25)
    outline = [(w + 2.3, 3.2), (w - 3, 0.8), (w - 3.4, 2), (w - 2.2, 8), (w - 0.6, 13.5), (w + 0.2, 13)]
    for side in SIDES:
        bone = np.column_stack([side * reach, curve(reach, knots) + lift * (reach / w)])
        stroke(draw, bone, 1.25, 2.5)  # the compact bone, and in it the spongy
        stroke(draw, bone, 0.7, 1.8)
        blade = np.add(outline, (turned, lift)) * (side, 1)
        stroke(draw_blades, blade, 0, 0.6 * dense, area=True)
        stroke(draw_blades, blade[[0, 5, 4, 3, 2]], 0.5, 1.2 * dense)
        stroke(draw_blades, [blade[2], (side * (w + 4), 1.2)], 0.8, 1.3 * dense)
        stroke(draw_blades, _arm(chest, side), 2.2, 2.0)
        stroke(draw_blades, _arm(chest, side), 1.2, 1.4)
    return as_seen([clavicles, blades], view, 0.15)


def _lung_vessels(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the vessels, branching and fading from the hila outwards, and the finest, which are mere texture."""
    sheet, draw = make_sheet()
    for side in SIDES:
        root = (side * 3.0, chest.height * (0.48 if side < 0 else 0.45))
        for x0, y0, x1, y1, width in vessel_tree(rng, root, side, 0.115 * chest.height):
            stroke(draw, [(x0, y0), (x1, y1)], width, 2.5 * width)
        stroke(draw, [(root[0], root[1] - 1.2), (root[0] + 0.4 * side, root[1] + 1.5)], 1.3, 1.6)
    grain = clouds(rng, len(view.x), 48)
    return rng.uniform(1.0, 1.6) * as_seen([sheet], view, 0.12) + 0.2 * grain


def _opacities(rng: np.random.Generator, chest: Chest, view: View, most: int) -> np.ndarray:
    """Return nodules and cloudy patches; most lungs have none, unless `most` is above 1."""
    cloudy = np.zeros_like(view.x)
    for _ in range(most * rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1])):
        radius = rng.choice([rng.uniform(0.5, 1.2), rng.uniform(1.5, 4)])
        x, y = rng.choice(SIDES) * rng.uniform(4, 10), rng.uniform(0.1, 0.8) * chest.height
        patch = ellipse(view, x, y, radius, radius * rng.uniform(0.7, 1.4))
        patch += 0.3 * radius * clouds(rng, len(cloudy), 24)  # a ragged border
        cloudy += rng.uniform(1, 3.5) * inside(patch, 1.2 * radius)
    return cloudy


def _breasts(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return breast shadows, for half of the patients."""
    radius, thick = rng.uniform(5, 7.5), rng.uniform(1, 4) * (rng.random() < 0.5)
    y, shadow = rng.uniform(0.62, 0.75) * chest.height, np.zeros_like(view.x)
    if thick:
        for side in SIDES:
            shadow += thick * thickness(ellipse(view, side * 0.6 * chest.width, y, radius, radius * 0.85), radius)
    return shadow


def _stomach_bubble(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the gas (cm) in the stomach, under the left dome: dark, and no lung; two patients in three have it."""
    x, radius, gas = rng.uniform(0.35, 0.6) * chest.width, rng.uniform(1.2, 3), rng.uniform(3, 8)
    below = rng.uniform(0.5, 1.5) + 0.7 * radius
    if rng.random() < 0.35:
        return np.zeros_like(view.x)
    y = float(diaphragm(chest, np.array(x), 1)) + below
    return gas * thickness(ellipse(view, x, y, radius * 1.3, 0.7 * radius), 0.7 * radius)


def _bowel_gas(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the gas (cm) of bowels under the diaphragm: dark, and no lung."""
    gas = np.zeros_like(view.x)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(-0.9, 0.9) * chest.width, chest.height * rng.uniform(1.0, 1.4)
        bubble = ellipse(view, x, y, *rng.uniform(0.8, 3, 2), rng.uniform(0, 3.14))
        gas = np.maximum(gas, rng.uniform(1, 6) * thickness(bubble, 1.5))
    return gas * inside(view.y - chest.height + 1, 1.0)


def _devices(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return wires, tubes, electrodes and a pacemaker, each in some of the patients."""
    sheet, draw = make_sheet()
    for _ in range(rng.poisson(0.7)):  # wires and tubes, from somewhere above to somewhere below
        knots = np.column_stack(
            [rng.uniform(-1, 1, 4) * chest.width, np.sort(rng.uniform(-0.3, 1.2, 4)) * chest.height]
        )
        at = np.linspace(knots[0, 1], knots[-1, 1], 30)
        stroke(draw, np.column_stack([curve(at, knots[:, ::-1]), at]), rng.uniform(0.1, 0.5), rng.uniform(0.4, 2.5))
    for _ in range(rng.poisson(0.5)):  # electrodes, buttons
        x, y, radius = rng.uniform(-1, 1) * chest.width, rng.uniform(0, 1.1) * chest.height, rng.uniform(0.3, 1.0)
        turn = np.linspace(0, 6.28, 12)
        stroke(draw, np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)]), 0, 2.0, area=True)
    if rng.random() < 0.08:
        x, y = rng.choice(SIDES) * rng.uniform(0.45, 0.8) * chest.width, rng.uniform(0.1, 0.3) * chest.height
        box = np.array([(-2.2, -1.4), (1.6, -1.8), (2.2, 1.2), (-1.8, 1.7)]) * rng.uniform(0.7, 1.2)
        stroke(draw, box + np.array([x, y]), 0, 2.5, area=True)
    return rng.uniform(1, 6) * as_seen([sheet], view, 0.08)
