"""The soft parts of a drawn film, in cm along each ray: air in the lungs, trunk, airways, vessels, fat and gas."""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats
from lungnb.phantoms.anatomy import Patient, edge, floor, wall
from lungnb.phantoms.drawing import as_seen, curve, ellipse, inside, make_sheet, stroke, thickness, vessel_tree
from lungnb.phantoms.frame import SIDES, View, clouds
from lungnb.phantoms.skeleton import arm

_ROUND_CM = 1.3  # from the border of the heart to where it is as thick as in its middle
_STOMACH, _FLEXURE = 0.65, 0.25  # shares of films with gas in the stomach, and in the bowel beside the spleen
_DIAPHRAGM_CM = (0.25, 1.3)  # from lung to gas
_FAT_PADS = 0.4  # share of the angles between heart and diaphragm that hold fat
_PAD_CM = (1.6, 2.6)  # half axes


def air_along(rng: Generator, patient: Patient, view: View, is_detailed: bool) -> Floats:
    """Return the air along each ray (cm), without disease.

    Vessels and heart reduce the depth of the lung by their own thickness, so the lung behind them stays visible.
    Without `is_detailed`, they hide the lung.
    """
    h, air = np.float32(patient.height), np.zeros_like(view.x)
    depth = rng.uniform(0.68, 0.8) * patient.depth * np.clip(0.45 + view.y / (0.55 * h), 0, 1)
    depth = depth * np.sqrt(np.clip(view.y / (0.14 * h) + 0.08, 0, 1))
    behind, sulcus = rng.uniform(0.0, 0.28, 2).tolist() if is_detailed else (0.0, 0.3)  # shares of the depth that stay
    beside_spine = rng.uniform(0.0, 0.25) if is_detailed else 0.0
    veiled = rng.uniform(0.3, 0.95)  # by the great vessels, above the heart
    lower = np.clip((view.y - 0.2 * h) / (0.25 * h), 0, 1)  # from the vessels to the heart
    hidden = veiled + (1 - behind - veiled) * lower
    tip = round_tip(patient, view)
    for side in SIDES:
        reach, outer = side * view.x, wall(patient, view.y, side)
        inner, below = edge(patient, view.y, side), view.y - floor(patient, reach, side)
        lung = depth * np.sqrt(np.clip(1.01 - (reach / outer) ** 2, 0, 1))
        lung *= inside(reach - np.float32(patient.spine), 1.2) * (1 - beside_spine) + beside_spine
        if is_detailed:
            taken = thickness(np.minimum(inner - reach, _ROUND_CM), _ROUND_CM) * hidden
            taken = np.maximum(taken, 0.9 * inside(tip - reach, 0.5))
        else:
            taken = inside(np.maximum(inner, tip) - reach, 0.35)
        under = np.maximum(inside(-below, 0.4), sulcus * np.exp(np.minimum(-below, 0) / np.float32(3)))
        air += lung * (1 - taken) * inside(np.minimum(outer - reach, view.y), 0.3) * under * (reach > 0)
    return air


def round_tip(patient: Patient, view: View) -> Floats:
    """Return how far from the midline (cm) the round tip of the lung begins."""
    up = 1 - np.clip(view.y / np.float32(0.1 * patient.height), 0, 1)
    return np.asarray((patient.tip - 1.6) * (1 - np.sqrt(1 - up**2)) + 1.5)


