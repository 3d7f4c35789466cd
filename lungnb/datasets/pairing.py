"""Find the images and masks in a raw folder of any layout, and pair them by name."""

import difflib
import hashlib
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from lungnb.datasets.series_cases import find_series_cases
from lungnb.datasets.sources import Source
from lungnb.files import text_name
from lungnb.formats.dicom_header import STRUCTURE_SET, other_object
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.folders import image_files, other_files, stem_of
from lungnb.formats.nifti import is_nifti
from lungnb.settings import counted

_WORD = r"(?:lung)?(?:mask|msk|label|seg|segmentation|annotation|gt|ground[-_ ]?truth)s?"  # which names a mask
# SegmentationClass and SegmentationObject: Pascal VOC's, which CVAT and LabelMe export
_MASK_FOLDER = re.compile(rf"(?i)mask|msk|label|annot$|^(ann[-_]dir|{_WORD}|segmentation(class(png)?|object))$")
_MASK_SUFFIX = re.compile(rf"[-_ .](?i:{_WORD})$|(?<=[a-z0-9])(?:Mask|Label|Seg|Segmentation|GT)s?$")
_MASK_PREFIX = re.compile(rf"^{_WORD}(?=[-_ .\d]|$)", re.IGNORECASE)
IMAGE_FOLDER = re.compile(r"^(image|img|picture|slice)s?(Tr|Ts)?$", re.IGNORECASE)  # imagesTr and imagesTs: nnU-Net's
CHANNEL = re.compile(r"_0000$")  # nnU-Net's first channel, which the name of the mask lacks
# Words in names that do not tell one image from another
KIND_WORDS = re.compile(
    rf"{_WORD}|ground|truths?|manual|(image|img|im|picture|slice|scan|volume|film|xray)s?|ct|cxr|chest|dicom"
    r"|orig(inal)?|org|data|jpe?g|png|bmp|tiff?|gif|dcm|nii|gz"
)
_LEFT, _RIGHT = "l|left|leftlung|lungleft", "r|right|rightlung|lungright"
_PARTS = f"lungs?|{_LEFT}|{_RIGHT}|both|upper|middle|lower|lobes?"
LUNG_WORDS, _ANY_WORD = re.compile(f"{KIND_WORDS.pattern}|{_PARTS}"), re.compile(".*")
# Words that even a name without other words does not need
MASK_WORD, MASK_WORDS = re.compile(_WORD), re.compile(f"{_WORD}|{_PARTS}")
_SPLIT_FOLDERS = dict.fromkeys(("train", "training", "trainval", "imagestr"), "train")
_SPLIT_FOLDERS |= dict.fromkeys(("test", "testing", "imagests"), "test")
_SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
# What names of folders of splits have besides other words: a number in front or in brackets, a year, a version, a
# stage, or `set` without a blank
_BESIDE_SPLIT = re.compile(
    r"^\d{1,2}[-_. ]+|\(\d+\)$|(19|20)\d\d|[-_ ]?v\d+$|stage[-_ ]?\d+|(?<=[a-z])(data)?sets?$", re.IGNORECASE
)
_SET_WORDS = re.compile(
    f"{KIND_WORDS.pattern}|(data)?set|split|final|full|all|new|lungs?|frames?"
)  # in names of folders of splits
_LONGEST_NAME_BYTES = 200  # most file systems allow 255 with what is added while a file is written
_MAX_FOLDERS = 50  # look for structure sets in so many folders
_MAX_HINTS, _MAX_HINT_NAMES = 20, 2000  # files for which the nearest name is looked for, and names to choose from
_STUDY_FOLDER = re.compile(  # one of several studies of a patient, or a part of one
    r"(study|visit|exam|session|ses|scan|series|timepoint|tp|day|month|year)[-_ ]?\d+|(s|acc)\d{5,}|anat"
    r"|baseline|follow[-_ ]?up[-_ ]?\d*|(19|20)\d\d(([-_.]?)[01]\d\5[0-3]\d([-_ T].*)?)?",
    re.IGNORECASE,
)
_GROUP_FOLDER = re.compile(  # one of several parts of a data set, which is no patient although it has a number
    r"(batch|site|set|dataset|part|cohort|group|class|cent(er|re)|hospital|fold|disk|volume)[-_ ]?\d+|(19|20)\d\d",
    re.IGNORECASE,
)
_MIN_PATIENTS = 3  # so many patients have to be left if folders of studies do not count
OTHER_ORGAN = "another organ's"
Words = tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]  # what folders and file names tell, as words


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
    first group is the patient.
    """
    images, masks, unclear = _files_by_name(raw)
    named = [(name, image) for name, paths in images.items() for image in paths]
    # Branches of folders that share an image's name with another branch become part of the id.
    branches_by_name = ({_branch(path) for path in paths} for paths in images.values())
    repeated = {branch for branches in branches_by_name if len(branches) > 1 for branch in branches}
    partners = {
        image: [mask for mask in masks.get(name, ()) if _branch(image) not in repeated or _same_branch(mask, image)]
        for name, image in named
    }
    spare = {mask for paths in masks.values() for mask in paths}.difference(*partners.values())
    loose = _pair_loosely(partners, sorted(spare))
    partners |= loose
    channels = {image for image, found in loose.items() if not CHANNEL.search(stem_of(found[0]))}
    named = [(CHANNEL.sub("", name) if image in channels else name, image) for name, image in named]
    patients = find_patients(named, pattern or source.patient_pattern)
    shared = _shared_places(partners)
    folders = _patients_of_folders([image for image in partners if partners[image] and image not in shared])
    has_pattern = bool(pattern) or source.patient_pattern != Source.patient_pattern
    paired_masks = {mask for paths in partners.values() for mask in paths}
    pairs: list[Pair] = []
    excluded: Excluded = [*unclear]
    for name, image in named:
        if not partners[image]:
            continue
        branch = _branch(image) if _branch(image) in repeated else ""
        of_folder = shared[image] if image in shared else folders[image]
        patient = of_folder if branch and not (has_pattern and patients[image]) else patients[image]
        lungs = tuple(mask for mask in partners[image] if _is_of_lungs(mask, image))
        excluded += [(str(mask), OTHER_ORGAN) for mask in partners[image] if lungs and mask not in lungs]
        pair_id = _short(text_name(f"{branch}_{name}" if branch else name))
        split = _split_of_path(image)
        group = next((group for end, group in source.group_endings if name.endswith(end)), "")
        pairs.append(Pair(pair_id, text_name(patient or pair_id), image, lungs or tuple(partners[image]), split, group))
    excluded += _unpaired([image for image in partners if not partners[image]], sorted(spare), paired_masks, pairs)
    if not pairs:
        raise ValueError(_no_pairs(raw, excluded))
    if pattern and not any(patients.values()):
        what, example = ("path", pairs[0].image.as_posix()) if "/" in pattern else ("name", pairs[0].id)
        raise ValueError(f"patient_pattern {pattern!r} matches no image's {what}, such as {example}.")
    if pattern and (missed := [pair.id for pair in pairs if not patients[pair.image]]):
        what = f"patient_pattern {pattern!r} does not match {counted(len(missed), 'image')}, such as {missed[0]}"
        warnings.warn(f"{what}: each counts as a patient of its own.", stacklevel=2)
    return _without_same_ids(pairs, excluded)


def _pair_loosely(partners: dict[Path, list[Path]], masks: list[Path]) -> dict[Path, list[Path]]:
    """Return masks of images without partners by the words of their names and folders, if one image has these words.

    Words for kinds of files do not count, such as `mask`. In a second round, words for parts of lungs do not count
    either. A file whose name consists of such words, or adds them to an image's name, may then be a mask. In a third
    round, it does not matter whether a word names a folder or the file, so `7_film.png` fits `7/film.png`. At last, a
    mask whose name consists of such words fits the only image of its folder, whatever the name of that.
    """
    alone = [image for image, exact in partners.items() if not exact]
    pairs: dict[Path, list[Path]] = {}
    rounds = ((KIND_WORDS, False), (LUNG_WORDS, False), (LUNG_WORDS, True), (_ANY_WORD, False))
    for ignored, is_flat in rounds if alone else ():
        lungs = [image for image in alone if ignored is LUNG_WORDS and "lung" in image.name.lower()]
        of_lungs = {image: image for image in lungs if words_of(image, KIND_WORDS) != words_of(image, LUNG_WORDS)}
        by_key: defaultdict[Words, list[Path]] = defaultdict(list)
        for image in partners:
            if image not in of_lungs:
                by_key[words_of(image, ignored, is_flat)].append(image)
        settled = {*pairs} | {mask for paths in pairs.values() for mask in paths}
        for mask in (*masks, *of_lungs):
            words = words_of(mask, LUNG_WORDS if ignored is _ANY_WORD else ignored, is_flat)
            candidates = by_key.get(words, []) if words[0] or ignored is not _ANY_WORD else []
            if len(candidates) == 1 and not partners[candidates[0]] and not settled & {mask, candidates[0]}:
                pairs.setdefault(candidates[0], []).append(mask)
    return pairs


def _unpaired(images: list[Path], masks: list[Path], paired: set[Path], pairs: list[Pair]) -> Excluded:
    """Return the images and masks without a partner, with the reason and the nearest name of a possible partner."""
    of_lungs = {words_of(pair.image, LUNG_WORDS) for pair in pairs if _is_of_lungs(pair.masks[0], pair.image)}
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
            near = difflib.get_close_matches(shared_name(file).lower(), names, 1, 0.4) if number < _MAX_HINTS else []
            hint = f" (the nearest is {names[near[0]]})" if near else ""
            excluded.append((str(file), f"no {kind} of this name{hint}"))
    return excluded


def words_of(path: Path, ignored: re.Pattern[str], is_flat: bool = False) -> Words:
    """Return the words in the names of a file's folders and in its own name, in small letters, except `ignored` ones.

    The words of the last folder are also left out at the beginning of the file's name. If `is_flat`, the words of the
    folders are returned as if they stood in the file's name.

    >>> words_of(Path("masks/Case 7/case7_rightLung.png"), LUNG_WORDS)
    ((('case', '7'),), ())
    """
    place = tuple(filter(None, (_words(folder, LUNG_WORDS) for folder in path.parent.parts)))
    name = _words(stem_of(path), ignored)
    if place and name[: len(place[-1])] == place[-1]:
        name = name[len(place[-1]) :]
    return ((), (*chain(*place), *name)) if is_flat else (place, name)


def sides_of(path: Path) -> set[str]:
    """Return which lungs a file or its folders are named after: `left`, `right`, both or none.

    >>> sides_of(Path("left/film.png")), sides_of(Path("film_R.png")), sides_of(Path("film.png"))
    ({'left'}, {'right'}, set())
    """
    words = {word for part in (*path.parent.parts, stem_of(path)) for word in _words(part, MASK_WORD)}
    return {side for side, names in (("left", _LEFT), ("right", _RIGHT)) if words & {*names.split("|")}}


def _words(text: str, ignored: re.Pattern[str]) -> tuple[str, ...]:
    """Return the words and numbers in a name, in small letters, except `ignored` ones."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", CHANNEL.sub("", normalize("NFC", text))).casefold()
    return tuple(word for word in re.findall(r"\d+|[^\W\d_]+", text) if not ignored.fullmatch(word))


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


