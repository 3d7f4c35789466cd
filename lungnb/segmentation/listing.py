"""List the images and volumes that paths, folders and patterns name, and name the files to write for each."""

import glob
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from lungnb.artefacts import EXTRA_ENDINGS, JOURNAL, MASK_ENDINGS, SEGMENTED, given_path, slip_in
from lungnb.files import short_name
from lungnb.formats.dicom_series import series_of
from lungnb.formats.folders import image_files, image_folders, is_image, other_files, stem_of
from lungnb.formats.nifti import NIFTI_SUFFIXES, is_nifti
from lungnb.formats.opening import Refused
from lungnb.formats.rasters import IMAGE_SUFFIXES, RASTER_FORMATS

_EXTRAS_OF_VOLUMES = ("_overlay.png", "_seg.dcm")
WRITTEN_ENDINGS = (*MASK_ENDINGS, *EXTRA_ENDINGS)
_MIN_ALONE = 3  # so many slices of CT with a series each are probably one volume
_MASK_FOLDER = re.compile(r"(mask|label|truth)s?(tr|ts)?$", re.IGNORECASE)  # nnU-Net has labelsTr and labelsTs
TABLE = "segmentation.parquet"  # of a run on a cluster: a folder, with a file for each chunk


class InputFile(NamedTuple):
    """A file, or the folder of a series, and the stem of the names of its outputs."""

    path: Path
    stem: str
    stamp: str = ""  # digest of the content; empty until the file was read


class Options(NamedTuple):
    """The outputs for each image besides its mask, and how images are read."""

    overlays: bool = False
    cutouts: bool = False
    probabilities: bool = False
    dicom_segs: bool = False
    upright: bool = False  # no output: find the turn of films that lie on their side or head

    def endings(self, is_volume: bool) -> list[str]:
        """Return how the names of the outputs that are asked for end; a volume has only some of them."""
        asked = [ending for ending, is_asked in zip(EXTRA_ENDINGS, self, strict=False) if is_asked]
        return [ending for ending in asked if ending in _EXTRAS_OF_VOLUMES or not is_volume]


NO_EXTRAS = Options()


