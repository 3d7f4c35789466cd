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

from lungnb.formats.dicom_header import is_in_hounsfield
from lungnb.formats.dicom_opening import open_dicom
from lungnb.formats.folders import image_files, image_folders, stem_of
from lungnb.formats.nifti import NIFTI_SUFFIXES, is_nifti
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.rasters import IMAGE_SUFFIXES, RASTER_FORMATS

LONGEST_NAME = 200  # bytes, of the 255 that most file systems take, before the ending
# How the names end of what is written for an image.
WRITTEN = ("_mask.png", "_overlay.png", "_cutout.png", "_probability.png", "_mask.nii.gz", "_seg.dcm")
JOURNAL = ".segmentation.jsonl"  # in the folder of the masks: what is done
TABLE = "segmentation.parquet"  # of a run on a cluster: a folder, with a file for each chunk


class InputFile(NamedTuple):
    """A file, or the folder of a series, and the beginning of the names of what is written for it."""

    path: Path
    stem: str


def list_images(paths: str | Path | Iterable[str | Path], out: Path | None = None) -> list[Path]:
    """Return the files, and the folders of series, that paths, folders and patterns name; each once.

    With `out`, the folder for masks, what lungnb wrote is left out: in `out`, and in folders that are listed.
    """
    paths = [as_path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    files = [file for path in paths for file in _listed(path, out)]
    files = [file for file in files if not (out and _is_written(file, [out]))]
    if not files:
        kinds = ", ".join((*IMAGE_SUFFIXES, *NIFTI_SUFFIXES))
        raise Refused(f"no image files ({kinds}) in {', '.join(map(str, paths)) or 'nothing'}.")
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(key_of(file), file)
    return [*found.values()]


def list_folders(folder: Path, out: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and each below it, one at a time, with what `list_images` finds in it alone."""
    for place, names in image_folders(folder):
        yield place, _with_series(_without_written([place / name for name in sorted(names)], out))


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


def _listed(path: Path, out: Path | None) -> list[Path]:
    """Return what a path, a folder or a pattern names."""
    if os.path.isdir(path):
        files = [path / file for file in image_files(path)]
        return _with_series(_without_written(files, out) if out else files)
    if not os.path.lexists(path) and (matches := sorted(glob.glob(str(path), recursive=True))):
        return [part for match in matches for part in _listed(Path(match), out)]
    return [path]


def _without_written(files: list[Path], out: Path) -> list[Path]:
    """Return the files without those that lungnb wrote, into `out` or into a folder with the records of a run."""
    suspects = {file for file in files if file.name.endswith(WRITTEN)}
    outputs = {folder for file in suspects for folder in file.parents if os.path.exists(folder / TABLE)}
    outputs |= {file.parent for file in suspects if os.path.exists(file.parent / JOURNAL)} | {out}
    return [file for file in files if file not in suspects or not _is_written(file, outputs)]


def _is_written(file: Path, outputs: Iterable[Path]) -> bool:
    """Return whether a file is called as what lungnb writes, and lies in one of the folders."""
    place = Path(os.path.realpath(file))
    return file.name.endswith(WRITTEN) and any(Path(os.path.realpath(folder)) in place.parents for folder in outputs)


def _with_series(files: list[Path]) -> list[Path]:
    """Return files of images and volumes, with the folder of a series for its slices."""
    slices = defaultdict(list)
    for file in files:
        if file.suffix.lower() not in RASTER_FORMATS and not is_nifti(file):
            slices[file.parent].append(file)
    series = {place: own for place, own in slices.items() if _is_series(own)}
    own = {file for each in series.values() for file in each}
    return [*series, *(file for file in files if file not in own)]


class _Slice(NamedTuple):
    """What a DICOM file says of its series."""

    file: Path
    series: str
    is_ct: bool


def _is_series(files: list[Path]) -> bool:
    """Return whether DICOM files of one folder are slices of CT, by those that can be read, and not single images.

    If a file cannot be read, the others are still a series: it is then refused with the name of that file.
    """
    first, last = (next(filter(None, map(_slice_of, order)), None) for order in (files, reversed(files)))
    if first is None or first.file == last.file or not first.is_ct:
        return False
    if first.series == last.series:  # as good as always; then the others need not be read
        return True
    series = [each.series for each in map(_slice_of, files) if each]
    return len(set(series)) < len(series)


def _slice_of(file: Path) -> _Slice | None:
    """Return what a DICOM file says of its series, None for one that cannot be read."""
    try:
        with guarded(file):
            header = open_dicom(file, header_only=True)
            return _Slice(file, str(header.get("SeriesInstanceUID")), is_in_hounsfield(header))
    except Refused:
        return None


def key_of(path: Path) -> str:
    """Return the absolute path as text."""
    return os.path.abspath(path)


def name_images(paths: list[Path], known: dict[str, str]) -> list[InputFile]:
    """Return the paths with names for what is written, other than each other's in any case.

    `known` has, by the key of a path, the name that it got before, and keeps.
    """
    taken, cases = {stem.lower() for stem in known.values()}, []
    for path in paths:
        if key_of(path) in known:
            cases.append(InputFile(path, known[key_of(path)]))
            continue
        stem = os.path.basename(os.path.realpath(path)) if os.path.isdir(path) else stem_of(path)
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
        cases.append(InputFile(path, stem))
    return cases
