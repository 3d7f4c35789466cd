"""Score masks of any program against a ground truth, with the scores of our own networks.

Masks are scored as they are given. The networks of lungnb are scored cleaned (`clean_mask`), as `segment` gives them.
"""

import os
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lungnb.datasets.external_masks import ExternalMask, image_pixel_mm, refuse_unlike
from lungnb.datasets.pairing import Pair
from lungnb.evaluation.mask_doubts import MaskDoubts, say_doubtful_scores, say_turned_films
from lungnb.evaluation.mask_sets import TRUTH, Labels, MaskSets, Problems, find_sets, with_patients
from lungnb.evaluation.scoring import score_mask
from lungnb.formats.tables import make_table
from lungnb.messages import print_lines, progress_bar
from lungnb.metrics import count_pixels
from lungnb.settings import LIMITS

_MAX_LINES = 20  # sentences that are printed; the table has all
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
        print_lines(*scoring.problem_lines())
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
        what = "the spacing of some images is unknown, so all distances are in percent of the longest side."
        problems.add(TRUTH, what)
        rows = _score_all(sets, pairs, None, Problems(), progress, in_mm=False)
    table = _finished(rows, [each.name for each in sets.programs])
    say_doubtful_scores(sets, table, options.labels, problems)
    say_turned_films(sets, table, problems)
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
    doubts = MaskDoubts()
    for image in progress_bar(pairs, "Scoring", progress=progress):
        if not any(image in program.masks for program in sets.programs):
            continue
        read = _read_all(sets, image, problems)
        if TRUTH not in read:
            continue
        for name, mask in read.items():
            doubts.look_at(name, image, mask)
        given_mm = pairs[image].pixel_mm or ((pixel_mm, pixel_mm) if pixel_mm else None)
        spacing_mm = _spacing_of(sets, image, [*read.values()], given_mm)
        truth = read.pop(TRUTH)
        for name, mask in read.items():
            facts = {"model": name, "id": image, "patient": pairs[image].patient, "group": pairs[image].group}
            scored = score_mask(truth.mask, mask.mask, spacing_mm if in_mm else None, truth.mask.ndim == 2)
            doubts.compare(name, image, truth, mask, scored["dice"])
            rows.append(facts | scored | count_pixels(truth.mask, mask.mask)._asdict())
    doubts.say(problems)
    return rows


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
    if spacing_mm or masks[0].mask.ndim == 3:
        return spacing_mm
    picture = sets.image(image)
    spacing_mm = image_pixel_mm(picture) if picture else None
    if spacing_mm and sets.turn(image).transposed:
        spacing_mm = spacing_mm[::-1]
    return spacing_mm or given_mm


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
