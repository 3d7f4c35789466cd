"""Synthetic frontal chest X-rays: how much water each ray crosses, part by part (cm), and what a film makes of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lungnb.phantom_drawing import (
    SIDES,
    Phantom,
    View,
    as_seen,
    blur,
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

# Each part of the anatomy is one function. The frame's origin is the midline at the height of the lung tips.


class Chest(NamedTuple):
    """One patient's measures (cm), as an X-ray needs them."""

    width: float  # midline to the inner side of the ribs
    height: float  # lung tip to costophrenic angle
    depth: float  # of the trunk, front to back
    heart: float  # midline to the heart's left border
    tip: float  # midline to the lung's tip
    domes: tuple[float, float]  # of the diaphragm above the costophrenic angles, right and left
    arms: float  # how far the arms are turned out (rad)


def xray_phantom(rng: np.random.Generator, size: int = 256, acquisition: np.random.Generator | None = None) -> Phantom:
    """Return a synthetic frontal chest X-ray, uint8 `(size, size)`, bone white, and its lung mask.

    The mask is the lung field as a reader draws it: without heart, mediastinum and what lies under the diaphragm.
    `rng` makes the patient; `acquisition` (`rng` unless given) the posture, tone and noise, so that one patient can be
    taken twice. Raises ValueError for a `size` under 32 px.
    """
    check_size(size)
    acquisition = acquisition or rng
    chest = _draw_chest(rng)
    centre = chest.height * 0.46 + acquisition.normal(0, 1.0)
    width = max(chest.height * 1.25, chest.width * 2.35) * acquisition.uniform(1.03, 1.2)
    view = make_view(acquisition, size, width, (acquisition.normal(0, 0.7), centre), tilt=0.03, bend=0.35)
    air, mask = _lungs(chest, view)
    soft = np.clip(air / (0.35 * chest.depth), 0, 1)
    water = _trunk(rng, chest, view) - 0.8 * air - _airways(chest, view) + _arms(chest, view)
    water += _ribs(rng, chest, view) + _spine(rng, chest, view) + _shoulder_girdle(rng, chest, view)
    water += soft * (_lung_vessels(rng, chest, view) + _opacities(rng, chest, view))
    water += _breasts(rng, chest, view) - _stomach_bubble(rng, chest, view)
    return Phantom(_expose(acquisition, np.maximum(water, 0), chest.depth), mask)


def _draw_chest(rng: np.random.Generator) -> Chest:
    """Return a random patient's measures."""
    width = rng.uniform(11.5, 14.5)
    height = width * rng.uniform(1.55, 2.0)
    dome = rng.uniform(0.12, 0.22) * height
    domes = (dome, dome - rng.uniform(0.4, 1.8))  # the liver lifts the right one
    heart, tip = width * rng.uniform(0.5, 0.7), width * rng.uniform(0.38, 0.46)
    return Chest(width, height, rng.uniform(17, 25), heart, tip, domes, rng.uniform(0.15, 0.7))


def _lateral(chest: Chest, y: np.ndarray) -> np.ndarray:
    """Return how far from the midline (cm) the lung meets the ribs at the heights `y`."""
    rise = np.clip(y / np.float32(0.8 * chest.height), 0, 1)
    return chest.tip + (chest.width - chest.tip) * (1 - (1 - rise) ** 2.3) ** np.float32(0.55)


def _medial(chest: Chest, y: np.ndarray, side: int) -> np.ndarray:
    """Return how far from the midline (cm) mediastinum and heart reach to one side at the heights `y`."""
    h, heart = chest.height, chest.heart
    if side < 0:  # great vessels, superior vena cava, hilum, right atrium
        knots = [(0, 2.2), (0.25, 2.4), (0.45, 2.9), (0.6, 3.3), (0.76, 0.5 * heart + 0.6), (0.95, 0.5 * heart)]
    else:  # great vessels, aortic knob, window, pulmonary trunk, left ventricle
        knots = [(0, 2.0), (0.17, 2.1), (0.27, 3.2), (0.36, 2.7), (0.45, 3.5), (0.6, 0.74 * heart)]
        knots += [(0.7, 0.92 * heart), (0.82, heart), (0.95, 0.93 * heart)]
    border = curve(y, [(at * h, reach) for at, reach in knots])
    round_tip = 1 - np.sqrt(1 - (1 - np.clip(y / np.float32(0.15 * h), 0, 1)) ** 2)
    return border + (chest.tip - 2.0) * round_tip


def _diaphragm(chest: Chest, reach: np.ndarray, side: int) -> np.ndarray:
    """Return the height `y` (cm) of the diaphragm at a distance `reach` (cm) from the midline, to one side."""
    summit = 0.48 * chest.width
    outward = np.clip((reach - summit) / (chest.width - summit), 0, 1.05) ** np.float32(2.3)
    inward = 0.3 * np.clip((summit - reach) / summit, 0, 1) ** 2
    return chest.height - np.float32(chest.domes[side > 0]) * (1 - outward - inward)


