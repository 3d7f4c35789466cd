"""Single images as small JPEGs for the browser, and legends of their lines and colours as HTML."""

import io

import matplotlib
import numpy as np
from PIL import Image, ImageDraw
from skimage.measure import find_contours

from lungnb.figures.theme import FOUND_COLOUR, TRUTH_COLOUR

_SIDE_PX = 640  # of the JPEGs, the longer one
_COLORS = "cividis"  # from 0 to 1; reads the same for colour-blind eyes


def picture_of(array: np.ndarray, truth: np.ndarray | None = None, prediction: np.ndarray | None = None) -> bytes:
    """Return a grey image with the contours of its masks, or probabilities in colours, as a JPEG."""
    if array.dtype != np.uint8:
        array = matplotlib.colormaps[_COLORS](array, bytes=True)[..., :3]
    scale = _SIDE_PX / max(array.shape[:2])
    size = max(round(array.shape[1] * scale), 1), max(round(array.shape[0] * scale), 1)
    picture = Image.fromarray(array).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for mask, color, dashed in ((truth, TRUTH_COLOUR, False), (prediction, FOUND_COLOUR, truth is not None)):
        for contour in [] if mask is None else find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
            points = [tuple(point) for point in (contour[:, ::-1] - 0.5) * scale]
            for start in range(0, len(points), 12):
                draw.line(points[start : start + (7 if dashed else 13)], color, width=3)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90, subsampling=0)
    return jpeg.getvalue()


def outlines_legend(has_truth: bool) -> str:
    """Return the legend of the contours as HTML."""
    line = '<span style="display:inline-block;width:2.2em;border-top:3px {} {};vertical-align:middle"></span> {}'
    lines = [line.format("solid", TRUTH_COLOUR, "ground truth &emsp;")] if has_truth else []
    return "".join([*lines, line.format("dashed" if has_truth else "solid", FOUND_COLOUR, "prediction")])


def scale_legend(view: str) -> str:
    """Return the legend of the colours of a view as HTML."""
    colors = ", ".join(map(matplotlib.colors.to_hex, matplotlib.colormaps[_COLORS](np.linspace(0, 1, 9))))
    bar = f'<span style="display:inline-block;width:9em;height:.8em;background:linear-gradient(to right, {colors})">'
    title = {"probability": "probability of lung", "disagreement": "highest minus lowest of four predictions"}[view]
    return f"0 {bar}</span> 1 &emsp;{title}"
