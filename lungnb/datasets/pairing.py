"""The images of a raw folder, whatever its layout, and their masks: found and paired by name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from lungnb.datasets.sources import Source
from lungnb.files import text_name
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.folders import image_files, is_image, stem_of
from lungnb.formats.nifti import is_nifti

_MASK_FOLDER = re.compile(r"mask|label", re.IGNORECASE)
_MASK_SUFFIX = re.compile(r"[-_ ](mask|label|seg)$", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"^(image|img|picture|slice)s?$", re.IGNORECASE)
_LUNG = re.compile(r"lung", re.IGNORECASE)
_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Pair:
    """An image, the mask files whose union is its lung mask, and their name; paths within the raw folder.

    The image is a file, of one image or a volume, or a folder with the DICOM files of a series. The split is that of a
    folder called after one, else it is given later, by `splitting`.
    """

    id: str
    patient: str
    image: Path
    masks: tuple[Path, ...]
    split: str = ""


def find_pairs(raw: Path, source: Source, pattern: str | None = None) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Pair the images under `raw` with their masks by name; return the pairs, and what has no partner with why.

    A file is a mask when a folder on its way is called after masks or labels, or its name ends in `_mask`; its image is
    the one of the same name, or, where names repeat in several folders, the one in the mask's own branch. The image of
    a NIfTI mask may be a folder of its name, which holds a DICOM series. Of the masks of several organs, in folders
    called after them, those of lungs are taken.

    The first group of `pattern` is the patient: of a name, or, where a slash is in it, of a path within `raw`.
    """
    try:
        matcher = re.compile(pattern or source.patient_pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern is not a regular expression: {pattern!r} ({error}).") from error
    images, masks = defaultdict(list), defaultdict(list)
    files = image_files(raw)
    for path in filter(_is_mask, files):
        masks[_name(path)].append(path)
    for path in files:
        if not _is_mask(path):
            is_slice = any(map(is_nifti, masks.get(path.parent.name, ()))) and is_dicom(raw / path)
            name, image = (path.parent.name, path.parent) if is_slice else (_name(path), path)
            images[name] += [image] if image not in images[name] else []

    # Where a name occurs in several folders, all that is in these is told apart, and taken for a patient's, by folder.
    branched = set()
    for paths in images.values():
        branches = {_branch(path) for path in paths}
        branched |= branches if len(branches) > 1 else set()
    named = bool(pattern) or source.patient_pattern != Source.patient_pattern
    by_path = bool(pattern) and "/" in pattern

    pairs, excluded, used, fits = [], [], set(), False
    for stem, paths in images.items():
        for image in paths:
            branch = _branch(image) if _branch(image) in branched else ""
            own = tuple(mask for mask in masks[stem] if not branch or _same_branch(mask, image))
            found = matcher.search(image.as_posix() if by_path else stem)
            by_name = found and found.group(1 if matcher.groups else 0)
            fits |= bool(by_name)
            name = f"{branch}_{stem}" if branch else stem
            patient = by_name if named and by_name else _patient_folder(image) if branch else by_name
            if own:
                lungs = tuple(filter(_is_of_lungs, own))
                excluded += [(str(mask), "another organ's") for mask in own if lungs and mask not in lungs]
                name, patient = text_name(name), text_name(patient or name)
                pairs.append(Pair(name, patient, image, lungs or own, _split_folder(image)))
                used.update(own)
            else:
                excluded.append((str(image), "no mask of this name"))
    lonely = (mask for paths in masks.values() for mask in paths if mask not in used)
    excluded += [(str(mask), "no image of this name") for mask in lonely]
    if not pairs:
        raise ValueError(_no_pairs(raw, excluded))
    if pattern and not fits:
        what = "path" if by_path else "name"
        example = pairs[0].image.as_posix() if by_path else pairs[0].id
        raise ValueError(f"patient_pattern {pattern!r} is found in no image's {what}, of which one is {example}.")
    return _refuse_same_ids(pairs, excluded)


def _is_mask(path: Path) -> bool:
    if _MASK_SUFFIX.search(stem_of(path)):
        return True
    # The folder nearest to the file says what it is: labeled/images/ holds images.
    kinds = (_IMAGE_FOLDER.match(part) is None for part in reversed(path.parent.parts) if _says_kind(part))
    return next(kinds, False)


def _says_kind(folder: str) -> bool:
    """Whether a folder is called after images or masks."""
    return bool(_MASK_FOLDER.search(folder) or _IMAGE_FOLDER.match(folder))


def _name(path: Path) -> str:
    """Return the name that an image's file and those of its masks have in common."""
    return _MASK_SUFFIX.sub("", stem_of(path))


def _branch(image: Path) -> str:
    """Return the folders an image lies in, those called after images aside, as one word."""
    return "_".join(part for part in image.parent.parts if not _IMAGE_FOLDER.match(part))


def _patient_folder(image: Path) -> str:
    """Return what of an image's folders may be its patient's: not those called after images or after a split."""
    parts = (part for part in image.parent.parts if part.lower() not in _SPLIT_FOLDERS)
    return "_".join(part for part in parts if not _IMAGE_FOLDER.match(part))


def _split_folder(image: Path) -> str:
    """Return the split that a folder on an image's way is called after, or nothing."""
    parts = (part.lower() for part in image.parent.parts)
    return next((_SPLIT_FOLDERS[part] for part in parts if part in _SPLIT_FOLDERS), "")


def _is_of_lungs(mask: Path) -> bool:
    """Whether the folders of a mask, from the first that is called after masks, say lung."""
    parts = mask.parent.parts
    first = next((number for number, part in enumerate(parts) if _MASK_FOLDER.search(part)), 0)
    return any(map(_LUNG.search, parts[first:]))


def _same_branch(mask: Path, image: Path) -> bool:
    """Whether a mask lies in an image's branch: its folders, those called after masks aside, are the image's too."""
    return {part for part in mask.parent.parts if not _MASK_FOLDER.search(part)} <= set(image.parts)


def _refuse_same_ids(pairs: list[Pair], excluded: list[tuple[str, str]]) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Keep the first of the pairs that would be written under one name; the name's case does not tell them apart."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        first = kept.setdefault(pair.id.lower(), pair)
        if first is not pair:
            excluded.append((str(pair.image), f"the name is taken by {first.image}"))
    return list(kept.values()), excluded


def _no_pairs(raw: Path, excluded: list[tuple[str, str]]) -> str:
    """Return the sentence for a folder without a usable pair."""
    why = f" The first of the {len(excluded)} files left out: {': '.join(excluded[0])}." if excluded else ""
    kinds = Counter(path.suffix.lower() for path in raw.rglob("*.*") if path.is_file() and not is_image(path))
    kind, count = kinds.most_common(1)[0] if kinds else ("", 0)
    what = f"{raw}: no image with a mask found; put images in images/ and masks of the same names in masks/."
    return what + why + (f" {count} files are {kind}, which is not read." if kind else "")