def _lungs(chest: Chest, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the air along each ray (cm, also the little behind heart and diaphragm) and the lung field's mask."""
    lateral = _lateral(chest, view.y)
    depth = 0.78 * chest.depth * np.clip(0.5 + view.y / np.float32(0.6 * chest.height), 0, 1)
    depth = depth * np.sqrt(np.clip(1.01 - (view.x / lateral) ** 2, 0, 1))
    air, mask = np.zeros_like(depth), np.zeros(depth.shape, bool)
    for side in SIDES:
        reach = side * view.x
        medial, floor = _medial(chest, view.y, side), _diaphragm(chest, reach, side)
        out = np.minimum(lateral - reach, view.y)
        beside = 0.4 * np.clip(reach / medial, 0, 1) ** 2  # lung in front of and behind the heart
        beside = np.maximum(beside, inside(reach - medial, 0.35))
        above = np.maximum(inside(floor - view.y, 0.4), 0.3 * np.exp(np.minimum(floor - view.y, 0) / 3))
        air += depth * inside(out, 0.3) * beside * above
        mask |= without_specks((out > 0) & (reach > medial) & (view.y < floor), 0.01)
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
    wall = _lateral(chest, np.maximum(view.y, 0.03 * chest.height)) + 0.5
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
    return as_seen(clavicles, view, 0.12) + as_seen(blades, view, 0.2)


def _lung_vessels(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the vessels, branching and fading from the hila outwards, and the finest, which are mere texture."""
    sheet, draw = make_sheet()
    for side in SIDES:
        root = (side * 3.0, chest.height * (0.48 if side < 0 else 0.45))
        for x0, y0, x1, y1, width in vessel_tree(rng, root, side, 0.115 * chest.height):
            stroke(draw, [(x0, y0), (x1, y1)], width, 2.5 * width)
        stroke(draw, [(root[0], root[1] - 1.2), (root[0] + 0.4 * side, root[1] + 1.5)], 1.3, 1.6)
    grain = clouds(rng, len(view.x), 48)
    return rng.uniform(1.0, 1.6) * as_seen(sheet, view, 0.12) + 0.2 * grain


def _opacities(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return nodules and cloudy patches; most lungs have none."""
    cloudy = np.zeros_like(view.x)
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1])):
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
    y = float(_diaphragm(chest, np.array(x), 1)) + below
    return gas * thickness(ellipse(view, x, y, radius * 1.3, 0.7 * radius), 0.7 * radius)


def _expose(rng: np.random.Generator, water: np.ndarray, depth: float) -> np.ndarray:
    """Return the film: scatter, uneven exposure, tone, blur, noise, collimator and marker, uint8."""
    size = len(water)
    wide = blur(water, size / 9)
    water = water + rng.uniform(0.0, 0.25) * wide - rng.uniform(0, 0.4) * (wide - wide.mean())
    water = water + 0.03 * depth * clouds(rng, size, 2)
    black, white = rng.uniform(0.15, 0.33) * depth, rng.uniform(0.85, 1.15) * depth
    grey = np.clip((water - black) / np.float32(white - black), 0, 1) ** np.float32(rng.uniform(0.8, 1.5))
    grey += rng.uniform(0, 0.8) * grey * (1 - grey) * (2 * grey - 1)  # a film's S-shaped response
    grey = blur(grey, rng.uniform(0.3, 0.8) * size / 256)
    noise = rng.standard_normal(grey.shape, dtype=np.float32)
    grey += np.float32(rng.uniform(0.004, 0.025)) * (noise if rng.random() < 0.5 else 1.5 * blur(noise, 0.6))
    grey = grey * rng.uniform(0.85, 1) + rng.uniform(0, 0.06)
    grey = np.where(_open_field(rng, size), grey, rng.uniform(0, 0.05))
    return np.rint(np.clip(_marker(rng, grey), 0, 1) * 255).astype(np.uint8)


def _open_field(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return what the collimator leaves open, `(size, size)` bool: now and then all but a dark margin."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    slant = rng.normal(0, 0.02)
    edges = np.where(rng.random(4) < 0.35, rng.uniform(0.92, 0.99, 4), 2)
    x, y = line + slant * line[:, None], line[:, None] - slant * line
    return (x < edges[0]) & (x > -edges[1]) & (y < edges[2]) & (y > -edges[3])


def _marker(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Return the film with a lead letter in an upper corner: R on the patient's right, or L on the left."""
    size, letter = len(grey), rng.choice(["R", "L", ""], p=[0.5, 0.3, 0.2])
    x = rng.uniform(0.03, 0.12) if letter == "R" else rng.uniform(0.84, 0.92)
    place = (x * size, rng.uniform(0.02, 0.15) * size)
    sheet = Image.new("L", (size, size))
    draw = ImageDraw.Draw(sheet)
    draw.text(place, str(letter), fill=255, font=ImageFont.load_default(size=rng.uniform(0.04, 0.08) * size))
    return np.maximum(grey, np.asarray(sheet) / np.float32(255) * rng.uniform(0.75, 1))
