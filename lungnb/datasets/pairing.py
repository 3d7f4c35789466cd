"""Find the images and masks in a raw folder of any layout, and pair them by name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from lungnb.datasets.sources import Source
from lungnb.files import text_name
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.folders import image_files, is_image, stem_of
from lungnb.formats.nifti import is_nifti

_MASK_FOLDER = re.compile(r"mask|label", re.IGNORECASE)
_MASK_SUFFIX = re.compile(r"[-_ ](mask|label|seg)$", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"^(image|img|picture|slice)s?$", re.IGNORECASE)
_SPLIT_FOLDERS = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("test", "testing"), "test")
_SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation"), "validation")


class Pair(NamedTuple):
    """An image and its mask files, whose union is the lung mask; paths within the raw folder."""

    id: str
    patient: str
    image: Path  # a file, or a folder with the DICOM files of a series
    masks: tuple[Path, ...]
    split: str = ""  # from a folder's name, such as `train`; otherwise `splitting` sets it later


Excluded = list[tuple[str, str]]  # files that are left out, with the reasons


def find_pairs(raw: Path, source: Source, pattern: str | None = None) -> tuple[list[Pair], Excluded]:
    """Pair the images under `raw` with their masks by name; return the pairs and the files without a partner.

    A file is a mask if one of its folders is named after masks or labels, or if its name ends in `_mask`. An image and
    its mask have the same name. If a name is in several folders, they are also in the same branch of folders. The image
    of a NIfTI mask may be a folder with the mask's name that holds a DICOM series. If folders are named after several
    organs, the masks of lungs are used.

    The first group of `pattern` is the patient. It searches the name, or, if it contains a slash, the path in `raw`.
    """
    images, masks = _files_by_name(raw)
    named = [(name, image) for name, paths in images.items() for image in paths]
    patients = _find_patients(named, pattern or source.patient_pattern)
    has_pattern = bool(pattern) or source.patient_pattern != Source.patient_pattern
    # Branches of folders that share an image's name with another branch become part of the id.
    branches_by_name = ({_branch(path) for path in paths} for paths in images.values())
    repeated = {branch for branches in branches_by_name if len(branches) > 1 for branch in branches}
    pairs: list[Pair] = []
    excluded: Excluded = []
    paired_masks: set[Path] = set()
    for name, image in named:
        branch = _branch(image) if _branch(image) in repeated else ""
        patient = _patient_folder(image) if branch and not (has_pattern and patients[image]) else patients[image]
        partners = tuple(mask for mask in masks.get(name, ()) if not branch or _same_branch(mask, image))
        if not partners:
            excluded.append((str(image), "no mask of this name"))
            continue
        lungs = tuple(filter(_is_of_lungs, partners))
        excluded += [(str(mask), "another organ's") for mask in partners if lungs and mask not in lungs]
        pair_id = text_name(f"{branch}_{name}" if branch else name)
        split = next((_SPLIT_FOLDERS[part.lower()] for part in image.parts[:-1] if part.lower() in _SPLIT_FOLDERS), "")
        pairs.append(Pair(pair_id, text_name(patient or pair_id), image, lungs or partners, split))
        paired_masks.update(partners)
    unpaired = (mask for paths in masks.values() for mask in paths if mask not in paired_masks)
    excluded += [(str(mask), "no image of this name") for mask in unpaired]
    if not pairs:
        raise ValueError(_no_pairs(raw, excluded))
    if pattern and not any(patients.values()):
        what, example = ("path", pairs[0].image.as_posix()) if "/" in pattern else ("name", pairs[0].id)
        raise ValueError(f"patient_pattern {pattern!r} is found in no image's {what}, of which one is {example}.")
    return _without_same_ids(pairs, excluded)


def _files_by_name(raw: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the images (files, or folders of DICOM series) and the masks under `raw`, by name."""
    images: defaultdict[str, list[Path]] = defaultdict(list)
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    files = image_files(raw)
    for path in filter(_is_mask, files):
        masks[_name(path)].append(path)
    for path in files:
        if not _is_mask(path):
            of_volume = masks.get(path.parent.name, ())
            is_slice = any(is_nifti(mask) or is_dicom(raw / mask) for mask in of_volume) and is_dicom(raw / path)
            name, image = (path.parent.name, path.parent) if is_slice else (_name(path), path)
            images[name] += [image] if image not in images[name] else []
    return images, masks


def _find_patients(named: list[tuple[str, Path]], pattern: str) -> dict[Path, str | None]:
    """Return the patient that `pattern` finds in the name of each image, or, if it contains a slash, in its path."""
    try:
        matcher = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern is not a regular expression: {pattern!r} ({error}).") from error
    matches = {image: matcher.search(image.as_posix() if "/" in pattern else name) for name, image in named}
    return {image: match.group(1 if matcher.groups else 0) if match else None for image, match in matches.items()}


def _is_mask(path: Path) -> bool:
    if _MASK_SUFFIX.search(stem_of(path)):
        return True
    # The folder nearest to the file decides: labeled/images/ holds images.
    for folder in reversed(path.parent.parts):
        if _IMAGE_FOLDER.match(folder):
            return False
        if _MASK_FOLDER.search(folder):
            return True
    return False


def _name(path: Path) -> str:
    """Return the name that an image and its masks have in common."""
    return _MASK_SUFFIX.sub("", stem_of(path))


def _branch(image: Path) -> str:
    """Return the folders of an image as one word, without folders named after images."""
    return "_".join(part for part in image.parent.parts if not _IMAGE_FOLDER.match(part))


def _patient_folder(image: Path) -> str:
    """Return the folders of an image that may name its patient: its branch without folders named after a split."""
    folders = (part for part in image.parent.parts if part.lower() not in _SPLIT_FOLDERS)
    return _branch(Path(*folders, image.name))


def _is_of_lungs(mask: Path) -> bool:
    """Return whether a mask's folders, from the first one named after masks, contain the word lung."""
    parts = mask.parent.parts
    first = next((number for number, part in enumerate(parts) if _MASK_FOLDER.search(part)), 0)
    return any("lung" in part.lower() for part in parts[first:])


def _same_branch(mask: Path, image: Path) -> bool:
    """Return whether a mask is in an image's branch: all its folders, except mask folders, are also the image's."""
    return {part for part in mask.parent.parts if not _MASK_FOLDER.search(part)} <= set(image.parts)


def _without_same_ids(pairs: list[Pair], excluded: Excluded) -> tuple[list[Pair], Excluded]:
    """Keep the first of the pairs that would be written under one name; upper and lower case are the same name."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        first = kept.setdefault(pair.id.lower(), pair)
        if first is not pair:
            excluded.append((str(pair.image), f"the name is taken by {first.image}"))
    return list(kept.values()), excluded


def _no_pairs(raw: Path, excluded: Excluded) -> str:
    """Return the error message for a folder without a usable pair."""
    why = f" The first of the {len(excluded)} files left out: {': '.join(excluded[0])}." if excluded else ""
    kinds = Counter(path.suffix.lower() for path in raw.rglob("*.*") if path.is_file() and not is_image(path))
    kind, count = kinds.most_common(1)[0] if kinds else ("", 0)
    message = f"{raw}: no image with a mask found; put images in images/ and masks of the same names in masks/."
    return message + why + (f" {count} files are {kind}, which is not read." if kind else "")
