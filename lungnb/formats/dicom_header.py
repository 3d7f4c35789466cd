"""Answer questions about an opened DICOM image from its header: frames, units, pixel size, orientation."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, SupportsInt

import numpy as np

from lungnb.formats.dicom_opening import FUNCTIONAL_GROUPS
from lungnb.masks import Floats

if TYPE_CHECKING:
    from pydicom import Dataset

STRUCTURE_SET = "structure set"
# Modalities that are not pictures of the patient, and their names in messages
_OTHER_OBJECTS = {
    **{"RTSTRUCT": STRUCTURE_SET, "RTPLAN": "treatment plan", "RTDOSE": "dose", "RTRECORD": "treatment record"},
    **{"SR": "report", "DOC": "document", "KO": "list of images", "PR": "presentation state", "REG": "registration"},
    **{"SEG": "segmentation"},
}
_CT_IMAGES = tuple(f"1.2.840.10008.5.1.4.1.1.2{end}" for end in ("", ".1", ".2"))  # SOP classes, two of them enhanced
_OTHER_UNITS = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")  # RescaleType of maps that scanners make from CT
# Lateral views by ViewPosition, and by the codes of ViewCodeSequence (SNOMED). LLD and RLD are frontal.
_LATERAL = ("LL", "RL", "LAT", "LATERAL", "R-10232", "R-10236", "399173006", "399198007", "399067008")
# Modalities and parts of the body of which no picture is a film or CT of a chest, by their terms in the standard
_OTHER_MODALITIES = {
    **{"MR": "magnetic resonance", "US": "ultrasound", "PT": "PET", "NM": "nuclear medicine", "MG": "mammography"},
    **{"OP": "ophthalmology", "ES": "endoscopy", "BMD": "bone density", "IO": "film of teeth", "PX": "film of teeth"},
}
BY_HEADER = "by its header"  # in every note of `view_note` on what the network does not know
_OTHER_PARTS = (
    *("HAND", "FOOT", "KNEE", "SKULL", "HEAD", "BRAIN", "ABDOMEN", "PELVIS", "BREAST", "ANKLE", "ELBOW", "HIP", "LEG"),
    *("ARM", "WRIST", "FOREARM", "FEMUR", "JAW", "LSPINE", "CSPINE", "NECK"),
)
_BESIDE_CHEST = ("ABDOMEN", "NECK")  # CT series of these parts often show the chest too
_SCREENSHOT = "1.2.840.10008.5.1.4.1.1.7"  # beginning of the SOP classes of secondary captures
# Functional groups that hold what a header of one frame says at its top
_FRAME_GROUPS = (
    *("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence", "FrameVOILUTSequence"),
    *("PixelValueTransformationSequence", "SegmentIdentificationSequence"),
)
# The elements that say where a picture lies, and how many numbers each has.
PLACE_ELEMENTS = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
_MIN_CHEST_MM, _SMALL_PIXEL_MM = 60.0, 0.2  # a person's chest is larger; pixels that make it smaller are smaller
PIXEL_MM = (0.001, 100.0)  # believe pixel sizes from the first to the second


def whole_number(value: SupportsInt | str | None) -> int:
    """Return a value of the header as a whole number, 0 if it is not a number."""
    with suppress(TypeError, ValueError):
        return int(value or 0)
    return 0


def count_frames(file: Dataset) -> int:
    """Return how many pictures an opened DICOM file holds."""
    return whole_number(file.get("NumberOfFrames")) or 1


def frame_header(file: Dataset, index: int = 0) -> Dataset:
    """Return the header of one frame of an opened DICOM file as a file of this frame alone would have it."""
    from pydicom import Dataset

    groups = [(file.get(name) or [])[at : at + 1] for name, at in zip(FUNCTIONAL_GROUPS, (0, index), strict=True)]
    if not any(groups):
        return file
    header = Dataset()
    header.update(file)
    for group in (*groups[0], *groups[1]):
        for name in _FRAME_GROUPS:
            for item in (group.get(name) or [])[:1]:
                header.update(item)
    return header


def modality_of(file: Dataset) -> str:
    """Return the modality of an opened DICOM file; if it states none, CT if its SOP class is one of CT images."""
    return str(file.get("Modality") or ("CT" if file.get("SOPClassUID") in _CT_IMAGES else ""))


def other_object(file: Dataset) -> str:
    """Return what an opened DICOM file holds instead of CT in Hounsfield units, such as "report"; "" if it holds CT."""
    modality = modality_of(file)
    if modality in _OTHER_OBJECTS:
        return _OTHER_OBJECTS[modality]
    if "LOCALIZER" in (file.get("ImageType") or ()):
        return "scout (localizer)"
    if not file.get("Rows"):
        return "report or other object without a picture"
    if str(file.get("SOPClassUID")).startswith(_SCREENSHOT) and not file.get("ImagePositionPatient"):
        return "screenshot"
    if modality != "CT":
        return "not CT in Hounsfield units (Modality)"
    return f"not CT in Hounsfield units (RescaleType {units})" if (units := other_units(file)) else ""


def other_units(header: Dataset) -> str:
    """Return the RescaleType of CT whose values are not Hounsfield units, such as densities, or ""."""
    units = str(header.get("RescaleType") or "").strip().upper()
    return units if units in _OTHER_UNITS and modality_of(header) == "CT" else ""


def view_note(file: Dataset) -> str:
    """Return a note on an opened DICOM file that is no frontal film or axial slice of a chest by its header, or "".

    It may be a chest from the side, raw values of a detector, a scout, another modality, or another part of the body.
    """
    codes = [str(item.get("CodeValue")) for item in file.get("ViewCodeSequence") or ()]
    is_lateral = {*_LATERAL} & {str(file.get("ViewPosition")).strip().upper(), *codes}
    is_raw = str(file.get("PresentationIntentType")).strip().upper() == "FOR PROCESSING"
    modality, part = modality_of(file), str(file.get("BodyPartExamined")).strip().upper()
    kind = _OTHER_MODALITIES.get(modality)
    is_other_part = part in _OTHER_PARTS and not (modality == "CT" and part in _BESIDE_CHEST)
    notes = (
        f"{kind} {BY_HEADER} (Modality {modality}), and the network knows films and CT only" if kind else "",
        f"not of a chest {BY_HEADER} (BodyPartExamined {part})" if is_other_part else "",
        f"a scout (localizer) {BY_HEADER}, not a slice" if "LOCALIZER" in (file.get("ImageType") or ()) else "",
        f"a lateral view {BY_HEADER}, and the network knows frontal ones only" if is_lateral else "",
        "raw values of the detector (FOR PROCESSING): export the image for display" if is_raw else "",
    )
    return ", ".join(filter(None, notes))


def is_ct_volume(file: Dataset) -> bool:
    """Return whether an opened DICOM file holds several CT frames, which form a volume."""
    return count_frames(file) > 1 and not other_object(file)


def is_segmentation(file: Dataset) -> bool:
    """Return whether an opened file is a DICOM Segmentation, a mask."""
    return str(file.get("Modality")) == "SEG"


def is_in_hounsfield(file: Dataset) -> bool:
    """Return whether an opened DICOM file says how its values become Hounsfield units."""
    return modality_of(file) == "CT" and file.get("RescaleIntercept") is not None


class Place(NamedTuple):
    """The position of a picture, from its header."""

    shape: tuple[int, int]
    spacing: Floats  # between rows, and between columns; mm
    orientation: Floats  # directions in which columns and rows follow one another, LPS
    position: Floats  # of the first pixel, mm, LPS (to the left, posterior, superior)

    def affine(self, step_mm: Floats | None = None) -> Floats:
        """Return the affine from column, row and slice to mm, RAS.

        The step leads to the next slice, oblique if tilted; by default it is 1 mm along the normal.
        """
        along_row, along_column = self.orientation[:3], self.orientation[3:]
        step_mm = np.cross(along_row, along_column) if step_mm is None else step_mm
        affine, (row_mm, column_mm) = np.eye(4), self.spacing
        affine[:3] = np.column_stack([along_row * column_mm, along_column * row_mm, step_mm, self.position])
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts mm to the left and posterior, NIfTI the reverse


def place_of(header: Dataset) -> Place | None:
    """Return the position of a picture; None if its header lacks an element of PLACE_ELEMENTS."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        numbers = [np.array(header[name].value, float).reshape(length) for name, length in PLACE_ELEMENTS.items()]
        if np.isfinite(np.concatenate(numbers)).all():
            return Place((int(header.Rows), int(header.Columns)), *numbers)
    return None


