"""Many files in, a mask each and one table out; what was done is not done twice.

Images are read and masks are written on other threads while the network works. A journal in the folder of the masks
keeps what is done, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from lungnb.check import AREA
from lungnb.dicom import is_dicom, pixel_size_mm
from lungnb.dicom_seg import write_dicom_seg
from lungnb.files import locked, written
from lungnb.images import read_image, to_grey, write_png
from lungnb.inference import THRESHOLD, clean_mask, cut_out, open_model, overlay, predict, region_labels, segment
from lungnb.listing import Case, list_images, name_images
from lungnb.settings import SHIPPED
from lungnb.volumes import dicom_files, is_nifti, read_volume, write_nifti_mask

COLUMNS = (
    *("file", "status", "review", "mask", "height", "width", "slices", "lung", "right_px", "left_px"),
    *("right_mm2", "left_mm2", "right_ml", "left_ml", "milliseconds", "error"),
)
_RARE = ("slices", "right_mm2", "left_mm2", "right_ml", "left_ml")  # columns of tables in which they say something
USUAL_ML = (1000, 9000)  # of both lungs together, by CT
MAX_RATIO = 3.0  # of the larger lung to the smaller
_JOURNAL = ".segmentation.jsonl"
_AHEAD = 4  # files that are read, and that are written, while the network works on another


class Options(NamedTuple):
    """What is written for each image, besides its mask."""

    overlays: bool = False
    cutouts: bool = False
    probabilities: bool = False
    dicom_segs: bool = False


class _Found(NamedTuple):
    """What the network made of a case."""

    case: Case
    image: np.ndarray | None  # of an image, uint8
    mask: np.ndarray | None  # (height, width), or of a volume (slices, height, width)
    probability: np.ndarray | None
    volume: Any = None
    pixel_mm: tuple[float, float] | None = None
    milliseconds: float = 0.0
    error: str = ""


def segment_files(
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    model: object = None,
    overlays: bool = False,
    cutouts: bool = False,
    probabilities: bool = False,
    dicom_segs: bool = False,
    progress: bool = True,
    engine: str = "auto",
) -> pd.DataFrame:
    """Segment image files and volumes; return and write a table, `segmentation.csv`, with a row a file.

    Writes into `out`, for each image, `<stem>_mask.png` (0 and 255, at the image's own size), and on request
    `<stem>_overlay.png`, `<stem>_cutout.png` and `<stem>_probability.png` (0 to 255); for a volume `<stem>_mask.nii.gz`
    (0 and 1) on the volume's own grid. Areas (px; mm² and mL where the file says how large a pixel is) are of the
    patient's right and left lung, which a picture shows on its left and right. `review` says why a person should look.

    A file that cannot be used gets a row that says why, and the rest goes on. What was done before, with the same model
    and options, of a file that did not change since, is not done again.

    Args:
        paths: files, folders of them, patterns such as `films/*.png`; a folder that holds the slices of a DICOM series
            is one volume.
        out: the folder for all that is written.
        model: as in `inference.segment`.
        overlays: write the mask drawn on the image.
        cutouts: write the lungs alone.
        probabilities: write the probability of lung.
        dicom_segs: write a DICOM Segmentation too, which carries the patient's identifiers; all files must be DICOM.
        progress: show a progress bar.
        engine: as in `inference.segment`.

    Raises ValueError where there is nothing to segment, FileNotFoundError where there is no model, RuntimeError where
    another run works in the same folder.
    """
    out, options = Path(out), Options(overlays, cutouts, probabilities, dicom_segs)
    listed = list_images(paths, out)
    network, window = open_model(model, None, engine)
    with locked(out / "segmentation.csv"):
        done = _read_journal(out, plan(model, window, options))
        cases = name_images(listed, done)
        rows = segment_cases(cases, network, window, out, options)
        with (out / _JOURNAL).open("a", encoding="utf-8") as journal:
            for row in tqdm(rows, "Segmenting", len(cases), unit="file", file=sys.stdout, disable=not progress):
                journal.write(json.dumps(row) + "\n")
                journal.flush()
        return _write_table(out, [str(path) for path in listed])


def segment_cases(
    cases: Iterable[Case],
    network: Any,  # noqa: ANN401
    window: tuple[float, float] | None,
    out: Path,
    options: Options,
) -> Iterator[dict]:
    """Segment one case after another, write what is asked for, and yield each one's row of the journal."""
    with ThreadPoolExecutor(2 * _AHEAD) as pool:
        read = _ahead(pool, lambda case: _read(case, window), cases)
        found = (_segmented(network, window, *each) for each in read)
        yield from _ahead(pool, lambda each: _written(each, out, options), found)


def plan(model: object, window: tuple[float, float] | None, options: Options) -> dict:
    """Return what the results hang on besides the files; a model that is no file is like no other."""
    if callable(model):
        return {"model": f"in memory, {time.time_ns()}"}
    digest = hashlib.sha256(Path(model or SHIPPED).read_bytes()).hexdigest()
    return {"model": digest, "window": list(window) if window else None, "options": options._asdict()}


def stands(row: dict, out: Path) -> bool:
    """Whether what a row of the journal says was done still is: the same file, and its mask there."""
    return row["status"] != "failed" and row["stamp"] == _stamp(Path(row["file"])) and (out / row["mask"]).exists()


def sides(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient's right and left lung of a mask, `(height, width)` or `(slices, height, width)`, bool.

    Two regions are told apart by where their middles lie; lungs that are one region by the middle of the picture. The
    patient's right is on the left, as films and slices are shown.
    """
    labels, largest = region_labels(mask)
    middle = np.broadcast_to(np.arange(mask.shape[-1]) < mask.shape[-1] / 2, mask.shape)
    if len(largest) < 2:
        return mask & middle, mask & ~middle
    right = min((labels == region for region in largest), key=_middle_column)
    return right, mask & ~right


def _middle_column(lung: np.ndarray) -> float:
    """Return the mean column of a region, from its sums over columns, far sooner than from its pixels."""
    return float(ndimage.center_of_mass(lung.sum(axis=tuple(range(lung.ndim - 1))))[0])


def doubtful(mask: np.ndarray, right: float, left: float, millilitres: float | None = None) -> str:
    """Return why a person should look at a mask, or nothing: by the sizes of the lungs, px, and of volumes mL."""
    reasons, (low, high) = [], AREA
    if not right + left:
        return "no lung"
    if max(right, left) > MAX_RATIO * min(right, left):
        reasons.append("one lung far larger" if min(right, left) else "one lung only")
    if millilitres is not None and not USUAL_ML[0] <= millilitres <= USUAL_ML[1]:
        reasons.append(f"{millilitres:.0f} mL")
    if mask.ndim == 2 and not low <= mask.mean() <= high:
        reasons.append(f"{mask.mean():.0%} of the picture")
    return ", ".join(reasons)


def _read(case: Case, window: tuple[float, float] | None) -> tuple[Case, Any]:
    """Return a case with its image and its pixel's size, or with the error; volumes are read one at a time, later."""
    if case.path.is_dir() or is_nifti(case.path):
        return case, None
    try:
        return case, (read_image(case.path, window), pixel_size_mm(case.path) if is_dicom(case.path) else None)
    except ValueError as error:
        return case, error


def _segmented(network: Any, window: tuple[float, float] | None, case: Case, read: Any) -> _Found:  # noqa: ANN401
    """Let the network find the lungs in what was read."""
    started = time.perf_counter()
    try:
        if isinstance(read, ValueError):
            raise read
        if read is None:
            volume = read_volume(case.path)
            slices = (predict(network, to_grey(part, window, case.path)) > THRESHOLD for part in volume.hounsfield)
            mask = clean_mask(np.stack([*slices]))
            found = _Found(case, None, mask, None, volume._replace(hounsfield=None))
        else:
            found = _Found(case, *segment(read[0], network), pixel_mm=read[1])
    except ValueError as error:
        return _Found(case, None, None, None, error=str(error))
    return found._replace(milliseconds=round(1000 * (time.perf_counter() - started), 1))


def _written(found: _Found, out: Path, options: Options) -> dict:
    """Write what is asked for of a case, and return its row of the journal."""
    file, stem = found.case
    row = {"file": str(file), "stem": stem, "stamp": _stamp(file)}
    if found.error:
        return row | {"status": "failed", "error": found.error}
    mask, name = found.mask, f"{stem}_mask.png"
    lungs = sides(mask)
    try:
        if options.dicom_segs:
            write_dicom_seg(out / f"{stem}_seg.dcm", lungs, file, found.volume)
    except ValueError as error:
        return row | {"status": "failed", "error": str(error)}
    right, left = (int(np.count_nonzero(lung)) for lung in lungs)
    row |= {"height": mask.shape[-2], "width": mask.shape[-1], "right_px": right, "left_px": left}
    row |= {"lung": round(float(mask.mean()), 4), "milliseconds": found.milliseconds}
    millilitres = None
    if found.volume:
        name, voxel = f"{stem}_mask.nii.gz", float(np.prod(found.volume.spacing_mm)) / 1000
        write_nifti_mask(out / name, mask, found.volume)
        millilitres = (right + left) * voxel
        row |= {"slices": len(mask), "right_ml": round(right * voxel, 1), "left_ml": round(left * voxel, 1)}
    else:
        write_png(out / name, mask)
        _write_pictures(found, out / stem, options)
        if found.pixel_mm:
            area = float(np.prod(found.pixel_mm))
            row |= {"right_mm2": round(right * area), "left_mm2": round(left * area)}
    status = "ok" if right + left else "no lung found"
    one_grey = found.image is not None and found.image[::8, ::8].std() < 1
    review = "the picture is of one grey" if one_grey else doubtful(mask, right, left, millilitres)
    return row | {"status": status, "mask": name, "review": review}


def _write_pictures(found: _Found, start: Path, options: Options) -> None:
    if options.overlays:
        write_png(start.with_name(f"{start.name}_overlay.png"), overlay(found.image, found.mask))
    if options.cutouts:
        write_png(start.with_name(f"{start.name}_cutout.png"), cut_out(found.image, found.mask))
    if options.probabilities:
        shades = np.rint(255 * found.probability).astype(np.uint8)
        write_png(start.with_name(f"{start.name}_probability.png"), shades)


def _ahead(pool: ThreadPoolExecutor, work: Callable, items: Iterable) -> Iterator:
    """Yield what `work` makes of each item, in order, with `_AHEAD` of them begun before they are asked for."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read_journal(out: Path, plan: dict) -> dict[str, dict]:
    """Return the rows, by file, of what was done before with this plan and still stands; begin the journal anew."""
    file, done = out / _JOURNAL, {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.exists() else ()):
        try:
            row = json.loads(line)
        except ValueError:
            break  # cut off by an interruption
        if number == 0:
            if row != plan:
                break
        elif stands(row, out):
            done[row["file"]] = row
    with written(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in (plan, *done.values())), encoding="utf-8")
    return done


def _write_table(out: Path, files: list[str]) -> pd.DataFrame:
    """Write `segmentation.csv` from the journal, in the order of the files, and return it."""
    with (out / _JOURNAL).open(encoding="utf-8") as journal:
        next(journal)
        rows = {row["file"]: row for row in map(json.loads, journal)}
    table = pd.DataFrame([rows[file] for file in files]).reindex(columns=COLUMNS)
    table["review"] = table["review"].astype(object).fillna("")
    table = table[[column for column in COLUMNS if column not in _RARE or table[column].notna().any()]]
    with written(out / "segmentation.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def _stamp(path: Path) -> str:
    """Return what changes when a file does, or the files of a folder."""
    files = dicom_files(path) if path.is_dir() else [path]
    try:
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return ""
    return hashlib.sha256(repr(stats).encode()).hexdigest()
