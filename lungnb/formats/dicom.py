"""Read one DICOM image as an array: Hounsfield units, or grey as its own window or table shows it. Needs pydicom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb.formats.dicom_header import (
    count_frames,
    frame_header,
    is_ct_volume,
    is_in_hounsfield,
    is_segmentation,
    other_object,
    whole_number,
)
from lungnb.formats.dicom_opening import open_dicom
from lungnb.formats.jpeg import refuse_jpeg, stream_size
from lungnb.formats.opening import Refused, guarded, refuse_shape
from lungnb.formats.pixels import row_blocks
from lungnb.formats.ranges import LUNG_WINDOW, GreyRange, grey_range
from lungnb.masks import Floats, Mask

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_LUT_ENTRIES, MAX_LUT_BITS = 2**16, 16  # limits of a lookup table in the DICOM standard
MAX_VIEWS = 8  # try so many windows of a file
_LIBJPEG = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (51, 57, 70))  # lossless and 12-bit JPEG
_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_USUAL_OFFSET = 1024  # that CT values have above Hounsfield units if the file does not say
# A window or a table fits if it shows more pixels than the first share neither black nor white, fewer than the second
# white, and if its greys span more than the third share of those from black to white. A span of a quarter, such as of
# 10 bits in a window of 12, costs a Dice of 0.04; 40 % white costs 0.06.
_MIN_GREY_SHARE, _MAX_WHITE_SHARE, _MIN_SPAN = 0.15, 0.45, 0.3
_SAMPLE_SIDE = 256  # look at about so many pixels in each direction to see whether a window fits
Show = Callable[[np.ndarray], np.ndarray]  # from values to 0 (black) to 1 (white)


def read_dicom(path: Path) -> tuple[np.ndarray, Dataset, str]:
    """Return the first frame of a DICOM file, `(height, width)`, its header, and a note on how it is shown.

    CT comes in Hounsfield units and colours as they are, as 3 channels. Everything else comes as grey from 0 to 1,
    float32, shown through the file's own VOI LUT or window, with bone white. If that does not fit its values, or is
    absent, `grey_range` says what is black and white. Padding is black, of CT at most -1000 HU.

    Raises Refused, naming the file, if it cannot be read as an image, if it is a DICOM Segmentation or CT with several
    frames, and if pydicom is missing.
    """
    with guarded(path, "a DICOM image"):
        file = open_dicom(path)
        if is_ct_volume(file):
            raise Refused(f"{path}: holds {count_frames(file)} pictures of CT, so it is a volume. Read it as one.")
        if is_segmentation(file) or not file.get("Rows"):
            remedy = "Put it into a folder of masks" if is_segmentation(file) else "Leave it out"
            raise Refused(f"{path}: no picture, but a {other_object(file)}. {remedy}.")
        pixels, header, note = read_frame(file, path), frame_header(file), ""
        for name in _PIXEL_ELEMENTS:
            file.pop(name, None)  # frees memory, because making the values grey takes more
            header.pop(name, None)
        if pixels.ndim == 3:
            return pixels, header, note
        if is_in_hounsfield(header):
            return to_hounsfield(pixels, header, path), header, note
        values, note = _to_shown(_to_values(pixels, header, path), is_padding(pixels, header), header, path)
        return values, header, note


def read_frame(file: Dataset, path: Path, index: int = 0) -> np.ndarray:
    """Return a frame of an opened DICOM file as it is stored, `(height, width)`, or colours as 3 channels.

    Values begin at bit 0, wherever HighBit places them. Bits beyond BitsStored, such as those of an overlay, are
    cleared, except of padding.

    Raises Refused, naming the file, if it holds no picture, too large a picture, or one that cannot be decoded.
    """
    from pydicom.pixels import apply_color_lut

    sizes = [whole_number(file.get(name)) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = sizes
    if not any(name in file for name in _PIXEL_ELEMENTS):
        raise Refused(f"{path}: holds no picture: it may be a report, or a note on images elsewhere. Leave it out.")
    if not rows or not columns:
        raise Refused(f"{path}: cannot be read as a DICOM image; it has no size. Export it again.")
    is_palette = file.get("PhotometricInterpretation") == "PALETTE COLOR"
    # The pixels as stored and as decoded; of a palette also three colours.
    refuse_shape(path, rows, columns, 2 * (samples + 3 * is_palette) * max(bits, 8) / 8)
    try:
        _refuse_other_stream(file, path, index)
        pixels = _without_unused_bits(_decode(file, index, path), file)
        if not is_palette:
            return pixels
        for colour in ("Red", "Green", "Blue"):
            _check_table(file[f"{colour}PaletteColorLookupTableDescriptor"].value)
        return apply_color_lut(pixels, file)
    except (Refused, MemoryError):
        raise
    except Exception:  # pydicom raises whatever its parsers raise
        raise Refused(
            f"{path}: cannot be read as a DICOM image: its pixels are damaged or cut. Export it again."
        ) from None


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


def _without_unused_bits(pixels: np.ndarray, file: Dataset) -> np.ndarray:
    """Return integers with the bits beyond BitsStored cleared, or set for negative ones; padding stays as it is."""
    unused = 8 * pixels.itemsize - whole_number(file.get("BitsStored"))
    if pixels.dtype.kind not in "iu" or not 0 < unused < 8 * pixels.itemsize:
        return pixels
    pixels = _from_bit_0(pixels, file, unused)
    hidden = is_padding(pixels, file)
    stored = pixels << unused >> unused
    return stored if hidden is None else np.where(hidden, pixels, stored)


def _from_bit_0(pixels: np.ndarray, file: Dataset, unused: int) -> np.ndarray:
    """Return integers moved down to bit 0 if HighBit says that they end above BitsStored - 1 (PS3.5, 8.1.1).

    A HighBit that the values contradict is not believed: none of them uses the bits above BitsStored, and some use the
    bits that would be moved out. Neither is one that leaves no room for the value.
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
    if not values:
        return None
    first, *_, last = np.sort(
        np.array([*values, values[0]]).astype(pixels.dtype)
    )  # many are written without their sign
    hidden = (pixels >= first) & (pixels <= last)
    return hidden if hidden.any() and not hidden.all() else None


