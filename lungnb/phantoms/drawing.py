"""The drawing tools that X-ray and CT phantoms share: blur, soft shapes, strokes, vessels, 8-bit pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from lungnb.masks import Floats, Grey
from lungnb.phantoms.frame import View

# Strokes are drawn on a sheet of this side (px), scale (px/cm) and place of x, y = 0 (cm from its corner).
_SHEET, _SHEET_SCALE, _SHEET_ORIGIN = 480, 10.0, (24.0, 14.0)
_LEVELS = 100  # grey levels on a sheet per unit of what is drawn
_WIDE_BLUR = 4  # px; take wider blurs on a coarser grid, for speed


def as_unit(picture: Grey | Image.Image) -> Floats:
    """Return an 8-bit picture as float32, 0 to 1."""
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def as_bytes(grey: Floats) -> Grey:
    """Return greys from 0 to 1, clipped, as uint8."""
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def blur(image: Floats, sigma_px: float) -> Floats:
    """Return an image blurred by `sigma_px`."""
    if sigma_px < _WIDE_BLUR:
        return np.asarray(ndimage.gaussian_filter(image, sigma_px, truncate=3))
    step = int(sigma_px / 2)
    height, width = image.shape
    small = Image.fromarray(image).resize((-(-width // step), -(-height // step)), Image.Resampling.BOX)
    small = Image.fromarray(ndimage.gaussian_filter(np.asarray(small), sigma_px / step, truncate=3))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def inside(distance: Floats, edge_cm: float) -> Floats:
    """Return how much of each pixel lies inside, 0..1: `distance` (cm) is positive inside, the edge `edge_cm` wide."""
    return np.asarray(np.clip(distance * np.float32(1 / edge_cm) + np.float32(0.5), 0, 1))


def ellipse(view: View, x: float, y: float, a: float, b: float, turn: float = 0.0) -> Floats:
    """Return the rough distance (cm, positive inside) to an ellipse with half axes `a`, `b`, turned by `turn` rad."""
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx, dy = view.x - np.float32(x), view.y - np.float32(y)
    across, down = (c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)
    return np.asarray(np.float32(min(a, b)) * (1 - np.sqrt(across**2 + down**2)))


def thickness(distance: Floats, radius: float) -> Floats:
    """Return how thick (0..1) a round body is, `distance` cm from its edge, if its smaller half axis is `radius` cm."""
    height = 1 - np.maximum(distance, 0) / np.float32(radius)
    return np.asarray(np.sqrt(np.clip(1 - height**2, 0, 1)))


def curve(at: Floats, knots: Sequence[tuple[float, float]] | Floats) -> Floats:
    """Return a smooth curve through `knots` (position, value) at the positions `at`; constant beyond its ends."""
    positions, values = np.array(knots).T
    fine = np.linspace(positions[0], positions[-1], 300)
    return np.asarray(np.interp(at, fine, PchipInterpolator(positions, values)(fine)), np.float32)


def make_sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty sheet in the patient's frame, and the tool that draws on it; see `stroke`."""
    sheet = Image.new("L", (_SHEET, _SHEET))
    return sheet, ImageDraw.Draw(sheet)


def ellipse_points(x: float, y: float, half_x: float, half_y: float, count: int) -> Floats:
    """Return `count` points around an ellipse with its middle at x and y, `(count, 2)`, cm; the last is the first."""
    turn = np.linspace(0, 2 * np.pi, count)
    return np.column_stack([x + half_x * np.cos(turn), y + half_y * np.sin(turn)])


def stroke(
    draw: ImageDraw.ImageDraw, points: Sequence[object] | Floats, width: float, value: float, area: bool = False
) -> None:
    """Draw a line `width` cm wide through `points` (cm, `(n, 2)`), or fill the area they enclose, with `value`."""
    xy = [(x, y) for x, y in ((np.asarray(points) + _SHEET_ORIGIN) * _SHEET_SCALE).tolist()]
    if area:
        draw.polygon(xy, fill=int(value * _LEVELS))
    else:
        draw.line(xy, fill=int(value * _LEVELS), width=max(round(width * _SHEET_SCALE), 1), joint="curve")


def as_seen(sheets: list[Image.Image], view: View, soft_cm: float) -> Floats:
    """Return the sum of what was drawn on sheets as the view sees it, blurred by `soft_cm`."""
    coarser = max(int(view.pixel_cm * _SHEET_SCALE), 1)  # or a coarse view would step over thin lines
    drawn = sum(np.asarray(sheet.reduce(coarser), dtype=np.float32) for sheet in sheets)
    scale = np.float32(_SHEET_SCALE / coarser)
    places = [(view.y + _SHEET_ORIGIN[1]) * scale, (view.x + _SHEET_ORIGIN[0]) * scale]
    seen = ndimage.map_coordinates(drawn, places, order=1) / np.float32(_LEVELS)
    return np.asarray(ndimage.gaussian_filter(seen, soft_cm / view.pixel_cm, truncate=2))


def vessel_tree(rng: Generator, root: tuple[float, float], side: int, step: float) -> Floats:
    """Return vessels that fork every `step` cm or so from the hilum `root`: x, y, x, y, width (cm), thin ones first."""
    start, angle = np.tile(root, (7, 1)), np.linspace(-1.25, 1.35, 7) + rng.normal(0, 0.12, 7)
    width, rows = rng.uniform(0.45, 0.75, 7), []
    for _ in range(4):  # finer vessels are only a texture
        length = step * rng.uniform(0.5, 1.3, len(angle))
        end = start + length[:, None] * np.column_stack([side * np.cos(angle), np.sin(angle)])
        rows.append(np.column_stack([start, end, width]))
        fork = np.repeat(angle, 2) + np.tile([-0.3, 0.3], len(angle))
        start, angle = np.repeat(end, 2, axis=0), fork + rng.normal(0, 0.2, len(fork))
        width = np.repeat(width, 2) * rng.uniform(0.5, 0.8, len(fork))
    return np.concatenate(rows[::-1])
