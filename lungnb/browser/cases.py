"""What there is to browse: the images that paths, folders and arrays give, or those of a prepared data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lungnb.datasets.prepare import LONGEST_SIDE
from lungnb.datasets.prepared import open_prepared
from lungnb.formats.images import read_image, read_volume
from lungnb.formats.nifti import is_nifti
from lungnb.formats.pixels import shrink, through_window, to_grey, volume_window
from lungnb.messages import printable
from lungnb.segmentation.listing import list_images
from lungnb.settings import Settings


class Case(NamedTuple):
    """An image that is yet to be read, and what it is called."""

    name: str  # as it is shown
    key: str  # in the table of marks
    read: Callable[[], tuple[np.ndarray, np.ndarray | None]]  # image and true mask


def prepared_cases(settings: Settings, split: str) -> Iterable[Case]:
    """Yield the images of a split of a prepared data set, with their true masks."""
    prepared = open_prepared(settings)
    for row in prepared.rows(split):
        yield Case(printable(row["id"]), row["id"], partial(prepared.pair, row))


def image_cases(images: Any, window: tuple[float, float] | None) -> Iterable[Case]:  # noqa: ANN401
    """Yield the images that paths, folders, patterns and arrays give; an array is known by what it holds."""
    for number, item in enumerate([images] if isinstance(images, (str, Path, np.ndarray)) else images, 1):
        if isinstance(item, np.ndarray):
            digest = hashlib.sha256(repr((item.shape, item.dtype)).encode() + item.tobytes()).hexdigest()
            yield Case(f"array {number}", f"array {digest[:16]}", partial(_read, item, window))
            continue
        for path in list_images(item):
            yield Case(printable(path.name), str(path.absolute()), partial(_read, path, window))


def _read(image: Path | np.ndarray, window: tuple[float, float] | None) -> tuple[np.ndarray, None]:
    """Return an array, a file, or the middle slice of a volume as grey, no larger than prepared images are."""
    if isinstance(image, np.ndarray):
        grey = to_grey(image, window)
    elif image.is_dir() or is_nifti(image):
        slices = read_volume(image).hounsfield
        grey = through_window(slices[len(slices) // 2], volume_window(slices, window, image))
    else:
        grey = read_image(image, window)
    return shrink(grey, LONGEST_SIDE), None
