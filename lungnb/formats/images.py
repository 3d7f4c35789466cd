"""Read any image file as greyscale or as a mask, any volume, and write arrays as PNG."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lungnb.files import written
from lungnb.formats.deep import deep_mode
from lungnb.formats.dicom import read_dicom
from lungnb.formats.dicom_header import (
    NO_TURN,
    Turn,
    count_frames,
    is_ct_volume,
    is_segmentation,
    pixel_size_mm,
    size_doubt,
    turn_of,
)
from lungnb.formats.dicom_opening import DICOM_SUFFIXES, is_dicom, open_dicom
from lungnb.formats.dicom_seg import read_flat_seg
from lungnb.formats.dicom_series import read_dicom_series
from lungnb.formats.labels import MaskValues, find_values, lung_mask
from lungnb.formats.nifti import is_nifti, read_nifti
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.pixels import COLOURED, show_grey
from lungnb.formats.ranges import LUNG_WINDOW, doubt_of_sign, grey_range, with_sign, without_fill
from lungnb.formats.rasters import RASTER_FORMATS, UPRIGHT, has_more, opened_raster, read_raster, refuse_pages
from lungnb.formats.volumes import Volume
from lungnb.masks import Grey, Mask, Window

# Colours of a mask are taken for one if each part lies in the same bin of this width (of 255); rare ones are edges
_COLOUR_STEP, _COLOUR_SHARE = 64, 0.05
_MODE_NAMES = {"P": "palette colours", "CMYK": "CMYK colours", "F": "floats", "I": "32-bit"}  # by Pillow's modes


class Picture(NamedTuple):
    """An image file as it was read."""

    grey: Grey  # (height, width), uint8
    pixel_mm: tuple[float, float] | None = None  # height and width of a pixel, mm; None if unknown
    turn: Turn = NO_TURN
    has_more: bool = False  # whether the file holds more pictures than this one, the first
    note: str = ""  # on values that were left out, and on what was done to the file
    orientation: int = UPRIGHT  # 1 to 8, in which way EXIF turns what the file stores


def read_image(path: str | Path, window: Window | None = None) -> Grey:
    """Return an image file as greyscale, `(height, width)`, uint8.

    Without `window`, 8-bit images come as they are: colours become luminance, transparency is dropped, EXIF rotation is
    undone. Images with values below -200 are taken for CT slices in Hounsfield units and shown through LUNG_WINDOW.
    Other deeper images (12 or 16 bit, floats) are scaled from their own range. DICOM needs the extra `medical`. Its
    first frame is read: CT in Hounsfield units, everything else as its own VOI LUT or window shows it, bone white. A
    window that does not fit the values is not used.

    With `window` (black and white, HU) the image must be in Hounsfield units. Raises ValueError, naming the file, if it
    is not, and for every file that is not a readable image of one of the formats.
    """
    return read_picture(path, window).grey


def read_picture(path: str | Path, window: Window | None = None) -> Picture:
    """Return an image file as `read_image` does, with pixel size and orientation as far as the file tells."""
    path = Path(path)
    with guarded(path):
        if is_dicom(path) or path.suffix.lower() in DICOM_SUFFIXES:
            values, header, view = read_dicom(path)
            grey, note = show_grey(values, window, path)
            pixel_mm = pixel_size_mm(header)
            is_unused = pixel_mm is None and bool(header.get("PixelSpacing"))
            size = "its PixelSpacing is impossible, and is not used" if is_unused else size_doubt(grey.shape, pixel_mm)
            note = ", ".join(filter(None, [view, note, size]))
            return Picture(grey, pixel_mm, turn_of(header), count_frames(header) > 1, note)
        raster = read_raster(path)
        grey, note = show_grey(raster.pixels, window, path)
        notes = ["turned by its EXIF data" if raster.orientation != UPRIGHT else ""]
        note = ", ".join(filter(None, [*notes, COLOURED if raster.is_coloured else "", note]))
        return Picture(grey, has_more=raster.has_more, note=note, orientation=raster.orientation)


def is_volume(path: str | Path) -> bool:
    """Return whether a path is a folder, a NIfTI file, or a readable DICOM file with several frames of CT."""
    path = Path(path)
    if os.path.isdir(path) or is_nifti(path):
        return True
    with suppress(Refused):
        return is_dicom(path) and is_ct_volume(open_dicom(path, header_only=True))
    return False


def read_volume(path: str | Path) -> Volume:
    """Return a NIfTI file, a DICOM file of several frames, or the DICOM series in a folder.

    See `read_nifti` and `read_dicom_series`. In CT, a value that fills the corners of slices is air (`without_fill`).
    """
    is_dicom_volume = os.path.isdir(path) or not is_nifti(Path(path))
    volume = read_dicom_series(path) if is_dicom_volume else read_nifti(path)
    hounsfield, sign = with_sign(volume.hounsfield)
    notes = [volume.note, sign, size_doubt(hounsfield.shape[1:], volume.spacing_mm[1:])]
    notes += [doubt_of_sign(hounsfield) if is_dicom_volume else ""]
    notes.append(_fill_with_air(hounsfield))
    return volume._replace(hounsfield=hounsfield, note=", ".join(filter(None, notes)))


def _fill_with_air(hounsfield: np.ndarray) -> str:
    """Replace the fill in each slice of a volume of CT (`without_fill`), in place; return one note, or ""."""
    note = ""
    with suppress(Refused):  # if no value is a number
        if grey_range(hounsfield).window == LUNG_WINDOW:
            for slice_hu in hounsfield:
                filled, of_slice = without_fill(slice_hu)
                slice_hu[:], note = filled, note or of_slice
    return note


def read_mask(path: str | Path, values: tuple[int, ...] | None = None) -> Mask:
    """Return a mask file as `(height, width)`, bool.

    Args:
        path: a PNG, JPEG, BMP, TIFF or GIF file, or a DICOM Segmentation of one image (see `read_flat_seg`). In a file
            with colours, the strongest colour of a pixel counts, so that blue is as bright as red.
        values: the values of the lungs, for data sets that mark several organs. By default, lung is every label except
            0, whatever the labels; in a mask of many greys, every pixel above half of the largest. See `find_values`.

    Raises ValueError, naming the file, if it is not a readable mask, if it holds several pictures, or if its labels are
    of other organs too.
    """
    return read_turned_mask(path, values)[0]


def read_turned_mask(path: str | Path, values: tuple[int, ...] | None = None) -> tuple[Mask, int]:
    """Return a mask file as `read_mask` does, and its EXIF orientation, 1 (not turned) to 8, which was undone."""
    with guarded(path):
        if is_dicom(Path(path)):
            return read_flat_seg(Path(path), values), UPRIGHT
        raster = read_raster(Path(path), is_mask=True)
        refuse_pages(raster, path)
        return lung_mask(raster.pixels, values, path), raster.orientation


def read_labels(path: str | Path) -> tuple[dict[str, Mask], MaskValues]:
    """Return the areas of a mask file (`areas_of`) and what its values mean; errors as in `read_mask`."""
    with guarded(path):
        pixels = read_raster(Path(path), is_mask=True).pixels
        values = find_values(pixels)
        return areas_of(Path(path), pixels, values), values


def areas_of(path: Path, pixels: np.ndarray, values: MaskValues) -> dict[str, Mask]:
    """Return the areas of a mask that was read: of each `label 2`, or, if lungs have colours, `colour (0, 255, 0)`."""
    areas = {f"label {label:g}": pixels == label for label in values.labels}
    if path.suffix.lower() not in RASTER_FORMATS:
        return areas
    with opened_raster(path, is_mask=True) as opened:
        if opened.mode not in ("P", "RGB", "RGBA"):
            return areas
        colours = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), np.uint16)
    if not np.ptp(colours, axis=-1).any():  # greys, so labels
        return areas
    kinds = (colours + _COLOUR_STEP // 2) // _COLOUR_STEP @ np.array([1, 16, 256], np.uint16)
    kinds[pixels < values.threshold] = 0
    kind, counts = np.unique(kinds[kinds > 0], return_counts=True)
    parts = [kinds == each for each in kind[counts > _COLOUR_SHARE * counts.sum()]]
    named = {f"colour {tuple(np.median(colours[part], axis=0).astype(int).tolist())}": part for part in parts}
    return named if len(named) > 1 else areas


def peculiarity(path: str | Path) -> str:
    """Return how a readable image file differs from plain 8-bit greyscale or colour, such as "16-bit", or ""."""
    path = Path(path)
    with guarded(path):
        if is_dicom(path):
            header = open_dicom(path, header_only=True)
            is_picture = not (is_segmentation(header) or is_ct_volume(header))
            frames = count_frames(header)
            return f"{frames} frames, of which the first is read" if frames > 1 and is_picture else ""
        with opened_raster(path) as image:
            is_deep = image.mode.startswith("I;16") or bool(deep_mode(image))
            is_clear = image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
            traits = [
                image.info.get("numbers") or ("16-bit" if is_deep else _MODE_NAMES.get(image.mode, "")),
                "transparency" if is_clear else "",
                "several pages, of which the first is read" if has_more(image) else "",
            ]
            return ", ".join(filter(None, traits))


def write_png(path: str | Path, array: Grey | Mask) -> None:
    """Write an array as PNG: uint8 `(height, width)` or `(height, width, 3 or 4)`, or bool as 0 and 255."""
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    with written(path) as temporary:
        Image.fromarray(array).save(temporary, "PNG")
