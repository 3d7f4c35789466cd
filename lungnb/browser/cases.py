"""The images to browse: those of paths, folders and arrays, or those of a prepared data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.datasets.prepared import ManifestRow, Prepared
from lungnb.formats.folders import stem_of
from lungnb.formats.images import is_volume, read_picture, read_volume
from lungnb.formats.pixels import through_window, to_grey
from lungnb.formats.ranges import grey_range
from lungnb.masks import Grey, Mask, Window
from lungnb.messages import printable
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import OneImage


class CaseImage(NamedTuple):
    """An image that was read, at its own size; of a volume, a slice."""

    grey: Grey  # (height, width), 0 to 255, as the network sees it
    truth: Mask | None = None  # ground truth, if it is known
    slice: int = 0  # which one of a volume, from 0
    slices: int = 1  # how many the volume has; 1 for an image


class Case(NamedTuple):
    """An image or a volume that is yet to be read, and its names."""

    name: str  # to be shown
    key: str  # in the table of marks
    stem: str  # of the files that are written for it
    read: Callable[[int | None], CaseImage]  # takes the slice of a volume; None is the middle one


def prepared_cases(prepared: Prepared, split: str) -> Iterable[Case]:
    """Yield the images of a split of a prepared data set, with their ground truth."""
    for row in prepared.rows(split):
        read = partial(_read_row, prepared, row)
        yield Case(printable(row["id"]), row["id"], row["id"], read)


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
