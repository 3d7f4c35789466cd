"""Find the images and masks in a raw folder of any layout, and pair them by name."""

import difflib
import json
import re
import warnings
from collections import defaultdict
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lungnb.artefacts import JOURNAL
from lungnb.datasets.file_names import (
    CHANNEL,
    KIND_WORDS,
    LUNG_WORDS,
    MASK_FOLDER,
    OTHER_CHANNEL,
    Words,
    is_mask,
    is_of_lungs,
    is_prediction,
    shared_name,
    split_of_path,
    words_of,
)
from lungnb.datasets.patient_names import branch_of, find_patients, first_names, patients_of_folders, shared_places
from lungnb.datasets.series_cases import find_series_cases
from lungnb.datasets.sources import Source
from lungnb.files import short_name, text_name
from lungnb.formats.dicom_header import STRUCTURE_SET, other_object
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.folders import image_files, other_files, stem_of
from lungnb.formats.nifti import is_nifti
from lungnb.formats.opening import digest_of_file, open_file
from lungnb.settings import counted

_ROUNDS = (  # of loose pairing: which words do not count in names of images and of masks, and `is_flat` of `words_of`
    (KIND_WORDS, KIND_WORDS, False), (LUNG_WORDS, LUNG_WORDS, False), (LUNG_WORDS, LUNG_WORDS, True),
    (re.compile(".*"), LUNG_WORDS, False),
)  # fmt: skip
_MAX_FOLDERS = 50  # look for structure sets in so many folders
_MAX_HINTS, _MAX_HINT_NAMES = 20, 2000  # files for which the nearest name is looked for, and names to choose from
OTHER_ORGAN = "another organ's"
CHANNELS = "another channel of an image, as nnU-Net has them: only the first one, _0000, is read"
DERIVED = "would take the mask of"
PREDICTED = "a mask that lungnb wrote, beside another one"


class Pair(NamedTuple):
    """An image and its mask files, whose union is the lung mask; paths within the raw folder."""

    id: str
    patient: str
    image: Path  # a file, or a folder with the DICOM files of a series
    masks: tuple[Path, ...]
    split: str = ""  # from a folder's name, such as `train`; otherwise `splitting` sets it later
    group: str = ""  # such as a diagnosis, from the end of the image's name or from a table
    sex: str = ""
    age: str = ""
    pixel_mm: tuple[float, ...] = ()  # height and width of a pixel from a table; used if the file states none


Excluded = list[tuple[str, str]]  # files that are left out, with the reasons


def find_pairs(raw: Path, source: Source, pattern: str | None = None) -> tuple[list[Pair], Excluded]:
    """Pair the images under `raw` with their masks by name; return the pairs and the files without a partner.

    A file is a mask if one of its folders is named after masks or labels, or if its name ends in `_mask` or the like.
    An image and its mask have the same name, apart from upper and lower case and from words such as `mask`, `image` or
    `left lung`. If several folders hold the same name, the image and its mask are also in the same branch of folders.
    So one folder per case may hold an image and a file for each organ, and the image may be a DICOM series
    (`find_series_cases`). The image of a NIfTI mask may also be a folder with the mask's name that holds a DICOM
    series. If files or folders are named after several organs, the masks of lungs are used.

    `pattern` is a regular expression that searches the name, or, if it contains a slash, the path within `raw`. Its
    first group is the patient. Without it, DICOM files with one PatientID are of one patient, too.
    """
    images, masks, unclear = _files_by_name(raw)
    derived = _derived(images, masks)
    images = {name: [image for image in paths if image not in derived] for name, paths in images.items()}
    named = [(name, image) for name, paths in images.items() for image in paths]
    repeated = _repeated_branches(images)  # which become part of the id
    partners = {
        image: [mask for mask in masks.get(name, ()) if branch_of(image) not in repeated or _same_branch(mask, image)]
        for name, image in named
    }
    spare = {mask for paths in masks.values() for mask in paths}.difference(*partners.values())
    loose = _pair_loosely(partners, sorted(spare))
    partners |= loose
    partners, predicted = _without_predicted(raw, partners)
    channels = {image for image, found in loose.items() if not CHANNEL.search(stem_of(found[0]))}
    named = [(CHANNEL.sub("", name) if image in channels else name, image) for name, image in named]
    patients = find_patients(named, pattern or source.patient_pattern)
    shared = shared_places(partners)
    folders = patients_of_folders([image for image in partners if partners[image] and image not in shared])
    has_pattern = bool(pattern) or source.patient_pattern != Source.patient_pattern
    paired_masks = {mask for paths in partners.values() for mask in paths}
    pairs: list[Pair] = []
    excluded: Excluded = [*unclear, *((str(image), f"{DERIVED} {other}") for image, other in derived.items())]
    excluded += [*((str(mask), PREDICTED) for mask in sorted(predicted))]
    for name, image in named:
        if not partners[image]:
            continue
        branch = branch_of(image) if branch_of(image) in repeated else ""
        of_folder = shared[image] if image in shared else folders[image]
        patient = of_folder if branch and not (has_pattern and patients[image]) else patients[image]
        lungs = tuple(mask for mask in partners[image] if is_of_lungs(mask, image))
        excluded += [(str(mask), OTHER_ORGAN) for mask in partners[image] if lungs and mask not in lungs]
        pair_id = short_name(text_name(f"{branch}_{name}" if branch else name))
        split = split_of_path(image)
        group = next((group for end, group in source.group_endings if name.endswith(end)), "")
        pairs.append(Pair(pair_id, text_name(patient or pair_id), image, lungs or tuple(partners[image]), split, group))
    spare -= predicted
    excluded += _unpaired([image for image in partners if not partners[image]], sorted(spare), paired_masks, pairs)
    if not pairs:
        raise ValueError(_no_pairs(raw, excluded))
    if not has_pattern:
        first = first_names(raw, {pair.image: pair.patient for pair in pairs})
        pairs = [pair._replace(patient=first[pair.patient]) for pair in pairs]
    if pattern:
        _judge_pattern(pattern, pairs, patients)
    return _without_same_ids(pairs, excluded)


