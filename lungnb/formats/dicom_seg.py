"""The mask of a DICOM series, or of one DICOM image, as a DICOM Segmentation. Needs the `medical` extra (highdicom).

The one output that names a patient: the standard demands the identifiers of the images that were segmented, without
which no archive could file it beside them. They go from file to file, and into no message, table or name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lungnb import __version__
from lungnb.files import written
from lungnb.formats.dicom import is_dicom, open_dicom
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.volumes import Volume, sorted_slices, to_stored_axes

LUNGS = {"Right lung": "3341006", "Left lung": "44029006"}  # SNOMED CT, which pydicom knows but in part
_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")  # of which the standard allows an empty value
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime")


def write_dicom_seg(
    path: Path, lungs: tuple[np.ndarray, np.ndarray], source: Path, volume: Volume | None = None
) -> None:
    """Write the patient's right and left lung as the two binary segments of a DICOM Segmentation.

    Frames without lung are left out, as is usual; each frame of the others refers to its image, by which it is placed.

    Args:
        path: file to write, `.dcm`.
        lungs: bool masks, `(height, width)`, or of a series `(slices, height, width)` as `read_volume` turns them.
        source: the DICOM image, or the folder of the series.
        volume: of a series, what `read_volume` gave.

    Raises Refused, naming `source`, where it is not DICOM or says too little of itself, and where
    highdicom is missing.
    """
    if not (source.is_dir() or is_dicom(source)):
        raise Refused(f"{source}: not DICOM, so that no DICOM Segmentation of it can be written.")
    try:
        import highdicom
    except ImportError as error:
        raise Refused(f"{source}: DICOM Segmentation needs highdicom; pip install 'lungnb[medical]'.") from error
    files = sorted_slices(source) if volume else [source]
    frames = [to_stored_axes(lung, volume.affine).transpose() if volume else lung[None] for lung in lungs]
    uid = highdicom.UID
    with guarded(source, "a DICOM image"):
        images = [open_dicom(file, header_only=True, whole=True) for file in files]
        for image in images:
            for name in (*_EMPTY, *_STUDY):
                image.setdefault(name, "")
    try:
        with guarded(source, "a DICOM image"):
            segmentation = highdicom.seg.Segmentation(
                images, np.stack(frames, axis=-1).astype(np.uint8), "BINARY", _segments(), uid(), 1, uid(), 1,
                "lungnb", "lungnb", __version__, "none", content_label="LUNGS", series_description="Lungs (lungnb)",
            )  # fmt: skip
            with written(path) as temporary:
                segmentation.save_as(temporary)
    except Refused:  # what highdicom raises has values of the header in it
        elements = "StudyInstanceUID, SOPInstanceUID, and of a series FrameOfReferenceUID and where slices lie"
        raise Refused(f"{source}: says too little of itself for a DICOM Segmentation ({elements}).") from None


def _segments() -> list[Any]:
    """Return the description of each segment."""
    import highdicom
    from pydicom.sr.codedict import Code, codes

    kind, family = codes.SCT.AnatomicalStructure, codes.DCM.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence("lungnb", family, __version__)
    return [
        highdicom.seg.SegmentDescription(number, name, kind, Code(code, "SCT", name), "AUTOMATIC", algorithm)
        for number, (name, code) in enumerate(LUNGS.items(), 1)
    ]
