"""Open DICOM files, and refuse those that would fill the memory. Needs pydicom (the extra `medical`)."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lungnb.formats.opening import Refused, guarded, need_package, open_file, refuse_memory

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_ITEMS = 100_000  # refuse files with more items in sequences; pydicom makes an object of 2 kB of each
MAX_ELEMENTS = 100_000  # refuse files with more elements outside sequences
COPIES = 3  # of a file's data that may be in memory at once
_HEADER_BYTES = 2**17  # nearly all headers end before this byte, so that the pixels need not be read
_FIRST_GROUPS = (b"\x02\0", b"\x08\0")  # of elements with which a file without preamble begins
_SHORT_BYTES = 64  # the first element of a header is not longer than this
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # how an item begins, little and big endian
_PIXEL_DATA_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_META_GROUP, _TRANSFER_SYNTAX_TAG = 0x0002, 0x00020010
_INFLATED_BYTES = 2**24  # inflate so many bytes at once
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_COLOURS = ("Red", "Green", "Blue", "Alpha")
# Read these elements only. No other is kept in memory, and none of these names a patient.
_ELEMENTS = (
    *["SOPClassUID", "Modality", "ImageType", "SeriesInstanceUID", "PixelSpacing", "ImagerPixelSpacing"],
    *["AcquisitionNumber", "ImageOrientationPatient", "ImagePositionPatient", "PatientOrientation"],
    *["ViewPosition", "ViewCodeSequence", "PresentationIntentType", "RescaleType", "BodyPartExamined"],
    *["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"],
    *["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "LossyImageCompression"],
    *["PixelPaddingValue", "PixelPaddingRangeLimit", *FUNCTIONAL_GROUPS],
    *["PixelData", "FloatPixelData", "DoubleFloatPixelData", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"],
    *["SegmentSequence", "SegmentationType", "MaximumFractionalValue"],
    *["VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PaletteColorLookupTableUID"],
    *(f"{colour}PaletteColorLookupTable{part}" for colour in _COLOURS for part in ("Descriptor", "Data")),
)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM: by its suffix, or by its first bytes, because many have no suffix or preamble."""
    if path.name == "DICOMDIR" or not os.path.isfile(path):  # DICOMDIR: a list of files
        return False
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with suppress(Refused, OSError), open_file(path) as file:
        start = file.read(132)
        return start[128:] == b"DICM" or _is_first_element(start)
    return False


def _is_first_element(start: bytes) -> bool:
    """Return whether bytes look like the first element of a DICOM file without preamble, explicit or implicit VR."""
    is_sized = (start[4:6].isalpha() and start[4:6].isupper()) or int.from_bytes(start[4:8], "little") <= _SHORT_BYTES
    return len(start) > _SHORT_BYTES and start[:2] in _FIRST_GROUPS and start[3] == 0 and is_sized


def open_dicom(path: Path, header_only: bool = False, whole: bool = False) -> Dataset:
    """Return a DICOM file as pydicom reads it: without its pixels if `header_only`, with all elements if `whole`.

    Without `whole`, elements that name the patient are not read, so that no message can repeat them.

    Raises Refused, naming the file, for a file that is not DICOM, if pydicom is missing, and for a file that would take
    more memory than the limit, or has more than MAX_ELEMENTS elements or MAX_ITEMS items in sequences.
    """
    need_package("pydicom", path, "reading DICOM")
    with guarded(path, "a DICOM image"), open_file(path) as opened:
        if header_only:
            stop = _Stop(path, header_only)
            with suppress(Exception):  # a header that is longer, or deflated
                header = _parse(opened.read(_HEADER_BYTES), stop, whole)
                if stop.is_at_pixels:
                    return header
        size = os.fstat(opened.fileno()).st_size
        refuse_memory(path, COPIES * size, f"a file of {size / 1e6:,.0f} MB", "Keep one frame")
        opened.seek(0)
        return _parse(opened.read(size), _Stop(path, header_only), whole)


def _parse(content: bytes, stop: _Stop, whole: bool) -> Dataset:
    """Return the elements of a DICOM file, up to where `stop` says."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    _refuse_bomb(content, stop.path)
    tags: list[BaseTag | int] | None = None if whole else [Tag(name) for name in _ELEMENTS]
    try:
        return _with_syntax(read_partial(io.BytesIO(content), stop, specific_tags=tags))
    except InvalidDicomError:  # some writers leave out the preamble
        file = read_partial(io.BytesIO(content), stop, force=True, specific_tags=tags)
        if "SOPClassUID" not in file and "Rows" not in file:
            raise  # not DICOM
        return _with_syntax(file)


class _Stop:
    """Tell pydicom before each element outside sequences whether to stop. Raise Refused for too many elements."""

    def __init__(self, path: Path, header_only: bool = False) -> None:
        self.path, self.header_only, self.elements, self.is_at_pixels = path, header_only, 0, False

    def __call__(self, tag: int, *_: object) -> bool:
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise Refused(f"{self.path}: has more than {MAX_ELEMENTS:,} elements. Export the image alone.")
        self.is_at_pixels = tag in _PIXEL_DATA_TAGS
        return self.header_only and self.is_at_pixels


def _with_syntax(file: Dataset) -> Dataset:
    """Return an opened file as pydicom needs it.

    If it states no transfer syntax, it gets the one that pydicom found in its data. PhotometricInterpretation gets
    capital letters, as the standard wants it.
    """
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    file.ensure_file_meta()
    if "TransferSyntaxUID" not in file.file_meta:
        is_implicit, _ = file.original_encoding
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    if isinstance(colours := file.get("PhotometricInterpretation"), str):
        file.PhotometricInterpretation = colours.upper()
    return file


def _refuse_bomb(content: bytes, path: Path) -> None:
    """Raise Refused for a file that would grow in memory, because of deflated data or many items in sequences."""
    total = items = 0
    for part in _inflated(content, path):
        total += len(part)
        items += max(part.count(tag) for tag in _ITEM_TAGS)
        refuse_memory(path, COPIES * total, f"{total / 1e6:,.0f} MB or more of data", "Store it uncompressed")
        if items > MAX_ITEMS:
            raise Refused(f"{path}: has more than {MAX_ITEMS:,} items in sequences. Export the image alone.")


def _inflated(content: bytes, path: Path) -> Iterator[bytes]:
    """Yield the data of a DICOM file; if its transfer syntax is deflated, inflate them part by part."""
    from pydicom.filereader import data_element_generator, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file = io.BytesIO(content)
    read_preamble(file, force=True)
    stop, syntax = _Stop(path), b""
    meta = data_element_generator(file, False, True, lambda tag, *_: stop(tag) or tag.group != _META_GROUP)
    for element in meta:
        syntax = bytes(element.value or b"") if element.tag == _TRANSFER_SYNTAX_TAG else syntax
    if syntax.rstrip(b"\0 ").decode("ascii", "replace") != DeflatedExplicitVRLittleEndian:
        yield content
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = file.read()
    while rest and not inflater.eof:
        yield inflater.decompress(rest, _INFLATED_BYTES)
        rest = inflater.unconsumed_tail
