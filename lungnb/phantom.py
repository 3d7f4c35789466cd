"""Synthetic chest X-rays and axial CT slices with exact lung masks, from a random generator.

Nothing here is drawn by hand or taken from a patient. An X-ray is a sum of path lengths: how many centimetres of
water each ray crosses, part by part, and what a film makes of that. A CT slice is painted in Hounsfield units, part
over part. Each part of the anatomy is one function. All work in the patient's frame, in cm: `x` to the picture's right
(which is the patient's left), `y` downwards; the X-ray's origin is the midline at the height of the lung tips, the CT
slice's the middle of the rib cage.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage
from scipy.interpolate import PchipInterpolator
from tqdm import tqdm

from lungnb.files import written

KINDS = ("xray", "ct")
SIDES = (-1, 1)  # picture left (the patient's right), picture right
_DOME_TOPS = (0.72, 0.79)  # the CT levels at which the diaphragm comes up, right and left
_SHEET, _SHEET_SCALE, _SHEET_ORIGIN = 480, 10.0, (24.0, 14.0)  # what strokes are drawn on: px, px/cm, cm to x, y = 0


class Phantom(NamedTuple):
    """A synthetic image and its exact lung mask.

    Attributes:
        image: `(size, size)`; uint8 for an X-ray, float32 in Hounsfield units for a CT slice.
        mask: `(size, size)`, bool; true on the lungs.
    """

    image: np.ndarray
    mask: np.ndarray


class View(NamedTuple):
    """Where in the patient each pixel lies: `x`, `y` (cm), both `(size, size)` float32, and the pixel's width (cm)."""

    x: np.ndarray
    y: np.ndarray
    pixel: float


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
    _check(size)
    acquisition = acquisition or rng
    chest = _draw_chest(rng)
    centre = chest.height * 0.46 + acquisition.normal(0, 1.0)
    width = max(chest.height * 1.25, chest.width * 2.35) * acquisition.uniform(1.03, 1.2)
    view = _view(acquisition, size, width, (acquisition.normal(0, 0.7), centre), tilt=0.03, bend=0.35)
    air, mask = _lungs(chest, view)
    soft = np.clip(air / (0.35 * chest.depth), 0, 1)
    water = _trunk(rng, chest, view) - 0.8 * air - _airways(chest, view) + _arms(chest, view)
    water += _ribs(rng, chest, view) + _spine(rng, chest, view) + _shoulder_girdle(rng, chest, view)
    water += soft * (_lung_vessels(rng, chest, view) + _opacities(rng, chest, view))
    water += _breasts(rng, chest, view) - _stomach_bubble(rng, chest, view)
    return Phantom(_expose(acquisition, np.maximum(water, 0), chest.depth), mask)


def ct_phantom(rng: np.random.Generator, size: int = 256) -> Phantom:
    """Return a synthetic axial CT slice, float32 `(size, size)`, -1024..3071 HU, and its lung mask.

    The slice lies anywhere from just above the lung tips to just below the lungs, so that the mask may be empty. The
    mask holds the lungs' vessels and lesions; trachea and main bronchi are left out. Raises ValueError for a `size`
    under 32 px.
    """
    _check(size)
    level = rng.uniform(-0.02, 1.02)  # 0 at the lung tips, 1 at the bases
    grown = np.sqrt(1 - (1 - np.clip(level / 0.5, 0, 1)) ** 2)
    cage = np.array([7.0 + 6.5 * grown, (4.2 + 5.3 * grown) * rng.uniform(0.88, 1.05)])  # half axes (cm)
    fat = rng.uniform(0.5, 3.0)
    view = _view(rng, size, rng.uniform(2.1, 2.5) * (14.5 + fat), rng.normal(0, 0.7, 2), tilt=0.06, bend=0.45)
    lung = _ct_lungs(rng, level, cage, view)
    image = np.full((size, size), -1000.0, np.float32)
    contrast = rng.choice([0.0, rng.uniform(60, 200)])
    _paint_wall(rng, image, level, cage, fat, view)
    _paint_mediastinum(rng, image, level, cage, contrast, view)
    _paint_abdomen(rng, image, level, cage, view)
    _paint_spine(rng, image, cage, view)
    mask = _paint_lungs(rng, image, lung, cage, contrast, view)
    mask &= ~_paint_airways(image, level, cage, view)
    return Phantom(_scan(rng, image), mask)