def trunk(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return neck, shoulders, trunk and breasts."""
    w, h, plump = patient.width, patient.height, rng.uniform(0.5, 4.5)
    raise_cm = 2.0 * (patient.arms > 1.57)
    knots = [(-14, 6.0), (-6, 5.8), (-3.5, 8.0), (-1.0 - raise_cm, 14), (1.5, w + 4), (3.5, w + 5), (0.33 * h, w + 3.5)]
    knots += [(0.5 * h, w + 1 + 0.5 * plump), (0.75 * h, w + 0.8 + 0.6 * plump), (1.5 * h, w + plump)]
    half, d = curve(view.y, knots), patient.depth
    deep = curve(view.y, [(-9, 13), (0, 0.8 * d), (5, 0.95 * d), (0.5 * h, d), (h, 1.0 * d), (1.3 * h, 1.1 * d)])
    body = deep * np.clip(1 - np.abs(view.x / half) ** np.float32(3.5), 0, 1) ** np.float32(0.5)
    if rng.random() < 0.5:
        radius, thick, y = rng.uniform(5, 8), rng.uniform(1, 4.5), rng.uniform(0.6, 0.9) * h
        for side in SIDES:
            turn = side * rng.uniform(0, 0.4)
            breast = ellipse(view, side * rng.uniform(0.55, 0.75) * w, y, radius, radius * 0.85, turn)
            body = body + np.float32(thick) * thickness(breast, radius)
    return np.asarray(body)


def upper_arms(patient: Patient, view: View) -> Floats:
    """Return the flesh of the upper arms."""
    water = np.zeros_like(view.x)
    for side in SIDES:
        x, y = arm(patient, side).mean(0)
        water += 7.5 * thickness(ellipse(view, x, y, 4.3, 14.5, -side * patient.arms), 4.3)
    return water


def airways(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return the air (cm) in trachea and main bronchi.

    The trachea is 1.3 to 2.5 cm wide in men and 1.0 to 2.1 cm in women (Breatnach and others 1984, AJR 142:903).
    """
    carina, half = np.float32(0.3 * patient.height), np.float32(rng.uniform(0.65, 1.0))
    middle = np.float32(0.4 + patient.shift) * np.clip(view.y / carina, -0.2, 1)
    air = 1.8 * thickness(half - np.abs(view.x - middle), 0.8) * inside(carina - view.y, 1.0)
    for side, drop in zip(SIDES, (3.0, 2.2), strict=True):
        x, y = side * 1.8 + 0.3 + patient.shift, float(carina) + 0.5 * drop
        bronchus = ellipse(view, x, y, 2.4, 0.55, side * np.arctan2(drop, 3.4))
        air = np.maximum(air, 1.2 * thickness(bronchus, 0.6))
    return np.asarray(air * inside(view.y + 9, 2))


def lung_vessels(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return the vessels, which branch and fade from the hila outwards; the finest ones are only a texture.

    The left hilum is higher than the right by about 1 cm, which is the lower end of normal (1 to 2 cm: Radiopaedia,
    "Assessment of pulmonary hila on chest x-ray"). The right descending artery is up to 1.6 cm wide, the limit in men.
    Scars pull a hilum up.
    """
    sheet, draw = make_sheet()
    for side in SIDES:
        y = (0.44 if side < 0 else 0.40) * patient.height - patient.pull[side > 0]
        x = side * max(2.8, 0.85 * float(edge(patient, np.array(y), side)))
        for x0, y0, x1, y1, width in vessel_tree(rng, (x, y), side, 0.115 * patient.height):
            stroke(draw, [(x0, y0), (x1, y1)], width, 2.2 * width)
        hilum = [(x, y - 1.8), (x + 0.8 * side, y), (x + 0.9 * side, y + 2.2), (x + 0.5 * side, y + 4.5)]
        stroke(draw, hilum, rng.uniform(1.0, 1.6), rng.uniform(1.2, 2.8))
        for _ in range(rng.integers(2, 7)):  # arteries and veins of the lower lobe, beside the heart
            end = (x + side * rng.uniform(-0.8, 4), rng.uniform(0.7, 1.0) * patient.height)
            half = ((x + end[0]) / 2 + rng.normal(0, 0.5), (y + end[1]) / 2)
            stroke(draw, [(x, y), half, end], rng.uniform(0.2, 0.7), rng.uniform(0.6, 2.0))
        for _ in range(5 if patient.pull[side > 0] else 0):  # strands of a scar
            end = (side * rng.uniform(0.3, 0.8) * patient.width, rng.uniform(0.02, 0.3) * patient.height)
            stroke(draw, [(x, y), end], rng.uniform(0.1, 0.4), rng.uniform(0.5, 1.5))
    grain = 0.25 * clouds(rng, len(view.x), 48) + 0.2 * clouds(rng, len(view.x), 90)
    return rng.uniform(0.8, 2.0) * as_seen([sheet], view, 0.14) + rng.uniform(0.3, 1.1) * grain


def fat_pads(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return the fat (cm) in the angles between heart and diaphragm, which veils lung; see `_FAT_PADS`."""
    fat = np.zeros_like(view.x)
    for side in SIDES:
        x = patient.heart[side > 0] + side * patient.shift + rng.uniform(-0.5, 0.5)
        y = float(floor(patient, np.array(x), side)) + rng.uniform(-0.5, 0.5)
        if rng.random() < _FAT_PADS:
            fat += rng.uniform(0.5, 4) * inside(ellipse(view, side * x, y, _PAD_CM[0], _PAD_CM[1], side * 0.8), 2.5)
    return fat


def bowel_gas(rng: Generator, patient: Patient, view: View) -> Floats:
    """Return the gas (cm) in stomach and bowels under the diaphragm: dark, and no lung."""
    gas = np.zeros_like(view.x)
    if rng.random() < _STOMACH:
        half_x, half_y = rng.uniform((1.6, 0.8), (4.5, 2.6))
        gas = rng.uniform(2, 8) * _bubble(rng, patient, view, rng.uniform(0.3, 0.7), half_x, half_y, 0.0)
    for _ in range(rng.integers(0, 6)):  # the bowels lie mostly under the left dome
        at, (half_x, half_y) = float(np.clip(rng.normal(0.35, 0.45), -0.9, 0.95)), rng.uniform(0.8, 3.0, 2)
        gas = np.maximum(gas, rng.uniform(1, 7) * _bubble(rng, patient, view, at, half_x, half_y, rng.exponential(3)))
    for _ in range(rng.integers(2, 6) if rng.random() < _FLEXURE else 0):  # folds part the gas at the flexure
        at, (half_x, half_y) = rng.uniform(0.5, 0.95), rng.uniform(0.9, 2.4, 2)
        gas = np.maximum(gas, rng.uniform(3, 9) * _bubble(rng, patient, view, at, half_x, half_y, rng.uniform(0, 3)))
    return gas


def _bubble(
    rng: Generator, patient: Patient, view: View, at: float, half_x: float, half_y: float, below_cm: float
) -> Floats:
    """Return how thick (0 to 1) a bubble is, `at` times half the chest's width to the left, `below_cm` under a dome."""
    x = at * patient.width
    top = float(floor(patient, np.array(abs(x)), 1 if x > 0 else -1)) + below_cm + rng.uniform(*_DIAPHRAGM_CM)
    return thickness(ellipse(view, x, top + half_y, half_x, half_y, rng.normal(0, 0.2)), min(half_x, half_y, 1.5))
