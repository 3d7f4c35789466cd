"""Decode a frame of a DICOM file as it is stored, and find its padding. Needs pydicom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb.formats.dicom_header import count_frames, modality_of, whole_number
from lungnb.formats.jpeg import refuse_jpeg, stream_size
from lungnb.formats.opening import Refused, refuse_shape
from lungnb.formats.pixels import thinned
from lungnb.masks import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_LUT_ENTRIES, MAX_LUT_BITS = 2**16, 16  # limits of a lookup table in the DICOM standard
_LIBJPEG = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (51, 57, 70))  # lossless and 12-bit JPEG
_JPEG_END = b"\xff\xd9"  # a stream without it was cut
PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# The elements that say how pixels are stored, and those that only whole numbers need
_DESCRIPTION = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
_OF_WHOLE = ("BitsStored", "PixelRepresentation")
_COLOURS = ("Red", "Green", "Blue")
_YBR = ("FULL", "FULL_422", "PARTIAL_420", "PARTIAL_422", "ICT", "RCT")
_INTERPRETATIONS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", *(f"YBR_{kind}" for kind in _YBR))
_VIDEOS = "1.2.840.10008.1.2.4.10"  # how the transfer syntaxes of MPEG begin
_MAX_SURPLUS = 0.05  # of the bytes that a header needs; some writers fill up the pixels to a round number of bytes
_SMOOTH, _WRAPPED = 0.25, 0.75  # of all values: neighbours differ by less; by more, where the values wrap around
_ROWS = 256  # look at so many rows to see how much neighbours differ
_MAX_PADDING, _PADDING_VALUES = 0.25, 16  # padding of more of the picture and of more values may be none
# Of the usual difference of two pixels: neighbours in a column are so alike, if the width is right, and so alike as to
# be sure that another width is right
_ALIKE, _FITS = 0.5, 0.5
_PLACES, _ASPECT = 4096, 3  # look at so many pixels, and at pictures with sides of this ratio at most
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")


def read_frame(file: Dataset, path: Path, index: int = 0) -> np.ndarray:
    """Return a frame of an opened DICOM file as it is stored, `(height, width)`, or colours as 3 channels.

    Values begin at bit 0, wherever HighBit places them. Bits beyond BitsStored, such as those of an overlay, are
    cleared, except in padding.

    Raises Refused, naming the file, if it holds no picture, too large a picture, or one that cannot be decoded.
    """
    from pydicom.pixels import apply_color_lut

    sizes = [whole_number(file.get(name)) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = sizes
    if not any(name in file for name in PIXEL_ELEMENTS):
        raise Refused(f"{path}: holds no picture: it may be a report, or a note on images elsewhere. Leave it out.")
    if not file.file_meta.TransferSyntaxUID.is_transfer_syntax:
        raise Refused(
            f"{path}: its TransferSyntaxUID, how pixels are stored, is unknown. Export it again, uncompressed."
        )
    if not rows or not columns:
        raise Refused(f"{path}: cannot be read as a DICOM image; it has no size. Export it again.")
    is_palette = file.get("PhotometricInterpretation") == "PALETTE COLOR"
    # The pixels as stored and as decoded; of a palette also three colours.
    refuse_shape(path, rows, columns, 2 * (samples + 3 * is_palette) * max(bits, 8) / 8)
    _refuse_surplus(file, path, rows * columns * samples * bits)
    try:
        _refuse_other_stream(file, path, index)
        pixels = _without_unused_bits(_decode(file, index, path), file)
        if not is_palette:
            return pixels
        for colour in _COLOURS:
            check_lookup_table(file[f"{colour}PaletteColorLookupTableDescriptor"].value)
        return apply_color_lut(pixels, file)
    except (Refused, MemoryError):
        raise
    except Exception:  # pydicom raises whatever its parsers raise
        tables = [f"{colour}PaletteColorLookupTableData" for colour in _COLOURS] if is_palette else []
        needed = [*_DESCRIPTION, *(_OF_WHOLE if "PixelData" in file else ()), *tables]
        missing = [name for name in needed if file.get(name) is None]
        cause = f"its header lacks {', '.join(missing)}" if missing else "its pixels are damaged or cut"
        if not missing and file.PhotometricInterpretation not in _INTERPRETATIONS:
            cause = "its PhotometricInterpretation, which says what is black, is none that lungnb reads"
        raise Refused(f"{path}: cannot be read as a DICOM image: {cause}. Export it again.") from None


def _decode(file: Dataset, index: int, path: Path) -> np.ndarray:
    """Return a frame as it is stored; raise Refused if it is compressed in a way that nothing here decodes."""
    from pydicom.pixels import get_decoder, pixel_array

    plugins: Sequence[str] = [""]
    syntax = file.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        if syntax in _LIBJPEG and find_spec("imagecodecs"):
            return _decode_jpeg(file, index)
        try:
            name, plugins = syntax.name.split(",")[0], get_decoder(syntax).available_plugins
        except NotImplementedError:
            name, plugins = "in an unknown way", []
        if syntax.startswith(_VIDEOS):
            raise Refused(f"{path}: holds a video. Export one of its pictures.")
        if not plugins:
            raise Refused(
                f"{path}: its picture is compressed ({name}), and no package here decodes that. pip install "
                "'lungnb[medical]', which brings imagecodecs, or save it uncompressed."
            )
        # GDCM reads what no other can, and nothing else, because damaged files crash it.
        plugins = [plugin for plugin in reversed(plugins) if plugin != "gdcm"] or plugins
    for plugin in plugins:
        try:
            return pixel_array(file, index=index, decoding_plugin=plugin, correct_unused_bits=False)
        except MemoryError:
            raise
        except Exception:  # pydicom raises whatever its decoders raise
            continue
    raise ValueError  # all of them failed


def _decode_jpeg(file: Dataset, index: int) -> np.ndarray:
    """Return a frame in lossless or 12-bit JPEG, which no decoder of pydicom's with a free licence reads safely."""
    import imagecodecs
    from pydicom.encaps import get_frame

    frame = get_frame(file.PixelData, index, number_of_frames=count_frames(file))
    kind = f"{'i' if file.PixelRepresentation else 'u'}{file.BitsAllocated // 8}"
    if _JPEG_END not in frame:  # imagecodecs would fill up the picture
        raise ValueError
    return np.asarray(imagecodecs.jpeg8_decode(frame)).astype(kind)


