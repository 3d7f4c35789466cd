"""Operations on masks: clean them, find and count their regions, and draw them on their image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Short names for the arrays that lungnb passes around.
Grey = NDArray[np.uint8]  # an image, (height, width), 0 (black) to 255 (white)
Mask = NDArray[np.bool_]  # as large as its image; True on the lungs
Floats = NDArray[np.floating]  # float32 or float64, such as probabilities and Hounsfield units
Window = tuple[float, float]  # the values shown as black and as white; Hounsfield units for CT

LUNG_THRESHOLD = 0.5  # probability above which a pixel is lung
GREY_THRESHOLD = 128  # of a mask with greys, 0 to 255: from here on a pixel is lung
# `tools/train_chest.py` sets the output `chest` of a network so that 3 % of drawn chests, from wider ranges than those
# of its training, lie below the first. A film is turned only if another orientation is above the second.
CHEST_THRESHOLD, CLEAR_CHEST = 0.5, 0.9
OUTLINE = (255, 176, 0)  # amber, which stands out from grey for colour-blind readers too
MIN_REGION_SHARE = 0.002  # ignore smaller regions (share of the image)
_LINE_SHARE = 0.02  # of the shorter side: half the width of the widest line that is an outline
LUNG_SHARE = (0.02, 0.6)  # plausible area of lungs, lowest and highest (share of the image)


class TrainedWindow(NamedTuple):
    """The window with which a network was trained, HU. Pictures of 8 bits count as shown through it already."""

    low: float
    high: float


def clean_mask(mask: Mask, regions: int = 2) -> Mask:
    """Keep the largest connected regions of a bool mask, at most `regions`, and fill their holes.

    The mask is `(height, width)`, or `(slices, height, width)` for a volume, where holes are filled slice by slice.

    >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], bool)  # a hole, and a region beside it
    >>> clean_mask(mask, regions=1).astype(int).tolist()
    [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """
    cleaned = np.zeros_like(mask)
    for region in largest_regions(mask, regions):
        cleaned[region.box] |= region.mask
    boxed = cleaned[bounding_box(cleaned)]
    for part in [boxed] if mask.ndim == 2 else boxed:
        part[...] = _fill_holes(part)
    return cleaned


def _fill_holes(mask: Mask) -> Mask:
    """Return a `(height, width)` mask without holes; several times as fast as SciPy's `binary_fill_holes`."""
    background, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    filled: Mask = background != background[0, 0]
    return filled[1:-1, 1:-1]


class Region(NamedTuple):
    """A connected region of a mask: its bool mask within its bounding box, and the box."""

    mask: Mask
    box: tuple[slice, ...]

    def columns(self) -> NDArray[np.int_]:
        """Return its number of pixels in each column of its box."""
        return np.asarray(self.mask.sum(axis=tuple(range(self.mask.ndim - 1))))

    def middle(self) -> float:
        """Return its mean column, computed from the sums of the columns because that is fast."""
        return float(self.box[-1].start + ndimage.center_of_mass(self.columns())[0])


def largest_regions(mask: Mask, regions: int = 2) -> list[Region]:
    """Return the largest connected regions of a bool mask, at most `regions`, the largest first.

    >>> mask = np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
    >>> [int(region.mask.sum()) for region in largest_regions(mask)]
    [4, 1]
    """
    box = bounding_box(mask)
    labels, count = ndimage.label(mask[box], np.ones((3,) * mask.ndim))  # pixels that touch at a corner are one region
    sizes = np.zeros(count + 1, np.int64)
    for part in labels if mask.ndim == 3 else [labels]:  # slice by slice, because bincount copies each voxel as 8 bytes
        sizes += np.bincount(part.ravel(), minlength=count + 1)
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


def bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the bounding box of a mask, or slices without limits if the mask is empty.

    >>> mask = np.array([[0, 0, 0], [0, 1, 1]], bool)
    >>> mask[bounding_box(mask)].tolist()
    [[True, True]]
    """
    axes = range(mask.ndim)
    lines = (np.flatnonzero(mask.any(axis=tuple({*axes} - {axis}))) for axis in axes)
    return tuple(slice(line[0], line[-1] + 1) if line.size else slice(None) for line in lines)


def overlay(image: Grey, mask: Mask, color: tuple[int, int, int] = OUTLINE) -> NDArray[np.uint8]:
    """Return the image as uint8 RGB, `(height, width, 3)`, with the mask tinted and outlined.

    >>> overlay(np.zeros((64, 64), np.uint8), np.eye(64, dtype=bool)).shape
    (64, 64, 3)
    """
    picture = np.repeat(image[:, :, None], 3, axis=2)
    greys = np.arange(256, dtype=np.float32)[:, None]
    tinted_greys = (0.75 * greys + 0.25 * np.array(color)).astype(np.uint8)
    picture[mask] = tinted_greys[image[mask]]
    outline = mask & ~ndimage.binary_erosion(mask, border_value=1)
    width = max(round(max(image.shape) / 512), 1)
    picture[ndimage.binary_dilation(outline, iterations=width)] = color
    return picture


def cut_out(image: Grey, mask: Mask) -> NDArray[np.uint8]:
    """Return the lungs as uint8 RGBA, `(rows, columns, 4)`, cropped to the mask; the background is transparent.

    >>> image, mask = np.zeros((64, 64), np.uint8), np.zeros((64, 64), bool)
    >>> mask[16:48, 10:30] = True
    >>> cut_out(image, mask).shape
    (32, 20, 4)
    """
    if not mask.any():
        return np.zeros((1, 1, 4), np.uint8)
    box = bounding_box(mask)
    grey, alpha = image[box], mask[box].astype(np.uint8) * np.uint8(255)
    return np.dstack([grey, grey, grey, alpha])


def is_outline(mask: Mask) -> bool:
    """Return whether a mask, `(height, width)`, is a line around something larger, which it does not mark.

    >>> is_outline(np.pad(np.zeros((64, 64), bool), 1, constant_values=True)), is_outline(np.ones((64, 64), bool))
    (True, False)
    """
    width = max(round(_LINE_SHARE * min(mask.shape)), 1)
    is_hollow = np.count_nonzero(ndimage.binary_fill_holes(mask)) > 2 * np.count_nonzero(mask)
    return bool(is_hollow and not ndimage.binary_erosion(mask, iterations=width).any())


def count_regions(mask: Mask) -> int:
    """Return the number of connected regions of a bool mask, without those smaller than `MIN_REGION_SHARE`.

    >>> mask = np.zeros((100, 100), bool)
    >>> mask[20:80, 10:40] = mask[20:80, 60:90] = True  # two lungs
    >>> mask[0, 0] = True  # a speck
    >>> count_regions(mask)
    2
    """
    labels, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return int((np.bincount(labels.ravel())[1:] >= MIN_REGION_SHARE * mask.size).sum())
