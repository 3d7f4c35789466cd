"""The drawing tools that X-ray and CT phantoms share: the patient's frame, soft shapes, strokes, clouds and vessels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

# All work in the patient's frame, in cm: x to the picture's right (which is the patient's left), y downwards.
SIDES = (-1, 1)  # picture left (the patient's right), picture right
_SHEET, _SHEET_SCALE, _SHEET_ORIGIN = 480, 10.0, (24.0, 14.0)  # what strokes are drawn on: px, px/cm, cm to x, y = 0


class Phantom(NamedTuple):
    """A synthetic image and its exact lung mask.

    Attributes:
        image: `(size, size)`; uint8 for an X-ray, float32 in Hounsfield units for a CT slice.
        mask: `(size, size)`, bool; true on the lungs.
    """

    image: np.ndarray
    mask: np.ndarray


class Wild(NamedTuple):
    """How far phantoms go beyond what is real: 0 not at all, 1 as training data should, more goes further.

    Attributes:
        shape: of chest and organs.
        pathology: effusions, opacities, lesions, devices, gas in bowels.
        tone: any rising curve of greys, local contrast, inversion, any CT window, any density of the lungs.
        texture: shadows and grain of all sizes.
        acquisition: posture, scale, cropping, borders, writing, blur, noise, coarse pixels, JPEG.
    """

    shape: float = 0.0
    pathology: float = 0.0
    tone: float = 0.0
    texture: float = 0.0
    acquisition: float = 0.0


TAME = Wild()


class View(NamedTuple):
    """Where in the patient each pixel lies: `x`, `y` (cm), both `(size, size)` float32, and the pixel's width (cm)."""

    x: np.ndarray
    y: np.ndarray
    pixel: float


def check_size(size: int) -> None:
    """Raise ValueError for a picture too small to hold a chest."""
    if size < 32:
        raise ValueError(f"size must be 32 px or more, not {size}.")


def make_view(
    rng: np.random.Generator,
    size: int,
    width: float,
    centre: tuple[float, float],
    tilt: float,
    bend: float,
    stretch: float = 0.02,
) -> View:
    """Return a view `width` cm across: turned, bent and stretched by about `tilt` (rad), `bend` (cm) and `stretch`."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle, stretched = rng.normal(0, tilt), np.exp(rng.normal(0, stretch))
    right, down = line * np.float32(width * stretched), (line * np.float32(width))[:, None]
    x = np.cos(angle) * right - np.sin(angle) * down + centre[0] + bend * clouds(rng, size, 5)
    y = np.sin(angle) * right + np.cos(angle) * down + centre[1] + bend * clouds(rng, size, 5)
    return View(x.astype(np.float32), y.astype(np.float32), width / size)


def draw_from(rng: np.random.Generator, low: float, high: float, wild: float, by: float = 2.0) -> float:
    """Return a number between `low` and `high`; at a `wild` of 1, from a range `by` times as wide about its middle."""
    middle, half = (low + high) / 2, (high - low) / 2 * (1 + wild * (by - 1))
    return rng.uniform(middle - half, middle + half)


def clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Return a smooth random field, `(size, size)` float32, of about mean 0 and deviation 0.7, `cells` bumps across."""
    small = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return `image` blurred by `sigma` px; a wide blur is taken on a coarser grid, for speed."""
    if sigma < 4:
        return ndimage.gaussian_filter(image, sigma, truncate=3)
    step = int(sigma / 2)
    height, width = image.shape
    small = Image.fromarray(image).resize((-(-width // step), -(-height // step)), Image.Resampling.BOX)
    small = Image.fromarray(ndimage.gaussian_filter(np.asarray(small), sigma / step, truncate=3))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """Return how much of a pixel lies inside, 0..1: `distance` (cm) is positive inside, the edge is `edge` cm soft."""
    return np.clip(distance * np.float32(1 / edge) + np.float32(0.5), 0, 1)


def ellipse(view: View, x: float, y: float, a: float, b: float, turn: float = 0.0) -> np.ndarray:
    """Return the rough distance (cm, positive inside) to an ellipse with half axes `a`, `b`, turned by `turn` rad."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = view.x - np.float32(x), view.y - np.float32(y)
    across, down = (c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)
    return np.float32(min(a, b)) * (1 - np.sqrt(across**2 + down**2))


