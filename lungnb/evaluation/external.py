"""Score masks of any program against a ground truth, with the scores of our own networks.

Masks are scored as they are given. The networks of lungnb are scored cleaned (`clean_mask`), as `segment` gives them.
"""

import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.ndimage import binary_fill_holes
from tqdm import tqdm

from lungnb.datasets.external_masks import ExternalMask, image_pixel_mm, read_external, refuse_unlike
from lungnb.datasets.pairing import Pair
from lungnb.evaluation.mask_sets import TRUTH, Labels, MaskSet, MaskSets, Problems, find_sets, with_patients
from lungnb.evaluation.scoring import score_mask
from lungnb.formats.dicom_header import Turn
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.labels import EXPORT_AGAIN
from lungnb.formats.tables import make_table
from lungnb.masks import Mask
from lungnb.messages import say
from lungnb.metrics import count_pixels
from lungnb.settings import LIMITS

_MAX_LINES = 20  # sentences that are printed; the table has all
_MAX_GREY_SHARE = 0.2  # of a mask's pixels: a mask with soft edges has fewer between black and white, a picture more
_LOST_DICE, _FOUND_DICE = 0.05, 0.5  # mean Dice of a lung that masks lack, and of the other lung
_INVERTED_DICE = 0.8  # if the mean Dice of the inverted masks is higher, the masks seem to be inverted
_TURNED_DICE, _TURNED_GAIN = 0.8, 0.1  # if a turn raises the mean Dice so high, and by so much, masks seem to be turned
_OUTSIDE_SHARE, _INSIDE_SHARE = 0.1, 0.5  # of a label in the masks of the other side: another organ has less, lung more
_LUNG_RATIO = 0.4  # of the larger of two labels: the smaller may be the other lung
_LOW_DICE, _OUTLINE_GAIN = 0.5, 2.5  # an outline has a lower Dice, and encloses so many times its own area
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
ScoreRow = dict[str, Any]


class ScoreOptions(NamedTuple):
    """The options of `score`."""

    labels: Labels = None
    truth_labels: Sequence[int] | None = None
    images: str | Path | None = None
    patients: str | Path | None = None
    patient_pattern: str | None = None
    pixel_mm: float | None = None


class Scoring(NamedTuple):
    """The results of `score_folders`: tables of scores, missing masks and problems, and the sets of masks."""

    table: pd.DataFrame  # one row per image and program, with the columns of `score`
    coverage: pd.DataFrame  # one row per program: how many masks were scored, are missing, or cannot be used
    missing: pd.DataFrame  # `model` and `id` of each image of which a program has no mask that could be scored
    problems: pd.DataFrame  # `folder` and `problem`, a sentence
    sets: MaskSets

    @property
    def compared(self) -> pd.DataFrame:
        """Return the rows of images of which all programs have a mask."""
        return self.table[self.table["compared"]].reset_index(drop=True)

    def problem_lines(self) -> list[str]:
        """Return the first problems as sentences, and how many more there are."""
        lines = [f"{folder}: {problem}" for folder, problem in self.problems.to_numpy()]
        more = len(lines) - _MAX_LINES
        return [*lines[:_MAX_LINES], *([f"There are {more:,} more such sentences."] if more > 0 else [])]


class LabelShares:
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