def _refuse_other_stream(file: Dataset, path: Path, index: int) -> None:
    """Raise Refused if the compressed stream of a frame claims another size than the header."""
    if "PixelData" not in file or not file.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    from pydicom.encaps import get_frame

    frame = get_frame(file.PixelData, index, number_of_frames=count_frames(file))
    refuse_jpeg(frame, path)
    size, said = stream_size(frame, path), (file.Rows, file.Columns)
    if size and size != said:
        raise Refused(
            f"{path}: its compressed picture is {size[1]:,} x {size[0]:,} pixels and its header says "
            f"{said[1]:,} x {said[0]:,}. Export it again."
        )


def _refuse_surplus(file: Dataset, path: Path, frame_bits: int) -> None:
    """Raise Refused if an uncompressed file holds far more bytes than its header needs, because the header is wrong."""
    if "PixelData" not in file or file.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    needed, held = frame_bits * count_frames(file) / 8, len(file.PixelData)
    if needed and held > (1 + _MAX_SURPLUS) * needed + 2:
        raise Refused(
            f"{path}: holds {held:,} bytes of pixels, and by its header it needs {needed:,.0f} (Rows, Columns, "
            "SamplesPerPixel, BitsAllocated, NumberOfFrames). Export it again."
        )


def _without_unused_bits(pixels: np.ndarray, file: Dataset) -> np.ndarray:
    """Return integers with the bits beyond BitsStored cleared, or set for negative ones; padding stays as it is.

    If no value has the bits beyond BitsStored of a negative number, the smoother picture shows whether there is a sign.
    If values wrap without those bits, BitsStored is too small, and the bits stay.
    """
    unused = 8 * pixels.itemsize - whole_number(file.get("BitsStored"))
    if unused == 0 and pixels.dtype.kind in "iu":
        return _with_right_sign(pixels, file)
    if pixels.dtype.kind not in "iu" or not 0 < unused < 8 * pixels.itemsize:
        return pixels
    pixels = _from_bit_0(pixels, file, unused)
    hidden = is_padding(pixels, file)
    stored = pixels << unused >> unused
    if pixels.dtype.kind == "u" and _is_wrapped(stored, pixels, 8 * pixels.itemsize - unused):
        return pixels
    if pixels.dtype.kind == "i" and stored.min() < 0 <= pixels.min():
        plain = pixels & ~(-1 << 8 * pixels.itemsize - unused)
        # Without sign, although PixelRepresentation says otherwise: a sign would make bright pixels black.
        stored = plain if _roughness(plain) < _roughness(stored) else stored
    return stored if hidden is None else np.where(hidden, pixels, stored)


def _with_right_sign(pixels: np.ndarray, file: Dataset) -> np.ndarray:
    """Return integers that use all their bits as signed or as unsigned ones, whichever does not wrap around.

    A wrong sign makes bright pixels of a film black, and air in CT white. Only CT has negative values that matter.
    """
    is_signed = pixels.dtype.kind == "i"
    if pixels.ndim != 2 or is_signed == (modality_of(file) == "CT"):
        return pixels
    other = pixels.view(f"{'u' if is_signed else 'i'}{pixels.itemsize}")
    return other if _is_wrapped(pixels, other, 8 * pixels.itemsize) else pixels