def list_images(paths: str | Path | Iterable[str | Path], out: Path | None = None) -> list[Path]:
    """Return the files, and the folders of series, that paths, folders and patterns name; each once.

    If the folder for masks is given as `out`, leave out the files that lungnb wrote.
    """
    given = [as_path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    files = [file for path in given for file in _listed(path, out)]
    files = [file for file in files if not (out and _is_written(file, [out]))]
    if not files:
        kinds = ", ".join((*IMAGE_SUFFIXES, *NIFTI_SUFFIXES))
        others = next(filter(None, (other_files(path) for path in given if path.is_dir())), "")
        raise Refused(f"no image files ({kinds}) in {', '.join(map(str, given)) or 'an empty list'}.{others}")
    unique: dict[str, Path] = {}
    for file in files:
        unique.setdefault(os.path.abspath(file), file)
    return [*unique.values()]


def list_folders(folder: Path, out: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and each folder below it, with the files and series that lie directly in it."""
    for place, names in image_folders(folder):
        yield place, _with_series(_without_written([place / name for name in sorted(names)], out))


def as_path(path: str | Path) -> Path:
    """Return the path that a user gave, as `given_path` does; raise Refused if it is empty or an address.

    A path with a slip is returned as it is: its file is refused when it is opened, and the others are segmented.
    """
    try:
        return given_path(path, "the path of an image")
    except ValueError as error:
        if slip_in(path) and str(path).strip():
            return Path(path)
        raise Refused(str(error)) from error


def refuse_foreign_masks(out: Path, record: Path, inputs: Iterable[Path], pattern: str = "*") -> None:
    """Raise ValueError if `out` holds masks of another origin, that is, masks without the `record` of an earlier run.

    So is a table that `segment_files` would replace.

    Masks are files with the names of lungnb's outputs, all images in a folder named after masks, labels or ground
    truth, and images with the name of an input in a folder without inputs, which may be a data set's ground truth.
    """
    if record.exists():
        return
    inputs = [*inputs]
    places = {os.path.realpath(path if os.path.isdir(path) else path.parent) for path in inputs}
    stems = set() if os.path.realpath(out) in places else {stem_of(path) for path in inputs}
    written = (file for file in out.glob(pattern) if file.name.endswith(WRITTEN_ENDINGS) and file.is_file())
    beside = (file for file in out.glob("*") if stem_of(file) in stems and file.is_file() and is_image(file))
    folders = image_folders(out) if _MASK_FOLDER.search(os.path.basename(os.path.realpath(out))) else ()
    truth = (folder / name for folder, names in folders for name in names)
    tables = filter(os.path.lexists, [out / SEGMENTED] if record.name == JOURNAL else [])
    if other := next(chain(written, beside, truth, tables), None):
        raise ValueError(f"{other}: is not of an earlier run of lungnb. Name another folder for the masks.")


def refuse_other_network(out: Path, before: Iterable[str], network: str) -> None:
    """Raise ValueError if masks in `out` are of another network (`before`) than `network`; see `network_name`.

    The same file with other content, as after another training, is not another network: its masks are replaced.
    """
    name, _, digest = network.rpartition(", ")
    for other in {*before} - {network}:
        other_name, _, other_digest = other.rpartition(", ")
        if name != other_name and (not digest or digest != other_digest):
            raise ValueError(
                f"{out}: holds masks of another network ({other}). Name another folder for those of {network}, "
                "or remove this one."
            )


def _listed(path: Path, out: Path | None) -> list[Path]:
    """Return the files and series that a path, a folder or a pattern names."""
    if os.path.isdir(path):
        files = [path / file for file in image_files(path)]
        return _with_series(_without_written(files, out) if out else files)
    if not os.path.lexists(path) and (matches := sorted(glob.glob(str(path), recursive=True))):
        return [part for match in matches for part in _listed(Path(match), out)]
    return [path]


def _without_written(files: list[Path], out: Path) -> list[Path]:
    """Return the files except those that lungnb wrote into `out` or into a folder with the records of a run."""
    suspects = {file for file in files if file.name.endswith(WRITTEN_ENDINGS)}
    outputs = {folder for file in suspects for folder in file.parents if os.path.exists(folder / TABLE)}
    outputs |= {file.parent for file in suspects if os.path.exists(file.parent / JOURNAL)} | {out}
    return [file for file in files if file not in suspects or not _is_written(file, outputs)]


def _is_written(file: Path, outputs: Iterable[Path]) -> bool:
    """Return whether a file has the name of one of lungnb's outputs and lies in one of the folders."""
    parents = Path(os.path.realpath(file)).parents
    return file.name.endswith(WRITTEN_ENDINGS) and any(Path(os.path.realpath(folder)) in parents for folder in outputs)


def _with_series(files: list[Path]) -> list[Path]:
    """Return the files with each DICOM series replaced by its folder; warn of a series in several folders."""
    slices, places = defaultdict(list), defaultdict(list)
    for file in files:
        if file.suffix.lower() not in RASTER_FORMATS and not is_nifti(file):
            slices[file.parent].append(file)
    series = []
    for folder, inside in slices.items():
        numbers = _series_in(inside)
        # All files then belong to the series. Reading it says which are something else, and which cannot be read.
        series += [folder] if len({*numbers}) < len(numbers) else []
        if len({*numbers}) == len(numbers) >= _MIN_ALONE:
            what = f"{folder}: each of its {len(numbers)} CT slices has a DICOM series of its own"
            warnings.warn(f"{what}, so each is segmented alone, and not as a volume.", stacklevel=2)
        for number in {*numbers} - {""}:
            places[number].append(folder)
    if apart := next((folders for folders in places.values() if len(folders) > 1), None):
        what = f"slices of one series lie in {len(apart)} folders, such as {apart[0]} and {apart[1]}"
        warnings.warn(f"{what}, and each folder is segmented alone. Put them into one folder.", stacklevel=2)
    in_series = {file for folder in series for file in slices[folder]}
    return [*series, *(file for file in files if file not in in_series)]


def _series_in(files: list[Path]) -> list[str]:
    """Return the series of the first and the last slice of CT among the files of a folder; of all if they differ."""
    ends = (next(filter(None, map(series_of, order)), None) for order in (files, reversed(files)))
    slices = [*dict.fromkeys(filter(None, ends))]
    if len({series for _, series in slices}) > 1:  # hardly ever; otherwise the others need not be read
        slices = [each for each in map(series_of, files) if each]
    return [series for _, series in slices]


def name_images(paths: list[Path], known: dict[str, str]) -> list[InputFile]:
    """Return the paths with stems for their outputs; no two stems are equal, even if case does not matter.

    `known` holds the stems of earlier runs, by absolute path. A path keeps its stem.
    """
    taken, inputs = {stem.lower() for stem in known.values()}, []
    for path in paths:
        if os.path.abspath(path) in known:
            inputs.append(InputFile(path, known[os.path.abspath(path)]))
            continue
        stem = os.path.basename(os.path.realpath(path)) if os.path.isdir(path) else stem_of(path)
        stem = re.sub(r"[\ud800-\udfff]", "_", stem)  # bytes that are not text, which a table cannot hold
        stem = short_name(stem)
        # Files of one name from several folders get the name of their folder, or else a number.
        numbered = (f"{stem}_{number}" for number in count(len(taken)))
        names = chain((stem, short_name(f"{path.parent.name}_{stem}")), numbered)
        stem = next(name for name in names if name.lower() not in taken)
        taken.add(stem.lower())
        inputs.append(InputFile(path, stem))
    return inputs