def score(
    truth: str | Path, *masks: str | Path, labels: Labels = None, truth_labels: Sequence[int] | None = None,
    images: str | Path | None = None, patients: str | Path | None = None, patient_pattern: str | None = None,
    pixel_mm: float | None = None, progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Score folders of masks against a folder of ground truth; return one row per image and program.

    Masks are PNG, BMP, TIFF, JPEG or GIF files, NIfTI volumes, DICOM Segmentations or label maps. They are scored as
    they are: neither resized nor cleaned. Their names are those of the ground truth, apart from case and from words
    such as `mask` or `left lung`. Several files of one image are united. `lungnb score` writes a report too.

    Columns: `model` (the folder's name), `id`, `patient`, `group` if the table of patients has it, `compared` (whether
    all programs have a mask of the image), the `unit` of distances, all scores of `lungnb.metrics`, `right_dice` and
    `left_dice`, `costophrenic` if there are no volumes (ignore it for CT slices), and the counts of pixels. Volumes are
    scored in 3-D. Distances are in mm if the spacing of every image is known, otherwise in percent of the longest side.
    Compare programs on the rows with `compared` only.

    Args:
        truth: the folder of the ground truth.
        masks: one or more folders, one per program.
        labels: the labels of lung in label maps, for all programs, or as a dict by the name of the folder.
        truth_labels: the same for the ground truth.
        images: the folder of the images, which gives pixel sizes (DICOM) and the grid of DICOM Segmentations.
        patients: a CSV with the columns `id` and `patient`, and perhaps `group` and `pixel_mm`.
        patient_pattern: a regular expression whose first group is the patient; it searches the id.
        pixel_mm: the side of a pixel in mm, for files that do not state it, such as PNG.
        progress: show a progress bar, and print what is wrong with files.

    Raises ValueError, in a sentence, if no mask can be scored, FileNotFoundError if there is no such ground truth.
    Single files that cannot be used are named, and the rest is scored.
    """
    options = ScoreOptions(labels, truth_labels, images, patients, patient_pattern, pixel_mm)
    scoring = score_folders(truth, masks, options, progress)
    if progress:
        say(*scoring.problem_lines())
    return scoring.table


def score_folders(
    truth: str | Path, masks: Sequence[str | Path], options: ScoreOptions | None = None, progress: bool = True
) -> Scoring:
    """Score folders of masks as `score` does; return the table, what is missing, and how to read the masks again."""
    options = options or ScoreOptions()
    low, high = LIMITS["pixel_mm"]
    side_mm = options.pixel_mm
    if side_mm is not None and not (isinstance(side_mm, Real) and low <= side_mm <= high):
        raise ValueError(f"pixel_mm must be a number from {low} to {high} (mm), not {side_mm!r}.")
    problems = Problems()
    sets = find_sets(truth, masks, options.labels, options.truth_labels, options.images, problems)
    pairs = with_patients(sets.truth, options.patients, options.patient_pattern, problems)
    rows = _score_all(sets, pairs, options.pixel_mm, problems, progress)
    if not rows:
        raise ValueError(f"{truth}: no mask could be scored. {' '.join(problems.lines()[:_MAX_LINES])}")
    if len({row["unit"] for row in rows}) > 1:  # distances in two units cannot be compared
        problems.add(
            TRUTH, "the spacing of some images is unknown, so all distances are in percent of the longest side."
        )
        rows = _score_all(sets, pairs, None, Problems(), progress, in_mm=False)
    table = _finished(rows, [each.name for each in sets.programs])
    _add_doubts(sets, table, options.labels, problems)
    _add_turned_films(sets, table, problems)
    scored = {*zip(table["model"], table["id"], strict=True)}
    every = [(program.name, image) for program in sets.programs for image in pairs]
    missing = make_table([each for each in every if each not in scored], ("model", "id"))
    return Scoring(table, _coverage(sets, pairs, table), missing, problems.table(), sets)


def _score_all(
    sets: MaskSets, pairs: dict[str, Pair], pixel_mm: float | None, problems: Problems, progress: bool,
    in_mm: bool = True,
) -> list[ScoreRow]:  # fmt: skip
    """Return one row per image and program; add a sentence for each mask that cannot be used."""
    rows: list[ScoreRow] = []
    doubts: dict[str, str] = {}  # a sentence on the first mask of each folder that looks doubtful
    seen: dict[str, Counter[bytes]] = defaultdict(Counter)  # by program, how often each mask was read
    turned: dict[str, list[dict[str, float]]] = defaultdict(list)  # by program, `_turned_dice` of each mask
    shares = LabelShares()
    for image in tqdm(pairs, "Scoring", unit="image", file=sys.stdout, disable=not progress):
        if not any(image in program.masks for program in sets.programs):
            continue
        read = _read_all(sets, image, problems)
        if TRUTH not in read:
            continue
        for name, mask in read.items():
            if mask.grey_share > _MAX_GREY_SHARE:
                what = f"{image}: {mask.grey_share:.0%} of its mask is grey, as in a picture. Are these the masks?"
                doubts.setdefault(name, what)
            elif mask.doubt:
                doubts.setdefault(name, f"{image}: its mask {mask.doubt}. To mend it, {EXPORT_AGAIN}.")
        given_mm = pairs[image].pixel_mm or ((pixel_mm, pixel_mm) if pixel_mm else None)
        spacing_mm = _spacing_of(sets, image, [*read.values()], given_mm)
        truth = read.pop(TRUTH)
        for name, mask in read.items():
            facts = {"model": name, "id": image, "patient": pairs[image].patient, "group": pairs[image].group}
            shares.add(name, truth, mask)
            scored = score_mask(truth.mask, mask.mask, spacing_mm if in_mm else None, truth.mask.ndim == 2)
            is_low = scored["dice"] < _LOW_DICE and mask.mask.ndim == 2
            if is_low and binary_fill_holes(mask.mask).sum() > _OUTLINE_GAIN * mask.mask.sum():
                doubts.setdefault(name, f"{image}: its mask draws an outline only. Fill it.")
            if mask.mask.any() and not mask.mask.all():
                seen[name][hashlib.sha256(mask.mask.tobytes()).digest()] += 1
            if dice := _turned_dice(truth.mask, mask.mask):
                turned[name].append(dice)
            rows.append(facts | scored | count_pixels(truth.mask, mask.mask)._asdict())
    for name, what in doubts.items():
        problems.add(name, what)
    for name, masks in seen.items():
        if len(masks) == 1 and masks.total() > 1:
            problems.add(name, f"the masks of {masks.total()} images are all the same. Are they of these images?")
    _add_turned_masks(turned, problems)
    shares.say(problems)
    return rows


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


def _add_turned_masks(turned: dict[str, list[dict[str, float]]], problems: Problems) -> None:
    """Add a sentence for each program whose masks agree far better with the ground truth if they are turned."""
    for name, rows in turned.items():
        means = {way: float(np.mean([row[way] for row in rows])) for way in ("", *_TURNS)}
        way = max(means, key=means.__getitem__)
        if means[way] > max(means[""] + _TURNED_GAIN, _TURNED_DICE):
            problems.add(
                name,
                f"the masks seem to be {way}, or those of the ground truth are: their mean Dice is {means['']:.3f}, "
                f"and {means[way]:.3f} if this is undone. Save both in one orientation.",
            )


def _read_all(sets: MaskSets, image: str, problems: Problems) -> dict[str, ExternalMask]:
    """Return the ground truth of an image and the masks of the programs, by name, as far as they can be used."""
    read: dict[str, ExternalMask] = {}
    for each in (sets.truth, *sets.programs):
        if image not in each.masks:
            continue
        try:
            mask = sets.read(each, image)
            if each is not sets.truth:
                refuse_unlike(mask, read[TRUTH], each.paths(image)[0], f"the ground truth {sets.truth.paths(image)[0]}")
            read[each.name] = mask if each is sets.truth else mask._replace(volume=None)  # to save memory
        except ValueError as error:
            names = str(error).replace(f"{each.folder}{os.sep}", "").replace(f"{sets.truth.folder}{os.sep}", "")
            problems.add(each.name, names)
            if each is sets.truth:
                return {}
    return read


def _spacing_of(
    sets: MaskSets, image: str, masks: list[ExternalMask], given_mm: tuple[float, ...] | None
) -> tuple[float, ...] | None:
    """Return the spacing along each axis of an image that its masks, its file or the user tell; None if unknown."""
    spacing_mm = next((each.spacing_mm for each in masks if each.spacing_mm), None)
    picture = sets.image(image)
    if not spacing_mm and masks[0].mask.ndim == 2:
        spacing_mm = image_pixel_mm(picture) if picture else None
        if spacing_mm and sets.turn(image).transposed:
            spacing_mm = spacing_mm[::-1]
        return spacing_mm or given_mm
    return spacing_mm


def _finished(rows: list[ScoreRow], names: list[str]) -> pd.DataFrame:
    """Return the rows as a table, program by program, with the column `compared`."""
    rows = sorted(rows, key=lambda row: names.index(row["model"]))
    table = make_table(rows)
    programs = table["model"].nunique()  # a program without a single mask takes no image from the others
    table.insert(3, "compared", table.groupby("id")["model"].transform("nunique") == programs)
    if (table["group"] == "").all():
        table = table.drop(columns="group")
    return table.dropna(axis="columns")


def _coverage(sets: MaskSets, pairs: dict[str, Pair], table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per program: images with ground truth; masks that are scored, missing, unusable and spare."""
    scored = Counter(table["model"])
    rows = []
    for each in sets.programs:
        missing = sum(image not in each.masks for image in pairs)
        unusable = len(pairs) - missing - scored[each.name]
        rows.append((each.name, len(pairs), scored[each.name], missing, unusable, each.unmatched))
    return make_table(rows, ("model", "images", "scored", "missing", "unusable", "without_truth"))


def _add_doubts(sets: MaskSets, table: pd.DataFrame, labels: Labels, problems: Problems) -> None:
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
        problems.add(
            TRUTH, "no image has masks of all programs, so they are not compared. Score fewer programs at once."
        )


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


def _add_turned_films(sets: MaskSets, table: pd.DataFrame, problems: Problems) -> None:
    """Add a sentence if films are turned upright, and masks do not say whether they were drawn before or after that."""
    turned = [image for image in table["id"].unique() if sets.turn(image) != Turn()]
    files = [file for image in turned for each in (sets.truth, *sets.programs) for file in each.paths(image)]
    if unsure := [file for file in files if not is_dicom(file)]:
        problems.add(
            "images",
            f"films that are stored turned, such as {turned[0]}: {len(turned)}. lungnb assumes that masks such as "
            f"{unsure[0].name} lie as the film is stored, because `lungnb segment` writes them so.",
        )
