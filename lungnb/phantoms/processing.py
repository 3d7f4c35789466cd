"""Process a film as digital systems do: contrast in tiles, contrast in bands of detail, sharpening, S-shaped curves.

All functions take and return a film, `(size, size)` float32, 0 to 1.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lungnb.masks import Floats
from lungnb.phantoms.drawing import blur

Wholes = NDArray[np.signedinteger]  # such as grey levels
PROCESSED_SHARE = 0.5  # of the films
_BINS = 128  # grey levels of the histograms of tiles
_STEEPEST = (1.4, 7.0)  # of CLAHE: by how much contrast may rise; a clip limit of 0.01 in scikit-image is 2.56
_FAINT = 0.015  # details below this are noise, and not raised further
_BANDS = 5  # of detail, each twice as coarse as the one before it


def process(rng: Generator, grey: Floats) -> Floats:
    """Return the film as it is, or after one or two steps of processing; see `PROCESSED_SHARE`."""
    if rng.random() >= PROCESSED_SHARE:
        return grey
    steps = rng.choice(4, size=rng.choice([1, 2], p=[0.65, 0.35]), replace=False)
    for step in np.sort(steps):
        if step == 0:
            grey = multiscale(grey, rng.uniform(0.5, 0.95), rng.uniform(0.3, 1.0))
        elif step == 1:
            grey = clahe(grey, int(rng.integers(4, 10)), np.exp(rng.uniform(*np.log(_STEEPEST))))
        elif step == 2:
            grey = unsharp(grey, rng.uniform(0.008, 0.08), rng.uniform(0.3, 1.5))
        else:
            grey = s_curve(grey, rng.uniform(0.3, 0.6), rng.uniform(3, 9))
    return grey


def clahe(grey: Floats, tiles: int, steepest: float) -> Floats:
    """Return a film after contrast-limited adaptive histogram equalisation (Zuiderveld 1994, Graphics Gems IV, 474).

    The film is cut into `tiles` x `tiles`. Contrast rises by a factor of `steepest` (1 or more) at most: no grey level
    counts for more than that allows, and the excess is spread over all levels.
    """
    size = len(grey)
    level = np.clip(grey * _BINS, 0, _BINS - 1).astype(np.int32)
    tile = np.arange(size) * tiles // size
    number = (tile[:, None] * tiles + tile) * _BINS + level
    counts = np.bincount(number.ravel(), minlength=tiles * tiles * _BINS).reshape(-1, _BINS)
    shares = (counts / counts.sum(1, keepdims=True)).astype(np.float32)
    clipped = np.minimum(shares, np.float32(steepest / _BINS))
    clipped += (1 - clipped.sum(1, keepdims=True)) / _BINS
    curves = np.cumsum(clipped, 1).reshape(tiles, tiles, _BINS)
    place = np.clip((np.arange(size, dtype=np.float32) + 0.5) * tiles / size - 0.5, 0, tiles - 1)
    first = np.minimum(place.astype(int), max(tiles - 2, 0))
    later, part = np.minimum(first + 1, tiles - 1), place - first
    top = _between(curves, first[:, None], (first, later), level, part)
    bottom = _between(curves, later[:, None], (first, later), level, part)
    return np.asarray(top + part[:, None] * (bottom - top))


def _between(curves: Floats, row: Wholes, columns: tuple[Wholes, Wholes], level: Wholes, part: Floats) -> Floats:
    """Return the greys by the tone curves of a row of tiles, interpolated between the left and the right tile."""
    left, right = (curves[row, column[None, :], level] for column in columns)
    return np.asarray(left + part * (right - left))


def multiscale(grey: Floats, power: float, coarse: float) -> Floats:
    """Return a film with stronger faint details and a weaker coarsest shape.

    Each band of a Laplacian pyramid is raised to `power` below 1 (Vuylsteke and Schoeters 1994, Proc. SPIE 2167:551).
    The rest, coarser than all bands, is multiplied by `coarse`, which is an assumption.
    """
    smooth, sum_of_bands = grey, np.zeros_like(grey)
    for band in range(_BANDS):
        wider = blur(smooth, 2.0**band * len(grey) / 256)
        detail = smooth - wider
        size = np.abs(detail) + np.float32(_FAINT)
        sum_of_bands += detail * (size / np.float32(0.2)) ** np.float32(power - 1)
        smooth = wider
    result = sum_of_bands + np.float32(coarse) * smooth
    low, high = np.quantile(result[::4, ::4], (0.01, 0.995))
    return np.asarray(np.clip((result - low) / max(high - low, 0.05), 0, 1))


def unsharp(grey: Floats, width: float, strength: float) -> Floats:
    """Return a sharpened film: add its difference from a blurred copy; `width` of the blur is a share of the side."""
    return np.asarray(np.clip(grey + np.float32(strength) * (grey - blur(grey, width * len(grey))), 0, 1))


def s_curve(grey: Floats, middle: float, steep: float) -> Floats:
    """Return a film through a logistic tone curve, scaled so that black and white stay.

    >>> s_curve(np.array([0.0, 1.0], np.float32), 0.4, 6).tolist()
    [0.0, 1.0]
    """
    low, high = (1 / (1 + np.exp(-steep * (end - middle))) for end in (0, 1))
    curved = 1 / (1 + np.exp(np.float32(-steep) * (grey - np.float32(middle))))
    return np.asarray((curved - np.float32(low)) / np.float32(high - low))
