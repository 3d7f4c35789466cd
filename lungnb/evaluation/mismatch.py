"""Find masks that belong to another image: compare each mask with that of the network that lungnb ships.

The network has seen none of the images, so it does not know the errors of their masks. Masks are compared at 64x64
pixels. The limits were chosen on Montgomery and tested on other data sets (`benchmarks/mismatch.py`).
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy import signal

from lungnb.artefacts import MANIFEST
from lungnb.datasets.check import FINDING_COLUMNS
from lungnb.datasets.prepared import ManifestRow, Prepared, open_prepared
from lungnb.engines.engines import Engine
from lungnb.engines.export import open_network
from lungnb.masks import GREY_THRESHOLD, Mask
from lungnb.messages import GALLERY, progress_bar
from lungnb.metrics import dice
from lungnb.segmentation.predict import segment_grey
from lungnb.settings import SHIPPED, Settings, counted

MISMATCH_COLUMNS = (*FINDING_COLUMNS, "dice")
# The lowest hundredth above which only 2 % of Montgomery's films agree with another film's mask.
# Of its own pairs, 2 % lie below.
MIN_DICE = 0.88
# By which a moved mask must fit better. On Montgomery, right masks gain nothing, those shifted by 5 % at least 0.03.
MIN_GAIN = 0.02
MIN_OTHER_DICE = 0.93  # of another mask that is named; nine in ten right masks of Montgomery agree at least so well
MASK_SIDE = 64  # px, of the masks that are compared; an image of another shape becomes a square
_MAX_ASPECT_ERROR = 0.02  # relative; masks of images of another shape cannot be swapped, because `prepare` refuses them
MOVES = {
    "mirrored": np.s_[..., ::-1],
    "upside down": np.s_[..., ::-1, :],
    "turned by 180 degrees": np.s_[..., ::-1, ::-1],
}
_ALL_MOVES = {**MOVES, "with slices reversed": np.s_[::-1, ...]}  # a film has one slice
_MAX_PROBES = 200  # images of a set that agrees little, of which other masks are tried
_SECONDS_WITHOUT_BAR = 2
_LOOK = f"look at both masks in {GALLERY}; mend it, or take both files out"
_MOVE = "move the mask back, or take both files out"
_SWAP = "give the mask the name of its image"


class MaskPair(NamedTuple):
    """The masks of an image, or of all prepared slices of a volume, both bool, `(slices, MASK_SIDE, MASK_SIDE)`."""

    file: str  # the mask's file in the raw folder
    aspect: float  # height by width
    truth: Mask
    prediction: Mask


class _Masks(NamedTuple):
    """All masks of a data set that have equally many slices, and what comparisons need of each."""

    pairs: Sequence[MaskPair]
    truths: Mask  # (pairs, pixels)
    sizes: np.ndarray  # px
    aspects: np.ndarray


class Fit(NamedTuple):
    """The fit of a mask to an image after a change."""

    dice: float
    change: str
    advice: str


def find_mismatches(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Compare each prepared mask with that of the shipped network; return the findings, the lowest Dice first.

    The columns are those of `check_dataset` and `dice`, the Dice of both masks at 64x64 pixels, for a volume over all
    its prepared slices. A mask is listed if its Dice is below `MIN_DICE`, or if it fits better by `MIN_GAIN` when it is
    moved. `what` names the change that fits best: mirrored, upside down, turned, shifted, or another mask of the set.
    If the median is below `MIN_DICE`, the network cannot judge these images, and one row says so.

    Pairs that cannot be read and empty masks are left out, because `check_dataset` lists them. If the shipped network
    is missing, the only row says so. Errors are those of `open_prepared`.
    """
    prepared = open_prepared(settings)
    try:
        network = open_network()
    except FileNotFoundError:
        what = "the network that comes with lungnb is missing, so no mask was compared with its masks"
        return _table([(SHIPPED.name, "warning", what, "install lungnb again", math.nan)])
    return judge_pairs([*read_pairs(prepared, network, progress)], progress)


