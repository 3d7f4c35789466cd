"""Read one DICOM image as an array: Hounsfield units, or grey as its own window or table shows it. Needs pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb.formats.dicom_header import count_frames, is_in_hounsfield, refuse_frames, whole_number
from lungnb.formats.dicom_opening import open_dicom
from lungnb.formats.jpeg import refuse_jpeg, stream_size
from lungnb.formats.opening import Refused, guarded, refuse_shape
from lungnb.formats.pixels import row_blocks
from lungnb.masks import Floats, Window

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_LUT_ENTRIES, MAX_LUT_BITS = 2**16, 16  # limits of a lookup table in the DICOM standard
_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MIN_WIDTH = 1e-6  # of a window, because an image of one value has none
_BEYOND = (-1e9, 1e9)  # values that are below and above any window


def read_dicom(path: Path) -> tuple[np.ndarray, Dataset]:
    """Return the first frame of a DICOM file, `(height, width)`, and its header.

    CT comes in Hounsfield units and colours as they are, as 3 channels. Everything else comes as grey from 0 to 1,
    float32, shown through the file's own VOI LUT or window, with bone white. Raises Refused, naming the file, if it
    cannot be read as an image, if it is CT with several frames, and if pydicom is missing.
    """
    with guarded(path, "a DICOM image"):
        file = open_dicom(path)
        if file.get("Modality") == "CT":
            refuse_frames(file, path)
        pixels = first_frame(file, path)
        values = pixels if pixels.ndim == 3 else _to_shown(pixels, file, path)
        for name in _PIXEL_ELEMENTS:
            file.pop(name, None)  # frees memory, because making the values grey takes more
        return values, file


def first_frame(file: Dataset, path: Path) -> np.ndarray:
    """Return the first frame of an opened DICOM file as it is stored, `(height, width)`, or colours as 3 channels.

    Raises Refused, naming the file, if it holds no picture, too large a picture, or one that cannot be decoded.
    """
    from pydicom.pixels import apply_color_lut, pixel_array

    sizes = [whole_number(file.get(name)) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = sizes
    if not any(name in file for name in _PIXEL_ELEMENTS):
        raise Refused(f"{path}: holds no picture: it may be a report, or a note on images elsewhere. Leave it out.")
    if not rows or not columns:
        raise Refused(f"{path}: cannot be read as a DICOM image; it has no size. Export it again.")
    is_palette = file.get("PhotometricInterpretation") == "PALETTE COLOR"
    # The pixels as stored and as decoded; of a palette also three colours.
    refuse_shape(path, rows, columns, 2 * (samples + 3 * is_palette) * max(bits, 8) / 8)
    _refuse_other_stream(file, path, rows, columns)
    try:
        pixels = pixel_array(file, index=0)
        if not is_palette:
            return pixels
        for colour in ("Red", "Green", "Blue"):
            _check_table(file[f"{colour}PaletteColorLookupTableDescriptor"].value)
        return apply_color_lut(pixels, file)
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever its decoders raise
        hint = "if it is compressed, pip install 'pylibjpeg[all]' may help."
        raise Refused(f"{path}: cannot be read as a DICOM image; {hint}") from None


def _refuse_other_stream(file: Dataset, path: Path, rows: int, columns: int) -> None:
    """Raise Refused if the compressed stream of the first frame claims another size than the header."""
    if "PixelData" not in file or not file.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    from pydicom.encaps import get_frame

    frame = get_frame(file.PixelData, 0, number_of_frames=max(count_frames(file), 1))
    refuse_jpeg(frame, path)
    size = stream_size(frame, path)
    if size and size != (rows, columns):
        raise Refused(
            f"{path}: its compressed picture is {size[1]:,} x {size[0]:,} pixels and its header says "
            f"{columns:,} x {rows:,}. Export it again."
        )


def _to_shown(pixels: np.ndarray, file: Dataset, path: Path) -> Floats:
    """Return stored values, `(height, width)`, as float32: Hounsfield units of CT, otherwise 0 (black) to 1 (white).

    Bone is white: MONOCHROME1 (low values white) is inverted, except in CT, whose Hounsfield units do not depend on how
    they are shown. Raises Refused, naming the file, for a window or table that makes no sense.
    """
    try:
        if file.get("ModalityLUTSequence"):
            _check_table(file.ModalityLUTSequence[0].LUTDescriptor)
        if is_in_hounsfield(file):
            return _in_blocks(pixels, file)
        with np.errstate(over="ignore"):  # in the exponential of a sigmoid window
            show, (black, white) = _own_view(pixels, file)
            width = max(white - black, _MIN_WIDTH)
            shown = _in_blocks(pixels, file, lambda values: (show(values) - black) / width)
    except Exception as error:  # pydicom raises many kinds for a table or a window that makes no sense
        if isinstance(error, (Refused, MemoryError)):
            raise
        raise Refused(f"{path}: its window or lookup table makes no sense. Export it again.") from None
    return 1 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown


def _in_blocks(pixels: np.ndarray, file: Dataset, show: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Floats:
    """Return what `show` makes of an image after its modality LUT, float32, some rows at a time to spare memory."""
    from pydicom.pixels import apply_modality_lut

    result = np.empty(pixels.shape, np.float32)
    for rows in row_blocks(pixels.shape):
        result[rows] = show(apply_modality_lut(pixels[rows], file))
    return result


def _own_view(pixels: np.ndarray, file: Dataset) -> tuple[Callable[[np.ndarray], np.ndarray], Window]:
    """Return the function by which a DICOM file shows its values, and which of its outputs are black and white."""
    from pydicom.pixels import apply_voi, apply_windowing

    if file.get("VOILUTSequence"):
        outputs = _lut_range(file)
        return (lambda values: apply_voi(np.rint(values).astype(np.int64), file)), outputs
    if file.get("WindowCenter") is not None and np.min(file.get("WindowWidth") or 0) > 0:
        black, white = apply_windowing(np.array(_BEYOND), file)
        return (lambda values: apply_windowing(values, file)), (black, white)
    low, high = _own_range(pixels, file)  # without a VOI LUT or a window of some width
    return (lambda values: np.clip(values, low, high)), (low, high)


def _check_table(descriptor: Sequence[int]) -> tuple[int, int]:
    """Return how many entries a lookup table has and the bits of an entry. Raises ValueError if no table has these."""
    entries, _, bits = descriptor  # the second number is the first value that the table maps
    entries = entries or MAX_LUT_ENTRIES
    if not (0 < entries <= MAX_LUT_ENTRIES and 0 < bits <= MAX_LUT_BITS):
        raise ValueError
    return entries, bits


def _lut_range(file: Dataset) -> Window:
    """Return the darkest and the brightest output of a DICOM file's VOI LUT, and mend its description for pydicom."""
    from pydicom.pixels import apply_voi

    table = file.VOILUTSequence[0].LUTDescriptor
    entries, bits = _check_table(table)
    table[2] = 16  # pydicom 3.0 counts the entries of an 8-bit table in 8 bits too, and misreads long tables
    brightest = int(apply_voi(np.arange(table[1], table[1] + entries), file).max())
    return 0, 2**bits - 1 if brightest.bit_length() == bits else brightest  # many files state other bits


def _own_range(pixels: np.ndarray, file: Dataset) -> Window:
    """Return the smallest and the largest value of the pixels that are not padding, or of all if all are padding."""
    from pydicom.pixels import apply_modality_lut

    ends: list[float] = []
    for padding in (file.get("PixelPaddingValue"), None):  # None: leave out no pixel
        for rows in row_blocks(pixels.shape) if not ends else ():
            values = apply_modality_lut(pixels[rows], file)[pixels[rows] != padding]
            ends += [float(values.min()), float(values.max())] if values.size else []
    return min(ends), max(ends)