def _is_wrapped(pixels: np.ndarray, other: np.ndarray, bits: int) -> bool:
    """Return whether neighbours in a row differ by nearly all values of so many bits, while `other` is smooth there.

    An overlay in the upper bits makes the opposite: there `other` has the wide steps.
    """
    if pixels.ndim != 2 or np.array_equal(pixels, other):
        return False
    step = math.ceil(len(pixels) / _ROWS)
    one, two = (np.abs(np.diff(each[::step].astype(float))) / 2**bits for each in (pixels, other))
    wraps, steps = ((near < _SMOOTH) & (far > _WRAPPED) for near, far in ((two, one), (one, two)))
    return bool(wraps.sum() > steps.sum())


def _roughness(pixels: np.ndarray) -> float:
    """Return the mean difference of neighbours in a row, from some of the rows."""
    rows = pixels[:: math.ceil(len(pixels) / _ROWS)].astype(float)
    return float(np.abs(np.diff(rows)).mean())


def _from_bit_0(pixels: np.ndarray, file: Dataset, unused: int) -> np.ndarray:
    """Return integers moved down to bit 0 if HighBit says that they end above BitsStored - 1 (PS3.5, 8.1.1).

    HighBit is ignored if the values contradict it: none of them uses the bits above BitsStored, and some use the bits
    that would be moved out. It is also ignored if it leaves no room for the value.
    """
    shift = whole_number(file.get("HighBit")) + 1 - whole_number(file.get("BitsStored"))
    if not 0 < shift <= unused:
        return pixels
    is_low = np.array_equal(pixels << unused >> unused, pixels) and (pixels & ((1 << shift) - 1)).any()
    return pixels if is_low else pixels >> shift


def is_padding(pixels: np.ndarray, file: Dataset) -> Mask | None:
    """Return which stored values are padding, by PixelPaddingValue and PixelPaddingRangeLimit; None if none is."""
    if pixels.dtype.kind not in "iu":
        return None
    try:
        values = [int(file[name].value) for name in _PADDING if file.get(name) is not None]
    except (TypeError, ValueError):
        return None
    # A value that the pixels cannot have was left in the header when they were reduced to fewer bits.
    bits = 8 * pixels.itemsize
    if not values or not all(-(2 ** (bits - 1)) <= value < 2**bits for value in values):
        return None
    # As the type of the pixels, because many are written without their sign.
    first, *_, last = np.sort(np.array([*values, values[0]]).astype(pixels.dtype))
    hidden = (pixels >= first) & (pixels <= last)
    return hidden if hidden.any() and not hidden.all() else None


def padding_note(pixels: np.ndarray, hidden: Mask) -> str:
    """Return a note if padding, `(height, width)`, is large and has many values, as a picture has; or ""."""
    share = float(hidden.mean())
    if share < _MAX_PADDING or len(np.unique(thinned(pixels)[thinned(hidden)])) <= _PADDING_VALUES:
        return ""
    return f"PixelPaddingValue and PixelPaddingRangeLimit of its header hide {share:.0%} of the picture as black"


def shape_note(pixels: np.ndarray, file: Dataset) -> str:
    """Return a note if pixels of an uncompressed film, `(height, width)`, fit another width than the header's, or "".

    With the true width, neighbours in a column are alike; with another one, they lie far from one another.
    """
    is_plain = "PixelData" in file and not file.file_meta.TransferSyntaxUID.is_encapsulated
    if not is_plain or pixels.ndim != 2 or len(pixels) < _ASPECT:
        return ""
    flat, width = pixels.reshape(-1), pixels.shape[1]
    places = np.linspace(0, flat.size - 1, _PLACES).astype(int)

    def step_below(columns: int) -> float:
        below = places + columns
        inside = below < flat.size
        return float(np.abs(flat[below[inside]].astype(float) - flat[places[inside]]).mean())

    usual = float(np.abs(np.diff(flat[places[np.argsort(places % 997)]].astype(float))).mean())  # of any two pixels
    ours = step_below(width)
    is_alike = ours < _ALIKE * usual
    if is_alike and all(step_below(width // part) > ours for part in (2, 3, 4)):  # nearly always
        return ""
    widths = [each for each in range(math.isqrt(flat.size // _ASPECT), math.isqrt(_ASPECT * flat.size) + 1)
              if flat.size % each == 0 and each != width]  # fmt: skip
    steps = {each: step_below(each) for each in widths}
    best = min(steps, key=steps.__getitem__, default=0)
    if not best or steps[best] >= _FITS * (usual if is_alike else ours) or steps[best] > ours:
        return ""
    if step_below(best // 2) < steps[best]:  # a gradient, in which nearer pixels are more alike
        return ""
    rows = flat.size // best
    return f"its pixels seem to be {rows} rows of {best}, not the Rows and Columns of its header: export it again"


def check_lookup_table(descriptor: Sequence[int]) -> tuple[int, int]:
    """Return how many entries a lookup table has, and the bits of an entry. Raises ValueError if these are invalid."""
    entries, _, bits = descriptor  # the second number is the first value that the table maps
    entries = entries or MAX_LUT_ENTRIES
    if not (0 < entries <= MAX_LUT_ENTRIES and 0 < bits <= MAX_LUT_BITS):
        raise ValueError
    return entries, bits