def pixel_size_mm(file: Dataset) -> tuple[float, float] | None:
    """Return the height and the width of an opened DICOM image's pixels in mm, None if unknown or outside PIXEL_MM.

    ImagerPixelSpacing of a film counts if PixelSpacing does not. It is the size at the detector. The patient is nearer
    to the source, and so appears some percent too large.
    """
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        with suppress(Exception):  # pydicom raises many kinds for a value that is not a number
            height, width = map(float, file.get(name))
            if all(PIXEL_MM[0] <= side <= PIXEL_MM[1] for side in (height, width)):
                return height, width
    return None


def size_doubt(shape: tuple[int, ...], pixel_mm: tuple[float, ...] | None) -> str:
    """Return a note on a picture whose pixel size makes it too small for the chest of a person, or "".

    >>> size_doubt((512, 512), (0.07, 0.07))
    'a pixel size of 0.07 mm makes it 36 mm large, and no chest of a person is so small: the header may give cm or m'
    """
    large_mm = np.multiply(shape, pixel_mm or 1).max()
    if not pixel_mm or max(pixel_mm) > _SMALL_PIXEL_MM or large_mm > _MIN_CHEST_MM:
        return ""
    size = f"a pixel size of {max(pixel_mm):g} mm makes it {large_mm:.2g} mm large"
    return f"{size}, and no chest of a person is so small: the header may give cm or m"


