"""DICOM files: streams that grow, items without number, tables and windows that cannot be, secrets, coded pictures.

Every file names a patient, whose name, number and birth date must not get into any output: see `SECRETS`.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hostile.streams import chest_rows, deflated

SECRETS = ("SECRET", "19010203")
EXPLICIT, DEFLATED, RLE, JPEG, JPEG_LS, JPEG_2000 = (
    f"1.2.840.10008.1.2.{end}" for end in ("1", "1.99", "5", "4.50", "4.80", "4.90")
)
_LONG = ("OB", "OW", "SQ", "UN", "UT", "UC", "UV", "SV", "OF", "OD", "OL", "OV")  # with a length of 32 bits
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_ITEM, _ITEM_END, _END = ((0xFFFE, number) for number in (0xE000, 0xE00D, 0xE0DD))
OPEN = 2**32 - 1  # a length that is not said
PIXELS = b"".join(content * count for content, count in chest_rows(256, 256))


def element(group: int, number: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """Return an element in explicit VR; `length` replaces that of the value."""
    value += (b"\0" if vr in ("OB", "UI") else b" ") * (len(value) % 2)
    length = len(value) if length is None else length
    if vr in _LONG:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), length % 2**16) + value


def named(keyword: str, value: object, vr: str = "") -> bytes:
    """Return an element by its keyword; numbers are written as its VR has them."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    vr = vr or dictionary_VR(tag).split(" ")[0].replace("OB", "OW")
    if isinstance(value, (int, float, tuple)) and vr in _NUMBERS:
        values = value if isinstance(value, tuple) else (value,)
        value = struct.pack(f"<{len(values)}{_NUMBERS[vr]}", *values)
    return element(tag >> 16, tag & 0xFFFF, vr, value if isinstance(value, bytes) else str(value).encode())


def mark(tag: tuple[int, int], length: int = 0) -> bytes:
    """Return the beginning of an item, or the end of an item or of a sequence."""
    return struct.pack("<HHI", *tag, length)


def film(
    syntax: str = EXPLICIT, extra: bytes = b"", vrs: dict[str, str] | None = None, zeros: int = 0, **changes: object
) -> bytes:
    """Return a film of a patient.

    `changes` replace elements by keyword (None leaves one out), `vrs` their VRs. `extra` comes before the pixels,
    and in a deflated file so many `zeros` in a private element too.
    """
    elements = {
        **{"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "SOPInstanceUID": "1.2.3.4", "Modality": "CR"},
        **{"PatientName": "SECRET^PATIENT", "PatientID": "SECRET-77", "PatientBirthDate": "19010203"},
        **{"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.5", "SamplesPerPixel": 1, "Rows": 256},
        **{"PhotometricInterpretation": "MONOCHROME2", "Columns": 256, "BitsAllocated": 8, "BitsStored": 8},
        **{"HighBit": 7, "PixelRepresentation": 0},
    } | changes
    pixels = elements.pop("PixelData", PIXELS)
    head = {keyword: value for keyword, value in elements.items() if value is not None}
    parts = sorted((named(key, value, (vrs or {}).get(key, "")) for key, value in head.items()), key=_tag)
    body, end = b"".join(parts) + extra, named("PixelData", pixels) if pixels is not None else b""
    if syntax != DEFLATED:
        return meta(syntax) + body + end
    grown = [element(0x7FDF, 0x1010, "OB", b"", zeros), zeros] if zeros else []
    return meta(syntax) + deflated(body, *grown, end)


def meta(syntax: str, more: bytes = b"") -> bytes:
    """Return the preamble and the elements that come before those of a film."""
    elements = element(2, 1, "OB", b"\0\1") + named("MediaStorageSOPClassUID", "1.2.840.10008.5.1.4.1.1.1")
    elements += named("MediaStorageSOPInstanceUID", "1.2.3.4") + named("TransferSyntaxUID", syntax) + more
    return bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(elements))) + elements


def encapsulated(code: bytes, syntax: str, fragments: int = 1, **changes: object) -> bytes:
    """Return a film whose picture is coded, as a fragment that may come several times."""
    code += b"\0" * (len(code) % 2)
    data = mark(_ITEM) + (mark(_ITEM, len(code)) + code) * fragments + mark(_END)
    return film(syntax, PixelData=None, **changes) + element(0x7FE0, 0x10, "OB", data, OPEN)


def sequence(*items: bytes, tag: tuple[int, int] = (0x40, 0xA730)) -> bytes:
    """Return a sequence of items whose end is marked."""
    held = b"".join(mark(_ITEM, len(item)) + item for item in items)
    return element(*tag, "SQ", held + mark(_END), OPEN)


def nested(depth: int) -> bytes:
    """Return sequences in one another."""
    begin = element(0x40, 0xA730, "SQ", b"", OPEN) + mark(_ITEM, OPEN)
    return begin * depth + (mark(_ITEM_END) + mark(_END)) * depth


def table(descriptor: tuple, vr: str = "US", data: bytes = b"\1\0\2\0\3\0\4\0", kind: str = "VOILUTSequence") -> bytes:
    """Return a sequence with a look-up table: entries, first value, bits."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(kind)
    item = named("LUTDescriptor", descriptor, vr) + named("LUTData", data, "OW")
    return sequence(item, tag=(tag >> 16, tag & 0xFFFF))


def run_lengths(data: bytes, segments: int = 1, offsets: tuple[int, ...] = (64,)) -> bytes:
    """Return a picture in DICOM's RLE with such a header."""
    return struct.pack("<16I", segments, *offsets, *[0] * (15 - len(offsets))) + data


def jpeg_2000(side: int) -> bytes:
    """Return a small JPEG 2000 of a large black picture."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(buffer, "JPEG2000", no_jp2=True)
    return buffer.getvalue()


def jpeg_ls(width: int, height: int) -> bytes:
    """Return the header of a JPEG-LS and no pixels."""
    frame = b"\xff\xf7\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(1000) + b"\xff\xd9"


def series(folder: Path, hostile: Callable[[], bytes], slices: int = 6) -> None:
    """Write a CT series of some slices, one of them hostile."""
    folder.mkdir()
    for number in range(slices):
        changes = {"RescaleIntercept": "-1024", "RescaleSlope": "1", "PixelSpacing": "1\\1", "Modality": "CT"}
        changes |= {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "ImagePositionPatient": f"0\\0\\{number}"}
        (folder / f"slice_{number}.dcm").write_bytes(film(**changes, SOPInstanceUID=f"1.2.3.{number + 1}"))
    (folder / "slice_2.dcm").write_bytes(hostile())


def _tag(element: bytes) -> tuple[int, int]:
    return struct.unpack("<HH", element[:4])
