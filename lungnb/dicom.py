"""One DICOM file to an array: Hounsfield units, or grey as its own window shows it. Needs pydicom (`medical`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom")
MAX_PIXELS = 100_000_000  # five times a full-size chest film; what is larger is taken for a decompression bomb
_ELEMENTS = (  # of a DICOM file that anything here looks at
    *("Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation", "Modality", "ImageType", "SeriesInstanceUID"),
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTSequence", "PixelPaddingValue"),
    *("PixelSpacing", "ImagerPixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "PatientOrientation"),
)


class Turn(NamedTuple):
    """How a picture is turned to stand as films and slices are shown: the patient's left on the right, feet down."""

    transposed: bool = False
    flipped: tuple[int, ...] = ()  # axes, of what is transposed already

    def upright(self, stored: np.ndarray) -> np.ndarray:
        """Return a stored picture, `(height, width)`, as it is shown."""
        return np.ascontiguousarray(np.flip(stored.T if self.transposed else stored, self.flipped))

    def stored(self, upright: np.ndarray) -> np.ndarray:
        """Return a picture, as it is shown, as it is stored."""
        back = np.flip(upright, self.flipped)
        return np.ascontiguousarray(back.T if self.transposed else back)


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM image: by its suffix, or its first bytes, for many of them have no suffix."""
    if not os.path.isfile(path):  # reading a pipe would wait for ever
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR"  # a table of contents
    except OSError:
        return False


def read_dicom(path: Path) -> np.ndarray:
    """Return the first frame of a DICOM file, `(height, width)`, or colours as 3 channels.

    CT comes in Hounsfield units, colours as they are, and all else as grey from 0 to 1, float32, shown through the
    file's own VOI LUT or window, with MONOCHROME1 (low values white) inverted, so that bone is white.

    Raises ValueError, naming the file, for what cannot be read as an image, and where pydicom is missing.
    """
    file = open_dicom(path)
    if file.get("Modality") == "CT":
        refuse_frames(file, path)
    pixels = first_frame(file, path)
    if pixels.ndim == 3:
        return pixels
    from pydicom.pixels import apply_modality_lut

    try:
        values = apply_modality_lut(pixels, file)
        if in_hounsfield(file):  # of which a window is a mere view, and MONOCHROME1 too
            return values.astype(np.float32)
        shown = _through_own_window(values, file, pixels != file.get("PixelPaddingValue"))
    except Exception as error:  # a table of its values, or a window, that makes no sense
        raise ValueError(f"{path}: cannot be read as a DICOM image; its grey scale is not described well.") from error
    return 1 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown


def open_dicom(path: Path, header_only: bool = False) -> Dataset:
    """Return a DICOM file as pydicom gives it.

    What it says of the patient is never looked at, so that it gets into no message.

    Raises ValueError, naming the file, for what is no DICOM file, and where pydicom is missing.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ValueError(f"{path}: reading DICOM needs pydicom; pip install 'lungnb[medical]'.") from error
    try:
        try:
            file = pydicom.dcmread(path, stop_before_pixels=header_only)
        except pydicom.errors.InvalidDicomError:  # some writers leave out the preamble
            file = _without_preamble(path, header_only)
        for name in _ELEMENTS:
            file.get(name)  # made out when it is first asked for, which may fail
        return file
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file.") from error
    except Exception as error:  # pydicom raises whatever its parsers raise
        raise ValueError(f"{path}: cannot be read as a DICOM image.") from error


def _without_preamble(path: Path, header_only: bool) -> Dataset:
    """Return a DICOM file that begins with its data; what these are encoded in, pydicom finds out."""
    import pydicom

    file = pydicom.dcmread(path, stop_before_pixels=header_only, force=True)
    file.Rows  # noqa: B018  which what is no DICOM file does not happen to have
    implicit, _ = file.original_encoding
    syntaxes = {True: pydicom.uid.ImplicitVRLittleEndian, False: pydicom.uid.ExplicitVRLittleEndian}
    file.ensure_file_meta()
    file.file_meta.TransferSyntaxUID = syntaxes[bool(implicit)]
    return file


