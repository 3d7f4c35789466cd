"""Read an image with its masks, or a volume with its masks as slices, on one grid."""

import os
import re
import threading
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lungnb.datasets.file_names import sides_of
from lungnb.datasets.pairing import Pair
from lungnb.formats.dicom_header import BY_HEADER
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.dicom_seg import read_volume_seg
from lungnb.formats.images import Picture, is_volume, read_picture, read_turned_mask, read_volume
from lungnb.formats.labels import lung_mask
from lungnb.formats.nifti import read_nifti
from lungnb.formats.opening import Refused, guarded, refuse_memory
from lungnb.formats.pixels import resample_mm, shrink, through_window
from lungnb.formats.ranges import grey_range
from lungnb.formats.rasters import turned_otherwise
from lungnb.formats.volumes import Volume, central_slices, drawn_slices
from lungnb.masks import Mask
from lungnb.settings import Settings

LONGEST_SIDE = 1024  # px; larger images are shrunk, because networks see less
_MAX_CHEST_ASPECT = 8  # longer side to shorter; a thinner image shows no chest
_MAX_ASPECT_ERROR = 0.01  # relative, of a mask's aspect ratio to its image's; rounding explains less, mistakes are more
_MAX_SPACING_ERROR = 0.01  # relative, of a mask's spacing to its volume's
_ONE_VOLUME = threading.Lock()  # because a volume takes about 300 MB, and its mask as much again
PixelSize = tuple[float, float] | tuple[None, None]  # height and width in mm, if known
ImageWithMask = tuple[str, np.ndarray, np.ndarray, PixelSize]  # id, uint8 image, bool mask, pixel size
Finding = tuple[str, str, str, str]  # file, severity, what, advice
# What the browser calls a slice that a person corrected, after the name of its volume. A digest may follow.
SLICE_NAME = "{}_slice_{:03}"
SLICE_ENDING = re.compile(r"_slice_\d+(_[0-9a-f]{8})?$")
NONE_NEEDED = "none needed: it was converted"
_LOOK = "look at it in the gallery; take it out if it shows no chest from the front"
_REMEDY = re.compile("[:.] (give|crop|if|scale|export|save)", re.IGNORECASE)  # begins what to do in notes on images
_SIZE = re.compile("pixel size|PixelSpacing|pixdim")
_TWICE = "joined with a mask that shows nearly the same:"
_ONE_DRAWING = "if they are two drawings of the same lungs, leave one"
_SLICES_TO_COMPARE = 16  # of the masks of a volume, to see whether two are drawings of the same lungs
_WIDER_SHARE = 0.4  # of a drawing: by so little another one of the same lungs is larger; a second lung is larger
_APART = "EXIF data turn the image and its mask differently"


class ReadOptions(NamedTuple):
    """The options for reading images and masks: settings of the same names; labels of lung may be of the catalogue."""

    window: tuple[float, float] | None = None
    spacing: float = Settings.spacing
    pixel_mm: float = Settings.pixel_mm
    volume_slices: int = Settings.volume_slices
    mask_values: tuple[int, ...] | None = None


def read_pair(
    pair: Pair, raw: Path, options: ReadOptions, is_drawn: bool = False
) -> tuple[list[ImageWithMask], list[Finding]]:
    """Return the image and the mask of a pair, or several slices (`options.volume_slices`) of a volume, with notes.

    These slices are spaced evenly over the central half of the volume; with `is_drawn`, over those whose mask has lung.

    Raises ValueError, which names files by their paths within `raw`, for a pair that cannot be used.
    """
    read = partial(_read_volumes, is_drawn=is_drawn) if is_volume(raw / pair.image) else _read_images
    try:
        with guarded(raw / pair.image):
            return read(pair, raw, options)
    except ValueError as error:
        raise ValueError(str(error).replace(f"{raw}{os.sep}", "")) from error


