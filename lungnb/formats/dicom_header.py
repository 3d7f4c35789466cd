"""Answer questions about an opened DICOM image from its header: frames, units, pixel size, orientation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, SupportsInt

import numpy as np

from lungnb.formats.opening import Refused

if TYPE_CHECKING:
    from pydicom import Dataset

PIXEL_MM = (0.001, 100.0)  # believe pixel sizes from the first to the second


def whole_number(value: SupportsInt | str | None) -> int:
    """Return a value of the header as a whole number, 0 if it is not a number."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


def count_frames(file: Dataset) -> int:
    """Return how many pictures an opened DICOM file holds."""
    return whole_number(file.get("NumberOfFrames")) or 1


def refuse_frames(file: Dataset, path: Path) -> None:
    """Raise Refused for an opened CT file with several pictures, because they lie in a volume."""
    if count_frames(file) != 1:
        raise Refused(f"{path}: has several frames; export the series with one file a slice.")


def is_in_hounsfield(file: Dataset) -> bool:
    """Return whether an opened DICOM file says how its values become Hounsfield units."""
    return file.get("Modality") == "CT" and file.get("RescaleIntercept") is not None


def pixel_size_mm(file: Dataset) -> tuple[float, float] | None:
    """Return the height and the width of an opened DICOM image's pixels in mm, None if unknown or outside PIXEL_MM.

    ImagerPixelSpacing of a film is the size at the detector. The patient is nearer to the source, and so appears some
    percent too large.
    """
    try:
        height, width = map(float, file.get("PixelSpacing") or file.get("ImagerPixelSpacing"))
    except Exception:  # pydicom raises many kinds for a value that is not a number
        return None
    return (height, width) if all(PIXEL_MM[0] <= side <= PIXEL_MM[1] for side in (height, width)) else None


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


def turn_of(file: Dataset) -> Turn:
    """Return the turn that shows an opened DICOM image as usual; none if it has no directions or is from the side."""
    try:
        along_row, along_column = _directions(file)
    except Exception:  # pydicom raises many kinds for a value that is not a number
        return Turn()
    transposed = along_column in "LR"
    if transposed:
        along_row, along_column = along_column, along_row
    if along_row not in "LR":
        return Turn()
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