def make_phantom(index: int, seed: int = 1, kind: str = "xray", size: int = 256) -> Phantom:
    """Return phantom number `index` (0 or more) of the series `seed`: always the same one, whatever came before.

    Raises ValueError for a `kind` other than "xray" and "ct", and for negative numbers.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, not {index} and {seed}.")
    if kind == "ct":
        return ct_phantom(np.random.default_rng([seed, index]), size)
    return _patient_xray(index, 1, seed, size)


def write_phantoms(
    folder: str | Path,
    count: int = 120,
    seed: int = 1,
    size: int = 256,
    progress: bool = True,
    workers: int | None = None,
) -> None:
    """Write `count` X-rays to `folder/images` and their masks (0 and 255) to `folder/masks`, 8-bit greyscale BMP.

    Both are named `patient_001_image_1.bmp`; about a quarter of the patients have two or three images. The first image
    of patient 7 is `make_phantom(7, seed)`, and a larger `count` begins with the same images. `folder` appears whole or
    not at all. The files do not depend on `workers`, the number of threads (as many as cores unless given): threads,
    since they start in any notebook or script on any system, and 120 images take seconds.

    Raises ValueError for a `folder` that exists, or for `count` or `workers` under 1.
    """
    folder = Path(folder)
    if count < 1 or (workers is not None and workers < 1):
        raise ValueError(f"count and workers must be 1 or more, not {count} and {workers}.")
    if folder.exists():
        raise ValueError(f"folder must not exist yet, but {folder} does; remove it or name another.")
    _check(size)
    with written(folder) as part, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for kind in ("images", "masks"):
            (part / kind).mkdir(parents=True)
        jobs = [pool.submit(_write_case, part, *case, seed, size) for case in _cases(count, seed)]
        try:
            for job in tqdm(jobs, "phantoms", unit="image", file=sys.stdout, disable=not progress):
                job.result()
        finally:  # interrupted: leave what has not begun, so that the folder can be cleared at once
            pool.shutdown(cancel_futures=True)


def _cases(count: int, seed: int) -> list[tuple[int, int]]:
    """Return `count` pairs of patient and image number, both from 1; a larger count begins with the same ones."""
    rng = np.random.default_rng([seed, 0])  # no patient has number 0
    numbers = rng.choice([1, 2, 3], size=count, p=[0.75, 0.15, 0.1])
    return [(patient, image) for patient, n in enumerate(numbers, 1) for image in range(1, n + 1)][:count]


def _write_case(folder: Path, patient: int, image: int, seed: int, size: int) -> None:
    """Write one X-ray and its mask."""
    phantom = _patient_xray(patient, image, seed, size)
    name = f"patient_{patient:03d}_image_{image}.bmp"
    Image.fromarray(phantom.image).save(folder / "images" / name, "BMP")
    Image.fromarray(phantom.mask.astype(np.uint8) * np.uint8(255)).save(folder / "masks" / name, "BMP")


def _patient_xray(patient: int, image: int, seed: int, size: int) -> Phantom:
    """Return one of the X-rays of one patient: the anatomy hangs on the patient alone."""
    return xray_phantom(np.random.default_rng([seed, patient]), size, np.random.default_rng([seed, patient, image]))


def _check(size: int) -> None:
    """Raise ValueError for a picture too small to hold a chest."""
    if size < 32:
        raise ValueError(f"size must be 32 px or more, not {size}.")


# ---- the drawing tools ----------------------------------------------------------------------------------------------


def _view(
    rng: np.random.Generator, size: int, width: float, centre: tuple[float, float], tilt: float, bend: float
) -> View:
    """Return a view `width` cm across: turned by about `tilt` (rad) and gently bent by about `bend` (cm)."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle, stretch = rng.normal(0, tilt), rng.normal(1, 0.02)
    right, down = line * np.float32(width * stretch), (line * np.float32(width))[:, None]
    x = np.cos(angle) * right - np.sin(angle) * down + centre[0] + bend * _clouds(rng, size, 5)
    y = np.sin(angle) * right + np.cos(angle) * down + centre[1] + bend * _clouds(rng, size, 5)
    return View(x.astype(np.float32), y.astype(np.float32), width / size)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Return a smooth random field, `(size, size)` float32, of about mean 0 and deviation 0.7, `cells` bumps across."""
    small = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return `image` blurred by `sigma` px; a wide blur is taken on a coarser grid, for speed."""
    if sigma < 4:
        return ndimage.gaussian_filter(image, sigma, truncate=3)
    step = int(sigma / 2)
    height, width = image.shape
    small = Image.fromarray(image).resize((-(-width // step), -(-height // step)), Image.Resampling.BOX)
    small = Image.fromarray(ndimage.gaussian_filter(np.asarray(small), sigma / step, truncate=3))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def _inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """Return how much of a pixel lies inside, 0..1: `distance` (cm) is positive inside, the edge is `edge` cm soft."""
    return np.clip(distance * np.float32(1 / edge) + np.float32(0.5), 0, 1)


def _ellipse(view: View, x: float, y: float, a: float, b: float, turn: float = 0.0) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to an ellipse with half axes `a`, `b`, turned by `turn` rad."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = view.x - np.float32(x), view.y - np.float32(y)
    return np.float32(min(a, b)) * (1 - np.hypot((c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)))


def _dome(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return how thick (0..1) a round body is whose edge is `distance` away and whose smaller half axis is `radius`."""
    return np.sqrt(np.clip(1 - (1 - np.maximum(distance, 0) / np.float32(radius)) ** 2, 0, 1))


def _curve(at: np.ndarray, knots: list[tuple[float, float]]) -> np.ndarray:
    """Return a smooth curve through `knots` (position, value) at the positions `at`; constant beyond its ends."""
    positions, values = np.array(knots).T
    fine = np.linspace(positions[0], positions[-1], 300)
    return np.interp(at, fine, PchipInterpolator(positions, values)(fine)).astype(np.float32)


def _sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty sheet in the patient's frame for strokes; a grey level on it is a hundredth of a unit."""
    sheet = Image.new("L", (_SHEET, _SHEET))
    return sheet, ImageDraw.Draw(sheet)


def _stroke(draw: ImageDraw.ImageDraw, points: np.ndarray, width: float, value: float, area: bool = False) -> None:
    """Draw a line `width` cm wide through `points` (cm, `(n, 2)`), or fill the area they enclose, with `value`."""
    xy = [tuple(point) for point in ((np.asarray(points) + _SHEET_ORIGIN) * _SHEET_SCALE).tolist()]
    if area:
        draw.polygon(xy, fill=int(value * 100))
    else:
        draw.line(xy, fill=int(value * 100), width=max(round(width * _SHEET_SCALE), 1), joint="curve")


def _seen(sheet: Image.Image, view: View, soft: float) -> np.ndarray:
    """Return what was drawn on a sheet as the view sees it, blurred by `soft` cm."""
    blurred = np.asarray(sheet.filter(ImageFilter.GaussianBlur(soft * _SHEET_SCALE)), dtype=np.float32)
    places = [(view.y + _SHEET_ORIGIN[1]) * _SHEET_SCALE, (view.x + _SHEET_ORIGIN[0]) * _SHEET_SCALE]
    return ndimage.map_coordinates(blurred, places, order=1) / np.float32(100)


def _vessel_tree(rng: np.random.Generator, root: tuple[float, float], side: int, step: float) -> np.ndarray:
    """Return vessels branching out from the hilum at `root`: rows of x, y, x, y, width (cm), thin ones first."""
    start, angle = np.tile(root, (7, 1)), np.linspace(-1.25, 1.35, 7) + rng.normal(0, 0.12, 7)
    width, rows = rng.uniform(0.45, 0.75, 7), []
    for _ in range(5):
        length = step * rng.uniform(0.5, 1.3, len(angle))
        end = start + length[:, None] * np.column_stack([side * np.cos(angle), np.sin(angle)])
        rows.append(np.column_stack([start, end, width]))
        fork = np.repeat(angle, 2) + np.tile([-0.3, 0.3], len(angle))
        start, angle = np.repeat(end, 2, axis=0), fork + rng.normal(0, 0.2, len(fork))
        width = np.repeat(width, 2) * rng.uniform(0.5, 0.8, len(fork))
    return np.concatenate(rows[::-1])


def _without_specks(mask: np.ndarray, smallest: float) -> np.ndarray:
    """Return a mask without its parts smaller than `smallest` of the picture: bending cuts a pixel off a corner."""
    labels, _ = ndimage.label(mask)
    kept = np.bincount(labels.ravel()) >= smallest * mask.size
    kept[0] = False
    return kept[labels]


# ---- the X-ray, part by part: centimetres of water along the ray ----------------------------------------------------


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
    border = _curve(y, [(at * h, reach) for at, reach in knots])
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
        beside = np.maximum(beside, _inside(reach - medial, 0.35))
        above = np.maximum(_inside(floor - view.y, 0.4), 0.3 * np.exp(np.minimum(floor - view.y, 0) / 3))
        air += depth * _inside(out, 0.3) * beside * above
        mask |= _without_specks((out > 0) & (reach > medial) & (view.y < floor), 0.01)
    return air, mask


def _trunk(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return neck, shoulders and trunk."""
    w, plump = chest.width, rng.uniform(1.0, 3.5)
    knots = [(-12, 5.5), (-5, 6.0), (-2.5, 8.0), (-0.5, 14), (1.5, w + 4.5), (4, w + 6), (7, w + 4.5), (11, w + 1.2)]
    half = _curve(view.y, [*knots, (16, w + 0.5 + 0.5 * plump), (34, w + plump)])
    depth = _curve(view.y, [(-9, 11), (0, 13), (7, 0.92 * chest.depth), (14, chest.depth), (34, 1.05 * chest.depth)])
    return depth * np.clip(1 - np.abs(view.x / half) ** np.float32(2.6), 0, 1) ** np.float32(0.5)


def _arms(chest: Chest, view: View) -> np.ndarray:
    """Return the flesh of the upper arms, hanging or turned outwards, and the heads of their bones."""
    arms = np.zeros_like(view.x)
    for side in SIDES:
        joint, elbow = _arm(chest, side)
        arms += 7.5 * _dome(_ellipse(view, *(joint + elbow) / 2, 4.3, 14.5, -side * chest.arms), 4.3)
        arms += 1.4 * _dome(_ellipse(view, joint[0] - 0.4 * side, joint[1] - 0.9, 2.1, 2.6), 1.6)
    return arms


def _arm(chest: Chest, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where (cm) shoulder joint and elbow of one side are."""
    joint = np.array([side * (chest.width + 4.0), 4.0])
    return joint, joint + 24 * np.array([side * np.sin(chest.arms), np.cos(chest.arms)])


def _airways(chest: Chest, view: View) -> np.ndarray:
    """Return the air (cm) in trachea and main bronchi."""
    carina = np.float32(0.33 * chest.height)
    air = 2.2 * _dome(0.85 - np.abs(view.x + 0.03 * view.y), 0.85) * _inside(carina - view.y, 1.0)
    for side, drop in zip(SIDES, (3.2, 2.4), strict=True):
        bronchus = _ellipse(view, side * 1.6 - 0.2, carina + 0.5 * drop, 2.4, 0.6, side * np.arctan2(drop, 3.4))
        air = np.maximum(air, 1.3 * _dome(bronchus, 0.6))
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
        number = (view.y - lift + 0.2 * spacing + 0.12 * _clouds(rng, len(bow), 8)) / np.float32(spacing) + 1
        off = np.abs(number % 1 - 0.5) * np.float32(spacing) / np.hypot(1, steep)
        bone = _dome(half - off, half) - 0.55 * _dome(0.7 * half - off, 0.7 * half)
        ends = _inside(across - (0.13 if front < 0 else 0.42), 0.02 if front < 0 else 0.25)
        along_ray = (1.0 if front < 0 else 0.7) / np.maximum(bow, 0.4)  # at the sides a ray runs along the rib
        bones += bone * ends * along_ray * ((number >= 1) & (number < 1 + count))
    seen = _inside(wall - np.abs(view.x), 0.2) * _inside(view.y + 0.5, 2) * _inside(chest.height + 1 - view.y, 8)
    return np.float32(strength) * bones * seen


def _spine(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the vertebrae: bodies and the discs between them, pedicles, spinous processes."""
    period, half = chest.height / rng.uniform(9.5, 11), 1.6 + 0.02 * view.y
    bend = rng.normal(0, 0.25) * np.sin(view.y / np.float32(6))
    reach, along = np.abs(view.x + bend), (view.y / np.float32(period)) % 1 - 0.5
    body = _dome(half - reach, 1.8) * (1.9 - 0.7 * np.exp(-(((np.abs(along) - 0.5) * period / 0.22) ** 2)))
    pedicle = np.exp(-(((reach - 1.1) / 0.35) ** 2) - ((along + 0.1) * period / 0.5) ** 2)
    spinous = np.exp(-((reach / 0.3) ** 2) - ((along - 0.2) * period / 0.7) ** 2)
    return rng.uniform(0.8, 1.2) * (body + 0.9 * pedicle + 0.9 * spinous)


def _shoulder_girdle(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return clavicles, upper arms' shafts and shoulder blades, these more or less turned out of the lung fields."""
    (clavicles, draw), (blades, draw_blades) = _sheet(), _sheet()
    w, turned, lift, dense = chest.width, rng.uniform(-1.5, 2.5), rng.normal(0.7, 0.8), rng.uniform(0.7, 1.3)
    knots = [(1.8, 3.6), (0.3 * w, 3.2), (0.6 * w, 1.4), (0.85 * w, 0.2), (w + 3, 0.6)]
    reach = np.linspace(1.8, w + 3, 25)
    outline = [(w + 2.3, 3.2), (w - 3, 0.8), (w - 3.4, 2), (w - 2.2, 8), (w - 0.6, 13.5), (w + 0.2, 13)]
    for side in SIDES:
        bone = np.column_stack([side * reach, _curve(reach, knots) + lift * (reach / w)])
        _stroke(draw, bone, 1.25, 2.5)  # the compact bone, and in it the spongy
        _stroke(draw, bone, 0.7, 1.8)
        blade = np.add(outline, (turned, lift)) * (side, 1)
        _stroke(draw_blades, blade, 0, 0.6 * dense, area=True)
        _stroke(draw_blades, blade[[0, 5, 4, 3, 2]], 0.5, 1.2 * dense)
        _stroke(draw_blades, [blade[2], (side * (w + 4), 1.2)], 0.8, 1.3 * dense)
        _stroke(draw_blades, _arm(chest, side), 2.2, 2.0)
        _stroke(draw_blades, _arm(chest, side), 1.2, 1.4)
    return _seen(clavicles, view, 0.12) + _seen(blades, view, 0.2)


def _lung_vessels(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the vessels, branching and fading from the hila outwards, and the finest, which are mere texture."""
    sheet, draw = _sheet()
    for side in SIDES:
        root = (side * 3.0, chest.height * (0.48 if side < 0 else 0.45))
        for x0, y0, x1, y1, width in _vessel_tree(rng, root, side, 0.115 * chest.height):
            _stroke(draw, [(x0, y0), (x1, y1)], width, 2.5 * width)
        _stroke(draw, [(root[0], root[1] - 1.2), (root[0] + 0.4 * side, root[1] + 1.5)], 1.3, 1.6)
    grain = _clouds(rng, len(view.x), 48)
    return rng.uniform(1.0, 1.6) * _seen(sheet, view, 0.12) + 0.2 * grain


def _opacities(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return nodules and cloudy patches; most lungs have none."""
    cloudy = np.zeros_like(view.x)
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1])):
        radius = rng.choice([rng.uniform(0.5, 1.2), rng.uniform(1.5, 4)])
        x, y = rng.choice(SIDES) * rng.uniform(4, 10), rng.uniform(0.1, 0.8) * chest.height
        patch = _ellipse(view, x, y, radius, radius * rng.uniform(0.7, 1.4))
        patch += 0.3 * radius * _clouds(rng, len(cloudy), 24)  # a ragged border
        cloudy += rng.uniform(1, 3.5) * _inside(patch, 1.2 * radius)
    return cloudy


def _breasts(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return breast shadows, for half of the patients."""
    radius, thick = rng.uniform(5, 7.5), rng.uniform(1, 4) * (rng.random() < 0.5)
    y, shadow = rng.uniform(0.62, 0.75) * chest.height, np.zeros_like(view.x)
    if thick:
        for side in SIDES:
            shadow += thick * _dome(_ellipse(view, side * 0.6 * chest.width, y, radius, radius * 0.85), radius)
    return shadow


def _stomach_bubble(rng: np.random.Generator, chest: Chest, view: View) -> np.ndarray:
    """Return the gas (cm) in the stomach, under the left dome: dark, and no lung; two patients in three have it."""
    x, radius, gas = rng.uniform(0.35, 0.6) * chest.width, rng.uniform(1.2, 3), rng.uniform(3, 8)
    below = rng.uniform(0.5, 1.5) + 0.7 * radius
    if rng.random() < 0.35:
        return np.zeros_like(view.x)
    y = float(_diaphragm(chest, np.array(x), 1)) + below
    return gas * _dome(_ellipse(view, x, y, radius * 1.3, 0.7 * radius), 0.7 * radius)


def _expose(rng: np.random.Generator, water: np.ndarray, depth: float) -> np.ndarray:
    """Return the film: scatter, uneven exposure, tone, blur, noise, collimator and marker, uint8."""
    size = len(water)
    wide = _blur(water, size / 9)
    water = water + rng.uniform(0.0, 0.25) * wide - rng.uniform(0, 0.4) * (wide - wide.mean())
    water = water + 0.03 * depth * _clouds(rng, size, 2)
    black, white = rng.uniform(0.15, 0.33) * depth, rng.uniform(0.85, 1.15) * depth
    grey = np.clip((water - black) / np.float32(white - black), 0, 1) ** np.float32(rng.uniform(0.8, 1.5))
    grey += rng.uniform(0, 0.8) * grey * (1 - grey) * (2 * grey - 1)  # a film's S-shaped response
    grey = _blur(grey, rng.uniform(0.3, 0.8) * size / 256)
    noise = rng.standard_normal(grey.shape, dtype=np.float32)
    grey += np.float32(rng.uniform(0.004, 0.025)) * (noise if rng.random() < 0.5 else 1.5 * _blur(noise, 0.6))
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


# ---- the CT slice, part by part: Hounsfield units -------------------------------------------------------------------


def _paint(image: np.ndarray, cover: np.ndarray, hounsfield: float | np.ndarray) -> None:
    """Lay a tissue of `hounsfield` units over the slice, where `cover` (0..1) is above 0."""
    image += (hounsfield - image) * cover


def _ct_lungs(rng: np.random.Generator, level: float, cage: np.ndarray, view: View) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to the border of both lungs; negative where there are none."""
    a, b = cage
    lungs = _ellipse(view, 0, 0, a, b) + 0.35 * _clouds(rng, len(view.x), 6)
    between = (1.9 + 1.3 * np.clip(level / 0.4, 0, 1)) * rng.uniform(0.85, 1.15)
    out = [_ellipse(view, 0, 0.05 * b, between, 1.25 * b), _ellipse(view, 0, 0.78 * b, 3.0, 0.42 * b)]
    if level > 0.45:  # the heart, on the patient's left
        full = np.sqrt(np.clip((level - 0.45) / 0.25, 0, 1))
        out.append(_ellipse(view, 0.12 * a, -0.28 * b, (0.26 + 0.2 * full) * a, (0.3 + 0.16 * full) * b, 0.5))
    out += [_ct_dome(level, side, cage, view) for side in SIDES if level > _DOME_TOPS[side > 0]]
    lungs = np.minimum(lungs, -np.max(out, axis=0))
    if level < 0.15:  # the tips are round
        tip = np.sqrt(max(1 - (1 - level / 0.15) ** 2, 0))
        round_tip = [_ellipse(view, side * 0.6 * a, 0.15 * b, 0.1 + 3.4 * tip, 0.1 + 4.2 * tip) for side in SIDES]
        lungs = np.minimum(lungs, np.maximum(*round_tip))
    return lungs if 0 < level < 1 else np.full_like(lungs, -9)


def _ct_dome(level: float, side: int, cage: np.ndarray, view: View) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to the organs under one dome; the right one begins higher."""
    top = _DOME_TOPS[side > 0]
    size = np.sqrt(min((level - top) / (1 - top), 1))
    return _ellipse(view, side * 0.45 * cage[0], -0.12 * cage[1], 0.64 * cage[0] * size, 1.08 * cage[1] * size)


def _paint_wall(
    rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, fat: float, view: View
) -> None:
    """Paint the table, the trunk's skin, fat and muscle, then shoulder blades and ribs."""
    a, b = 15.0 + 1.5 * (level < 0.3) * (0.3 - level) / 0.3, 12.5 - 2.5 * max(0.25 - level, 0) / 0.25
    trunk = _superellipse(view, 1.2, a + fat, b + 0.7 * fat) + 0.25 * _clouds(rng, len(image), 4)
    sag = view.y - np.float32(b + 0.7 * fat + 3.2) + 0.006 * view.x**2
    _paint(image, _inside(0.2 - np.abs(sag), view.pixel), 150.0)
    _paint(image, _inside(1.2 - np.abs(sag - 1.4), view.pixel), -930.0)
    _paint(image, _inside(0.15 - np.abs(sag - 2.7), view.pixel), 150.0)
    _paint(image, _inside(trunk, view.pixel), 20.0)
    _paint(image, _inside(trunk - 0.2, view.pixel), -105.0)
    streaks = _inside(np.abs(_clouds(rng, len(image), 14)) - 0.12, 0.15)  # fat between the muscles
    _paint(image, _inside(trunk - 0.2 - fat, view.pixel), -80 + 135 * streaks)
    if level < 0.55:
        for side in SIDES:
            blade = _ellipse(view, side * (0.86 * cage[0] + 0.7), 0.62 * cage[1] + 0.9, 3.4, 0.4, -side * 0.75)
            _paint_bone(image, np.minimum(blade, trunk - 0.6), 0.15, view)
    _paint_ribs(rng, image, cage, view)


def _superellipse(view: View, y: float, a: float, b: float) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to an ellipse with flattened sides."""
    across, down = np.abs(view.x / np.float32(a)), np.abs((view.y - np.float32(y)) / np.float32(b))
    return np.float32(b) * (1 - (across ** np.float32(2.5) + down ** np.float32(2.5)) ** np.float32(0.4))


def _paint_bone(image: np.ndarray, distance: np.ndarray, shell: float, view: View) -> None:
    """Paint a bone: compact outside, `shell` cm thick, spongy inside."""
    _paint(image, _inside(distance, view.pixel), 700.0)
    _paint(image, _inside(distance - shell, view.pixel), 220.0)


def _paint_ribs(rng: np.random.Generator, image: np.ndarray, cage: np.ndarray, view: View) -> None:
    """Paint the arcs that a level slice cuts out of the slanting ribs, their cartilage and the breastbone."""
    ring = 0.65 + _ellipse(view, 0, 0, *cage)
    around = np.arctan2(view.y / np.float32(cage[1]), np.abs(view.x) / np.float32(cage[0]))
    arcs = np.cos(rng.integers(6, 9) * around + rng.uniform(0, 6.28) + 0.4 * np.sign(view.x)) - rng.uniform(-0.1, 0.4)
    bone = np.minimum(0.42 - np.abs(ring), 1.2 * arcs)
    cartilage = around < -0.9  # in front
    _paint(image, _inside(bone, view.pixel) * cartilage, 110.0)
    _paint_bone(image, np.where(cartilage, np.float32(-9), bone), 0.17, view)
    _paint_bone(image, _ellipse(view, 0, -cage[1] - 0.6, 2.0, 0.6), 0.15, view)


def _paint_mediastinum(
    rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, contrast: float, view: View
) -> None:
    """Paint what lies between the lungs: fat, oesophagus, the great vessels and the heart with its blood."""
    a, b = cage
    fat = _clouds(rng, len(image), 16)
    _paint(image, _inside(_ellipse(view, 0, 0, a, b), view.pixel), -90 + 135 * _inside(fat + 0.1, 0.4))
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
        _paint(image, _inside(_ellipse(view, x, y, half_x, half_y, 0.5), max(0.15, view.pixel)), hounsfield)


def _paint_abdomen(rng: np.random.Generator, image: np.ndarray, level: float, cage: np.ndarray, view: View) -> None:
    """Paint liver, spleen and stomach under the domes; the stomach's gas is a trap: air, and no lung."""
    hounsfield, gas = rng.uniform(40, 110, 2), rng.uniform(0.8, 2.2)
    for side, top, value in zip(SIDES, _DOME_TOPS, hounsfield, strict=True):
        if level > top:
            organ = np.minimum(_ct_dome(level, side, cage, view), _ellipse(view, 0, 0, *cage))
            _paint(image, _inside(organ, view.pixel), value + 6 * _clouds(rng, len(image), 40))
    if level > 0.9 and rng.random() < 0.6:
        _paint(image, _inside(_ellipse(view, 0.4 * cage[0], -0.45 * cage[1], 1.4 * gas, gas), view.pixel), -980.0)


def _paint_spine(rng: np.random.Generator, image: np.ndarray, cage: np.ndarray, view: View) -> None:
    """Paint a vertebra: body, arch, processes and the canal."""
    y, half = 0.7 * cage[1] + 0.3, rng.uniform(1.5, 2.0)
    parts = [_ellipse(view, 0, y, half, 0.8 * half), 0.5 - np.abs(_ellipse(view, 0, y + 0.8 * half + 0.7, 1.3, 1.2))]
    parts += [_ellipse(view, 0, y + 0.8 * half + 3.0, 0.4, 1.5)]
    parts += [_ellipse(view, side * 2.4, y + 0.8 * half + 0.9, 1.6, 0.4, side * 0.4) for side in SIDES]
    _paint_bone(image, np.max(parts, axis=0), 0.2, view)
    _paint(image, _inside(_ellipse(view, 0, y + 0.8 * half + 0.7, 0.85, 0.75), view.pixel), 35.0)


def _paint_lungs(
    rng: np.random.Generator, image: np.ndarray, lung: np.ndarray, cage: np.ndarray, contrast: float, view: View
) -> np.ndarray:
    """Paint lungs, denser to the back, with their vessels and now and then a lesion; return their mask."""
    size = len(image)
    sheet, draw = _sheet()
    for side in SIDES:
        for x0, y0, x1, y1, width in _vessel_tree(rng, (side * 3.0, 0.05 * cage[1]), side, 0.14 * cage[0]):
            part = rng.uniform(0.0, 0.6) if rng.random() < 0.3 else 0.08  # most cross the slice, few run along it
            _stroke(draw, [(x0, y0), (x0 + part * (x1 - x0), y0 + part * (y1 - y0))], 0.9 * width, 1.0)
    air = rng.uniform(-870, -780) + 25 * view.y / cage[1] + 18 * _clouds(rng, size, 51)
    cover = _inside(lung, view.pixel)
    _paint(image, cover, air)
    _paint(image, cover * _seen(sheet, view, 0.06), 30 + 0.8 * contrast)
    for _ in range(rng.choice([0, 1, 2], p=[0.7, 0.2, 0.1])):
        radius = rng.choice([rng.uniform(0.4, 1.2), rng.uniform(1, 3)])
        x, y = rng.choice(SIDES) * rng.uniform(0.4, 0.8) * cage[0], rng.uniform(-0.5, 0.6) * cage[1]
        lesion = _ellipse(view, x, y, radius, radius) + 0.3 * radius * _clouds(rng, size, 24)
        _paint(image, cover * _inside(lesion, 0.3 * radius), rng.uniform(-500, 40))
    return _without_specks(lung > 0, 0.0002)


def _paint_airways(image: np.ndarray, level: float, cage: np.ndarray, view: View) -> np.ndarray:
    """Paint trachea or main bronchi with their walls; return where they are, `(size, size)` bool."""
    air = np.zeros(image.shape, bool)
    if level > 0.5:
        return air
    reach, half = (0, 0.9) if level < 0.36 else (0.9 + 14 * (level - 0.36), 0.65)
    for side in SIDES[: 1 if level < 0.36 else 2]:
        tube = _ellipse(view, side * reach, 0.18 * cage[1], 1.1 * half, half)
        _paint(image, _inside(tube + 0.15, view.pixel), 30.0)
        _paint(image, _inside(tube, view.pixel), -1000.0)
        air |= tube > -0.15
    return air


def _scan(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the slice as a scanner gives it: blurred, noisy, cut to the tube's round field now and then, float32."""
    size = len(image)
    image = _blur(image, rng.uniform(0.4, 0.8) * size / 256)
    grain = _blur(rng.standard_normal(image.shape, dtype=np.float32), rng.uniform(0.4, 0.8))
    image += np.float32(rng.uniform(15, 60)) * grain
    if rng.random() < 0.4:
        line = np.linspace(-1, 1, size, dtype=np.float32)
        image[np.hypot(line, line[:, None]) > 1] = -1024
    return np.clip(image, -1024, 3071).astype(np.float32)