def first_frame(file: Dataset, path: Path) -> np.ndarray:
    """Return the first frame of an opened DICOM file as it is stored, `(height, width)`, or colours as 3 channels."""
    from pydicom.pixels import apply_color_lut, pixel_array

    try:
        count = int(file.get("Rows") or 0) * int(file.get("Columns") or 0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a DICOM image; it has no size.") from error
    if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ValueError(f"{path}: holds no picture: it may be a report, or a note on images elsewhere.")
    if count > MAX_PIXELS:
        raise ValueError(f"{path}: more than {MAX_PIXELS:,} pixels; scale it down first.")
    try:
        pixels = pixel_array(file, index=0)
        return apply_color_lut(pixels, file) if file.PhotometricInterpretation == "PALETTE COLOR" else pixels
    except Exception as error:  # pydicom raises whatever its decoders raise
        hint = "if it is compressed, pip install 'pylibjpeg[all]' may help."
        raise ValueError(f"{path}: cannot be read as a DICOM image; {hint}") from error


def count_frames(path: Path) -> int:
    """Return how many pictures a DICOM file holds, of which the first is read."""
    return _frames(open_dicom(path, header_only=True))


def refuse_frames(file: Dataset, path: Path) -> None:
    """Raise a ValueError for an opened DICOM file with several pictures, as of CT, which lie in a volume."""
    if _frames(file) != 1:
        raise ValueError(f"{path}: has several frames; export the series with one file a slice.")


def _frames(file: Dataset) -> int:
    try:
        return int(file.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def in_hounsfield(file: Dataset) -> bool:
    """Whether a DICOM file says how its values become Hounsfield units."""
    return file.get("Modality") == "CT" and file.get("RescaleIntercept") is not None


def pixel_size_mm(path: Path) -> tuple[float, float] | None:
    """Return the height and the width of a DICOM image's pixels in mm, as far as it tells.

    For a film, of which ImagerPixelSpacing may tell, it is the size at the detector: the patient, nearer to the source,
    is shown some percent too large.
    """
    file = open_dicom(path, header_only=True)
    try:
        height, width = map(float, file.get("PixelSpacing") or file.get("ImagerPixelSpacing"))
    except (TypeError, ValueError):
        return None
    return (height, width) if min(height, width) > 0 else None


def turn_of(path: Path) -> Turn:
    """Return how a DICOM image is turned to stand as usual, by where it says its rows and columns run.

    Where it does not say, or shows the patient from the side, it stays as it is stored.
    """
    file = open_dicom(path, header_only=True)
    try:
        along_row, along_column = _directions(file)
    except (IndexError, TypeError, ValueError):
        return Turn()
    transposed = along_column in "LR"
    if transposed:
        along_row, along_column = along_column, along_row
    if along_row not in "LR":
        return Turn()
    return Turn(transposed, tuple(axis for axis, to in ((0, along_column), (1, along_row)) if to in "RAH"))


def _directions(file: Dataset) -> tuple[str, str]:
    """Return where a DICOM image's rows and columns run: to L or R, A or P, H or F."""
    if file.get("ImageOrientationPatient"):
        cosines = np.array(file.ImageOrientationPatient, float).reshape(2, 3)
        axes = np.abs(cosines).argmax(axis=1)
        return tuple(("LR", "PA", "HF")[axis][int(row[axis] < 0)] for axis, row in zip(axes, cosines, strict=True))
    return tuple(str(direction)[0] for direction in file.get("PatientOrientation")[:2])


def _through_own_window(values: np.ndarray, file: Dataset, inside: np.ndarray) -> np.ndarray:
    """Return `values` as a DICOM file's own VOI LUT or window shows them, 0 to 1.

    Without these, or with a window of no width, from the range of those `inside` the picture, bool.
    """
    from pydicom.pixels import apply_voi, apply_windowing

    if file.get("VOILUTSequence"):
        table = file.VOILUTSequence[0].LUTDescriptor  # number of entries, first value, bits of an entry
        bits = table[2]
        # pydicom 3.0 counts the entries of an 8-bit table in 8 bits too, and so loses its way in long ones.
        table[2] = 16
        brightest = int(apply_voi(np.arange(table[1], table[1] + (table[0] or 2**16)), file).max())
        low, high = 0, 2**bits - 1 if brightest.bit_length() == bits else brightest  # many files state other bits
        values = apply_voi(np.rint(values).astype(np.int64), file)
    elif file.get("WindowCenter") is not None and np.min(file.get("WindowWidth") or 0) > 0:
        with np.errstate(over="ignore"):  # of a sigmoid's exponential
            low, high = apply_windowing(np.array([-1e9, 1e9]), file)  # the ends of the window, as it shows them
            values = apply_windowing(values, file)
    else:
        known = values[inside] if inside.any() else values
        low, high = float(known.min()), float(known.max())
        values = np.clip(values, low, high)
    return ((values - low) / max(high - low, 1e-6)).astype(np.float32)