def find_patients(named: list[tuple[str, Path]], pattern: str) -> dict[Path, str | None]:
    """Return the patient that `pattern` finds in the name of each image, or, if it contains a slash, in its path."""
    try:
        matcher = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern is not a regular expression: {pattern!r} ({error}).") from error
    matches = {image: matcher.search(image.as_posix() if "/" in pattern else name) for name, image in named}
    return {image: match.group(1 if matcher.groups else 0) if match else None for image, match in matches.items()}


def is_mask(path: Path) -> bool:
    """Return whether a path in a raw folder is a mask, by the names of its folders and its own."""
    if _MASK_SUFFIX.search(stem_of(path)):
        return True
    # The folder nearest to the file decides: labeled/images/ holds images.
    for folder in reversed(path.parent.parts):
        if IMAGE_FOLDER.match(folder):
            return False
        if _MASK_FOLDER.search(folder):
            return True
    return bool(_MASK_PREFIX.search(stem_of(path)))


def shared_name(path: Path) -> str:
    """Return the name that an image and its masks share, with each umlaut as one character (macOS uses two)."""
    return normalize("NFC", _MASK_SUFFIX.sub("", stem_of(path)))


def _branch(image: Path) -> str:
    """Return the folders of an image as one word, without folders named after images."""
    return "_".join(part for part in image.parent.parts if not IMAGE_FOLDER.match(part))