def judge_pairs(pairs: Sequence[MaskPair], progress: bool = False) -> pd.DataFrame:
    """Return the table of `find_mismatches` for masks that were read."""
    overlaps = [dice(pair.truth, pair.prediction) for pair in pairs]
    moves = [_best_move(pair) for pair in progress_bar(pairs, "Moving masks", "pair", progress, _SECONDS_WITHOUT_BAR)]
    masks = _stacked(pairs)
    if pairs and np.median(overlaps) < MIN_DICE:
        return _table([_judge_set(overlaps, moves, _cause_of(pairs, masks, progress))])
    rows = []
    for pair, overlap, move in zip(pairs, overlaps, moves, strict=True):
        if overlap < MIN_DICE or move:
            fits = [fit for fit in (move, _best_other(pair, masks) if overlap < MIN_DICE else None) if fit]
            rows.append(_judge(pair, overlap, max(fits, default=None)))
    return _table(rows)


def misplaced(pairs: Sequence[MaskPair]) -> Iterator[tuple[MaskPair, Fit]]:
    """Yield each mask that would fit better on another image or moved, with what would fit best."""
    masks = _stacked(pairs)
    for pair in pairs:
        fits = [fit for fit in (_best_move(pair), _best_other(pair, masks)) if fit]
        if fits:
            yield pair, max(fits)


def _cause_of(pairs: Sequence[MaskPair], masks: dict[int, _Masks], progress: bool) -> tuple[str, str]:
    """Return why masks may be those of other images, and what to do; two "" if neither is known."""
    probes = pairs[:: math.ceil(len(pairs) / _MAX_PROBES)]
    bar = progress_bar(probes, "Comparing with other masks", "pair", progress, _SECONDS_WITHOUT_BAR)
    others = {fit.change for fit in (_best_other(pair, masks) for pair in bar) if fit}
    if len(others) > len(probes) / 2:
        cause = "most images would fit the mask of another image better, as if they were paired by their order"
        return cause, "give each image its own mask, of the same name"
    count = len({pair.truth.tobytes() for pair in pairs})
    if count >= len(pairs) / 2:
        return "", ""
    cause = f"the {counted(len(pairs), 'image')} have only {counted(count, 'different mask')}"
    return cause, "if they are not copies of one image, give each its own mask"


