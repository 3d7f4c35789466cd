"""The image files in a folder and the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lungnb.formats.dicom import is_dicom
from lungnb.formats.images import SUFFIXES
from lungnb.formats.volumes import is_nifti


def image_files(raw: Path) -> list[Path]:
    """Return all files of images and volumes under `raw`, hidden ones left out, as sorted paths within it."""
    return sorted((folder / name).relative_to(raw) for folder, names in image_folders(raw) for name in names)


def image_folders(raw: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield `raw` and each folder below it, with the names of the images and volumes that lie in it."""
    seen = set()  # by links, a folder may hold itself
    for folder, folders, names in os.walk(raw, followlinks=True):
        place = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if place not in seen and not name.startswith((".", "__MACOSX")))
        if place not in seen:
            yield Path(folder), [name for name in names if not name.startswith(".") and _is_image(Path(folder, name))]
        seen.add(place)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or is_nifti(path) or is_dicom(path)


def stem_of(path: Path) -> str:
    """Return a file's name without the suffix of an image or a volume; what else stands after a dot is kept."""
    name = path.name[:-3] if path.name.lower().endswith(".nii.gz") else path.name
    suffix = os.path.splitext(name)[1]
    return name.removesuffix(suffix) if suffix.lower() in (*SUFFIXES, ".nii") else name
