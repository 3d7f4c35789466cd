"""One DICOM file to an array: Hounsfield units, or grey as its own window shows it. Needs pydicom (`medical`)."""

from __future__ import annotations

import io
import logging
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lungnb.formats.jpeg import refuse_jpeg, stream_size
from lungnb.formats.opening import Refused, guarded, is_regular, open_file, refuse_memory, refuse_shape

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_SUFFIXES = (".dcm", ".dicom")
MAX_ITEMS = 100_000  # of sequences in one file: pydicom makes an object of 2 kB of each
MAX_ELEMENTS = 100_000  # outside sequences
MAX_LUT_ENTRIES, MAX_LUT_BITS = 2**16, 16  # of a lookup table, by the standard
PIXEL_MM = (0.001, 100.0)  # sizes of a pixel that are believed, mm
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # how an item begins, little and big endian
_BLOCK = 2**20  # pixels that are scaled at once: float64 of a whole film would take a gigabyte
_INFLATED_AT_ONCE = 2**24  # bytes
# The elements that anything here looks at. Nothing else is kept in memory, and nothing that names a patient is read.
_PLACE = (
    *("Modality", "ImageType", "SeriesInstanceUID", "PixelSpacing", "ImagerPixelSpacing"),
    *("ImageOrientationPatient", "ImagePositionPatient", "PatientOrientation"),
)
_PIXELS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "LossyImageCompression"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
_GREY_SCALE = (
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction"),
    *("WindowCenter", "WindowWidth", "PaletteColorLookupTableUID"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue", "Alpha")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")),
)
_ELEMENTS = (*_PLACE, *_PIXELS, *_GREY_SCALE)


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


class DicomImage(NamedTuple):
    """The first frame of a DICOM file, and what the file says of its place."""

    values: np.ndarray  # (height, width), or colours as 3 channels; see `read_dicom`
    pixel_mm: tuple[float, float] | None  # height and width of a pixel, mm; None if unknown
    turn: Turn
    frames: int


def is_dicom(path: Path) -> bool:
    """Return whether a file is a DICOM image: by its suffix, or its first bytes, because many have no suffix."""
    if not is_regular(path):
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR"  # a table of contents
    except (Refused, OSError):
        return False


def read_dicom(path: Path) -> DicomImage:
    """Return the first frame of a DICOM file.

    CT comes in Hounsfield units, colours as they are, and all else as grey from 0 to 1, float32, shown through the
    file's own VOI LUT or window, with MONOCHROME1 (low values white) inverted, so that bone is white.

    Raises Refused, naming the file, for what cannot be read as an image, and where pydicom is missing.
    """
    with guarded(path, "a DICOM image"):
        file = open_dicom(path)
        if file.get("Modality") == "CT":
            refuse_frames(file, path)
        pixels = first_frame(file, path)
        values = pixels if pixels.ndim == 3 else _grey(pixels, file, path)
        return DicomImage(values, pixel_size_mm(file), turn_of(file), count_frames(file))


def open_dicom(path: Path, header_only: bool = False, whole: bool = False) -> Dataset:
    """Return a DICOM file as pydicom gives it, with the elements that lungnb looks at, or `whole`.

    What it says of the patient is never looked at, so that it gets into no message.

    Raises Refused, naming the file, for what is no DICOM file, where pydicom is missing, and for files that would take
    more memory than the limit: large ones, deflated ones, and those with more than MAX_ITEMS items in sequences.
    """
    pydicom = _pydicom(path)
    with guarded(path, "a DICOM image"):
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            refuse_memory(path, 3 * size, f"a file of {size / 1e6:,.0f} MB", "Keep one frame")
            content = file.read(size)
        _refuse_bomb(content, path)
        tags = None if whole else [pydicom.tag.Tag(name) for name in _ELEMENTS]
        options = {"stop_when": _Stop(path, header_only), "specific_tags": tags}
        try:
            return pydicom.filereader.read_partial(io.BytesIO(content), **options)
        except pydicom.errors.InvalidDicomError:  # some writers leave out the preamble
            return _without_preamble(content, options)


class _Stop:
    """Says to pydicom, before each element outside sequences, whether to stop; raises Refused for far too many."""

    def __init__(self, path: Path, header_only: bool) -> None:
        self.path, self.header_only, self.elements = path, header_only, 0

    def __call__(self, tag: int, *_: object) -> bool:
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise Refused(f"{self.path}: has more than {MAX_ELEMENTS:,} elements. Export the image alone.")
        return self.header_only and tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)


def _pydicom(path: Path) -> Any:  # noqa: ANN401
    """Return the module pydicom, whose log may repeat values of a header and is switched off."""
    try:
        import pydicom
    except ImportError as error:
        raise Refused(f"{path}: reading DICOM needs pydicom; pip install 'lungnb[medical]'.") from error
    for talker in ("pydicom", "highdicom"):
        logging.getLogger(talker).setLevel(logging.CRITICAL + 1)
    return pydicom


