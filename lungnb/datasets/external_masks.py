"""Read masks of any program, and masks of the ground truth, as they are: without resizing and without cleaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lungnb.datasets.reading import have_one_place
from lungnb.formats.dicom_header import NO_TURN, Turn, frame_header, pixel_size_mm, turn_of
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.dicom_seg import read_flat_seg, read_volume_seg
from lungnb.formats.images import areas_of, is_volume, read_volume
from lungnb.formats.labels import doubt_of, find_values, lung_mask
from lungnb.formats.nifti import is_nifti, read_nifti
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.rasters import read_raster, refuse_pages
from lungnb.formats.volumes import Volume
from lungnb.masks import Mask

if TYPE_CHECKING:
    from pydicom import Dataset


class ExternalMask(NamedTuple):
    """The mask of an image or a volume, and the pixel spacing and the volume that its file gives."""

    mask: Mask  # (height, width) or (slices, height, width)
    spacing_mm: tuple[float, ...] | None = None  # along each axis of the mask
    volume: Volume | None = None  # of a NIfTI file, with its place
    grey_share: float = 0.0  # of the pixels, whose value is not near a label
    doubt: str = ""  # why its values are not to be trusted
    labels: tuple[str, ...] = ()  # names of labels or colours of lung, if there are several and the user named none
    numbers: np.ndarray | None = None  # uint8, of the mask's shape: 1 for the first of `labels`, and so on


def read_external(
    files: Sequence[Path], labels: Sequence[int] | None = None, grids: Iterable[Path] = ()
) -> ExternalMask:
    """Return the union of mask files of one image or volume.

    Args:
        files: PNG, BMP, TIFF, JPEG or GIF files, NIfTI volumes or DICOM Segmentations.
        labels: the labels of lung; by default as in `read_mask`.
        grids: volumes; the first one that exists gives the grid for a DICOM Segmentation of several slices.

    A volume of one slice is an image. Raises Refused, naming the file, if one cannot be read, holds values that are not
    numbers, or holds several pictures, and if the files differ in size or place.
    """
    first, *others = sorted(files, key=lambda file: not is_nifti(file))  # a NIfTI gives DICOM Segmentations their grid
    values = tuple(labels) if labels else None
    union = _read_file(first, values, grids)
    for file in others:
        part = _read_file(file, values, [first] if union.volume else grids)
        refuse_unlike(part, union, file, str(first))
        union = union._replace(mask=union.mask | part.mask, labels=(), numbers=None)
    return union


def refuse_unlike(one: ExternalMask, other: ExternalMask, name: object, other_name: str) -> None:
    """Raise Refused, naming both, if two masks differ in size, or in spacing or position by their headers."""
    if one.mask.shape != other.mask.shape:
        is_turned = np.swapaxes(one.mask, -2, -1).shape == other.mask.shape
        hint = " It may be turned by a quarter." if is_turned else ""
        raise Refused(
            f"{name}: is {size_of(one.mask)}, but {other_name} is {size_of(other.mask)}.{hint} Save both at one size."
        )
    if one.volume and other.volume and one.mask.ndim == 3 and not have_one_place(one.volume, other.volume):
        raise Refused(
            f"{name}: lies elsewhere than {other_name}, by what the headers say of spacing and place. Save the mask "
            "with the header of its image."
        )


def size_of(mask: Mask) -> str:
    """Return the size of a mask in words: its width and height, and the number of slices of a volume.

    >>> size_of(np.zeros((4, 3), bool)), size_of(np.zeros((7, 4, 3), bool))
    ('3x4 px', '3x4 px and 7 slices')
    """
    size = f"{mask.shape[-1]}x{mask.shape[-2]} px"
    return f"{size} and {len(mask)} slices" if mask.ndim == 3 else size


def image_pixel_mm(path: Path) -> tuple[float, float] | None:
    """Return the height and the width of the pixels of a DICOM image in mm; None for other files and if unknown."""
    header = _header_of(path)
    return pixel_size_mm(header) if header else None


def turn_of_film(path: Path) -> Turn:
    """Return the turn that shows a DICOM film upright; none for other files and for films that are stored upright."""
    header = _header_of(path)
    return turn_of(header) if header else NO_TURN


def turned_like(mask: ExternalMask, film: Path) -> ExternalMask:
    """Return the mask of a DICOM film turned upright, as the film is shown. Masks of other images stay as they are.

    A mask that has the size of the upright film, but not that of the stored one, was drawn on the upright film, and
    stays as it is. So do NIfTI masks, because they are read upright.
    """
    header = _header_of(film)
    if not header or mask.volume or mask.mask.ndim != 2:
        return mask
    turn, spacing_mm = turn_of(header), mask.spacing_mm
    if turn.transposed and mask.mask.shape != (header.Rows, header.Columns):
        return mask
    upright_mm = spacing_mm[::-1] if spacing_mm and turn.transposed else spacing_mm
    numbers = None if mask.numbers is None else turn.upright(mask.numbers)
    return mask._replace(mask=turn.upright(mask.mask), spacing_mm=upright_mm, numbers=numbers)


def _header_of(path: Path) -> Dataset | None:
    """Return the header of a DICOM image; None for other files."""
    if not path.is_file() or not is_dicom(path):
        return None
    with guarded(path):
        return frame_header(open_dicom(path, header_only=True))


def _read_file(file: Path, labels: tuple[int, ...] | None, grids: Iterable[Path]) -> ExternalMask:
    with guarded(file, "a mask"):
        if is_nifti(file):
            volume = read_nifti(file)
            external = _of_array(volume.hounsfield, labels, file)._replace(spacing_mm=volume.spacing_mm, volume=volume)
            if len(external.mask) > 1:
                return external
            numbers = None if external.numbers is None else external.numbers[0]
            return external._replace(mask=external.mask[0], spacing_mm=volume.spacing_mm[1:], numbers=numbers)
        if is_dicom(file):
            return _read_seg(file, labels, grids)
        raster = read_raster(file, is_mask=True)
        refuse_pages(raster, file)
        return _of_array(raster.pixels, labels, file)


def _of_array(array: np.ndarray, labels: tuple[int, ...] | None, file: Path) -> ExternalMask:
    """Return the mask in the values of a file. Without `labels`, add the labels found, and why they may be wrong.

    Raises Refused for NaN and infinite values, which a mask must not have.
    """
    if array.dtype.kind == "f" and (count := np.count_nonzero(~np.isfinite(array))):
        raise Refused(f"{file}: {count:,} of its values are not numbers (NaN or infinite). Save 0 and 1 instead.")
    if labels:
        return ExternalMask(lung_mask(array, labels, file))
    values = find_values(array)
    mask = lung_mask(array, None, file, values=values)
    external = ExternalMask(mask, grey_share=values.grey_share, doubt=doubt_of(file, values))
    if len(areas := areas_of(file, array, values)) < 2:
        return external
    numbers = np.zeros(array.shape, np.uint8)
    for number, area in enumerate(areas.values(), 1):
        numbers[area] = number
    return external._replace(labels=tuple(areas), numbers=numbers)


def _read_seg(file: Path, labels: tuple[int, ...] | None, grids: Iterable[Path]) -> ExternalMask:
    for grid in grids:
        if is_volume(grid) and len((volume := read_volume(grid)).hounsfield) > 1:
            return ExternalMask(read_volume_seg(file, volume, labels), volume.spacing_mm, volume)
    return ExternalMask(read_flat_seg(file, labels), image_pixel_mm(file))