def _read_images(pair: Pair, raw: Path, options: ReadOptions) -> tuple[list[ImageWithMask], list[Finding]]:
    """Return the image, the mask and the pixel size of a pair of image files, and notes on them."""
    picture = read_picture(raw / pair.image, options.window)
    image, given_mm = picture.grey, (options.pixel_mm, options.pixel_mm) if options.pixel_mm else None
    pixel_mm = picture.pixel_mm or pair.pixel_mm or given_mm
    notes = _said(pair.image, picture.note)
    turned = [read_turned_mask(raw / mask, options.mask_values) for mask in pair.masks]
    height, width = image.shape
    if max(height, width) > _MAX_CHEST_ASPECT * min(height, width):
        raise Refused(f"{pair.image} is {width}x{height}, too thin for a picture of a chest")
    masks, is_apart = _turn_alike(turned, picture)
    if is_apart:
        advice = "look at it in the gallery; save images and masks as they are shown, without EXIF data"
        notes.append((pair.image.as_posix(), "warning", _APART, advice))
    for path, mask in zip(pair.masks, masks, strict=True):
        if not _have_one_shape(mask, image):
            raise Refused(
                f"mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}. Save both at one size"
            )
    image = shrink(image, LONGEST_SIDE)
    size = image.shape[::-1]  # width and height, for Pillow
    resized = [np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in masks]
    lungs = np.logical_or.reduce(resized)
    notes += _drawn_twice(pair.masks, resized)
    scale = (height / image.shape[0], width / image.shape[1])
    shrunk_mm = (pixel_mm[0] * scale[0], pixel_mm[1] * scale[1]) if pixel_mm else (None, None)
    return [(pair.id, image, lungs, shrunk_mm)], notes


def _said(image: Path, note: str) -> list[Finding]:
    """Return a finding with the note on an image, if there is one; a warning if its header says it is no chest."""
    severity, advice = ("warning", _LOOK) if BY_HEADER in note else ("note", NONE_NEEDED)
    if severity == "note" and _REMEDY.search(note):
        advice = "do so, or take it out"
    elif severity == "note" and _SIZE.search(note):
        advice = "correct its pixel size, if it is not right"
    return [(image.as_posix(), severity, note, advice)] if note else []


def _have_one_shape(mask: np.ndarray, image: np.ndarray) -> bool:
    aspect, image_aspect = (array.shape[1] / array.shape[0] for array in (mask, image))
    return bool(abs(aspect - image_aspect) <= _MAX_ASPECT_ERROR * image_aspect)


def _drawn_twice(paths: tuple[Path, ...], masks: list[Mask]) -> list[Finding]:
    """Return a finding for each mask of an image that seems to be another drawing of what an earlier one shows.

    Parts of lungs do not overlap, and a lung lies within both lungs. Two drawings overlap, and neither contains the
    other, or one is little larger and no name tells that it is one lung.
    """
    findings = []
    for (first, one), (second, other) in combinations(zip(paths, masks, strict=True), 2):
        shared, alone, beyond = (np.count_nonzero(part) for part in (one & other, one & ~other, other & ~one))
        has_sides = bool(sides_of(first) or sides_of(second))
        is_wider = not has_sides and 0 < max(alone, beyond) < _WIDER_SHARE * shared
        if (shared > max(alone, beyond) and min(alone, beyond) > 0) or is_wider:
            findings.append((second.as_posix(), "warning", f"{_TWICE} {first.as_posix()}", _ONE_DRAWING))
    return findings


def _turn_alike(turned: list[tuple[Mask, int]], picture: Picture) -> tuple[list[Mask], bool]:
    """Return masks, given with their EXIF orientations, turned like their image, and whether a turn is in doubt.

    A mask that was drawn on the pixels as they are stored, or whose image has lost its EXIF data, fits the image only
    if it is turned as EXIF turns the image. If it fits in both ways, as a square one does and any one upside down, it
    stays as it is.
    """
    masks, is_apart = [mask for mask, _ in turned], False
    for number, (mask, orientation) in enumerate(turned):
        if orientation != picture.orientation:
            alike = turned_otherwise(mask, orientation, picture.orientation)
            if not _have_one_shape(mask, picture.grey):
                masks[number] = alike
            else:
                is_apart |= _have_one_shape(alike, picture.grey)
    return masks, is_apart


