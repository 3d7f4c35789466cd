"""What looks wrong with masks that are scored: pictures, outlines, other organs, turned or inverted masks, copies."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pandas as pd

from lungnb.datasets.external_masks import ExternalMask, read_external
from lungnb.evaluation.mask_sets import TRUTH, Labels, MaskSet, MaskSets, Problems
from lungnb.formats.dicom_header import NO_TURN
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.labels import EXPORT_AGAIN
from lungnb.masks import Mask, is_outline

_MAX_GREY_SHARE = 0.2  # of a mask's pixels: a mask with soft edges has fewer between black and white, a picture more
_LOST_DICE, _FOUND_DICE = 0.05, 0.5  # mean Dice of a lung that masks lack, and of the other lung
_INVERTED_DICE = 0.8  # if the mean Dice of the inverted masks is higher, the masks seem to be inverted
_TURNED_DICE, _TURNED_GAIN = 0.8, 0.1  # if a turn raises the mean Dice so high, and by so much, masks seem to be turned
_OUTSIDE_SHARE, _INSIDE_SHARE = 0.1, 0.5  # of a label in the masks of the other side: another organ has less, lung more
_LUNG_RATIO = 0.4  # of the larger of two labels: the smaller may be the other lung
_LOW_DICE = 0.5  # an outline has a lower Dice
_TURNED_SIDE = 256  # px; look at about so many rows and columns, because films are large
_TURNS: dict[str, Callable[[Mask], Mask]] = {  # how masks may be turned, and what undoes it
    "mirrored left to right": lambda mask: mask[..., ::-1],
    "mirrored top to bottom": lambda mask: mask[..., ::-1, :],
    "turned by 180 degrees": lambda mask: mask[..., ::-1, ::-1],
    "turned to the right": lambda mask: np.rot90(mask, 1, (-2, -1)),
    "turned to the left": lambda mask: np.rot90(mask, 3, (-2, -1)),
    "saved with rows and columns swapped": lambda mask: np.swapaxes(mask, -2, -1),
    "turned by 180 degrees with rows and columns swapped": lambda mask: np.swapaxes(mask[..., ::-1, ::-1], -2, -1),
}


class MaskDoubts:
    """What looks wrong with the masks of each folder, collected while they are read and scored."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}  # by folder, a sentence on the first mask that looks doubtful
        self._seen: defaultdict[str, Counter[bytes]] = defaultdict(Counter)  # by program, how often each mask was read
        self._turned: defaultdict[str, list[dict[str, float]]] = defaultdict(list)  # by program, `_turned_dice`
        self._shares = _LabelShares()

    def look_at(self, name: str, image: str, mask: ExternalMask) -> None:
        """Look at the mask of an image alone, one of the program `name` or of the ground truth."""
        if mask.grey_share > _MAX_GREY_SHARE:
            what = f"{image}: {mask.grey_share:.0%} of its mask is grey, as in a picture. Are these the masks?"
            self._first.setdefault(name, what)
        elif mask.doubt:
            self._first.setdefault(name, f"{image}: its mask {mask.doubt}. To mend it, {EXPORT_AGAIN}.")

    def compare(self, name: str, image: str, truth: ExternalMask, mask: ExternalMask, dice: float) -> None:
        """Look at the mask of a program beside the ground truth, with which its Dice is `dice`."""
        self._shares.add(name, truth, mask)
        if dice < _LOW_DICE and mask.mask.ndim == 2 and is_outline(mask.mask):
            self._first.setdefault(name, f"{image}: its mask draws an outline only. Fill it.")
        if mask.mask.any() and not mask.mask.all():
            self._seen[name][hashlib.sha256(mask.mask.tobytes()).digest()] += 1
        if turned := _turned_dice(truth.mask, mask.mask):
            self._turned[name].append(turned)

    def say(self, problems: Problems) -> None:
        """Add a sentence for each doubt."""
        for name, what in self._first.items():
            problems.add(name, what)
        for name, masks in self._seen.items():
            if len(masks) == 1 and masks.total() > 1:
                problems.add(name, f"the masks of {masks.total()} images are all the same. Are they of these images?")
        for name, rows in self._turned.items():
            _say_turned(name, rows, problems)
        self._shares.say(problems)


class _LabelShares:
    """How much of each label that is taken for lung lies in the masks of the other side, over all images."""

    def __init__(self) -> None:
        self._pixels: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # by folder and other folder
        self._inside: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, name: str, truth: ExternalMask, mask: ExternalMask) -> None:
        """Count, for each label of both masks, its pixels, and how many of them are lung in the other mask."""
        for pair, each, other in (((name, TRUTH), mask, truth), ((TRUTH, name), truth, mask)):
            if each.numbers is None:
                continue
            for number, label in enumerate(each.labels, 1):
                part = each.numbers == number
                self._pixels[pair][label] += int(np.count_nonzero(part))
                self._inside[pair][label] += int(np.count_nonzero(part & other.mask))

    def say(self, problems: Problems) -> None:
        """Add a sentence for each folder with a label that lies outside the lungs, if another one lies inside."""
        for (name, other), pixels in self._pixels.items():
            if len(pixels) == 2 and min(pixels.values()) > _LUNG_RATIO * max(pixels.values()):
                continue  # two lungs, of which one is missing
            shares = {label: self._inside[name, other][label] / count for label, count in pixels.items() if count}
            labels = sorted(shares, key=lambda label: (len(label), label))  # 2 before 10
            outside = [label for label in labels if shares[label] < _OUTSIDE_SHARE]
            inside = [label.removeprefix("label ") for label in labels if shares[label] > _INSIDE_SHARE]
            if outside and inside:
                option = "--truth-labels" if name == TRUTH else "--labels"
                place = "the ground truth" if other == TRUTH else other
                lie = "lies" if len(outside) == 1 else "lie"
                kind, remedy = labels[0].split()[0], f"name the labels of lung: {option} {','.join(inside)}"
                remedy = remedy if kind == "label" else "save the lungs as 1 and everything else as 0"
                what = f"all {kind}s are taken for lung, but {' and '.join(outside)} {lie} outside the lungs of {place}"
                problems.add(name, f"{what}. If that is another organ, {remedy}.")