class Turn(NamedTuple):
    """The turn that shows a stored picture as usual: the patient's left on the right, the feet down."""

    transposed: bool = False
    flipped: tuple[int, ...] = ()  # axes to flip after that

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """Return a stored picture, `(height, width)`, as it is shown.

        >>> Turn(flipped=(1,)).upright(np.array([[1, 2]])).tolist()
        [[2, 1]]
        """
        return np.ascontiguousarray(np.flip(stored.T if self.transposed else stored, self.flipped))

    def stored(self, upright: np.ndarray) -> np.ndarray:
        """Return a picture that is shown upright as it is stored: the inverse of `upright`."""
        back = np.flip(upright, self.flipped)
        return np.ascontiguousarray(back.T if self.transposed else back)

    def then(self, other: Turn) -> Turn:
        """Return the turn that does the same as this one and then another.

        >>> Turn(True, (0,)).then(Turn(True, (0,)))
        Turn(transposed=False, flipped=(0, 1))
        """
        flipped = {1 - axis if other.transposed else axis for axis in self.flipped} ^ {*other.flipped}
        return Turn(self.transposed != other.transposed, tuple(sorted(flipped)))


NO_TURN = Turn()


def turn_of(file: Dataset) -> Turn:
    """Return the turn that shows an opened DICOM image as usual; none for a lateral view or without an orientation."""
    try:
        along_row, along_column = _directions(file)
    except Exception:  # pydicom raises many kinds for a value that is not a number
        return NO_TURN
    transposed = along_column in "LR"
    if transposed:
        along_row, along_column = along_column, along_row
    if along_row not in "LR":
        return NO_TURN
    return Turn(transposed, tuple(axis for axis, to in ((0, along_column), (1, along_row)) if to in "RAH"))


def _directions(file: Dataset) -> tuple[str, str]:
    """Return where a DICOM image's rows and columns lead: to L or R, A or P, H or F."""
    if file.get("ImageOrientationPatient"):
        cosines = np.array(file.ImageOrientationPatient, float).reshape(2, 3)
        axes = np.abs(cosines).argmax(axis=1)
        row, column = (("LR", "PA", "HF")[axis][int(line[axis] < 0)] for axis, line in zip(axes, cosines, strict=True))
        return row, column
    along_row, along_column = file.get("PatientOrientation")[:2]
    return str(along_row)[0], str(along_column)[0]
