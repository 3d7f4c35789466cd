"""The two lungs of a mask: separate right and left, and say why a person should look at the mask."""

import numpy as np

from lungnb.engines.temperature import with_temperature
from lungnb.formats.dicom_header import NO_TURN, Turn
from lungnb.masks import LUNG_SHARE, Region, largest_regions
from lungnb.segmentation.inference import NOT_A_CHEST, is_doubtful

USUAL_VOLUME_ML = (1000, 9000)  # of both lungs together
# How the next two were chosen, and what they find: results/published/README.md, section review
MAX_SIZE_RATIO = 2.5  # of the larger lung to the smaller
MAX_UNCERTAINTY = 0.2  # see `uncertainty`
UNCERTAIN = (0.1, 0.9)  # probabilities between them
_SAMPLES = 256  # of pixels along the shorter side are enough to see how uncertain a mask is
_MIN_LUNG_SHARE = 0.1  # of the larger region; a smaller region is not the other lung
_MAX_OFF_MIDDLE = 0.25  # of the region's width; the middle of the picture is nearer to that of both lungs
_MAX_SHARED_COLUMNS = 0.5  # of the narrower region; regions that share more lie above each other
_MIN_WIDTH_OF_BOTH = 0.8  # of its height; a region that is wider and lies across the middle is both lungs, which touch


def split_sides(mask: np.ndarray, turn: Turn = NO_TURN) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient's right and left lung of a mask, `(height, width)` or `(slices, height, width)`, bool.

    `turn` shows an image as usual that is stored in another direction, such as `Segmentation.turn`.

    If two regions lie side by side, each is a lung. If the lungs touch, they are cut at the thinnest column near their
    middle. Otherwise the mask is one lung, in one piece or in two above each other. The patient's right is on the left,
    as films and slices are shown.

    >>> right, left = split_sides(np.array([[1, 1, 0, 0, 1], [1, 1, 0, 1, 1]], bool))
    >>> int(right.sum()), int(left.sum())
    (4, 3)
    """
    if turn != NO_TURN:
        right, left = split_sides(turn.upright(mask))
        return turn.stored(right), turn.stored(left)
    regions = largest_regions(mask)
    if len(regions) == 2 and _are_side_by_side(*regions):
        on_left = min(regions, key=Region.middle)
        right = np.zeros_like(mask)
        right[on_left.box] = on_left.mask
        return right, mask & ~right
    middle = mask.shape[-1] / 2
    if regions and _is_across(regions[0], middle):
        is_right = np.arange(mask.shape[-1]) < _thinnest_column(regions[0])
        return mask & is_right, mask & ~is_right
    lung, none = mask.copy(), np.zeros_like(mask)
    return (lung, none) if regions and regions[0].middle() < middle else (none, lung)


def _are_side_by_side(larger: Region, smaller: Region) -> bool:
    """Return whether two regions are two lungs: both are large enough, and they are not above each other."""
    one, other = larger.box[-1], smaller.box[-1]  # their columns
    shared_columns = min(one.stop, other.stop) - max(one.start, other.start)
    is_large = bool(smaller.mask.sum() >= _MIN_LUNG_SHARE * larger.mask.sum())
    return is_large and shared_columns < _MAX_SHARED_COLUMNS * min(larger.mask.shape[-1], smaller.mask.shape[-1])


def _is_across(region: Region, middle: float) -> bool:
    """Return whether a region is both lungs: it is wide and lies across the middle of the picture."""
    (height, width), columns = region.mask.shape[-2:], region.box[-1]
    off_middle = abs(middle - (columns.start + columns.stop) / 2)
    return bool(width > _MIN_WIDTH_OF_BOTH * height and off_middle < _MAX_OFF_MIDDLE * width)


def _thinnest_column(region: Region) -> int:
    """Return the column with the fewest pixels in the region's middle third; if several are equal, the most central."""
    heights = region.columns()
    third = len(heights) // 3
    inner = heights[third : len(heights) - third]
    thinnest = np.flatnonzero(inner == inner.min())
    return int(region.box[-1].start + third + thinnest[np.abs(thinnest - len(inner) / 2).argmin()])


def why_implausible(
    mask: np.ndarray, right_px: float, left_px: float, volume_ml: float | None = None,
    probability: np.ndarray | None = None, temperature: float = 1.0, chest: float | None = None,
) -> str:  # fmt: skip
    """Return why a person should look at a mask; "" if nothing is unusual.

    Judge the sizes of the right and the left lung, the share of the image that is lung, and, if they are given, the
    volume, the probabilities of an image, as large as the mask, and the network's output `chest`. `temperature` is
    that with which the probabilities were corrected: they are judged as they were before, as `uncertainty` says.

    >>> mask = np.zeros((100, 100), bool)
    >>> mask[20:80, 10:40] = True
    >>> why_implausible(mask, 1800, 0), why_implausible(mask, 900, 900)
    ('one lung only', '')
    """
    (low, high), (small, large) = LUNG_SHARE, sorted((right_px, left_px))
    reasons = [NOT_A_CHEST] if is_doubtful(chest) else []
    if not large:
        return ", ".join([*reasons, "no lung"])
    if large > MAX_SIZE_RATIO * small:
        reasons.append(f"one lung is {large / small:.1f} times as large as the other" if small else "one lung only")
    if volume_ml is not None and not USUAL_VOLUME_ML[0] <= volume_ml <= USUAL_VOLUME_ML[1]:
        reasons.append(f"the lungs have {volume_ml:.0f} mL (usual: {USUAL_VOLUME_ML[0]} to {USUAL_VOLUME_ML[1]})")
    if mask.ndim == 2 and not low <= mask.mean() <= high:
        reasons.append(f"{mask.mean():.0%} of the picture is lung (usual: {low:.0%} to {high:.0%})")
    if probability is not None and (uncertain := uncertainty(probability, mask, temperature)) > MAX_UNCERTAINTY:
        reasons.append(f"the network is uncertain (uncertain pixels: {uncertain:.0%} of the mask)")
    return ", ".join(reasons)


def uncertainty(probability: np.ndarray, mask: np.ndarray, temperature: float = 1.0) -> float:
    """Return the number of pixels with a probability of lung from 0.1 to 0.9, divided by the number of mask pixels.

    Both arrays are `(height, width)` or `(slices, height, width)`. In large images, only some rows and columns count.
    An empty mask gives infinity. If the probabilities were corrected with a temperature, count those that the network
    gave, because `MAX_UNCERTAINTY` was measured with these.

    >>> uncertainty(np.array([[0.99, 0.7, 0.02, 0.01]]), np.array([[True, True, False, False]]))
    0.5
    """
    step = slice(None, None, max(min(mask.shape[-2:]) // _SAMPLES, 1))
    some = (..., step, step) if mask[..., step, step].any() else ...
    lung, (low, high) = np.count_nonzero(mask[some]), UNCERTAIN
    given = with_temperature(probability[some], 1 / temperature)
    uncertain = np.count_nonzero((given > low) & (given < high))
    return float(uncertain / lung) if lung else float("inf")