def _without_preamble(content: bytes, options: dict[str, Any]) -> Dataset:
    """Return a DICOM file that begins with its data; what these are encoded in, pydicom finds out."""
    import pydicom

    file = pydicom.filereader.read_partial(io.BytesIO(content), force=True, **options)
    file.Rows  # noqa: B018  raises for a file that is not DICOM
    implicit, _ = file.original_encoding
    syntaxes = {True: pydicom.uid.ImplicitVRLittleEndian, False: pydicom.uid.ExplicitVRLittleEndian}
    file.ensure_file_meta()
    file.file_meta.TransferSyntaxUID = syntaxes[bool(implicit)]
    return file


def _refuse_bomb(content: bytes, path: Path) -> None:
    """Raise Refused for a file that would grow in memory: by deflated data or by many items of sequences."""
    total = items = 0
    for part in _inflated(content, path):
        total += len(part)
        items += max(part.count(tag) for tag in _ITEM_TAGS)
        refuse_memory(path, 3 * total, f"{total / 1e6:,.0f} MB or more of data", "Store it uncompressed")
        if items > MAX_ITEMS:
            raise Refused(f"{path}: has more than {MAX_ITEMS:,} items in sequences. Export the image alone.")


def _inflated(content: bytes, path: Path) -> Iterator[bytes]:
    """Yield the data of a DICOM file, those of the deflated transfer syntax inflated part by part."""
    from pydicom.filereader import data_element_generator, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = io.BytesIO(content)
    read_preamble(file, force=True)
    stop, syntax = _Stop(path, header_only=False), b""
    for element in data_element_generator(file, False, True, stop_when=lambda tag, *_: stop(tag) or tag.group != 2):
        syntax = bytes(element.value or b"") if element.tag == 0x00020010 else syntax
    if syntax.rstrip(b"\0 ").decode("ascii", "replace") != DeflatedExplicitVRLittleEndian:
        yield content
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = file.read()
    while rest and not inflater.eof:
        yield inflater.decompress(rest, _INFLATED_AT_ONCE)
        rest = inflater.unconsumed_tail


