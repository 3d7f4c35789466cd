"""Which patient the names of folders and files tell, or the headers of DICOM files, in a raw folder of any layout."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from lungnb.datasets.file_names import IMAGE_FOLDER, MASK_FOLDER, shared_name, split_of, split_of_path
from lungnb.formats.dicom_opening import is_dicom, open_dicom

_STUDY_FOLDER = re.compile(  # one of several studies of a patient, or a part of one
    r"(study|visit|exam|session|ses|scan|series|timepoint|tp|day|month|year)[-_ ]?\d+|(s|acc)\d{5,}|anat"
    r"|baseline|follow[-_ ]?up[-_ ]?\d*|(19|20)\d\d(([-_.]?)[01]\d\5[0-3]\d([-_ T].*)?)?",
    re.IGNORECASE,
)
_GROUP_FOLDER = re.compile(  # one of several parts of a data set, which is no patient although it has a number
    r"(batch|site|set|dataset|part|cohort|group|class|cent(er|re)|hospital|fold|disk|volume)[-_ ]?\d+|(19|20)\d\d",
    re.IGNORECASE,
)
_NO_PATIENT = re.compile(  # what anonymisers write as the PatientID of everybody
    r"anon.*|unknown|none|null|no[-_ ]?(name|id)|de[-_ ]?id.*|removed|patient|test|n/?a|0+|x{2,}|[*-]+", re.IGNORECASE
)
_MIN_PATIENTS = 3  # so many patients have to be left if folders of studies do not count


def find_patients(named: list[tuple[str, Path]], pattern: str) -> dict[Path, str | None]:
    """Return the patient that `pattern` finds in the name of each image, or, if it contains a slash, in its path."""
    try:
        matcher = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern is not a regular expression: {pattern!r} ({error}).") from error
    matches = {image: matcher.search(image.as_posix() if "/" in pattern else name) for name, image in named}
    return {image: match.group(1 if matcher.groups else 0) if match else None for image, match in matches.items()}


def first_names(raw: Path, patients: dict[Path, str]) -> dict[str, str]:
    """Return, for the patient of each image, the first patient whose DICOM files have the same PatientID, or itself.

    The headers must tell several patients: anonymisation may give all files one PatientID. It is kept nowhere.
    """
    ids = {image: patient_id for image in patients if (patient_id := _patient_id(raw / image))}
    first: dict[str, str] = {}  # by PatientID
    same: dict[str, str] = {}  # an earlier patient who is the same one

    def lead(patient: str) -> str:
        return lead(same[patient]) if patient in same else patient

    for image, patient_id in ids.items() if len({*ids.values()}) >= _MIN_PATIENTS else ():
        patient, other = lead(patients[image]), lead(first.setdefault(patient_id, patients[image]))
        if patient != other:
            same[patient] = other
    return {patient: lead(patient) for patient in patients.values()}


def _patient_id(image: Path) -> str:
    """Return the PatientID of a DICOM file, or of the first one in a folder of a series; "" for others.

    Values that say nothing, such as `ANONYMOUS` and `0`, are "", too.
    """
    with suppress(ValueError, OSError):
        files = [image] if image.is_file() else sorted(image.iterdir())
        if file := next(filter(is_dicom, files), None):
            patient_id = str(open_dicom(file, header_only=True, whole=True).get("PatientID", "")).strip()
            return "" if _NO_PATIENT.fullmatch(patient_id) else patient_id
    return ""


def branch_of(image: Path) -> str:
    """Return the folders of an image as one word, without folders named after images."""
    return "_".join(part for part in image.parent.parts if not IMAGE_FOLDER.match(part))


def patients_of_folders(images: list[Path]) -> dict[Path, str]:
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
    has_number = any(map(str.isdigit, "".join(last)))
    if has_number or (not last and any(folders)) or any(each[len(each) - len(last) :] != last for each in folders):
        return patients
    return {image: "_".join(filter(None, (split_of_path(image), shared_name(image)))) for image in images}


def _patient_folder(image: Path) -> str:
    folders = (part for part in image.parent.parts if not split_of(part))
    return branch_of(Path(*folders, image.name))


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


def shared_places(partners: dict[Path, list[Path]]) -> dict[Path, str]:
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
            mask = Path(*(part for part in masks[0].parent.parts if not MASK_FOLDER.search(part)), masks[0].name)
            place = _patient_folder(without_studies_of(mask, repeated)) or shared_name(masks[0])
            places |= dict.fromkeys(alike, place)
    return places