def _table(rows: Sequence[tuple[str, str, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=MISMATCH_COLUMNS).sort_values("dice", kind="stable", ignore_index=True)


def read_pairs(prepared: Prepared, engine: Engine, progress: bool) -> Iterator[MaskPair]:
    """Yield the masks of each image or volume, without those that cannot be read and those without lung."""
    groups = prepared.manifest.groupby(["source_image", "source_mask"], sort=False)
    for (_, file), rows in progress_bar(groups, "Comparing masks", "pair", progress, _SECONDS_WITHOUT_BAR):
        try:
            pairs = [_read_pair(row, prepared, engine) for row in rows.to_dict("records")]
        except (ValueError, OSError):
            continue
        truth, prediction = (np.stack(masks) for masks in zip(*pairs, strict=True))
        if truth.any():
            yield MaskPair(str(file), rows["height"].iloc[0] / rows["width"].iloc[0], truth, prediction)


def _read_pair(row: ManifestRow, prepared: Prepared, engine: Engine) -> tuple[Mask, Mask]:
    """Return the small masks of a row of the manifest: the ground truth, and the network's cleaned mask."""
    image, truth = prepared.pair(row)
    return shrink_mask(truth), shrink_mask(segment_grey(image, engine).mask)


def shrink_mask(mask: Mask) -> Mask:
    """Return a bool mask, `(height, width)`, as `(MASK_SIDE, MASK_SIDE)`; a pixel is lung if half of its area is.

    Example:
        >>> mask = np.zeros((128, 256), bool)
        >>> mask[:64] = True
        >>> int(shrink_mask(mask).sum())
        2048
    """
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(grey.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX)) >= GREY_THRESHOLD


def _best_move(pair: MaskPair) -> Fit | None:
    """Return the move after which the mask agrees best with the network's; None if the gain or the Dice is too low."""
    now, whole = dice(pair.truth, pair.prediction), int(pair.truth.sum() + pair.prediction.sum())
    fits = [Fit(dice(pair.truth[flip], pair.prediction), name, _MOVE) for name, flip in _ALL_MOVES.items()]
    pairs = zip(pair.prediction.astype(np.float32), pair.truth.astype(np.float32), strict=True)
    overlaps = sum(signal.correlate(prediction, truth, method="fft") for prediction, truth in pairs)
    down, right = np.subtract(np.unravel_index(np.argmax(overlaps), overlaps.shape), MASK_SIDE - 1)
    fits.append(Fit(2 * float(overlaps.max()) / whole, _shift_name(int(down), int(right)), _MOVE))
    best = max(fits)
    return best if best.dice >= max(now + MIN_GAIN, MIN_DICE) else None


def _shift_name(down: int, right: int) -> str:
    """Return a shift of the small mask in words.

    >>> _shift_name(-3, 0)
    'shifted by 5% of the height upwards'
    """
    vertical = f"{abs(down) / MASK_SIDE:.0%} of the height {'downwards' if down > 0 else 'upwards'}"
    horizontal = f"{abs(right) / MASK_SIDE:.0%} of the width to the {'right' if right > 0 else 'left'}"
    parts = [text for text, steps in ((vertical, down), (horizontal, right)) if steps]
    return f"shifted by {' and '.join(parts)}"


def _stacked(pairs: Sequence[MaskPair]) -> dict[int, _Masks]:
    """Return the masks by their number of slices. Only masks of as many slices can be swapped."""
    groups: dict[int, list[MaskPair]] = {}
    for pair in pairs:
        groups.setdefault(len(pair.truth), []).append(pair)
    masks = {}
    for slices, group in groups.items():
        truths = np.array([pair.truth.ravel() for pair in group])
        aspects = np.array([pair.aspect for pair in group])
        masks[slices] = _Masks(group, truths, np.count_nonzero(truths, axis=1), aspects)
    return masks


def _best_other(pair: MaskPair, masks: dict[int, _Masks]) -> Fit | None:
    """Return the mask of another image that agrees best with the network's; None if the gain or the Dice is too low."""
    pairs, truths, sizes, aspects = masks[len(pair.truth)]
    prediction = pair.prediction.ravel()
    overlaps = 2 * np.count_nonzero(truths & prediction, axis=1) / (sizes + np.count_nonzero(prediction))
    is_other = np.array([other is not pair for other in pairs])
    overlaps[~(is_other & np.isclose(aspects, pair.aspect, rtol=_MAX_ASPECT_ERROR, atol=0))] = -1
    best, now = int(np.argmax(overlaps)), dice(pair.truth, pair.prediction)
    if overlaps[best] < max(now + MIN_GAIN, MIN_OTHER_DICE):
        return None
    return Fit(float(overlaps[best]), pairs[best].file, _SWAP)


def _judge(pair: MaskPair, overlap: float, fit: Fit | None) -> tuple[str, str, str, str, float]:
    """Return the finding of a mask that does not fit its image; `fit` is what would fit better."""
    what = f"the mask agrees little with that of the network: Dice {overlap:.2f}"
    if fit is None:
        return pair.file, "warning", what, _LOOK, overlap
    subject = fit.change if fit.advice == _SWAP else f"the mask, {fit.change},"
    what = f"{subject} would fit the image better: Dice {fit.dice:.2f} with the network's mask instead of {overlap:.2f}"
    return pair.file, "warning", what, fit.advice, overlap


def _judge_set(
    overlaps: Sequence[float], moves: Sequence[Fit | None], cause: tuple[str, str]
) -> tuple[str, str, str, str, float]:
    """Return one finding for a set whose masks agree little with the network's; name a move of most masks, or a cause.

    `cause` says that masks are those of other images, and what to do; two "" if this is not known.
    """
    median = float(np.median(overlaps))
    what = f"the masks agree little with those of the network: median Dice {median:.2f}"
    if cause[0]:
        return MANIFEST, "warning", f"{what}; {cause[0]}", cause[1], median
    changes = Counter(move.change if move.change in _ALL_MOVES else "shifted" for move in moves if move).most_common(1)
    if changes and changes[0][1] > len(moves) / 2:
        what += f"; {changes[0][1]} of {len(moves)} would fit better {changes[0][0]}"
        return MANIFEST, "warning", what, f"look at some masks in {GALLERY}", median
    advice = f"the network may not know this kind of image: look at some masks in {GALLERY}"
    return MANIFEST, "warning", f"{what}, so no single mask is judged", advice, median
