"""Find the masks in a folder, whatever program wrote them, and match two folders of masks by name."""

import difflib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lungnb.artefacts import EXTRA_ENDINGS, MASK_ENDINGS
from lungnb.datasets.file_names import (
    IMAGE_FOLDER,
    KIND_WORDS,
    LUNG_WORDS,
    MASK_WORDS,
    Words,
    is_mask,
    shared_name,
    words_of,
)
from lungnb.datasets.pairing import OTHER_ORGAN, Excluded
from lungnb.formats.folders import image_files, stem_of

ANOTHER_MASK = "is the mask of this name"  # why an image beside its mask is left out
# Words that do not distinguish the names of images, also those that programs add to the names of predictions
_KINDS = re.compile(rf"{KIND_WORDS.pattern}|pred(ict(ion|ed)?)?s?|out(put)?s?|results?")
_WORDS = re.compile(f"{_KINDS.pattern}|{LUNG_WORDS.pattern}")
_MIN_SIMILARITY = 0.4  # of two names, 0 to 1, for the one to be a hint at the other


class MaskFiles(NamedTuple):
    """The mask files of one image or volume, whose union is its mask."""

    id: str
    words: tuple[str, ...]  # of the names of folders and file, which match those of other folders
    name: tuple[str, ...]  # the words of the name alone, or of the last folder if all files of it are of one image
    files: tuple[Path, ...]  # paths in the folder


def find_masks(folder: Path, others: Iterable[Path] = ()) -> tuple[list[MaskFiles], Excluded]:
    """Return the masks in a folder and below it, sorted by name, and the files that are left out, with the reasons.

    Files belong together if their names differ in words for parts of lungs only, such as `left` or `lower lobe`, or if
    they have one name in folders that differ in such words only. If one folder per case holds files of several organs,
    those whose names contain `lung` count. Overlays and other pictures that `segment` wrote beside masks do not count
    as masks. Folders within this one that are among `others` are skipped, and not listed.
    """
    inner = [os.path.realpath(other) for other in others if _lies_in(other, [os.path.realpath(folder)])]
    files = [file for file in image_files(folder) if not _lies_in(folder / file, inner)]
    files = _without_image_folders([file for file in files if not _is_beside_mask(folder, file)])
    by_words: defaultdict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in files:
        by_words[_flat(file)].append(file)
    found: list[MaskFiles] = []
    excluded: Excluded = []
    for group in by_words.values():
        parts, left_out = _parts_of_one(group)
        excluded += left_out
        found += [as_masks(*parts)] if parts else []
    found, organs = _without_organs(found)
    return _with_own_ids(sorted(found, key=lambda masks: masks.id)), excluded + organs


def as_masks(*files: Path) -> MaskFiles:
    """Return the files of one image (paths within their folder) with their id and the words of their names."""
    place, name = _place_and_name(files[0])
    return MaskFiles(_id_of(files), _flat(files[0]), name or (place[-1] if place else ()), files)


def match_masks(truth: list[MaskFiles], masks: list[MaskFiles]) -> dict[str, MaskFiles]:
    """Return the masks of each image of the ground truth, by the id in the ground truth.

    Two masks match if the words of their folders and names are the same. If only one mask on each side has the words of
    its name, these words are enough. Otherwise two masks match if their ids are the same, apart from upper and lower
    case. For masks that are left, words do not count that all masks have and not all of the ground truth, such as the
    name of a network.

    >>> one = MaskFiles("Case 7", ("case", "7"), ("case", "7"), ())
    >>> other = MaskFiles("case7_mask", ("new", "case", "7"), ("case", "7"), ())
    >>> match_masks([one], [other])["Case 7"].id
    'case7_mask'
    """
    pairs: dict[str, MaskFiles] = {}
    extra = _words_of_all(masks) - _words_of_all(truth)

    def bare(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word for word in words if word not in extra)

    rounds: tuple[Callable[[MaskFiles], object], ...]
    rounds = (
        lambda each: each.words, lambda each: each.name, lambda each: each.id.casefold(),
        lambda each: bare(each.words), lambda each: bare(each.name),
    )  # fmt: skip
    for words in rounds:
        taken = {each.id for each in pairs.values()}
        spare = [each for each in masks if each.id not in taken]
        left = [each for each in truth if each.id not in pairs]
        spare_counts, left_counts = (Counter(map(words, part)) for part in (spare, left))
        by_words = {words(each): each for each in spare}
        for each in left:
            if spare_counts[words(each)] == left_counts[words(each)] == 1:
                pairs[each.id] = by_words[words(each)]
    return pairs