def _turned_dice(truth: Mask, mask: Mask) -> dict[str, float]:
    """Return the Dice of a mask as it is (""), and turned in each way of _TURNS; 0 if it then has another shape.

    If both masks are empty, return an empty dict.
    """
    step = -(-max(mask.shape[-2:]) // _TURNED_SIDE)
    truth, mask = truth[..., ::step, ::step], mask[..., ::step, ::step]
    total = int(truth.sum() + mask.sum())
    if not total:
        return {}
    turned = {"": mask} | {way: turn(mask) for way, turn in _TURNS.items()}
    return {
        way: 2 * np.count_nonzero(truth & each) / total if each.shape == truth.shape else 0.0
        for way, each in turned.items()
    }


def _say_turned(name: str, rows: list[dict[str, float]], problems: Problems) -> None:
    """Add a sentence if the masks of a program agree far better with the ground truth if they are turned."""
    means = {way: float(np.mean([row[way] for row in rows])) for way in ("", *_TURNS)}
    way = max(means, key=means.__getitem__)
    if means[way] > max(means[""] + _TURNED_GAIN, _TURNED_DICE):
        scores = f"their mean Dice is {means['']:.3f}, and {means[way]:.3f} if this is undone"
        what = f"the masks seem to be {way}, or those of the ground truth are: {scores}. Save both in one orientation."
        problems.add(name, what)


def say_doubtful_scores(sets: MaskSets, table: pd.DataFrame, labels: Labels, problems: Problems) -> None:
    """Add a sentence for each folder whose masks are all empty, and for full or inverted masks and copies."""
    for name, rows in table.groupby("model", sort=False):
        if (rows["tp"] + rows["fp"] == 0).all():
            hint = "Are the labels right?" if labels else "Are these the masks?"
            problems.add(str(name), f"all masks that were scored are empty. {hint}")
        elif (rows["fn"] + rows["tn"] == 0).all():
            problems.add(str(name), "all masks that were scored cover the whole image. Are these the masks?")
        elif (2 * rows["fn"] / (2 * rows["fn"] + rows["tn"] + rows["tp"])).mean() > _INVERTED_DICE:
            problems.add(str(name), "the masks seem to be inverted, or those of the ground truth are. Invert one.")
        elif side := _lost_side(rows):
            program = next(each for each in sets.programs if each.name == name)
            lacking = program if rows["fn"].sum() > rows["fp"].sum() else sets.truth
            what = f"the masks seem to lack the {side} lung. Give masks, or labels, of both lungs."
            problems.add(lacking.name, what + _labels_in(lacking, rows["id"].iloc[0]))
        elif (rows["fp"] + rows["fn"] == 0).all():
            problems.add(str(name), "all masks that were scored equal the ground truth. Are they copies of it?")
    if (table["tp"] + table["fn"] == 0).all():
        problems.add(TRUTH, "all its masks are empty. Are these the masks?")
    if not table["compared"].any():
        what = "no image has masks of all programs, so they are not compared. Score fewer programs at once."
        problems.add(TRUTH, what)


def _lost_side(rows: pd.DataFrame) -> str:
    """Return which lung the masks of a program lack, `right` or `left`, or "" if they have both or neither."""
    means = {side: rows[f"{side}_dice"].mean() for side in ("right", "left")}
    low, high = sorted(means, key=means.__getitem__)
    return low if means[low] < _LOST_DICE and means[high] > _FOUND_DICE else ""


def _labels_in(masks: MaskSet, image: str) -> str:
    """Return a sentence, after a space, on the labels in the mask of an image if there are several, or ""."""
    with suppress(ValueError):
        if labels := read_external(masks.paths(image)).labels:
            return f" Its masks have {' and '.join(labels)}."
    return ""


def say_turned_films(sets: MaskSets, table: pd.DataFrame, problems: Problems) -> None:
    """Add a sentence if films are turned upright, and masks do not say whether they were drawn before or after that."""
    turned = [image for image in table["id"].unique() if sets.turn(image) != NO_TURN]
    files = [file for image in turned for each in (sets.truth, *sets.programs) for file in each.paths(image)]
    if unsure := [file for file in files if not is_dicom(file)]:
        problems.add(
            "images",
            f"films that are stored turned, such as {turned[0]}: {len(turned)}. lungnb assumes that masks such as "
            f"{unsure[0].name} lie as the film is stored, because `lungnb segment` writes them so.",
        )
