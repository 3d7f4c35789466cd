"""Find near-duplicates: copies of an image in other tones, mirrored, cropped, padded, turned, marked or compressed.

Each image is compared with all others at 32x32 px, and the most similar ones are aligned and compared at 128x128 px.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

# Side (px) of an image's three fingerprints, and the sigma (px) of the blur whose result is subtracted. The coarse one
# finds candidates, the middle one aligns them, and the fine one shows ribs and vessels, which differ between patients.
_COARSE, _MIDDLE, _FINE = (32, 3.0), (64, 4.0), (128, 2.0)
_STEPS = 32  # of a fingerprint's value of 1, because it is stored as int8 to save memory: 21 kB an image
_FLOOR = 0.25  # of the mean contrast: an area with less is not amplified to the same contrast, because it holds noise
_AREA = 0.8  # share of the image's width and height that is compared, in its centre: markers are in corners
_MAX_BORDER = 0.05  # share of the width or height that is cut off each side if it has one grey, as padding has
_BORDER_RANGE = 8  # grey levels between the darkest and the brightest pixel of such a row; JPEG makes some
_CANDIDATES = 5  # images that are aligned with each image; on real images, 8 found no more copies
_MIN_SIMILARITY = 0.8  # correlation of aligned middle fingerprints; of 99 % of copies it is at least 0.9
_BLOCKS = 8  # blocks per side of the compared area
_OUTLIERS = 6  # blocks of 64 that are left out, because a marker, a label or a border may be there
_BLOCK = 256  # images whose candidates are looked for at once; more take too much memory
_BATCH = 64  # pairs that are aligned at once; more do not fit into the processor's cache
# How a copy may lie within the other image: how much larger, and shifted where, as shares of width and height. A copy
# may be cropped or padded on all sides, on one side, or on two that meet. Half of 5 % is tolerated anyway.
_SIDES = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
_PLACES = [(scale, scale, 0.0, 0.0) for scale in (0.9, 1.0, 1.1)]
_PLACES += [(1 + c * abs(x), 1 + c * abs(y), c * x / 2, c * y / 2) for c in (-0.05, 0.05) for x, y in _SIDES]
_IDENTITY = np.eye(2, 3, dtype=np.float32)
_MAX_ERROR = 1.5  # standard deviations: an error counts as no more, so that markers do not decide the alignment
# Images whose aligned fingerprints are further apart are not copies. Chosen on Montgomery and lung-ct-bmp, tested on
# Shenzhen and other CT slices: results/published/near-duplicates.
MAX_COPY_DISTANCE = 0.15


class Fingerprints(NamedTuple):
    """Fingerprints of images, int8: `(n, 32, 32)`, `(n, 64, 64)` and `(n, 128, 128)`."""

    coarse: np.ndarray
    middle: np.ndarray
    fine: np.ndarray


def fingerprint(image: np.ndarray) -> Fingerprints:
    """Return the fingerprints of a uint8 image `(height, width)`, as a stack of one.

    They hold small structures with the same contrast everywhere. Because they are made of the ranks of the greys, they
    do not depend on brightness, contrast and gamma.

    Example:
        >>> fingerprint(np.eye(256, dtype=np.uint8)).fine.shape
        (1, 128, 128)
    """
    inside = Image.fromarray(_without_border(image))
    return Fingerprints(*(_structure(inside, *level)[None] for level in (_COARSE, _MIDDLE, _FINE)))


def stack(fingerprints: list[Fingerprints]) -> Fingerprints:
    """Return the fingerprints of several images as one stack."""
    return Fingerprints(*(np.concatenate(level) for level in zip(*fingerprints, strict=True)))


def find_copies(images: Fingerprints, group: np.ndarray) -> pd.DataFrame:
    """Return the pairs of near-duplicates in different groups: `first` < `second`, and `distance`, nearest first.

    `group` has a value for each image, such as its split or its patient. The distance is 1 minus the correlation of the
    aligned images: 0 for the same image, at most `MAX_COPY_DISTANCE`. Inverted copies are found too. The time grows
    with the number of images, and that of the coarse comparison with its square.

    Example:
        >>> films = np.random.default_rng(1).integers(0, 256, (2, 128, 128), np.uint8)
        >>> pictures = stack([fingerprint(image) for image in (films[0], 255 - films[0][:, ::-1], films[1])])
        >>> find_copies(pictures, np.array(["train", "test", "test"]))[["first", "second"]].to_numpy().tolist()
        [[0, 1]]
    """
    pairs = compare_candidates(images, group)
    return pairs[pairs["distance"] <= MAX_COPY_DISTANCE].reset_index(drop=True)


def compare_candidates(images: Fingerprints, group: np.ndarray) -> pd.DataFrame:
    """Return all aligned pairs, also with a distance above `MAX_COPY_DISTANCE`, in the columns of `find_copies`."""
    rows = [batch for block in _candidates(images.coarse, group) for batch in _aligned(images, *block)]
    table = pd.DataFrame(np.concatenate(rows) if rows else np.empty((0, 3)), columns=["first", "second", "distance"])
    table = table.astype({"first": int, "second": int}).sort_values(["distance", "first", "second"])
    return table.drop_duplicates(["first", "second"], ignore_index=True)


def _without_border(image: np.ndarray) -> np.ndarray:
    """Return the image without rows and columns of one grey at its edges, of which at most `_MAX_BORDER` are cut."""
    cuts = []
    for axis in (1, 0):
        is_plain = np.ptp(image, axis=axis) <= _BORDER_RANGE
        limit = int(_MAX_BORDER * len(is_plain))
        cuts += [int(np.argmin(np.append(side[:limit], False))) for side in (is_plain, is_plain[::-1])]
    top, bottom, left, right = cuts
    return image[top : len(image) - bottom, left : image.shape[1] - right]


def _structure(image: Image.Image, side: int, sigma: float) -> np.ndarray:
    """Return the structures of an image that are smaller than `sigma` px of `side`, int8 `(side, side)`."""
    grey = np.asarray(image.resize((side, side), Image.Resampling.BOX))
    counts = np.bincount(grey.ravel(), minlength=256)
    ranks = ((np.cumsum(counts) - counts / 2) / grey.size).astype(np.float32)
    smooth = gaussian_filter(ranks[grey], 1, mode="nearest")
    detail = smooth - gaussian_filter(smooth, sigma, mode="nearest")
    contrast = np.sqrt(gaussian_filter(detail**2, 2 * sigma, mode="nearest"))
    even = detail / (contrast + _FLOOR * contrast.mean() + np.finfo(np.float32).tiny)
    return np.asarray(np.clip(np.rint(_STEPS * even), -127, 127), np.int8)


def _candidates(coarse: np.ndarray, group: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, block by block, images, their candidates in other groups, and the place of each image in its candidate.

    The places are affine maps `(n, 2, 3)` from places in the candidate to places in the image; see `_sampled`.
    """
    points = _points(_COARSE[0] // 2)
    places = [[[sign * width, 0, x], [0, height, y]] for sign in (1, -1) for width, height, x, y in _PLACES]
    maps = np.array(places, np.float32)
    known = _unit(_sampled(coarse, np.broadcast_to(_IDENTITY, (len(coarse), 2, 3)), points))
    for start in range(0, len(coarse), _BLOCK):
        block = slice(start, start + _BLOCK)
        best = np.full((len(coarse[block]), len(coarse)), -1, np.float32)
        best_place = np.zeros(best.shape, np.int8)
        for place, at in enumerate(maps):
            seen = _unit(_sampled(coarse[block], np.broadcast_to(at, (len(best), 2, 3)), points))
            similarity = np.abs(seen @ known.T)
            best_place[similarity > best] = place
            np.maximum(best, similarity, out=best)
        best[group[block, None] == group[None]] = -1
        count = min(_CANDIDATES, len(coarse))
        nearest = np.argpartition(-best, count - 1, axis=1)[:, :count]
        image, column = np.nonzero(np.take_along_axis(best, nearest, 1) > 0)
        other = nearest[image, column]
        yield image + start, other, maps[best_place[image, other]]


def _aligned(images: Fingerprints, one: np.ndarray, other: np.ndarray, maps: np.ndarray) -> Iterator[np.ndarray]:
    """Yield, batch by batch, a row for each pair: the lower and the higher number, and the distance when aligned."""
    for start in range(0, len(one), _BATCH):
        batch = slice(start, start + _BATCH)
        first, second, at = one[batch], other[batch], maps[batch]
        at, _ = _align(images.coarse[second], images.coarse[first], at, _COARSE[0] // 2, 6)
        at, similarity = _align(images.middle[second], images.middle[first], at, _MIDDLE[0] // 2, 4)
        is_similar = similarity > _MIN_SIMILARITY
        first, second, at = first[is_similar], second[is_similar], at[is_similar]
        points = _points(_FINE[0] // 2)
        known = _sampled(images.fine[second], np.broadcast_to(_IDENTITY, at.shape), points)
        correlation = _trimmed_correlation(known, _sampled(images.fine[first], at, points))
        yield np.stack([np.minimum(first, second), np.maximum(first, second), 1 - correlation], axis=1)


def _trimmed_correlation(known: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the correlation of rows, 0 to 1, without the blocks that differ most, because markers may be there."""
    known, seen = _unit(known), _unit(seen)
    seen = np.where((known * seen).sum(1, keepdims=True) < 0, -seen, seen)
    known, seen = _in_blocks(known), _in_blocks(seen)
    errors = ((known - seen) ** 2).sum(2)
    best = np.argsort(errors, axis=1)[:, :-_OUTLIERS, None]
    size = (_BLOCKS**2 - _OUTLIERS) * known.shape[2]
    known, seen = (_unit(np.take_along_axis(each, best, 1).reshape(-1, size)) for each in (known, seen))
    return np.asarray(np.clip((known * seen).sum(1), 0, 1))


def _in_blocks(rows: np.ndarray) -> np.ndarray:
    """Return images `(n, side * side)` as `(n, blocks, points of a block)`."""
    size = round(rows.shape[1] ** 0.5) // _BLOCKS
    blocks = rows.reshape(len(rows), _BLOCKS, size, _BLOCKS, size).transpose(0, 1, 3, 2, 4)
    return blocks.reshape(len(rows), _BLOCKS**2, size**2)


def _align(
    fixed: np.ndarray, moving: np.ndarray, maps: np.ndarray, side: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return affine maps `(n, 2, 3)` that bring `moving` images onto `fixed` ones, and the correlations, 0 to 1.

    Images are int8 `(n, height, width)`. The correlations are those before the last step.

    This is the inverse compositional algorithm (Baker and Matthews 2004, doi:10.1023/B:VISI.0000011205.11775.fd) on
    `side` x `side` points.
    """
    points = _points(side)
    known = _unit(_sampled(fixed, np.broadcast_to(_IDENTITY, maps.shape), points))
    down, right = np.gradient(known.reshape(-1, side, side), _AREA / side, axis=(1, 2))
    slopes = np.stack([right, down], 1).reshape(len(fixed), 2, 1, -1)
    steepest = (slopes * points).reshape(len(fixed), 6, -1)  # n, parameters, points
    hessian = steepest @ steepest.transpose(0, 2, 1)
    # A little damping, so that images without structures can be solved too.
    damping = 1e-4 * np.trace(hessian, axis1=1, axis2=2) / 6 + 1e-9
    hessian += damping[:, None, None] * np.eye(6, dtype=np.float32)
    gain = np.linalg.solve(hessian, steepest)
    for _ in range(steps):
        seen = _unit(_sampled(moving, maps, points))
        correlation = (seen * known).sum(1, keepdims=True)
        error = np.where(correlation < 0, -seen, seen) - known
        error = np.clip(error, -_MAX_ERROR / side, _MAX_ERROR / side)
        change = np.zeros((len(maps), 3, 3), np.float32)
        change[:, :2] = (gain @ error[:, :, None]).reshape(-1, 2, 3)
        maps = (maps @ np.linalg.inv(change + np.eye(3, dtype=np.float32))).astype(np.float32)
    return maps, np.abs(correlation[:, 0])


def _points(side: int) -> np.ndarray:
    """Return `side` x `side` places in the compared area as `(3, n)`: x, y and 1; the image's centre is 0, 0."""
    steps = ((np.arange(side, dtype=np.float32) + 0.5) / side - 0.5) * _AREA
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])


def _sampled(images: np.ndarray, maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the values of square images `(n, side, side)` at mapped `points`, linearly interpolated, `(n, points)`."""
    side = images.shape[-1]
    places = np.clip((maps @ points + 0.5) * side - 0.5, 0, side - 1.001)
    whole = places.astype(np.int32)
    right, down = (places - whole).transpose(1, 0, 2)
    first = np.arange(len(images), dtype=np.int64)[:, None] * side**2 + whole[:, 1] * side + whole[:, 0]
    flat = images.ravel()
    upper = flat[first] * (1 - right) + flat[first + 1] * right
    lower = flat[first + side] * (1 - right) + flat[first + side + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def _unit(values: np.ndarray) -> np.ndarray:
    """Return rows with a mean of 0 and a length of 1; rows of one value become 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6))