def _words_of_all(masks: list[MaskFiles]) -> set[str]:
    """Return the words, except numbers, that all of several masks have."""
    shared = set.intersection(*({*each.words} for each in masks)) if len(masks) > 1 else set()
    return {word for word in shared if not word.isdigit()}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that is most like another one, or "" if none is similar.

    >>> nearest("case_07", ["case-7", "film"])
    'case-7'
    """
    by_small = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), by_small, 1, _MIN_SIMILARITY)
    return by_small[near[0]] if near else ""


def _lies_in(file: Path, folders: list[str]) -> bool:
    real = os.path.realpath(file)
    return any(real.startswith(folder + os.sep) for folder in folders)


def _is_beside_mask(folder: Path, file: Path) -> bool:
    """Return whether a file is named like an extra output of `segment` and lies beside the mask of that name."""
    stem = next((file.name.removesuffix(end) for end in EXTRA_ENDINGS if file.name.endswith(end)), None)
    return stem is not None and any((folder / file.parent / f"{stem}{end}").exists() for end in MASK_ENDINGS)


def _without_image_folders(files: list[Path]) -> list[Path]:
    """Return the files without those in folders named after images, if other files are in folders named after masks."""
    if not any(map(is_mask, files)):
        return files
    return [file for file in files if is_mask(file) or not any(map(IMAGE_FOLDER.match, file.parent.parts))]


def _place_and_name(file: Path) -> Words:
    """Return the words of a file's folders and of its name, except those for kinds of files and parts of lungs.

    If no word is left, words for kinds of files count, so that `film.png` and `scan.png` differ.
    """
    place, name = words_of(file, _WORDS)
    return (place, name) if place or name else ((), words_of(file, MASK_WORDS)[1])


def _flat(file: Path) -> tuple[str, ...]:
    """Return the words of a file's folders and of its name, in order, except those for parts of lungs.

    >>> _flat(Path("case7/lung_left.nii.gz")), _flat(Path("Case 7_mask.nii.gz"))
    (('case', '7'), ('case', '7'))
    """
    place, name = _place_and_name(file)
    return (*(word for folder in place for word in folder), *name)


def _parts_of_one(group: list[Path]) -> tuple[list[Path], Excluded]:
    """Return the files that are parts of one mask, and the files of which it is unclear what they are.

    Of `case1.png` and `case1_mask.png`, only the second is a mask.
    """
    named = [file for file in group if is_mask(file)] or group
    excluded = [(str(file), f"{named[0]} {ANOTHER_MASK}") for file in group if file not in named]
    by_part: defaultdict[tuple[object, ...], list[Path]] = defaultdict(list)
    for file in named:
        by_part[(file.parent, words_of(file, _KINDS))].append(file)
    for files in (files for files in by_part.values() if len(files) > 1):
        listed = " and ".join(map(str, files))
        return [], [*excluded, (listed, "have one name apart from case, signs and endings. Leave one of them")]
    return named, excluded


def _id_of(parts: Sequence[Path]) -> str:
    """Return the id of the mask in some files: the common part of their names, or else the name of their folder.

    >>> _id_of([Path("case7_left_lung.png"), Path("case7_right_lung.png")])
    'case7'
    >>> _id_of([Path("case 8/lung_left.nii.gz"), Path("case 8/lung_right.nii.gz")])
    'case 8'
    """
    place, name = _place_and_name(parts[0])
    if not name and place:
        return next(folder for folder in reversed(parts[0].parent.parts) if words_of(Path(folder), _WORDS)[1])
    names = {shared_name(file) for file in parts}
    if len(names) == 1:
        return names.pop()
    shared = os.path.commonprefix(sorted(names)).rstrip("-_. ")  # noqa: RUF071 (names, not paths)
    return shared if _place_and_name(Path(f"{shared}.png"))[1] == name else "_".join(name) or shared_name(parts[0])


def _without_organs(masks: list[MaskFiles]) -> tuple[list[MaskFiles], Excluded]:
    """Return the masks without those of other organs, if the lungs of the case are in files of their own.

    The names of such organs are that of the case and a word more. Or they lie in folders whose names have words more,
    beside folders named after lungs.
    """
    lungs = {each.words for each in masks if all("lung" in stem_of(file).lower() for file in each.files)}
    in_folders = {each.words for each in masks if all(_in_lung_folder(file) for file in each.files)}
    is_organ = [
        any(each.words[:end] in lungs and not each.words[end].isdigit() for end in range(1, len(each.words)))
        or (in_folders and not any(map(_in_lung_folder, each.files)) and in_folders & {*_with_less(each.words)})
        for each in masks
    ]
    kept = [each for each, is_other in zip(masks, is_organ, strict=True) if not is_other]
    organs = [each for each, is_other in zip(masks, is_organ, strict=True) if is_other]
    return kept, [(str(file), OTHER_ORGAN) for each in organs for file in each.files]


def _in_lung_folder(file: Path) -> bool:
    return "lung" in file.parent.name.lower()


def _with_less(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return words without each run of them that are no numbers.

    >>> _with_less(("1", "clavicle", "7"))
    [('1', '7')]
    """
    runs = ((start, end) for end in range(1, len(words) + 1) for start in range(end))
    return [(*words[:start], *words[end:]) for start, end in runs if not any(map(str.isdigit, words[start:end]))]


def _with_own_ids(masks: list[MaskFiles]) -> list[MaskFiles]:
    """Return the masks. If ids would be equal, add the names of their folders to them."""
    counts = Counter(each.id.casefold() for each in masks)
    return [
        each if counts[each.id.casefold()] == 1 else each._replace(id="_".join((*each.files[0].parent.parts, each.id)))
        for each in masks
    ]