def _patients_of_folders(images: list[Path]) -> dict[Path, str]:
    """Return the folders of each image that may name its patient: its branch without folders named after a split.

    Folders of studies, such as `visit2` and `2020-01-31`, do not count either, unless too few patients were left. If
    all images lie in one folder without a number, apart from splits and copies of it, their names are patients.
    """
    patients, repeated = {image: _patient_folder(image) for image in images}, repeated_folders(images)
    without_studies = {image: _patient_folder(without_studies_of(image, repeated)) for image in images}
    if len({*without_studies.values()}) >= _MIN_PATIENTS:
        return without_studies
    parts = (image.parent.parts for image in images)
    folders = [tuple(part for part in each if not (split_of(part) or IMAGE_FOLDER.match(part))) for each in parts]
    last = min(folders, key=len, default=())
    if re.search(r"\d", str(last or folders)) or any(each[len(each) - len(last) :] != last for each in folders):
        return patients
    return {image: "_".join(filter(None, (_split_of_path(image), shared_name(image)))) for image in images}


def _patient_folder(image: Path) -> str:
    folders = (part for part in image.parent.parts if not split_of(part))
    return _branch(Path(*folders, image.name))


def repeated_folders(images: Iterable[Path]) -> set[str]:
    """Return the names of folders that lie in several numbered folders, as S1 in P1 and P2, and those beside them.

    There must be fewer such names than folders that hold them.

    >>> sorted(repeated_folders([Path("P1/S1/a.png"), Path("P1/S2/a.png"), Path("P2/S1/a.png"), Path("P3/X/a.png")]))
    ['S1', 'S2']
    """
    above: defaultdict[str, set[Path]] = defaultdict(set)
    for folder in {folder for image in images for folder in image.parents if not IMAGE_FOLDER.match(folder.name)}:
        above[folder.name].add(folder.parent)
    of_name = [folders for folders in above.values() if len(folders) > 1 and all(map(_may_be_patient, folders))]
    parents = set().union(*of_name)
    if len(parents) <= len(of_name):  # many names below few folders are patients of several parts
        return set()
    return {name for name, folders in above.items() if folders & parents}


