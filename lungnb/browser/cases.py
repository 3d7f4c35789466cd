"""The images to browse: those of paths, folders and arrays, or those of a prepared data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.datasets.prepared import open_prepared
from lungnb.datasets.reading import LONGEST_SIDE
from lungnb.formats.images import is_volume, read_image, read_volume
from lungnb.formats.pixels import shrink, through_window, to_grey
from lungnb.formats.ranges import grey_range
from lungnb.messages import printable
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import OneImage, Window
from lungnb.settings import Settings


class Case(NamedTuple):
    """An image that is yet to be read, and its names."""

    name: str  # to be shown
    key: str  # in the table of marks
    read: Callable[[], tuple[np.ndarray, np.ndarray | None]]  # image and ground truth


def prepared_cases(settings: Settings, split: str) -> Iterable[Case]:
    """Yield the images of a split of a prepared data set, with their ground truth."""
    prepared = open_prepared(settings)
    for row in prepared.rows(split):
        yield Case(printable(row["id"]), row["id"], partial(prepared.pair, row))


def image_cases(images: OneImage | Iterable[OneImage], window_hu: Window) -> Iterable[Case]:
    """Yield the images that paths, folders, patterns and arrays give; the key of an array is a digest of its values."""
    for number, item in enumerate([images] if isinstance(images, (str, Path, np.ndarray)) else images, 1):
        if isinstance(item, np.ndarray):
            digest = hashlib.sha256(repr((item.shape, item.dtype)).encode() + item.tobytes()).hexdigest()
            yield Case(f"array {number}", f"array {digest[:16]}", partial(_read, item, window_hu))
            continue
        for path in list_images(item):
            yield Case(printable(path.name), str(path.absolute()), partial(_read, path, window_hu))


def _read(image: Path | np.ndarray, window_hu: Window) -> tuple[np.ndarray, None]:
    """Return an array, a file, or the middle slice of a volume as grey, at most as large as prepared images are."""
    if isinstance(image, np.ndarray):
        grey = to_grey(image, window_hu)
    elif is_volume(image):
        slices = read_volume(image).hounsfield
        grey = through_window(slices[len(slices) // 2], grey_range(slices, window_hu, image).window)
    else:
        grey = read_image(image, window_hu)
    return shrink(grey, LONGEST_SIDE), None
