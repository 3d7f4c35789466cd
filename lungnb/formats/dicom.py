"""Read one DICOM image as an array: Hounsfield units, or grey as its own window or table shows it. Needs pydicom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungnb.formats.dicom_frames import (
    PIXEL_ELEMENTS,
    check_lookup_table,
    is_padding,
    padding_note,
    read_frame,
    shape_note,
)
from lungnb.formats.dicom_header import (
    count_frames,
    frame_header,
    is_ct_volume,
    is_in_hounsfield,
    is_segmentation,
    modality_of,
    other_object,
    other_units,
    view_note,
)
from lungnb.formats.dicom_opening import open_dicom
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.pixels import row_blocks, thinned
from lungnb.formats.ranges import LUNG_WINDOW, GreyRange, doubt_of_sign, grey_range
from lungnb.masks import Floats, Mask

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_VIEWS = 8  # try so many windows of a file
_USUAL_OFFSET = 1024  # that CT values have above Hounsfield units if the file does not say
# A window or a table fits if it shows more pixels than the first share neither black nor white, fewer than the second
# white, and if its greys span more than the third share of those from black to white. A span of a quarter, such as of
# 10 bits in a window of 12, costs a Dice of 0.04; 40 % white costs 0.06.
_MIN_GREY_SHARE, _MAX_WHITE_SHARE, _MIN_SPAN = 0.15, 0.45, 0.3
Show = Callable[[np.ndarray], np.ndarray]  # from values to 0 (black) to 1 (white)


def read_dicom(path: Path) -> tuple[np.ndarray, Dataset, str]:
    """Return the first frame of a DICOM file, `(height, width)`, its header, and a note on how it is shown.

    CT comes in Hounsfield units and colours as they are, as 3 channels. Everything else comes as grey from 0 to 1,
    float32, shown through the file's own VOI LUT or window, with bone white. If that does not fit its values, or is
    absent, `grey_range` says what is black and white. Padding is black; in CT, it is at most -1000 HU.

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
        header = frame_header(file)
        if units := other_units(header):
            raise Refused(f"{path}: its values are {units} (RescaleType), not Hounsfield units. Export the CT itself.")
        pixels = read_frame(file, path)
        note = ", ".join(filter(None, [view_note(header), shape_note(pixels, file)]))
        for name in PIXEL_ELEMENTS:
            file.pop(name, None)  # frees memory, because making the values grey takes more
            header.pop(name, None)
        if pixels.ndim == 3:
            return pixels, header, note
        if is_in_hounsfield(header):
            hounsfield = to_hounsfield(pixels, header, path)
            return hounsfield, header, ", ".join(filter(None, [note, doubt_of_sign(hounsfield)]))
        hidden = is_padding(pixels, header)
        of_padding = padding_note(pixels, hidden) if hidden is not None else ""
        values, of_window = _to_shown(_to_values(pixels, header, path), hidden, header, path)
        return values, header, ", ".join(filter(None, [note, of_padding, of_window]))


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
    if _numbers(header, "RescaleSlope") == [0] and not header.get("ModalityLUTSequence"):
        raise Refused(f"{path}: its RescaleSlope is 0, which makes all its values the same. Export it again.")
    if header.get("RescaleIntercept") is None:
        header.pop("RescaleIntercept", None)  # an element without a value
    try:
        if header.get("ModalityLUTSequence"):
            check_lookup_table(header.ModalityLUTSequence[0].LUTDescriptor)
        elif header.get("RescaleIntercept") is not None and header.get("RescaleSlope") is None:
            header.RescaleSlope = 1  # pydicom would leave out the intercept too
        for rows in row_blocks(pixels.shape):  # to spare memory
            values[rows] = apply_modality_lut(pixels[rows], header)
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds for a table that makes no sense
        raise Refused(f"{path}: its rescaling or modality lookup table is not valid. Export it again.") from None
    return values


def _to_shown(values: Floats, hidden: Mask | None, header: Dataset, path: Path) -> tuple[Floats, str]:
    """Return values after the modality LUT as 0 (black) to 1 (white), bone white, and a note if no window fits them."""
    sample = thinned(values) if hidden is None else thinned(values)[~thinned(hidden)]
    is_ct = modality_of(header) == "CT"  # whose windows are in Hounsfield units, which these values are not
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
    """Return which values are shown black and white. For CT without an offset from HU, try the usual offset, too."""
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
    """Return a function that applies the VOI LUT of a DICOM file to values and gives 0 to 1.

    Correct the LUT's description first, because pydicom misreads it.
    """
    from pydicom.pixels import apply_voi

    table = header.VOILUTSequence[0].LUTDescriptor
    entries, bits = check_lookup_table(table)
    table[2] = 16  # pydicom 3.0 counts the entries of an 8-bit table in 8 bits too, and misreads long tables
    white = int(apply_voi(np.arange(table[1], table[1] + entries), header).max())
    if white.bit_length() == bits:
        white = 2**bits - 1  # many files state other bits
    return lambda values: apply_voi(np.rint(values).astype(np.int64), header) / white