def _read_volumes(
    pair: Pair, raw: Path, options: ReadOptions, is_drawn: bool
) -> tuple[list[ImageWithMask], list[Finding]]:
    """Return slices of a volume and its masks, NIfTI or DICOM Segmentations, and notes on them."""
    with _ONE_VOLUME:
        volume = read_volume(raw / pair.image)
        parts: list[Mask] = []  # some slices of each mask, to see whether two show the same
        lung = np.zeros(volume.hounsfield.shape, bool)
        for mask in pair.masks:
            one = read_lung(raw / mask, volume, options.mask_values)
            lung |= one
            parts.append(one[:: -(-len(one) // _SLICES_TO_COMPARE)].copy())
        count = options.volume_slices
        indices = drawn_slices(lung, count) if is_drawn else central_slices(len(lung), count)
        if not indices:
            names = " and ".join(map(str, pair.masks))
            raise Refused(f"the mask {names} is empty. Draw the lungs, or remove this volume")
        window_hu, note = grey_range(volume.hounsfield, options.window, raw / pair.image)
        images = [through_window(volume.hounsfield[index], window_hu) for index in indices]
        lungs = [*lung[indices]]
    note = ", ".join(filter(None, [volume.note, note]))
    notes = _said(pair.image, note)
    notes += _drawn_twice(pair.masks, parts)
    spacing_mm: tuple[float, ...] = volume.spacing_mm[1:]
    if options.spacing:  # resample within slices only, because resampling between them would only blur each
        grid = np.multiply(images[0].shape, spacing_mm) / options.spacing
        refuse_memory(pair.image, 16 * grid.prod() * len(images), f"resampling to {options.spacing:g} mm")
        images = [resample_mm(image, spacing_mm, options.spacing) for image in images]
        lungs = [resample_mm(lung, spacing_mm, options.spacing, is_mask=True) for lung in lungs]
        spacing_mm = (options.spacing, options.spacing)
    size = images[0].shape
    images, lungs = ([shrink(part, LONGEST_SIDE) for part in parts] for parts in (images, lungs))
    pixel_height_mm, pixel_width_mm = np.array(spacing_mm) * size / images[0].shape
    slices: list[ImageWithMask] = [
        (f"{pair.id}_{index:03}", image, lung, (pixel_height_mm, pixel_width_mm))
        for index, image, lung in zip(indices, images, lungs, strict=True)
    ]
    return slices, notes


def read_lung(path: Path, volume: Volume, mask_values: tuple[int, ...] | None) -> np.ndarray:
    """Return a mask as a bool array on the grid of its volume; see `lung_mask` and `read_volume_seg`."""
    if is_dicom(path):
        return read_volume_seg(path, volume, mask_values)
    mask = read_nifti(path)
    if mask.hounsfield.shape != volume.hounsfield.shape:
        shapes = ("x".join(map(str, each.hounsfield.shape)) for each in (mask, volume))
        raise Refused("mask {} has {} voxels, its volume {}. Save both on one grid".format(path, *shapes))
    if not have_one_place(mask, volume):
        what = "lies elsewhere than its volume, by what their headers say of spacing and place"
        raise Refused(f"mask {path} {what}. Save it with the header of its volume")
    return lung_mask(mask.hounsfield, mask_values, path, volume.hounsfield)


def have_one_place(mask: Volume, volume: Volume) -> bool:
    """Return whether the headers of two volumes of one shape give them the same spacing and place."""
    distance_mm = np.abs(np.subtract(mask.origin_mm, volume.origin_mm)).max()
    has_spacing = np.allclose(mask.spacing_mm, volume.spacing_mm, rtol=_MAX_SPACING_ERROR)
    return bool(has_spacing and distance_mm <= max(volume.spacing_mm))
