"""Find the folders of masks to score: their names, their masks by image, and what is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lungnb.artefacts import given_path, is_same
from lungnb.datasets.external_masks import ExternalMask, read_external, turn_of_film, turned_like
from lungnb.datasets.file_names import sides_of
from lungnb.datasets.matching import ANOTHER_MASK, MaskFiles, as_masks, find_masks, match_masks, nearest
from lungnb.datasets.pairing import OTHER_ORGAN, Pair
from lungnb.datasets.patient_names import find_patients
from lungnb.datasets.splitting import assign_patients
from lungnb.formats.dicom_header import NO_TURN, Turn
from lungnb.formats.folders import other_files
from lungnb.formats.images import is_volume
from lungnb.formats.nifti import is_nifti
from lungnb.formats.tables import make_table
from lungnb.messages import printable
from lungnb.segmentation.listing import list_images
from lungnb.settings import counted, title_of

TRUTH = "ground truth"  # what the folder of the ground truth is called in tables
_MAX_NAMES = 5  # of images without a mask that are named in a sentence
_MAX_HINTS = 20  # missing masks for which the nearest name is looked for, because that takes time
Labels = Sequence[int] | Mapping[str, Sequence[int]] | None  # of lung, for all programs or by name


class MaskSet(NamedTuple):
    """A folder of masks of one program, or of the ground truth, or of images."""

    name: str
    folder: Path
    labels: Sequence[int] | None
    masks: dict[str, MaskFiles]  # by the id in the ground truth
    unmatched: int = 0  # masks that have no ground truth

    def paths(self, image: str) -> list[Path]:
        """Return the files of an image, or an empty sequence."""
        return [self.folder / file for file in self.masks[image].files] if image in self.masks else []


class MaskSets(NamedTuple):
    """The masks of the ground truth and of each program, and the images if their folder was given."""

    truth: MaskSet
    programs: list[MaskSet]
    images: MaskSet | None

    def image(self, image: str) -> Path | None:
        """Return the file of an image, or the folder of its series; None if there is no file of the image."""
        return next(iter(self.images.paths(image)), None) if self.images else None

    def read(self, each: MaskSet, image: str) -> ExternalMask:
        """Return a mask of an image, turned upright if its film is; raise ValueError as `read_external` does."""
        mask, film = read_external(each.paths(image), each.labels, self.grids(image)), self.image(image)
        return turned_like(mask, film) if film else mask

    def turn(self, image: str) -> Turn:
        """Return the turn that shows the film of an image upright."""
        film = self.image(image)
        return turn_of_film(film) if film else NO_TURN

    def grids(self, image: str) -> list[Path]:
        """Return the volumes on whose grid the masks of an image may lie."""
        picture = self.image(image)
        of_image = [picture] if picture and is_volume(picture) else []
        of_truth, *others = ([*filter(is_nifti, each.paths(image))] for each in (self.truth, *self.programs))
        return [*of_truth, *of_image, *(file for files in others for file in files)]


class Problems:
    """The problems of folders and files, one sentence each."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def add(self, folder: str, problem: str) -> None:
        """Keep a sentence about a folder; `folder` is its name in the table."""
        if (folder, problem) not in self._rows:
            self._rows.append((folder, problem))

    def lines(self) -> list[str]:
        """Return the sentences, each with the folder."""
        return [f"{folder}: {problem}" for folder, problem in self._rows]

    def table(self) -> pd.DataFrame:
        """Return the table with the columns `folder` and `problem`."""
        return make_table(self._rows, ("folder", "problem"))


def find_sets(
    truth: str | Path, masks: Sequence[str | Path], labels: Labels, truth_labels: Sequence[int] | None,
    images: str | Path | None, problems: Problems,
) -> MaskSets:  # fmt: skip
    """Return the masks in the folders, matched with the ground truth by their names.

    Raises FileNotFoundError if there is no folder of the ground truth or of images, ValueError if one has no masks, or
    if no folder of a program can be used.
    """
    folder = _need_folder(truth)
    folders = _name_folders(folder, masks, problems)
    if isinstance(labels, Mapping) and (unknown := sorted({*labels} - {*folders})):
        raise ValueError(f"labels are given for {unknown[0]}, but the folders are {', '.join(folders)}.")
    every = [folder, *folders.values()]
    truths = _find(TRUTH, folder, every, problems)
    if not truths:
        what = "no mask found. Name the folder with the masks of the ground truth."
        raise ValueError(f"{folder}: {what}{other_files(folder)}")
    truth_set = MaskSet(TRUTH, folder, truth_labels, {each.id: each for each in truths})
    programs = []
    for name, place in folders.items():
        of_program = labels.get(name) if isinstance(labels, Mapping) else labels
        found = _find(name, place, every, problems)
        matched = match_masks(truths, found)
        programs.append(MaskSet(name, place, of_program, matched, len(found) - len(matched)))
        _add_missing(truths, found, matched, name, place, problems)
    return MaskSets(truth_set, programs, None if images is None else _find_images(images, truths, problems))


def _need_folder(given: str | Path) -> Path:
    folder = given_path(given, "the path of a folder").resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{given}: {_no_folder(folder)}")
    return folder


def _no_folder(path: Path) -> str:
    """Return why a path is not a folder, and what to do."""
    return "is a file. Name the folder that holds it." if path.exists() else "there is no such folder. Check its name."