def _repeated_branches(images: dict[str, list[Path]]) -> set[str]:
    """Return the branches of folders that share the name of an image with another branch."""
    branches_by_name = ({branch_of(path) for path in paths} for paths in images.values())
    return {branch for branches in branches_by_name if len(branches) > 1 for branch in branches}


def _derived(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> dict[Path, Path]:
    """Return pictures in folders such as `predictions` that would take the mask of an image, with the images.

    They have the name of an image without a mask, apart from words such as `image`. A picture with a mask in a folder
    beside its own keeps it, unless the image has this mask beside it, too.
    """
    made = [(name, image) for name, paths in images.items() if name in masks for image in paths if is_prediction(image)]
    others = [image for name, paths in images.items() if made and name not in masks for image in paths]
    bare = {(_own_words(image), image.parent.parent): image for image in others if not is_prediction(image)}
    derived: dict[Path, Path] = {}
    for name, image in made:
        other = next(filter(None, (bare.get((_own_words(image), folder)) for folder in image.parents)), None)
        is_beside = any(image.parent.parent in mask.parents for mask in masks[name])
        if other and not (is_beside and image.parent.parent != other.parent.parent):
            derived[image] = other
    return derived


def _own_words(image: Path) -> tuple[str, ...]:
    return words_of(Path(image.name), KIND_WORDS)[1]


def _judge_pattern(pattern: str, pairs: list[Pair], patients: dict[Path, str | None]) -> None:
    """Raise ValueError if `pattern` finds the patient of no image; warn if it finds none for some."""
    if not any(patients.values()):
        what, example = ("path", pairs[0].image.as_posix()) if "/" in pattern else ("name", pairs[0].id)
        raise ValueError(f"patient_pattern {pattern!r} matches no image's {what}, such as {example}.")
    if missed := [pair.id for pair in pairs if not patients[pair.image]]:
        what = f"patient_pattern {pattern!r} does not match {counted(len(missed), 'image')}, such as {missed[0]}"
        warnings.warn(f"{what}: each counts as a patient of its own.", stacklevel=3)


def _pair_loosely(partners: dict[Path, list[Path]], masks: list[Path]) -> dict[Path, list[Path]]:
    """Return masks of images without partners by the words of their names and folders, if one image has these words.

    Words for kinds of files do not count, such as `mask`. In a second round, words for parts of lungs do not count
    either. A file whose name consists of such words, or adds them to an image's name, may then be a mask. In a third
    round, it does not matter whether a word names a folder or the file, so `7_film.png` fits `7/film.png`. At last, a
    mask whose name consists of such words fits the only image of its folder, whatever the name of that.
    """
    alone = [image for image, exact in partners.items() if not exact]
    pairs: dict[Path, list[Path]] = {}
    for ignored, of_masks, is_flat in _ROUNDS if alone else ():
        lungs = [image for image in alone if ignored is LUNG_WORDS and "lung" in image.name.lower()]
        of_lungs = {image: image for image in lungs if words_of(image, KIND_WORDS) != words_of(image, LUNG_WORDS)}
        by_key: defaultdict[Words, list[Path]] = defaultdict(list)
        for image in partners:
            if image not in of_lungs:
                by_key[words_of(image, ignored, is_flat)].append(image)
        settled = {*pairs} | {mask for paths in pairs.values() for mask in paths}
        for mask in (*masks, *of_lungs):
            place, name = words_of(mask, of_masks, is_flat)
            candidates = by_key.get((place, name), []) if place or ignored is of_masks else []
            if len(candidates) == 1 and not partners[candidates[0]] and not settled & {mask, candidates[0]}:
                pairs.setdefault(candidates[0], []).append(mask)
    return pairs


def _without_predicted(raw: Path, partners: dict[Path, list[Path]]) -> tuple[dict[Path, list[Path]], set[Path]]:
    """Leave out masks that `lungnb segment` wrote, if their image has others; return the rest, and those left out.

    A mask that somebody has changed since counts as drawn.
    """
    written, kept = cache(_digests_of_masks), {}
    for image, masks in partners.items():
        digests = {mask: written(raw / mask.parent).get(mask.name) for mask in masks} if len(masks) > 1 else {}
        drawn = [mask for mask in masks if not (digests.get(mask) and digest_of_file(raw / mask) == digests[mask])]
        kept[image] = drawn or masks
    return kept, {mask for image in kept for mask in {*partners[image]} - {*kept[image]}}


def _digests_of_masks(folder: Path) -> dict[str, str]:
    """Return the digests of the masks that `lungnb segment` wrote into a folder, by their names, from its journal."""
    digests: dict[str, str] = {}
    with suppress(ValueError, OSError), open_file(folder / JOURNAL) as journal:
        for line in journal:
            with suppress(ValueError, TypeError, KeyError):
                row = json.loads(line)
                digests[row["mask"]] = row["written"]
    return digests


def _unpaired(images: list[Path], masks: list[Path], paired: set[Path], pairs: list[Pair]) -> Excluded:
    """Return the images and masks without a partner, with the reason and the nearest name of a possible partner."""
    of_lungs = {words_of(pair.image, LUNG_WORDS) for pair in pairs if is_of_lungs(pair.masks[0], pair.image)}
    firsts = {pair.image for pair in pairs if not CHANNEL.search(shared_name(pair.masks[0]))}
    images = [image for image in images if image not in paired]
    masks = [mask for mask in masks if mask not in paired]
    excluded: Excluded = []
    for files, others, kind in ((images, masks, "mask"), (masks, images, "image")):
        names = {shared_name(other).lower(): str(other) for other in others[:_MAX_HINT_NAMES]}
        for number, file in enumerate(files):
            place, words = words_of(file, LUNG_WORDS)
            lengths = range(len(words) + 1) if kind == "image" else [0]
            if any((place, words[:length]) in of_lungs for length in lengths):
                excluded.append((str(file), OTHER_ORGAN))
                continue
            if file.with_name(OTHER_CHANNEL.sub("_0000", stem_of(file)) + file.name[len(stem_of(file)) :]) in firsts:
                excluded.append((str(file), CHANNELS))
                continue
            near = _nearest(shared_name(file).lower(), [*names]) if number < _MAX_HINTS else []
            hint = f" (the nearest is {names[near[0]]})" if near else ""
            excluded.append((str(file), f"no {kind} of this name{hint}"))
    return excluded


def _nearest(name: str, names: list[str]) -> list[str]:
    """Return the name that is most like another one, at first among those that begin with it or contain it; or []."""
    longer = [each for each in names if name in each]
    begun = [each for each in longer if re.match(rf"{re.escape(name)}\D", each)]
    return (
        difflib.get_close_matches(name, begun, 1, 0)
        or difflib.get_close_matches(name, longer, 1, 0.4)
        or difflib.get_close_matches(name, names, 1, 0.4)
    )


def _files_by_name(raw: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]], Excluded]:
    """Return the images (files, or folders of DICOM series) and the masks under `raw`, by name, and unclear series."""
    images: defaultdict[str, list[Path]] = defaultdict(list)
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    files = image_files(raw)
    names = {shared_name(path) for path in files if is_mask(path)}
    cases, unclear = find_series_cases(raw, files, names, is_mask)
    for case in cases:
        images[case.name].append(case.series)
        masks[case.name] += case.masks
    series = {*(case.series for case in cases), *(Path(folder) for folder, _ in unclear)}
    taken = {mask for case in cases for mask in case.masks}
    files = [path for path in files if path not in taken and not (path.parent in series and is_dicom(raw / path))]
    for path in filter(is_mask, files):
        masks[shared_name(path)].append(path)
    for path in files:
        if not is_mask(path):
            of_volume = masks.get(path.parent.name, ())
            is_slice = any(is_nifti(mask) or is_dicom(raw / mask) for mask in of_volume) and is_dicom(raw / path)
            name, image = (path.parent.name, path.parent) if is_slice else (shared_name(path), path)
            images[name] += [image] if image not in images[name] else []
    return images, masks, unclear


def _same_branch(mask: Path, image: Path) -> bool:
    """Return whether a mask is in an image's branch: all its folders, except mask folders, are also the image's."""
    return {part for part in mask.parent.parts if not MASK_FOLDER.search(part)} <= set(image.parts)


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
    message = f"{raw}: no image with a mask found; put images in images/ and masks of the same names in masks/."
    return message + why + _structure_sets(raw, excluded) + other_files(raw)


def _structure_sets(raw: Path, excluded: Excluded) -> str:
    """Return a sentence, after a space, on DICOM structure sets among the files that are left out, or "".

    They have the lungs as outlines. Only the first file of each folder is looked at.
    """
    first_of = {Path(file).parent: raw / file for file, _ in reversed(excluded)}
    for file in [*first_of.values()][:_MAX_FOLDERS]:
        with suppress(ValueError, OSError):
            if is_dicom(file) and other_object(open_dicom(file, header_only=True)) == STRUCTURE_SET:
                name = file.relative_to(raw)
                return f" {name} is a DICOM structure set (RTSTRUCT), which is not read: convert it to a NIfTI mask."
    return ""