def first_frame(file: Dataset, path: Path) -> np.ndarray:
    """Return the first frame of an opened DICOM file as it is stored, `(height, width)`, or colours as 3 channels."""
    from pydicom.pixels import apply_color_lut, pixel_array

    sizes = [_whole_number(file.get(name)) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = sizes
    if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Refused(f"{path}: holds no picture: it may be a report, or a note on images elsewhere.")
    if not rows or not columns:
        raise Refused(f"{path}: cannot be read as a DICOM image; it has no size.")
    is_palette = file.get("PhotometricInterpretation") == "PALETTE COLOR"
    refuse_shape(path, rows, columns, 2 * (samples + 3 * is_palette) * max(bits, 8) / 8)
    _refuse_other_stream(file, path, rows, columns)
    try:
        pixels = pixel_array(file, index=0)
        if not is_palette:
            return pixels
        for colour in ("Red", "Green", "Blue"):
            _check_table(file[f"{colour}PaletteColorLookupTableDescriptor"].value)
        return apply_color_lut(pixels, file)
    except Exception as error:  # pydicom raises whatever its decoders raise
        if isinstance(error, MemoryError):
            raise
        hint = "if it is compressed, pip install 'pylibjpeg[all]' may help."
        raise Refused(f"{path}: cannot be read as a DICOM image; {hint}") from None


def _whole_number(value: object) -> int:
    """Return a value of the header as a number, 0 for what is none."""
    try:
        return int(value or 0)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return 0


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


def count_frames(file: Dataset) -> int:
    """Return how many pictures an opened DICOM file holds, of which the first is read."""
    return _whole_number(file.get("NumberOfFrames")) or 1


def refuse_frames(file: Dataset, path: Path) -> None:
    """Raise Refused for an opened DICOM file with several pictures, as of CT, which lie in a volume."""
    if count_frames(file) != 1:
        raise Refused(f"{path}: has several frames; export the series with one file a slice.")


def in_hounsfield(file: Dataset) -> bool:
    """Return whether a DICOM file says how its values become Hounsfield units."""
    return file.get("Modality") == "CT" and file.get("RescaleIntercept") is not None


def pixel_size_mm(file: Dataset) -> tuple[float, float] | None:
    """Return the height and the width of an opened DICOM image's pixels in mm, None if it does not tell.

    Sizes outside PIXEL_MM are not believed. For a film, of which ImagerPixelSpacing may tell, it is the size at the
    detector: the patient, nearer to the source, is shown some percent too large.
    """
    try:
        height, width = map(float, file.get("PixelSpacing") or file.get("ImagerPixelSpacing"))
    except Exception:  # pydicom raises many kinds for a value that is no number
        return None
    smallest, largest = PIXEL_MM
    return (height, width) if smallest <= min(height, width) <= max(height, width) <= largest else None


def turn_of(file: Dataset) -> Turn:
    """Return how an opened DICOM image is turned to stand as usual, by where it says its rows and columns run.

    Where it does not say, or shows the patient from the side, it stays as it is stored.
    """
    try:
        along_row, along_column = _directions(file)
    except Exception:  # pydicom raises many kinds for a value that is no number
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
    along_row, along_column = file.get("PatientOrientation")[:2]
    return str(along_row)[0], str(along_column)[0]


def _grey(pixels: np.ndarray, file: Dataset, path: Path) -> np.ndarray:
    """Return stored pixels, `(height, width)`, as Hounsfield units of CT, else as the file shows them, 0 to 1."""
    from pydicom.pixels import apply_modality_lut

    try:
        if file.get("ModalityLUTSequence"):
            _check_table(file.ModalityLUTSequence[0].LUTDescriptor)
        if in_hounsfield(file):  # of which a window is a mere view, and MONOCHROME1 too
            return _in_blocks(pixels, lambda part: apply_modality_lut(part, file))
        shown = _through_own_window(pixels, file)
    except Exception as error:  # a table of its values, or a window, that makes no sense
        if isinstance(error, (Refused, MemoryError)):
            raise
        raise Refused(f"{path}: cannot be read as a DICOM image; its grey scale is not described well.") from None
    return 1 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown


def _in_blocks(pixels: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what an elementwise function makes of an image, float32, some rows at a time."""
    result = np.empty(pixels.shape, np.float32)
    for rows in _row_blocks(pixels):
        result[rows] = work(pixels[rows])
    return result


def _row_blocks(pixels: np.ndarray) -> list[slice]:
    step = max(_BLOCK // pixels.shape[1], 1)
    return [slice(start, start + step) for start in range(0, len(pixels), step)]


def _through_own_window(pixels: np.ndarray, file: Dataset) -> np.ndarray:
    """Return stored pixels as a DICOM file's own VOI LUT or window shows them, 0 to 1.

    Without these, or with a window of no width, from the range of the values that are not padding.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    if file.get("VOILUTSequence"):
        low, high = _lut_range(file)
        show = lambda values: apply_voi(np.rint(values).astype(np.int64), file)  # noqa: E731
    elif file.get("WindowCenter") is not None and np.min(file.get("WindowWidth") or 0) > 0:
        with np.errstate(over="ignore"):  # of a sigmoid's exponential
            low, high = apply_windowing(np.array([-1e9, 1e9]), file)  # the ends of the window, as it shows them
        show = lambda values: apply_windowing(values, file)  # noqa: E731
    else:
        low, high = _own_range(pixels, file)
        show = lambda values: np.clip(values, low, high)  # noqa: E731
    width = max(high - low, 1e-6)
    with np.errstate(over="ignore"):
        return _in_blocks(pixels, lambda part: (show(apply_modality_lut(part, file)) - low) / width)


def _check_table(descriptor: Sequence[int]) -> tuple[int, int]:
    """Return the entries of a lookup table and the bits of an entry; raise ValueError for what no table can have."""
    entries, _, bits = descriptor  # the second is the first value
    entries = entries or MAX_LUT_ENTRIES
    if not (0 < entries <= MAX_LUT_ENTRIES and 0 < bits <= MAX_LUT_BITS):
        raise ValueError
    return entries, bits


def _lut_range(file: Dataset) -> tuple[float, float]:
    """Return the darkest and the brightest output of a DICOM file's VOI LUT, and mend its description for pydicom."""
    from pydicom.pixels import apply_voi

    table = file.VOILUTSequence[0].LUTDescriptor
    entries, bits = _check_table(table)
    # pydicom 3.0 counts the entries of an 8-bit table in 8 bits too, and so loses its way in long ones.
    table[2] = 16
    brightest = int(apply_voi(np.arange(table[1], table[1] + entries), file).max())
    return 0, 2**bits - 1 if brightest.bit_length() == bits else brightest  # many files state other bits


def _own_range(pixels: np.ndarray, file: Dataset) -> tuple[float, float]:
    """Return the smallest and the largest value of the pixels that are not padding, of all if all are."""
    from pydicom.pixels import apply_modality_lut

    padding, ends = file.get("PixelPaddingValue"), []
    for only_inside in (True, False):
        for rows in _row_blocks(pixels):
            part = pixels[rows]
            values = apply_modality_lut(part, file)
            values = values[part != padding] if only_inside else values
            ends += [float(values.min()), float(values.max())] if values.size else []
        if ends:
            break
    return min(ends), max(ends)
