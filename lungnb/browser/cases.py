"""List the images to browse, from paths, folders and arrays, or from a prepared data set."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.datasets.prepared import ManifestRow, Prepared
from lungnb.datasets.reading import LONGEST_SIDE, SLICE_NAME
from lungnb.formats.folders import stem_of
from lungnb.formats.images import is_volume, read_picture, read_volume
from lungnb.formats.pixels import shrink, through_window, to_grey
from lungnb.formats.ranges import grey_range
from lungnb.masks import Grey, Mask, Window
from lungnb.messages import printable
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import OneImage


class CaseImage(NamedTuple):
    """An image, or a slice of a volume, at its full size."""

    grey: Grey  # (height, width), 0 to 255, as the network sees it
    truth: Mask | None = None  # ground truth, if it is known
    slice: int = 0  # which one of a volume, from 0
    slices: int = 1  # how many the volume has; 1 for an image


class Case(NamedTuple):
    """An image or a volume that was not read yet, and its names."""

    name: str  # to be shown
    key: str  # in the table of marks
    stem: str  # of the files that are written for it
    read: Callable[[int | None], CaseImage]  # takes the slice of a volume; None is the middle one
    read_whole: Callable[[int | None], CaseImage] | None = None  # for the brush, if `read` returns a smaller image


def prepared_cases(prepared: Prepared, split: str, raw: Path, window_hu: Window | None) -> Iterable[Case]:
    """Yield the images of a split of a prepared data set, with their ground truth.

    The brush reads the raw images, in the folder `raw` and through the window with which they were prepared.
    """
    rows_of_source = Counter(prepared.manifest["source_image"])
    for row in prepared.rows(split):
        stem = row["id"]
        if rows_of_source[row["source_image"]] > 1:  # a slice of a volume
            volume, _, number = stem.rpartition("_")
            stem = SLICE_NAME.format(volume, int(number))
        read, read_whole = partial(_read_row, prepared, row), partial(_read_source, prepared, row, raw, window_hu)
        yield Case(printable(row["id"]), row["id"], stem, read, read_whole)


def image_cases(images: OneImage | Iterable[OneImage], window_hu: Window | None) -> Iterable[Case]:
    """Yield the images that paths, folders, patterns and arrays give; the key of an array is a digest of its values."""
    # Keep the volume that was read last, because reading it for each slice would take seconds.
    read_slices = lru_cache(maxsize=1)(partial(_read_slices, window_hu=window_hu))
    for number, item in enumerate([images] if isinstance(images, (str, Path, np.ndarray)) else images, 1):
        if isinstance(item, np.ndarray):
            digest = hashlib.sha256(repr((item.shape, item.dtype)).encode() + item.tobytes()).hexdigest()
            read = partial(_read_array, item, window_hu)
            yield Case(f"array {number}", f"array {digest[:16]}", f"array_{number}", read)
            continue
        for path in list_images(item):
            read = partial(_read_file, path, window_hu, read_slices)
            yield Case(printable(path.name), str(path.absolute()), stem_of(path), read)


def _read_row(prepared: Prepared, row: ManifestRow, _slice: int | None) -> CaseImage:
    return CaseImage(*prepared.pair(row))


def _read_source(
    prepared: Prepared, row: ManifestRow, raw: Path, window_hu: Window | None, _slice: int | None
) -> CaseImage:
    """Return the raw image of a row at full size, or the prepared image if the raw file is a volume or has changed."""
    shown, _ = prepared.pair(row)
    try:
        whole = read_picture(raw / row["source_image"], window_hu).grey
    except (ValueError, OSError):  # it is a volume, or is not there any more
        return CaseImage(shown)
    return CaseImage(whole if np.array_equal(shrink(whole, LONGEST_SIDE), shown) else shown)


def _read_array(array: np.ndarray, window_hu: Window | None, _slice: int | None) -> CaseImage:
    return CaseImage(to_grey(array, window_hu))


def _read_file(
    path: Path, window_hu: Window | None, read_slices: Callable[[Path], Grey], number: int | None
) -> CaseImage:
    """Return a film as the network sees it, upright, or a slice of a volume."""
    if not is_volume(path):
        picture = read_picture(path, window_hu)
        return CaseImage(picture.turn.upright(picture.grey))
    slices = read_slices(path)
    number = len(slices) // 2 if number is None else number
    return CaseImage(slices[number], None, number, len(slices))


def _read_slices(path: Path, window_hu: Window | None) -> Grey:
    """Return all slices of a volume, `(slices, height, width)`, uint8."""
    hounsfield = read_volume(path).hounsfield
    return through_window(hounsfield, grey_range(hounsfield, window_hu, path).window)
