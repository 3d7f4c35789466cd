"""Operations on masks: clean them, count and box their regions, draw them on their image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import find_boundaries

# Short names for the arrays that lungnb passes around.
Grey = NDArray[np.uint8]  # an image, (height, width), 0 (black) to 255 (white)
Mask = NDArray[np.bool_]  # as large as its image; True on the lungs
Floats = NDArray[np.floating]  # float32 or float64, such as probabilities and Hounsfield units
Window = tuple[float, float]  # the values shown as black and as white; Hounsfield units for CT

OUTLINE = (255, 176, 0)  # amber, which stands out from grey and reads for colour-blind eyes


def clean_mask(mask: np.ndarray, regions: int = 2) -> np.ndarray:
    """Keep the largest connected regions of a bool mask, `regions` at most, and fill their holes.

    The mask is `(height, width)`, or of a volume `(slices, height, width)`, whose holes are filled slice by slice.

    Example:
        >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], bool)  # a hole, and a region beside it
        >>> clean_mask(mask, regions=1).astype(int)
        array([[1, 1, 1, 0, 0],
               [1, 1, 1, 0, 0],
               [1, 1, 1, 0, 0]])
    """
    cleaned = np.zeros_like(mask)
    for region in largest_regions(mask, regions):
        cleaned[region.box] |= region.mask
    box = _box(cleaned)
    inside = cleaned[box]
    for part in [inside] if mask.ndim == 2 else inside:
        part[...] = _fill_holes(part)
    return cleaned


def _fill_holes(mask: np.ndarray) -> np.ndarray:
    """Return a `(height, width)` mask with all that it encloses; several times as fast as SciPy's of the same kind."""
    rest, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    filled: Mask = rest != rest[0, 0]
    return filled[1:-1, 1:-1]


class Region(NamedTuple):
    """A connected region of a mask: its mask within the box that it fills, bool, and the box."""

    mask: np.ndarray
    box: tuple[slice, ...]


def largest_regions(mask: np.ndarray, regions: int = 2) -> list[Region]:
    """Return the largest connected regions of a bool mask, `regions` at most, the largest first.

    Example:
        >>> mask = np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
        >>> [int(region.mask.sum()) for region in largest_regions(mask)]
        [4, 1]
    """
    box = _box(mask)
    labels, count = ndimage.label(mask[box], np.ones((3,) * mask.ndim))  # pixels that touch at a corner are one region
    # Line by line, because NumPy counts a copy of eight bytes a voxel.
    lines = labels if mask.ndim == 3 else [labels]
    none = np.zeros(count + 1, np.intp)
    sizes = sum((np.bincount(line.ravel(), minlength=count + 1) for line in lines), start=none)
    boxes = ndimage.find_objects(labels)
    largest = np.argsort(sizes[1:])[::-1][:regions]
    offsets = [side.indices(length)[0] for side, length in zip(box, mask.shape, strict=True)]
    return [
        Region(
            labels[boxes[number]] == number + 1,
            tuple(slice(side.start + at, side.stop + at) for side, at in zip(boxes[number], offsets, strict=True)),
        )
        for number in largest
    ]


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return the smallest box that holds a mask, all of the picture where it is empty: lungs are half of one."""
    axes = range(mask.ndim)
    lines = (np.flatnonzero(mask.any(axis=tuple({*axes} - {axis}))) for axis in axes)
    return tuple(slice(line[0], line[-1] + 1) if line.size else slice(None) for line in lines)


def overlay(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int] = OUTLINE) -> np.ndarray:
    """Return a uint8 RGB picture, `(height, width, 3)`: the image with the mask tinted and outlined.

    Example:
        >>> image, mask = np.zeros((64, 64), np.uint8), np.zeros((64, 64), bool)
        >>> mask[16:48, 16:48] = True
        >>> overlay(image, mask).shape
        (64, 64, 3)
    """
    picture = np.repeat(image[:, :, None], 3, axis=2)
    shades = np.arange(256, dtype=np.float32)[:, None]
    tinted = (0.75 * shades + 0.25 * np.array(color)).astype(np.uint8)  # of each grey
    picture[mask] = tinted[image[mask]]
    width = max(round(max(image.shape) / 512), 1)
    picture[ndimage.binary_dilation(find_boundaries(mask, mode="inner"), iterations=width)] = color
    return picture


def cut_out(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the lungs alone as uint8 grey with transparency, `(rows, columns, 4)`, cropped to the mask's box.

    Example:
        >>> image, mask = np.zeros((64, 64), np.uint8), np.zeros((64, 64), bool)
        >>> mask[16:48, 10:30] = True
        >>> cut_out(image, mask).shape
        (32, 20, 4)
    """
    if not mask.any():
        return np.zeros((1, 1, 4), np.uint8)
    box = _box(mask)
    grey, alpha = image[box], mask[box].astype(np.uint8) * np.uint8(255)
    return np.dstack([grey, grey, grey, alpha])


_SPECK = 0.002  # of the picture: a region smaller than this is none
AREA = (0.02, 0.6)  # of the picture, that lungs cover


def count_regions(mask: np.ndarray) -> int:
    """Return the number of connected regions of a bool mask, specks left out.

    Example:
        >>> mask = np.zeros((100, 100), bool)
        >>> mask[20:80, 10:40] = mask[20:80, 60:90] = True  # two lungs
        >>> mask[0, 0] = True  # a speck
        >>> count_regions(mask)
        2
    """
    return int((np.bincount(label(mask).ravel())[1:] >= _SPECK * mask.size).sum())