def without_studies_of(image: Path, repeated: Collection[str] = ()) -> Path:
    """Return the path of an image without the folders of studies, or of `repeated` names, at the end of its folders.

    The folder above them may be that of a patient, because it has a number and is not called `batch1` or the like.
    Otherwise they stay.

    >>> str(without_studies_of(Path("P7/visit2/film.png"))), str(without_studies_of(Path("visit2/film.png")))
    ('P7/film.png', 'visit2/film.png')
    """
    folders = [part for part in image.parent.parts if not IMAGE_FOLDER.match(part)]
    kept = Path(*folders)
    while (_STUDY_FOLDER.fullmatch(kept.name) or kept.name in repeated) and _may_be_patient(kept.parent):
        kept = kept.parent
    return kept / image.name if len(kept.parts) < len(folders) else image


def _may_be_patient(folder: Path) -> bool:
    return any(map(str.isdigit, folder.name)) and not _GROUP_FOLDER.fullmatch(folder.name)


def _shared_places(partners: dict[Path, list[Path]]) -> dict[Path, str]:
    """Return the patient of each image whose masks are also those of another image, such as an edited copy.

    Such images are of one patient: the folders of the mask, or else its name, and not the folders of the images.
    """
    images: defaultdict[tuple[Path, ...], list[Path]] = defaultdict(list)
    for image, paths in partners.items():
        images[tuple(paths)].append(image)
    repeated = repeated_folders(partners)
    places: dict[Path, str] = {}
    for masks, alike in images.items():
        if masks and len(alike) > 1:
            mask = Path(*(part for part in masks[0].parent.parts if not _MASK_FOLDER.search(part)), masks[0].name)
            place = _patient_folder(without_studies_of(mask, repeated)) or shared_name(masks[0])
            places |= dict.fromkeys(alike, place)
    return places


def _short(name: str) -> str:
    """Return a name, or, if it is too long for a file, its beginning and a digest."""
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    return f"{name[: _LONGEST_NAME_BYTES // 8]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def split_of(folder: str) -> str:
    """Return the split that a folder is named after, with words such as `images` or `set` or without; "" for others.

    >>> split_of("org_test"), split_of("Training Set"), split_of("val2017"), split_of("test 7"), split_of("no_test")
    ('test', 'train', 'validation', '', '')
    """
    words = _words(_BESIDE_SPLIT.sub(" ", folder), _SET_WORDS)
    return _SPLIT_FOLDERS.get(folder.lower(), _SPLIT_FOLDERS.get(words[0], "") if len(words) == 1 else "")


def _split_of_path(image: Path) -> str:
    return next(filter(None, map(split_of, image.parts[:-1])), "")


def _is_of_lungs(mask: Path, image: Path) -> bool:
    """Return whether a mask's folders, from the first one named after masks, contain the word lung, or its name does.

    Words that the image's name contains too do not count.
    """
    parts = mask.parent.parts
    first = next((number for number, part in enumerate(parts) if _MASK_FOLDER.search(part)), 0)
    return "lung" in " ".join(parts[first:]).lower() or "lung" in stem_of(mask).lower().replace(
        shared_name(image).lower(), ""
    )


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
