"""Turn arrays of any depth and size into the grey square that a network sees, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from lungnb.formats.opening import Refused
from lungnb.formats.ranges import LUNG_WINDOW, grey_range, with_sign, without_fill
from lungnb.masks import Floats, Grey, TrainedWindow, Window

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK_PIXELS = 2**20  # convert so many pixels at once, because copies of a whole film would take a gigabyte
_SAMPLE_SIDE = 256  # look at about so many rows and columns to describe a picture
_COLOUR = 0.25  # of the brightest value, between the colours of a pixel, without a tint of all: a strong colour
_COLOUR_SHARE = 0.05  # of the pixels have one in a coloured picture
_MIN_SIDE = 64  # px; a smaller picture is not judged
_TWO_VIEWS = (1.8, 3)  # width of a picture to its height, if it may show two views
_DARK = 32  # a picture of 8 bits without a brighter pixel was not scaled to 0 to 255
_GREY_MARGIN = 0.1  # of the range of greys, at each end: what counts as black or as white
_MASK_GREY_SHARE = 0.01  # a picture with fewer grey pixels looks like a mask
LIKE_MASK = "hardly any greys, as in a mask: give the image itself"
_LABEL_GREYS, _LABEL_ALIKE = 8, 0.95  # a picture of so few greys is a map of labels if so many neighbours are alike
_MIN_EXTENT = 0.5  # of the longer side: the content of a picture without bars is at least so long
_MIN_DRAWN = 0.05  # of a row or column of the content differs from the bars
_EVEN = 8  # greys, of 255, by which an even background may differ
_MAX_OUTLINE_SHARE, _MIN_LUNG_SHARE = 0.05, 0.02  # of the outline differs; of the picture is the smaller lung
_MIN_SIZE_RATIO = 0.3  # of the smaller region to the larger; an arm beside the body is smaller
CUT_OUT = "shows two regions on an even background, like lungs that were cut out: give the whole picture"
BARRED = "less than half as large as the even grey around it: crop the picture"
COLOURED = "strong colours, of which only the brightness counts: give the image in grey"
SHOWN = "8-bit values, which are taken for {:g} to {:g} HU, the window of the network's training"
_LUMINANCE = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


def through_window(values: np.ndarray, window: Window) -> Grey:
    """Return values of any shape as uint8: 0 at `window[0]` and below, 255 at `window[1]` and above.

    NaN and infinite values become 0. Raises ValueError if the window does not rise.

    >>> through_window(np.array([-1000.0, -300.0, 400.0]), LUNG_WINDOW).tolist()
    [0, 128, 255]
    """
    low, high = window
    if not low < high:
        raise Refused(f"window must rise from black to white, in HU, such as {LUNG_WINDOW}, not {window}.")
    grey = np.empty(values.shape, np.uint8)
    for rows in row_blocks(values.shape):
        clipped = np.clip(values[rows], low, high)
        if clipped.dtype.kind == "f":
            clipped[~np.isfinite(values[rows])] = low
        grey[rows] = np.rint((clipped - low) * (255.0 / (high - low)))
    return grey


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices along the first axis of an array that hold BLOCK_PIXELS values or one row each."""
    step = max(BLOCK_PIXELS // max(math.prod(shape[1:]), 1), 1)
    return (slice(start, start + step) for start in range(0, shape[0], step))


def to_grey(array: np.ndarray, window: Window | None = None, name: object = "the array") -> Grey:
    """Return an array of any depth, `(height, width)` or with 1 to 4 channels, as uint8 `(height, width)`.

    Colours become luminance, and opacity is dropped. uint8 stays as it is, also with a `TrainedWindow`. `grey_range`
    says which other values are black and white, and what `window` does. Raises ValueError, naming `name`, for another
    shape, for values that are not numbers, and as `grey_range`.

    >>> to_grey(np.array([[0.0, 0.5, 1.0]])).tolist()
    [[0, 128, 255]]
    """
    return show_grey(array, window, name)[0]


def show_grey(array: np.ndarray, window: Window | None = None, name: object = "the array") -> tuple[Grey, str]:
    """Return what `to_grey` returns, and a note if some of the values were left out."""
    if array.dtype.kind not in "buif":
        raise Refused(f"{name}: its values are not numbers; give a path, an array of numbers, or a list of these.")
    coloured = COLOURED if array.ndim == 3 and array.shape[-1] in (3, 4) and has_colours(array) else ""
    if array.ndim == 3 and array.shape[-1] in (1, 2, 3, 4):
        array = array[..., 0] if array.shape[-1] < 3 else luminance(array)
    if array.ndim != 2 or not array.size:
        raise Refused(f"{name}: expected (height, width), with 1 to 4 channels at most, not {array.shape}.")
    if array.dtype == np.uint8 and (window is None or isinstance(window, TrainedWindow)):
        is_shown = SHOWN.format(*window) if window else ""
        return array, ", ".join(filter(None, [coloured, picture_doubt(array), is_shown]))
    array, sign = with_sign(array)
    shown, note = grey_range(array, window, name)
    array, filled = without_fill(array) if window or shown == LUNG_WINDOW else (array, "")
    note = ", ".join(filter(None, [sign, filled, note]))
    grey = through_window(array, shown)
    # CT may be drawn with few values.
    of_ct = CUT_OUT if is_cut_out(grey) else BARRED if _is_barred(grey) else ""
    doubt = of_ct if shown == LUNG_WINDOW else picture_doubt(grey)
    return grey, ", ".join(filter(None, [coloured, doubt, note]))


def has_colours(array: np.ndarray) -> bool:
    """Return whether many pixels of a picture, `(height, width, channels)`, have a strong colour.

    A drawn arrow is small, and the tint of a photograph weak. The colours of a colour map or of several CT windows
    are strong, and their brightness may rise and fall while the values rise.

    >>> grey = np.arange(256.0).reshape(16, 16, 1)
    >>> has_colours(grey * (1, 0.86, 0.68)), has_colours(np.dstack([grey, 255 - grey, grey]))
    (False, True)
    """
    if array.ndim != 3 or array.shape[-1] < 3 or not array.size:
        return False
    sample = thinned(array)[..., :3].astype(float)
    with np.errstate(invalid="ignore"):  # NaN and infinite values are refused later
        sample /= np.maximum(sample.mean(axis=(0, 1)), 1e-9)  # the tint, as of old photographs and blue films
    return bool((np.ptp(sample, axis=-1) > _COLOUR * sample.max()).mean() > _COLOUR_SHARE)


def picture_doubt(grey: Grey) -> str:
    """Return a note on a picture of low contrast, or that is like a mask, seems to be two or is cut out; or ""."""
    if min(grey.shape) < _MIN_SIDE:
        return ""
    is_barred = _is_barred(grey)
    if not is_barred and _TWO_VIEWS[0] <= grey.shape[1] / grey.shape[0] <= _TWO_VIEWS[1]:
        return "far wider than high: if it shows two views, cut them apart"
    sample = thinned(grey)
    is_map = 1 < len(np.unique(sample)) <= _LABEL_GREYS and (sample[1:] == sample[:-1]).mean() > _LABEL_ALIKE
    if is_map or is_like_mask(grey):
        return LIKE_MASK
    if is_barred:
        return BARRED
    darkest, brightest = int(grey.min()), int(grey.max())
    if 0 < brightest < _DARK:
        return f"very dark: its greys end at {brightest} of 255. Scale them to 0 to 255"
    if 0 < brightest - darkest < _DARK:
        return f"hardly any contrast: its greys run from {darkest} to {brightest} of 255. Scale them to 0 to 255"
    return CUT_OUT if is_cut_out(grey) else ""


def _is_barred(grey: Grey) -> bool:
    """Return whether a picture has so broad bars of an even grey that its content is small."""
    sample = thinned(grey).astype(np.int16)
    is_drawn = np.abs(sample - sample[0, 0]) > _EVEN
    drawn = [(is_drawn.mean(axis=axis) > _MIN_DRAWN).mean() for axis in (1, 0)]  # shares of rows and columns
    return bool(np.ptp(sample) >= _DARK and 0 < np.multiply(drawn, grey.shape).max() < _MIN_EXTENT * max(grey.shape))


def is_like_mask(image: np.ndarray) -> bool:
    """Return whether hardly any pixels of a picture are neither nearly black nor nearly white.

    >>> is_like_mask(np.array([[0, 255]])), is_like_mask(np.array([[0, 128, 255]]))
    (True, False)
    """
    sample = thinned(image)
    black, white = float(sample.min()), float(sample.max())
    margin = _GREY_MARGIN * (white - black)
    is_grey = (sample > black + margin) & (sample < white - margin)
    return black < white and float(is_grey.mean()) < _MASK_GREY_SHARE


def is_cut_out(grey: Grey) -> bool:
    """Return whether a picture shows two regions side by side on one even grey, as lungs that are cut out.

    In a film, and in a CT slice with a black frame, the body joins the lungs.
    """
    from scipy.ndimage import binary_fill_holes, label

    sample = thinned(grey).astype(np.int16)
    if min(sample.shape) < _MIN_SIDE:
        return False
    outline = np.concatenate([sample[0], sample[-1], sample[:, 0], sample[:, -1]])
    background = int(np.median(outline))
    if (np.abs(outline - background) > _EVEN).mean() > _MAX_OUTLINE_SHARE:
        return False
    regions, _ = label(binary_fill_holes(np.abs(sample - background) > _EVEN))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    if len(sizes) < 3:
        return False
    second, first = np.argsort(sizes)[-2:]
    one, other = (np.flatnonzero((regions == number).any(axis=0)) for number in (first, second))
    shared = min(one[-1], other[-1]) - max(one[0], other[0])
    is_large = sizes[second] > _MIN_LUNG_SHARE * sample.size and sizes[[first, second]].sum() > 0.95 * sizes.sum()
    is_pair = sizes[second] > _MIN_SIZE_RATIO * sizes[first]
    return bool(is_large and is_pair and shared < 0.5 * min(np.ptp(one), np.ptp(other)))


def thinned(image: np.ndarray) -> np.ndarray:
    """Return some rows and columns of a picture, at most 256 of each."""
    step = [-(-side // _SAMPLE_SIDE) for side in image.shape[:2]]
    return image[:: step[0], :: step[1]]


def luminance(array: np.ndarray) -> Floats:
    """Return the luminance of colours, `(height, width, 3 or 4)`, as float64 `(height, width)`."""
    parts = [array[rows, :, :3] @ np.array(_LUMINANCE) for rows in row_blocks(array.shape[:2])]
    return np.concatenate(parts) if parts else np.zeros(array.shape[:2])


def resample_mm(
    array: np.ndarray, spacing_mm: tuple[float, ...], new_spacing_mm: float | tuple[float, ...], is_mask: bool = False
) -> np.ndarray:
    """Return an image or a volume at another spacing, over the same extent.

    Images are interpolated linearly and blurred before they become smaller, which prevents moiré. Masks take the
    nearest neighbour. Both get the same shape: the extent divided by the new spacing, rounded. The array is
    `(height, width)` or `(slices, height, width)`. Masks become bool, uint8 stays uint8, other numbers become float32.

    Raises ValueError if a spacing is not positive, or if there is not one for each axis.

    >>> resample_mm(np.zeros((10, 20), np.uint8), (0.5, 0.5), 1.0).shape
    (5, 10)
    """
    from skimage.transform import resize

    old, new = np.asarray(spacing_mm, float), np.broadcast_to(np.asarray(new_spacing_mm, float), (array.ndim,))
    if old.shape != (array.ndim,) or not (old > 0).all() or not (new > 0).all():
        raise Refused(f"spacing_mm needs a positive number for each of {array.ndim} axes, not {spacing_mm}, {new}.")
    shape = np.maximum(np.rint(array.shape * old / new), 1).astype(int)
    if tuple(shape) == array.shape:
        return array
    if is_mask:
        return np.asarray(resize(array.astype(bool), shape, order=0, anti_aliasing=False))
    smooth = resize(array.astype(np.float32), shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True)
    return np.asarray(np.rint(smooth).astype(np.uint8) if array.dtype == np.uint8 else smooth)


class Square(NamedTuple):
    """An image fitted into a square, and its place and size in the square (px)."""

    array: Grey  # (size, size), black around the image
    top: int
    left: int
    height: int
    width: int


def fit_square(image: Grey, size: int) -> Square:
    """Fit an image into a `(size, size)` square: area-averaged, aspect ratio kept by black borders.

    The networks are trained on the same geometry: `image_dataset_from_directory(pad_to_aspect_ratio=True)`.

    >>> fit_square(np.full((50, 100), 255, np.uint8), 64)[1:]
    (16, 0, 32, 64)
    """
    height, width = np.array(image.shape, np.float32)
    # TensorFlow's resize_with_pad rounds in this way, in float32: sizes down, borders from sizes before rounding.
    ratio = max(height, width) / np.float32(size)
    new_height, new_width = max(int(height / ratio), 1), max(int(width / ratio), 1)
    top, left = int((size - height / ratio) / 2), int((size - width / ratio) / 2)
    square = np.zeros((size, size), np.uint8)
    # Take exact areas, as TensorFlow does, because Pillow's box filter counts whole pixels only and rounds twice.
    down, across = _area_weights(image.shape[0], new_height), _area_weights(image.shape[1], new_width)
    # Work on some columns at a time, because SciPy copies them as float64.
    shrunk = np.hstack([down @ image[:, columns] for columns in row_blocks(image.T.shape)])
    square[top : top + new_height, left : left + new_width] = np.rint((across @ shrunk.T).T)
    return Square(square, top, left, new_height, new_width)


def unfit_square(probability: Floats, square: Square, height: int, width: int) -> Floats:
    """Cut the image out of a `(size, size)` probability map, and return it at `(height, width)`, float32."""
    part = probability[square.top : square.top + square.height, square.left : square.left + square.width]
    part = np.ascontiguousarray(part, dtype=np.float32)
    return np.array(Image.fromarray(part).resize((width, height), Image.Resampling.BILINEAR))


@lru_cache(maxsize=8)
def _area_weights(rows: int, new_rows: int) -> csr_array:
    """Return the sparse matrix `(new_rows, rows)` that averages rows, each weighted by its overlap with a new row."""
    from scipy.sparse import csr_array

    edges = np.arange(new_rows + 1) * (rows / new_rows)
    # List the rows that each new row covers. There may be one too many, whose overlap is 0.
    row = np.floor(edges[:-1]).astype(int)[:, None] + np.arange(int(np.ceil(rows / new_rows)) + 1)
    overlaps = np.minimum(row + 1, edges[1:, None]) - np.maximum(row, edges[:-1, None])
    new_row, place = np.nonzero((overlaps > 0) & (row < rows))
    weights = overlaps[new_row, place] * (new_rows / rows)
    return csr_array((weights, (new_row, row[new_row, place])), shape=(new_rows, rows))


def shrink(image: np.ndarray, longest_px: int) -> np.ndarray:
    """Return an image with its longer side at most `longest_px`: greys area-averaged, masks by nearest neighbour."""
    height, width = image.shape
    if max(height, width) <= longest_px:
        return image
    new_height, new_width = (max(round(side * longest_px / max(height, width)), 1) for side in (height, width))
    method = Image.Resampling.NEAREST if image.dtype == bool else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((new_width, new_height), method))
