"""Write the mask of a DICOM series or image as a DICOM Segmentation. Needs highdicom (the extra `medical`).

This is the only output that names a patient. The standard demands the identifiers of the segmented images, because no
archive could file it beside them otherwise. They go from file to file, and into no message, table or file name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb import __version__
from lungnb.files import written
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.dicom_series import sorted_slices
from lungnb.formats.opening import Refused, guarded, need_package
from lungnb.formats.volumes import Volume, to_stored_axes
from lungnb.masks import Mask

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

LUNGS = {"Right lung": "3341006", "Left lung": "44029006"}  # SNOMED CT codes, which pydicom knows in part only
# The standard demands these elements and allows them to be empty.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


def write_dicom_seg(path: Path, lungs: tuple[Mask, Mask], source: Path, volume: Volume | None = None) -> None:
    """Write the patient's right and left lung as the two binary segments of a DICOM Segmentation.

    Frames without lung are left out, as is usual. Every other frame refers to its image, which says where it lies.

    `source` is a DICOM image, whose masks `lungs` are `(height, width)`, or the folder of a series. Then the masks are
    `(slices, height, width)`, and `volume` is what `read_volume` returned.

    Raises Refused, naming `source`, if it is not DICOM, if its header lacks what the standard demands, and if highdicom
    is missing.
    """
    if not (source.is_dir() or is_dicom(source)):
        raise Refused(f"{source}: not DICOM, so no DICOM Segmentation of it can be written. Leave out that output.")
    need_package("highdicom", source, "DICOM Segmentation")
    import highdicom

    files = sorted_slices(source)[0] if volume else [source]
    frames = [to_stored_axes(lung, volume.affine).transpose() if volume else lung[None] for lung in lungs]
    with guarded(source, "a DICOM image"):
        images = [open_dicom(file, header_only=True, whole=True) for file in files]
        for image in images:
            for name in _MAY_BE_EMPTY:
                image.setdefault(name, "")
    uid = highdicom.UID
    try:
        with guarded(source, "a DICOM image"):
            segmentation = highdicom.seg.Segmentation(
                images, np.stack(frames, axis=-1).astype(np.uint8), "BINARY", _segments(), uid(), 1, uid(), 1,
                "lungnb", "lungnb", __version__, "none", content_label="LUNGS", series_description="Lungs (lungnb)",
            )  # fmt: skip
            with written(path) as temporary:
                segmentation.save_as(temporary)
    except Refused:  # highdicom's messages have values of the header in them
        needs = "StudyInstanceUID, SOPInstanceUID, and of a series FrameOfReferenceUID and where slices lie"
        raise Refused(f"{source}: lacks what a DICOM Segmentation needs ({needs}). Export it again.") from None


def _segments() -> list[SegmentDescription]:
    """Return the description of each segment."""
    import highdicom
    from pydicom.sr.codedict import Code, codes

    kind, family = codes.SCT.AnatomicalStructure, codes.DCM.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence("lungnb", family, __version__)
    return [
        highdicom.seg.SegmentDescription(number, name, kind, Code(code, "SCT", name), "AUTOMATIC", algorithm)
        for number, (name, code) in enumerate(LUNGS.items(), 1)
    ]
