"""The images and volumes that paths, folders and patterns name, and how what is written for each is called."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lungnb.dicom import in_hounsfield, open_dicom
from lungnb.images import FORMATS, SUFFIXES
from lungnb.opening import Refused, guarded
from lungnb.pairing import image_files, image_folders, stem_of
from lungnb.volumes import NIFTI_SUFFIXES, is_nifti

LONGEST_NAME = 200  # bytes, of the 255 that most file systems take, before the ending
# How the names end of what is written for an image.
WRITTEN = ("_mask.png", "_overlay.png", "_cutout.png", "_probability.png", "_mask.nii.gz", "_seg.dcm")
JOURNAL = ".segmentation.jsonl"  # in the folder of the masks: what is done
TABLE = "segmentation.parquet"  # of a run on a cluster: a folder, with a file for each chunk


class Case(NamedTuple):
    """A file, or the folder of a series, and the beginning of the names of what is written for it."""

    path: Path
    stem: str


def list_images(paths: str | Path | Iterable[str | Path], out: Path | None = None) -> list[Path]:
    """Return the files, and the folders of series, that paths, folders and patterns name; each once.

    What lungnb wrote, into `out` or in an earlier run into another folder, is left out.
    """
    paths = [as_path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    files = without_written([file for path in paths for file in _listed(path)], out)
    if not files:
        kinds = ", ".join((*SUFFIXES, *NIFTI_SUFFIXES))
        raise Refused(f"no image files ({kinds}) in {', '.join(map(str, paths)) or 'nothing'}.")
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(key_of(file), file)
    return [*found.values()]


def list_folders(folder: Path, out: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and each below it, one at a time, with what `list_images` finds in it alone."""
    for place, names in image_folders(folder):
        yield place, _with_series(without_written([place / name for name in sorted(names)], out))


def as_path(path: str | Path) -> Path:
    """Return a path that a user gave; raise Refused for an empty one, which would mean the working folder."""
    if not str(path).strip():
        raise Refused("the path of an image is empty: name a file or a folder ('.' for this one).")
    return Path(path)


def refuse_masks_of_others(out: Path, record: Path, pattern: str = "*") -> None:
    """Raise a ValueError where there is no `record` of an earlier run in `out`, but files called as what is written."""
    if record.exists():
        return
    if other := next((file for file in out.glob(pattern) if file.name.endswith(WRITTEN) and file.is_file()), None):
        raise ValueError(f"{other} is there already, and not of an earlier run: name another folder for the masks.")


def _listed(path: Path) -> list[Path]:
    """Return what a path, a folder or a pattern names."""
    if path.is_dir():
        return _with_series([path / file for file in image_files(path)])
    if not os.path.lexists(path) and (matches := sorted(glob.glob(str(path), recursive=True))):
        return [part for match in matches for part in _listed(Path(match))]
    return [path]


def without_written(files: list[Path], out: Path | None) -> list[Path]:
    """Return the files without those that lungnb wrote: called so, and in `out` or a folder with a run's records."""
    suspects = {file for file in files if file.name.endswith(WRITTEN)}
    folders = {folder for file in suspects for folder in file.resolve().parents}
    outputs = {folder for folder in folders if (folder / JOURNAL).exists() or (folder / TABLE).exists()}
    outputs |= {out.resolve()} if out else set()
    return [file for file in files if file not in suspects or outputs.isdisjoint(file.resolve().parents)]


def _with_series(files: list[Path]) -> list[Path]:
    """Return files of images and volumes, with the folder of a series for its slices."""
    slices = defaultdict(list)
    for file in files:
        if file.suffix.lower() not in FORMATS and not is_nifti(file):
            slices[file.parent].append(file)
    series = {place: own for place, own in slices.items() if _is_series(own)}
    own = {file for each in series.values() for file in each}
    return [*series, *(file for file in files if file not in own)]


def _is_series(slices: list[Path]) -> bool:
    """Whether DICOM files of one folder are slices of CT, by the first of them, and not each of another series."""
    try:
        with guarded(slices[0]):
            if len(slices) < 2 or not in_hounsfield(open_dicom(slices[0], header_only=True)):
                return False
            if _series_of(slices[0]) == _series_of(slices[-1]):  # as good as always; the others need not be read
                return True
            return len({_series_of(file) for file in slices}) < len(slices)
    except Refused:
        return False


def _series_of(file: Path) -> str:
    return str(open_dicom(file, header_only=True).get("SeriesInstanceUID"))


def key_of(path: Path) -> str:
    """Return what a path is called wherever one stands."""
    return os.path.abspath(path)


def name_images(paths: list[Path], known: dict[str, str]) -> list[Case]:
    """Return the paths with names for what is written, other than each other's in any case.

    `known` has, by the key of a path, the name that it got before, and keeps.
    """
    taken, cases = {stem.lower() for stem in known.values()}, []
    for path in paths:
        if key_of(path) in known:
            cases.append(Case(path, known[key_of(path)]))
            continue
        stem = path.resolve().name if path.is_dir() else stem_of(path)
        stem = re.sub(r"[\ud800-\udfff]", "_", stem)  # bytes that are no text, which no table takes
        if len(os.fsencode(stem)) > LONGEST_NAME:
            stem = f"{stem[: LONGEST_NAME // 8]}_{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
        own = stem
        # Images of one name from several folders are told apart by their folder, then by a number.
        if stem.lower() in taken:
            stem = f"{path.parent.name}_{own}"
        number = len(taken)
        while stem.lower() in taken:
            stem, number = f"{own}_{number}", number + 1
        taken.add(stem.lower())
        cases.append(Case(path, stem))
    return cases