def to_hounsfield(pixels: np.ndarray, header: Dataset, path: Path) -> Floats:
    """Return stored values of CT, `(height, width)`, as HU, float32. Padding is at most -1000 HU, as air is.

    MONOCHROME1 and windows say how values are shown, so they change nothing. Raises Refused, naming the file, if its
    modality lookup table makes no sense.
    """
    values, hidden = _to_values(pixels, header, path), is_padding(pixels, header)
    if hidden is not None:
        np.minimum(values, LUNG_WINDOW[0], out=values, where=hidden)
    return values


def _to_values(pixels: np.ndarray, header: Dataset, path: Path) -> Floats:
    """Return stored values after the modality LUT, float32."""
    from pydicom.pixels import apply_modality_lut

    values = np.empty(pixels.shape, np.float32)
    try:
        if header.get("ModalityLUTSequence"):
            _check_table(header.ModalityLUTSequence[0].LUTDescriptor)
        elif header.get("RescaleIntercept") is not None and header.get("RescaleSlope") is None:
            header.RescaleSlope = 1  # pydicom would leave out the intercept too
        for rows in row_blocks(pixels.shape):  # to spare memory
            values[rows] = apply_modality_lut(pixels[rows], header)
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds for a table that makes no sense
        raise Refused(f"{path}: its rescaling or modality lookup table makes no sense. Export it again.") from None
    return values


