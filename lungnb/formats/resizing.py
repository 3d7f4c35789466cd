"""Change the size of images: fit them into the square that a network sees and back, resample or shrink them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from lungnb.arrays import Floats, Grey
from lungnb.formats.opening import Refused
from lungnb.formats.pixels import row_blocks

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def resample_mm(
    array: np.ndarray,
    spacing_mm: tuple[float, ...],
    new_spacing_mm: float | tuple[float, ...],
    is_mask: bool = False,
) -> np.ndarray:
    """Return an image or a volume at another spacing, over the same extent.

    Images are interpolated linearly and blurred before they become smaller, which prevents moiré. Masks take the
    nearest neighbour. Both get the same shape: the extent divided by the new spacing, rounded. So the new spacing is
    met except for that rounding.

    Args:
        array: `(height, width)` or `(slices, height, width)`; uint8 stays uint8, other numbers become float32.
        spacing_mm: spacing along each axis of the array, mm.
        new_spacing_mm: new spacing, mm; one for each axis, or one for all.
        is_mask: whether it is a mask, which comes back as bool.

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
    """An image fitted into a square, and where it lies there (px)."""

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
    """Return an image whose longer side is at most `longest_px`: greys area-averaged, bool masks by nearest neighbour.

    An image that is small enough comes back unchanged.
    """
    height, width = image.shape
    if max(height, width) <= longest_px:
        return image
    new_height, new_width = (max(round(side * longest_px / max(height, width)), 1) for side in (height, width))
    method = Image.Resampling.NEAREST if image.dtype == bool else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((new_width, new_height), method))