def thickness(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return how thick (0..1) a round body is whose edge is `distance` away and whose smaller half axis is `radius`."""
    return np.sqrt(np.clip(1 - (1 - np.maximum(distance, 0) / np.float32(radius)) ** 2, 0, 1))


def curve(at: np.ndarray, knots: list[tuple[float, float]]) -> np.ndarray:
    """Return a smooth curve through `knots` (position, value) at the positions `at`; constant beyond its ends."""
    positions, values = np.array(knots).T
    fine = np.linspace(positions[0], positions[-1], 300)
    return np.interp(at, fine, PchipInterpolator(positions, values)(fine)).astype(np.float32)


def make_sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty sheet in the patient's frame for strokes; a grey level on it is a hundredth of a unit."""
    sheet = Image.new("L", (_SHEET, _SHEET))
    return sheet, ImageDraw.Draw(sheet)


def stroke(draw: ImageDraw.ImageDraw, points: np.ndarray, width: float, value: float, area: bool = False) -> None:
    """Draw a line `width` cm wide through `points` (cm, `(n, 2)`), or fill the area they enclose, with `value`."""
    xy = [tuple(point) for point in ((np.asarray(points) + _SHEET_ORIGIN) * _SHEET_SCALE).tolist()]
    if area:
        draw.polygon(xy, fill=int(value * 100))
    else:
        draw.line(xy, fill=int(value * 100), width=max(round(width * _SHEET_SCALE), 1), joint="curve")


def as_seen(sheets: list[Image.Image], view: View, soft: float) -> np.ndarray:
    """Return the sum of what was drawn on sheets as the view sees it, blurred by `soft` cm."""
    coarser = max(int(view.pixel * _SHEET_SCALE), 1)  # or a coarse view would step over thin lines
    drawn = sum(np.asarray(sheet.reduce(coarser), dtype=np.float32) for sheet in sheets)
    scale = np.float32(_SHEET_SCALE / coarser)
    places = [(view.y + _SHEET_ORIGIN[1]) * scale, (view.x + _SHEET_ORIGIN[0]) * scale]
    seen = ndimage.map_coordinates(drawn, places, order=1) / np.float32(100)
    return ndimage.gaussian_filter(seen, soft / view.pixel, truncate=2)  # fewer pixels to blur than on the sheet


def vessel_tree(rng: np.random.Generator, root: tuple[float, float], side: int, step: float) -> np.ndarray:
    """Return vessels branching out from the hilum at `root`: rows of x, y, x, y, width (cm), thin ones first."""
    start, angle = np.tile(root, (7, 1)), np.linspace(-1.25, 1.35, 7) + rng.normal(0, 0.12, 7)
    width, rows = rng.uniform(0.45, 0.75, 7), []
    for _ in range(4):  # finer ones are mere texture
        length = step * rng.uniform(0.5, 1.3, len(angle))
        end = start + length[:, None] * np.column_stack([side * np.cos(angle), np.sin(angle)])
        rows.append(np.column_stack([start, end, width]))
        fork = np.repeat(angle, 2) + np.tile([-0.3, 0.3], len(angle))
        start, angle = np.repeat(end, 2, axis=0), fork + rng.normal(0, 0.2, len(fork))
        width = np.repeat(width, 2) * rng.uniform(0.5, 0.8, len(fork))
    return np.concatenate(rows[::-1])


def without_specks(mask: np.ndarray, smallest: float) -> np.ndarray:
    """Return a mask without its parts smaller than `smallest` of the picture: bending cuts a pixel off a corner."""
    labels, _ = ndimage.label(mask)
    kept = np.bincount(labels.ravel()) >= smallest * mask.size
    kept[0] = False
    return kept[labels]