def _to_shown(values: Floats, hidden: Mask | None, header: Dataset, path: Path) -> tuple[Floats, str]:
    """Return values after the modality LUT as 0 (black) to 1 (white), bone white, and a note if no window fits them."""
    step = [-(-side // _SAMPLE_SIDE) for side in values.shape]
    sample = values[:: step[0], :: step[1]]
    if hidden is not None:
        sample = sample[~hidden[:: step[0], :: step[1]]]
    is_ct = header.get("Modality") == "CT"  # whose windows are in Hounsfield units, which these values are not
    is_inverse = header.get("PhotometricInterpretation") == "MONOCHROME1"
    views = _views(header) if sample.size and not is_ct else iter(())
    show = next((view for view in views if _fits(1 - view(sample) if is_inverse else view(sample))), None)
    note = ""
    if show is None:
        (low, high), note = _range_of(values if hidden is None else values[~hidden], is_ct, path)
        show = partial(_between, low=low, high=high)
        if not is_ct and any(header.get(name) for name in ("WindowWidth", "VOILUTSequence")):
            note = ", ".join(filter(None, ["its window does not fit its values and is not used", note]))
    shown = np.empty_like(values)
    for rows in row_blocks(values.shape):
        shown[rows] = show(values[rows])
    if is_inverse:
        np.subtract(1, shown, out=shown)
    if hidden is not None:
        shown[hidden] = 0
    return shown, note


def _range_of(values: Floats, is_ct: bool, path: Path) -> GreyRange:
    """Return which values are shown black and white, for CT as if its values had the usual offset from HU."""
    low = float(values.min())
    if not is_ct:  # whose negative values are not Hounsfield units
        (black, white), note = grey_range(values - min(low, 0), name=path)
        return GreyRange((black + min(low, 0), white + min(low, 0)), note)
    range_ = grey_range(values, name=path)
    offset = _USUAL_OFFSET if low >= 0 and range_.window[1] > 255 else 0
    if grey_range(values - offset, name=path).window != LUNG_WINDOW:
        return range_
    note = f"no RescaleIntercept: {-offset} is taken for it"
    return GreyRange((LUNG_WINDOW[0] + offset, LUNG_WINDOW[1] + offset), note)


def _fits(shown: Floats) -> bool:
    """Return whether a window or a table shows values well: some grey, not most white, and over some span of greys."""
    grey = (shown > 0.5 / 255) & (shown < 1 - 0.5 / 255)
    span = np.ptp(np.percentile(shown, (1, 99)))
    return bool(grey.mean() > _MIN_GREY_SHARE and (shown >= 1).mean() < _MAX_WHITE_SHARE and span > _MIN_SPAN)


def _views(header: Dataset) -> Iterator[Show]:
    """Yield what the VOI LUT and the windows of a DICOM file make of values; leave out those that make no sense."""
    try:
        if header.get("VOILUTSequence"):
            yield _table(header)
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds for a table that makes no sense
        pass
    function = str(header.get("VOILUTFunction")).strip()
    for center, width in zip(_numbers(header, "WindowCenter"), _numbers(header, "WindowWidth"), strict=False):
        if function == "SIGMOID" and width > 0:
            yield partial(_sigmoid, center=center, width=width)
        elif function == "LINEAR_EXACT" and width > 0:
            yield partial(_between, low=center - width / 2, high=center + width / 2)
        elif width > 1:
            yield partial(_between, low=center - width / 2, high=center + width / 2 - 1)


def _numbers(header: Dataset, name: str) -> list[float]:
    """Return the numbers of an element, one or several; none if they are not numbers."""
    try:
        numbers = np.atleast_1d(np.array(header[name].value, float))[:MAX_VIEWS]
    except Exception:  # pydicom raises many kinds for a value that is not a number
        return []
    return [float(number) for number in numbers if np.isfinite(number)]


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0, 1)


def _sigmoid(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -80, 80)))


def _table(header: Dataset) -> Show:
    """Return what the VOI LUT of a DICOM file makes of values, 0 to 1, and mend its description for pydicom."""
    from pydicom.pixels import apply_voi

    table = header.VOILUTSequence[0].LUTDescriptor
    entries, bits = _check_table(table)
    table[2] = 16  # pydicom 3.0 counts the entries of an 8-bit table in 8 bits too, and misreads long tables
    white = int(apply_voi(np.arange(table[1], table[1] + entries), header).max())
    if white.bit_length() == bits:
        white = 2**bits - 1  # many files state other bits
    return lambda values: apply_voi(np.rint(values).astype(np.int64), header) / white


def _check_table(descriptor: Sequence[int]) -> tuple[int, int]:
    """Return how many entries a lookup table has and the bits of an entry. Raises ValueError if no table has these."""
    entries, _, bits = descriptor  # the second number is the first value that the table maps
    entries = entries or MAX_LUT_ENTRIES
    if not (0 < entries <= MAX_LUT_ENTRIES and 0 < bits <= MAX_LUT_BITS):
        raise ValueError
    return entries, bits