def _name_folders(truth: Path, masks: Sequence[str | Path], problems: Problems) -> dict[str, Path]:
    """Return the folders of masks by their `printable` names. If folders share one, add the folders above them to it.

    Leave out a folder that does not exist, that was given before, or that is the ground truth.
    """
    folders: list[Path] = []
    for given in masks:
        folder = given_path(given, "the path of a folder").resolve()
        if not folder.is_dir():
            problems.add(str(given), _no_folder(folder))
        elif is_same(folder, truth):
            problems.add(str(given), "is the folder of the ground truth, so it is not scored. Name another.")
        elif any(is_same(folder, other) for other in folders):
            problems.add(str(given), "was given twice and is scored once.")
        else:
            folders.append(folder)
    if not folders:
        reasons = " ".join(problems.lines()) or "None was named."
        raise ValueError(f"no folder of masks can be scored. {reasons}")
    return {printable(_own_name(folder, folders)): folder for folder in folders}


def _own_name(folder: Path, folders: list[Path]) -> str:
    """Return the shortest end of a folder's path with which no other folder's path ends."""
    for length in range(1, len(folder.parts)):
        titles = [title_of("/".join(each.parts[-length:])).casefold() for each in folders]
        if titles.count(titles[folders.index(folder)]) == 1:  # because charts show titles
            return "/".join(folder.parts[-length:])
    return str(folder)


def _find(name: str, folder: Path, every: list[Path], problems: Problems) -> list[MaskFiles]:
    """Return the masks in a folder, without those in other folders that are scored."""
    found, left_out = find_masks(folder, [other for other in every if other != folder])
    usual = (ANOTHER_MASK, OTHER_ORGAN)  # reasons that many files may have
    no_masks = [pair for pair in left_out if pair[1].endswith(usual)]
    if no_masks:
        problems.add(name, f"{counted(len(no_masks), 'file')} left out, such as {': '.join(no_masks[0])}.")
    for file, reason in left_out:
        if not reason.endswith(usual):
            problems.add(name, f"{file}: {reason}.")
    _add_united(name, found, problems)
    return found


def _add_united(name: str, masks: list[MaskFiles], problems: Problems) -> None:
    """Add a sentence if masks are united from several files, and one for each that has a file of one side only."""
    united = [each for each in masks if len(each.files) > 1]
    if not united:
        return
    files = " and ".join(map(str, united[0].files))
    problems.add(name, f"files joined into one mask, such as {files}: {counted(len(united), 'mask')}.")
    for each in masks:
        sides = set().union(*map(sides_of, each.files))
        if len(sides) == 1:
            problems.add(name, f"{each.files[0]}: shows the {sides.pop()} lung only. Add the file of the other lung.")


def _add_missing(
    truths: list[MaskFiles], found: list[MaskFiles], matched: dict[str, MaskFiles], name: str, folder: Path,
    problems: Problems,
) -> None:  # fmt: skip
    """Add a sentence for each image of which a program has no mask, or one sentence if it has none of any image."""
    if not found:
        problems.add(name, f"no mask found in this folder. Name the folder with the masks.{other_files(folder)}")
        return
    if not matched:
        files = [str(each.files[0]) for each in found if each.name == truths[0].name]
        no_match = f"none of its names, such as {found[0].id}, matches the ground truth, such as {truths[0].id}."
        both = f"{' and '.join(files[:2])} are both of the name {truths[0].id}."
        remedy = "Name the folder with the masks, within this one." if len(files) > 1 else "Rename its masks."
        problems.add(name, f"{both if len(files) > 1 else no_match} {remedy}")
        return
    used = {each.id for each in matched.values()}
    spare, missing = [each.id for each in found if each.id not in used], [t.id for t in truths if t.id not in matched]
    near = {image: nearest(image, spare) for image in missing[:_MAX_HINTS]}
    for image in filter(near.get, missing):
        problems.add(name, f"{image}: no mask of this name (the nearest is {near[image]}).")
    if alone := [image for image in missing if not near.get(image)]:
        names = ", ".join(alone[:_MAX_NAMES]) + (" and others" if len(alone) > _MAX_NAMES else "")
        problems.add(name, f"no mask of {counted(len(alone), 'image')} with ground truth: {names}.")


def _find_images(given: str | Path, truths: list[MaskFiles], problems: Problems) -> MaskSet:
    """Return the images in a folder that have a ground truth: files, or folders of series."""
    folder = _need_folder(given)
    files = [as_masks(path.relative_to(folder)) for path in list_images(folder) if path != folder]
    matched = match_masks(truths, files)
    if not matched:
        problems.add(str(given), f"has no image with the name of a mask, such as {truths[0].id}. Name their folder.")
    return MaskSet("images", folder, None, matched)


def with_patients(
    truth: MaskSet, patients: str | Path | None, pattern: str | None, problems: Problems
) -> dict[str, Pair]:
    """Return patient and group of each image of the ground truth, by its id; by default, each image is a patient.

    Images that the table `patients` does not list are left out. Raises ValueError if it or the pattern fits no image.
    """
    pairs = [Pair(each.id, each.id, each.files[0], each.files) for each in truth.masks.values()]
    if pattern:
        found = find_patients([(pair.id, pair.image) for pair in pairs], pattern)
        if not any(found.values()):
            raise ValueError(f"patient_pattern {pattern!r} matches no name of an image, such as {pairs[0].id}.")
        if alone := [pair.id for pair in pairs if not found[pair.image]]:
            count = counted(len(alone), "image")
            what = f"patient_pattern does not match {count}, such as {alone[0]}"
            problems.add(TRUTH, f"{what}: each counts as a patient of its own.")
        pairs = [pair._replace(patient=found[pair.image] or pair.id) for pair in pairs]
    table = None if patients is None else given_path(patients, "the path of the table of patients")
    assigned, unlisted = assign_patients(pairs, table)
    for file, reason in unlisted:
        problems.add(TRUTH, f"{file}: {reason}, so it is left out.")
    return {pair.id: pair for pair in assigned}
