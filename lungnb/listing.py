"""The images and volumes that paths, folders and patterns name, and how what is written for each is called."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lungnb.dicom import in_hounsfield, open_dicom
from lungnb.images import FORMATS, SUFFIXES
from lungnb.pairing import image_files, image_folders
from lungnb.volumes import NIFTI_SUFFIXES, is_nifti


class Case(NamedTuple):
    """A file, or the folder of a series, and the beginning of the names of what is written for it."""

    path: Path
    stem: str


def list_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the files, and the folders of series, that paths, folders and patterns name; each once."""
    paths = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(_with_series([path / file for file in image_files(path)]))
        elif not os.path.lexists(path) and (matches := sorted(glob.glob(str(path), recursive=True))):
            found |= dict.fromkeys(part for match in matches for part in list_images(match))
        else:
            found[path] = None
    if not found:
        kinds = ", ".join((*SUFFIXES, *NIFTI_SUFFIXES))
        raise ValueError(f"no image files ({kinds}) in {', '.join(map(str, paths)) or 'nothing'}.")
    return [*found]


def list_folders(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and each below it, one at a time, with what `list_images` finds in it alone."""
    for place, names in image_folders(folder):
        yield place, _with_series([place / name for name in sorted(names)])


def _with_series(files: list[Path]) -> list[Path]:
    """Return files of images and volumes, with the folder of a series for its slices."""
    slices = defaultdict(list)
    for file in files:
        if file.suffix.lower() not in FORMATS and not is_nifti(file):
            slices[file.parent].append(file)
    series = {place: own for place, own in slices.items() if _is_series(own)}
    return [*series, *(file for file in files if file not in series.get(file.parent, ()))]


def _is_series(slices: list[Path]) -> bool:
    """Whether DICOM files of one folder are slices of CT, by the first of them."""
    try:
        return len(slices) > 1 and in_hounsfield(open_dicom(slices[0], header_only=True))
    except ValueError:
        return False


def name_images(paths: list[Path], done: dict[str, dict]) -> list[Case]:
    """Return the paths not `done` with names for what is written, other than each other's in any case.

    `done` has, by path, rows with the names that are taken, `stem`.
    """
    taken, cases = {row["stem"].lower() for row in done.values()}, []
    for path in paths:
        if str(path) in done:
            continue
        stem = own = path.name if path.is_dir() else path.name.removesuffix(".gz").rsplit(".", 1)[0]
        # Images of one name from several folders are told apart by their folder, then by a number.
        if stem.lower() in taken:
            stem = f"{path.parent.name}_{own}"
        number = len(taken)
        while stem.lower() in taken:
            stem, number = f"{own}_{number}", number + 1
        taken.add(stem.lower())
        cases.append(Case(path, stem))
    return cases
