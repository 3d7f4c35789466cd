"""Write the mask of a DICOM series or image as a DICOM Segmentation, and read such files as masks.

Writing needs highdicom (the extra `medical`). What it writes is the only output that names a patient. The standard
demands the identifiers of the segmented images, because no archive could file it beside them otherwise. They go from
file to file, and into no message, table or file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb import __version__
from lungnb.files import written
from lungnb.formats.dicom_frames import read_frame
from lungnb.formats.dicom_header import Place, count_frames, frame_header, is_segmentation, place_of, whole_number
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.dicom_series import stack_slices
from lungnb.formats.opening import Refused, guarded, need_package
from lungnb.formats.volumes import Volume, refuse_slices, to_axial, to_stored_axes
from lungnb.masks import Mask

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

LUNGS = {"Right lung": "3341006", "Left lung": "44029006"}  # SNOMED CT codes, which pydicom knows in part only
MAX_UNNAMED = 2  # take so many segments for lungs if none is called that
_NAME = re.compile(r"\blungs?\b", re.IGNORECASE)  # of a segment that is a lung, if it is no tumour in one
_LESION = re.compile(r"tumou?r|neoplasm|nodule|lesion|cancer|mass\b|gtv", re.IGNORECASE)
_NO_LUNG = re.compile(rf"{_LESION.pattern}|vessel|lobe", re.IGNORECASE)
_ASIDE = re.compile(r"without|incl|excl|minus|except", re.IGNORECASE)
_MAX_SHIFT = 0.1  # accept frames of a segmentation that lie off the volume's grid by this share of a voxel
# The standard demands these elements and allows them to be empty.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
_NEEDED_OF_SERIES = ("FrameOfReferenceUID",)
_SEXES = ("M", "F", "O", "")


def write_dicom_seg(path: Path, lungs: tuple[Mask, Mask], source: Path, volume: Volume | None = None) -> None:
    """Write the patient's right and left lung as the two binary segments of a DICOM Segmentation.

    Frames without lung are left out, as is usual. Every other frame refers to its image, which says where it lies.
    Values of the header that are not valid are left empty.

    `source` is a DICOM image, whose masks `lungs` are `(height, width)`, or the folder or file of a volume. Then the
    masks are `(slices, height, width)`, and `volume` is what `read_volume` returned.

    Raises Refused, naming `source`, if it is not DICOM, if its header lacks what the standard demands, and if highdicom
    is missing.
    """
    if not (source.is_dir() or is_dicom(source)):
        raise Refused(f"{source}: not DICOM, so no DICOM Segmentation of it can be written. Leave out --dicom-seg.")
    need_package("highdicom", source, "DICOM Segmentation")
    import highdicom

    frames = [to_stored_axes(lung, volume.affine).transpose() if volume else lung[None] for lung in lungs]
    files = [source]
    if volume:
        slices = stack_slices(source).slices
        files = list(dict.fromkeys(each.path for each in slices))
        if len(files) < len(slices):  # frames of one file, in its order
            frames = [frame[np.argsort([each.frame for each in slices])] for frame in frames]
    with guarded(source, "a DICOM image"):
        images = [open_dicom(file, header_only=True, whole=True) for file in files]
        _refuse_thin(images, source, volume is not None)
        for image in images:
            _mend(image, volume)
    uid = highdicom.UID
    try:
        with guarded(source, step="written"):
            segmentation = highdicom.seg.Segmentation(
                images, np.stack(frames, axis=-1).astype(np.uint8), "BINARY", _segments(), uid(), 1, uid(), 1,
                "lungnb", "lungnb", __version__, "none", content_label="LUNGS", series_description="Lungs (lungnb)",
            )  # fmt: skip
            with written(path) as temporary:
                segmentation.save_as(temporary)
    except Refused as error:  # highdicom's messages have values of the header in them
        raise Refused(f"{error} highdicom makes no DICOM Segmentation of such a header. Export it again.") from None


def _refuse_thin(images: list[Dataset], source: Path, is_series: bool) -> None:
    """Raise Refused, naming the attributes, if images lack what a DICOM Segmentation cannot do without."""
    needed = (*_NEEDED, *_NEEDED_OF_SERIES) if is_series else _NEEDED
    missing = [name for name in needed if not all(image.get(name) for image in images)]
    if missing:
        raise Refused(f"{source}: lacks {', '.join(missing)}, which a DICOM Segmentation needs. Export it again.")
    if len({image.SOPInstanceUID for image in images}) < len(images):
        raise Refused(f"{source}: several files have one SOPInstanceUID, so none can be named. Export it again.")


def _mend(image: Dataset, volume: Volume | None) -> None:
    """Fill in the elements of a header that may be empty, and empty those whose values are not valid."""
    from highdicom.enum import SpecificCharacterSetValues
    from pydicom.valuerep import DA, TM

    for name in _MAY_BE_EMPTY:
        image.setdefault(name, "")
    for name, kind in {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}.items():
        try:
            kind(str(image[name].value or ""))
        except ValueError:
            image[name].value = ""
    if image.PatientSex not in _SEXES:
        image.PatientSex = ""
    known = {each.value for each in SpecificCharacterSetValues}
    if not known.issuperset(np.atleast_1d(image.get("SpecificCharacterSet") or "ISO_IR 100").tolist()):
        for name in ("PatientName", "PatientID", "AccessionNumber", "StudyID"):
            image[name].value = str(image[name].value)  # as pydicom reads it without knowing how it was written
        image.SpecificCharacterSet = "ISO_IR 192"
    if not image.get("SliceThickness"):
        image.SliceThickness = f"{volume.spacing_mm[0]:.6g}" if volume else ""


def read_flat_seg(path: Path, numbers: tuple[int, ...] | None = None) -> Mask:
    """Return the lungs in a DICOM Segmentation of one image, `(height, width)`, bool.

    They are the segments of these `numbers`. By default, they are those that are called lungs, or all if there are
    MAX_UNNAMED at most and none is a lesion. Raises Refused, naming the file, if it is another kind of DICOM file or
    lies in a volume.
    """
    mask, places = None, set()
    for frame, place in _frames(path, numbers):
        mask = frame if mask is None else mask | frame
        places.add(tuple(place.position.round(2)) if place else ())
    if len(places) > 1:
        raise Refused(
            f"{path}: a DICOM Segmentation of {len(places)} slices, but its image has one. Pair it with a volume."
        )
    if mask is None:
        raise Refused(f"{path}: a DICOM Segmentation without frames of lungs. Leave it out.")
    return mask


def read_volume_seg(path: Path, volume: Volume, numbers: tuple[int, ...] | None = None) -> Mask:
    """Return the lungs in a DICOM Segmentation on the grid of a volume, `(slices, height, width)`, bool.

    `numbers` are as in `read_flat_seg`. Frames without lung may be absent. Each frame is placed by its position, also
    if slices are spaced unevenly. Raises Refused, naming the file, if it is another kind of DICOM file, and if a frame
    does not lie on a slice of the volume.
    """
    mask = to_stored_axes(np.zeros(volume.hounsfield.shape, bool), volume.affine)
    to_voxels = np.linalg.inv(volume.affine)
    for frame, place in _frames(path, numbers):
        if place is None:
            raise Refused(f"{path}: does not say where its frames lie. Export it again.")
        rows, columns = frame.nonzero()
        pixels_mm = place.affine() @ np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)])
        voxels = (to_voxels @ pixels_mm)[:3]
        if volume.slice_places is not None:
            count, first, last = len(volume.slice_places), *volume.slice_places[[0, -1]]
            # One more place at both ends, because `interp` would take a frame beyond them for the slice there.
            voxels[2] = np.interp(voxels[2], [first - 1, *volume.slice_places, last + 1], np.arange(-1, count + 1))
        whole = np.rint(voxels).astype(int)
        is_inside = (whole >= 0).all() and (whole.T < mask.shape).all()
        if not is_inside or np.abs(voxels - whole).max(initial=0) > _MAX_SHIFT:
            raise Refused(f"{path}: its frames do not lie on the slices of its volume. Take the mask of this volume.")
        mask[tuple(whole)] = True
    return np.ascontiguousarray(to_axial(mask, volume.affine))


def _frames(path: Path, numbers: tuple[int, ...] | None) -> Iterator[tuple[Mask, Place | None]]:
    """Yield the frames of lungs in a DICOM Segmentation, `(height, width)`, bool, and where each lies if known."""
    with guarded(path, "a DICOM Segmentation"):
        file = open_dicom(path)
        if not is_segmentation(file):
            raise Refused(f"{path}: DICOM, but not a Segmentation, so it is no mask. Save it as PNG or NIfTI.")
        refuse_slices(path, count_frames(file) // max(len(file.SegmentSequence), 1))
        segments = numbers or _lung_numbers(file, path)
        half = whole_number(file.get("MaximumFractionalValue")) / 2 if file.SegmentationType == "FRACTIONAL" else 0
        for index in range(count_frames(file)):
            header = frame_header(file, index)
            if file.SegmentationType == "LABELMAP":
                yield np.isin(read_frame(file, path, index), segments), place_of(header)
            elif header.ReferencedSegmentNumber in segments:
                yield read_frame(file, path, index) > half, place_of(header)


def _lung_numbers(file: Dataset, path: Path) -> tuple[int, ...]:
    """Return the numbers of the segments called lungs, or of all if none is; raise Refused for many or for lesions."""
    lungs, has_lesion = [], False
    for segment in file.SegmentSequence:
        kinds = segment.get("SegmentedPropertyTypeCodeSequence") or []
        name = " ".join([str(segment.get("SegmentLabel")), *(str(kind.get("CodeMeaning")) for kind in kinds)])
        name = _ASIDE.split(name)[0]  # "lungs without nodules" are lungs
        has_lesion |= bool(_LESION.search(name))
        if _NAME.search(name.replace("_", " ")) and not _NO_LUNG.search(name):
            lungs.append(int(segment.SegmentNumber))
    count = len(file.SegmentSequence)
    if not lungs and has_lesion:
        raise Refused(
            f"{path}: a segment is a lesion, such as a nodule, and none is called lung. Save the lungs alone."
        )
    if not lungs and count > MAX_UNNAMED:
        raise Refused(f"{path}: none of its {count} segments is called lung. Save those of the lungs alone.")
    return tuple(lungs or (int(segment.SegmentNumber) for segment in file.SegmentSequence))


def _segments() -> list[SegmentDescription]:
    import highdicom
    from pydicom.sr.codedict import Code, codes

    kind, family = codes.SCT.AnatomicalStructure, codes.DCM.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence("lungnb", family, __version__)
    return [
        highdicom.seg.SegmentDescription(number, name, kind, Code(code, "SCT", name), "AUTOMATIC", algorithm)
        for number, (name, code) in enumerate(LUNGS.items(), 1)
    ]
