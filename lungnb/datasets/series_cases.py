"""Find cases whose image is a DICOM series, a folder of slices, and whose masks lie among or beside the slices."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lungnb.formats.dicom_header import is_segmentation
from lungnb.formats.dicom_opening import open_dicom
from lungnb.formats.dicom_series import series_of
from lungnb.formats.folders import stem_of
from lungnb.formats.nifti import is_nifti
from lungnb.formats.rasters import RASTER_FORMATS

_IMAGE = re.compile("ct|image|img|volume|scan|.*_0000", re.IGNORECASE)  # a NIfTI file of such a name is the image
_SIDE = re.compile(r"(?<![a-z])(left|right|l|r)(?![a-z])", re.IGNORECASE)
_MAY_BE_MASK = re.compile("seg|mask|label|lung", re.IGNORECASE)  # in the name of a Segmentation among slices
_FILES_TO_LOOK_AT = 5  # of a folder: scouts, reports and masks may come before the slices
NO_MASK = "no mask beside this DICOM series"


class SeriesCase(NamedTuple):
    """A DICOM series and its masks, NIfTI files or DICOM Segmentations; paths within the raw folder."""

    name: str
    series: Path  # a folder
    masks: tuple[Path, ...]


def find_series_cases(
    raw: Path, files: list[Path], names: Collection[str], is_mask: Callable[[Path], bool]
) -> tuple[list[SeriesCase], list[tuple[str, str]]]:
    """Return the cases among the image `files` of a raw folder, and the series that cannot be a case, with the reason.

    A case is a folder with one CT series: its own files, or those of one folder in it. Its masks are NIfTI files and
    DICOM Segmentations anywhere in the case, or in a folder of masks that is named like the folder of the series.

    In three cases, the other rules of pairing apply: a series or its slices have one of the `names` of masks; a NIfTI
    image lies in the case; no series has masks.
    """
    slices: defaultdict[Path, list[Path]] = defaultdict(list)
    for file in files:
        if not is_mask(file) and _is_dicom(file):
            slices[file.parent].append(file)
    series = {
        folder: inside
        for folder, inside in slices.items()
        if folder.name not in names and stem_of(inside[0]) not in names and _is_series(raw, inside)
    }
    below, beside = _possible_masks(files, series, is_mask)
    count_below = Counter(parent for folder in series for parent in folder.parents)
    cases: list[SeriesCase] = []
    problems: list[tuple[str, str]] = []
    for folder, inside in series.items():
        places = {folder: below[folder] + beside[folder.name]}
        places |= {folder.parent: below[folder.parent]} if count_below[folder.parent] == 1 else {}
        found = ((case, _masks_among(raw, near, inside, is_mask)) for case, near in places.items())
        case, masks = next(((case, masks) for case, masks in found if masks), (folder, ()))
        if masks and _are_of_lungs(masks):
            cases.append(SeriesCase(case.name or folder.name or raw.name, folder, masks))
        else:
            reason = f"none of its {len(masks)} masks, such as {masks[0].name}, is called lung" if masks else NO_MASK
            problems.append((str(folder), reason))
    return (cases, problems) if cases or any(reason != NO_MASK for _, reason in problems) else ([], [])


def _possible_masks(
    files: list[Path], series: Collection[Path], is_mask: Callable[[Path], bool]
) -> tuple[defaultdict[Path, list[Path]], defaultdict[str, list[Path]]]:
    """Return the possible masks of series by each folder above them; and those in mask folders by the folder's name.

    In the folder of a series, only files with the name of a mask may be masks.
    """
    below: defaultdict[Path, list[Path]] = defaultdict(list)
    beside: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files if series else ():
        is_apart = file.parent not in series or bool(_MAY_BE_MASK.search(file.name))
        if is_nifti(file) or (is_apart and _is_dicom(file)):
            for folder in file.parents:
                below[folder].append(file)
            if is_mask(file) and file.parent not in series:
                beside[file.parent.name].append(file)
    return below, beside


def _is_series(raw: Path, slices: list[Path]) -> bool:
    """Return whether the first files of a folder hold two CT slices or more, all of one series."""
    series = [each[1] for file in slices[:_FILES_TO_LOOK_AT] if (each := series_of(raw / file))]
    return len(series) > 1 and len({*series}) == 1


def _masks_among(raw: Path, near: list[Path], slices: list[Path], is_mask: Callable[[Path], bool]) -> tuple[Path, ...]:
    """Return the masks among the files near the slices of a series; none if an image in NIfTI is there too."""
    niftis = [file for file in dict.fromkeys(near) if is_nifti(file)]
    if any(_IMAGE.fullmatch(stem_of(file)) and not is_mask(file) for file in niftis):
        return ()
    if not any("lung" in file.name.lower() for file in niftis):
        niftis = [file for file in niftis if is_mask(file)]
    segmentations = [file for file in dict.fromkeys(near) if _is_seg(raw / file)]
    if not niftis and not segmentations:  # a mask may be named like the slices
        segmentations = [file for file in slices if _is_seg(raw / file)]
    return tuple(niftis + segmentations)


def _is_dicom(file: Path) -> bool:
    """Return whether an image file is DICOM, because it is neither a picture nor NIfTI by its name."""
    return file.suffix.lower() not in RASTER_FORMATS and not is_nifti(file)


def _is_seg(file: Path) -> bool:
    """Return whether a file is a DICOM Segmentation; False if its header cannot be read."""
    with suppress(ValueError, OSError):
        return _is_dicom(file) and is_segmentation(open_dicom(file, header_only=True))
    return False


def _are_of_lungs(masks: tuple[Path, ...]) -> bool:
    """Return whether masks can be of lungs: a single one, DICOM Segmentations, lungs by name, or left and right."""
    names = [mask.name for mask in masks if is_nifti(mask)]
    sides = [bool(_SIDE.search(stem_of(Path(name)))) for name in names]
    return len(names) < 2 or any("lung" in name.lower() for name in names) or all(sides)
