"""Many files in, a mask each and one table out; what was done is not done twice.

Images are read and masks are written on other threads while the network works. A journal in the folder of the masks
keeps what is done, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb import __version__
from lungnb.engines.engines import THRESHOLD
from lungnb.files import DiskFull, NotWritten, locked, make_table, remove, writable, write_table, written
from lungnb.formats.dicom_seg import write_dicom_seg
from lungnb.formats.dicom_series import dicom_files
from lungnb.formats.images import Picture, read_picture, read_volume, write_png
from lungnb.formats.nifti import is_nifti, write_nifti_mask
from lungnb.formats.opening import Refused, guarded, open_file, refuse_memory
from lungnb.formats.pixels import shrink
from lungnb.masks import clean_mask, cut_out, overlay
from lungnb.segmentation.listing import JOURNAL, InputFile, key_of, list_images, name_images, refuse_masks_of_others
from lungnb.segmentation.plausibility import why_implausible
from lungnb.segmentation.predict import open_model, predict_slices, segment_grey
from lungnb.segmentation.sides import split_sides
from lungnb.settings import SHIPPED

TABLE_COLUMNS = (
    *("file", "status", "review", "mask", "height", "width", "slices", "lung", "right_px", "left_px"),
    *("right_mm2", "left_mm2", "right_ml", "left_ml", "milliseconds", "error"),
)
_RARE = ("slices", "right_mm2", "left_mm2", "right_ml", "left_ml")  # columns of tables in which they say something
_NUMBERS = ("right_mm2", "left_mm2", "right_ml", "left_ml", "lung", "milliseconds")
_COUNTS = ("height", "width", "slices", "right_px", "left_px")  # whole numbers, also beside a file that failed
_STATUSES = ("ok", "no lung found", "failed")
_SHOWN, _SIDE = 9, 320  # slices of a volume that are drawn, and how large, px
_AHEAD = 4  # files that are read, and that are written, while the network works on another


class Options(NamedTuple):
    """What is written for each image, besides its mask."""

    overlays: bool = False
    cutouts: bool = False
    probabilities: bool = False
    dicom_segs: bool = False


class _Progress(NamedTuple):
    """What has become of a case: each step adds to it, and an error ends it."""

    case: InputFile
    stamp: str = ""  # of the file as it was read
    picture: Picture | None = None  # of an image file; a volume is read when it is segmented
    mask: np.ndarray | None = None  # (height, width), or of a volume (slices, height, width)
    probability: np.ndarray | None = None  # of an image file
    volume: Any = None  # without its values
    shown: dict[int, np.ndarray] | None = None  # some slices of a volume, as grey, by their number
    milliseconds: float = 0.0
    row: dict | None = None
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
    (0 and 1) on the volume's own grid, and on request an overlay of nine slices. Areas (px; mm² and mL where the file
    says how large a pixel is) are of the patient's right and left lung, which a picture shows on its left and right.
    `review` says why a person should look.

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
        refuse_masks_of_others(out, out / JOURNAL)
        for left in out.glob(".*.[0-9]*.part.*"):
            remove(left)  # of a run that was killed
        rows, wanted = _read_journal(out), repr(result_plan(model, window, options))
        wanted = hashlib.sha256(wanted.encode()).hexdigest()[:16]
        cases = name_images(listed, {key: row["stem"] for key, row in rows.items()})
        new = [case for case in cases if not _is_done(rows.get(key_of(case.path)), wanted, out, options)]
        with writable(out / JOURNAL), (out / JOURNAL).open("a", encoding="utf-8") as journal:
            work = segment_cases(new, network, window, out, options)
            for row in tqdm(work, "Segmenting", len(new), unit="file", file=sys.stdout, disable=not progress):
                journal.write(json.dumps({"key": key_of(Path(row["file"])), "plan": wanted} | row) + "\n")
                journal.flush()
        return _write_table(out, listed)


def segment_cases(
    cases: Iterable[InputFile],
    network: Any,  # noqa: ANN401
    window: tuple[float, float] | None,
    out: Path,
    options: Options,
) -> Iterator[dict]:
    """Segment one case after another, write what is asked for, and yield each one's row of the journal.

    Whatever goes wrong with one file becomes the error in its row. A full disk alone ends the work: DiskFull.
    """
    with ThreadPoolExecutor(2 * _AHEAD) as pool:
        read = _ahead(pool, lambda case: read_case(case, window), cases)
        segmented = (_attempt("segmented", _segment, progress, network, window) for progress in read)
        for progress in _ahead(pool, lambda progress: _attempt("written", _write, progress, out, options), segmented):
            yield progress.row or _row(progress) | {"status": "failed", "error": progress.error}


def read_case(case: InputFile, window: tuple[float, float] | None = None) -> _Progress:
    """Return a case with its image, or with the sentence that says why it cannot be read."""
    return _attempt("read", _read, _Progress(case), window)


def _attempt(name: str, step: Callable[..., _Progress], progress: _Progress, *arguments: object) -> _Progress:
    """Return what a step makes of a case, or the case with a sentence on whatever went wrong.

    `name` is the participle of what the step does, for the sentence.
    """
    if progress.error:
        return progress
    try:
        with guarded(progress.case.path, step=name):
            return step(progress, *arguments)
    except DiskFull:
        raise
    except (Refused, NotWritten) as error:
        return _Progress(progress.case, progress.stamp, error=str(error))


def result_plan(model: object, window: tuple[float, float] | None, options: Options) -> dict:
    """Return what the results hang on besides the files; a model that is no file is like no other."""
    if callable(model):
        return {"model": f"in memory, {time.time_ns()}"}
    digest = hashlib.sha256(Path(model or SHIPPED).read_bytes()).hexdigest()
    window = list(window) if window else None
    return {"lungnb": __version__, "model": digest, "window": window, "options": options._asdict()}


def is_up_to_date(row: dict, out: Path, options: Options) -> bool:
    """Whether what a row of the journal says was done still is: the same file, and all that was written of it there."""
    if row["status"] == "failed" or not row["stamp"] or row["stamp"] != _stamp(Path(row.get("key", row["file"]))):
        return False
    wanted = dict(zip(("_overlay.png", "_cutout.png", "_probability.png", "_seg.dcm"), options, strict=True))
    if row["mask"].endswith(".nii.gz"):
        wanted = {"_overlay.png": options.overlays, "_seg.dcm": options.dicom_segs}
    names = [row["mask"], *(row["stem"] + ending for ending, asked in wanted.items() if asked)]
    return all((out / name).exists() for name in names)


def _is_done(row: dict | None, wanted: str, out: Path, options: Options) -> bool:
    return row is not None and row["plan"] == wanted and is_up_to_date(row, out, options)


def _read(progress: _Progress, window: tuple[float, float] | None) -> _Progress:
    """Read an image; volumes are read one at a time, when they are segmented."""
    path = progress.case.path
    progress = progress._replace(stamp=_stamp(path))
    return progress if _is_volume(path) else progress._replace(picture=read_picture(path, window))


def _is_volume(path: Path) -> bool:
    return os.path.isdir(path) or is_nifti(path)


def _segment(progress: _Progress, network: Any, window: tuple[float, float] | None) -> _Progress:  # noqa: ANN401
    """Let the network predict the lungs of an image or a volume."""
    started = time.perf_counter()
    if progress.picture:
        _, mask, probability = segment_grey(progress.picture.grey, network, turn=progress.picture.turn)
        progress = progress._replace(mask=mask, probability=probability)
    else:
        progress = _segment_volume(progress, network, window)
    return progress._replace(milliseconds=round(1000 * (time.perf_counter() - started), 1))


def _segment_volume(progress: _Progress, network: Any, window: tuple[float, float] | None) -> _Progress:  # noqa: ANN401
    """Segment a volume slice by slice; its probabilities would take four times its mask's memory, and are not kept."""
    path = progress.case.path
    volume = read_volume(path)
    mask, shown = np.empty(volume.hounsfield.shape, bool), {}
    places = np.linspace(0, len(mask) - 1, _SHOWN + 2)[1:-1].round().astype(int)
    for place, (grey, probability) in enumerate(predict_slices(network, volume.hounsfield, window, path)):
        mask[place] = probability > THRESHOLD
        shown |= {place: grey} if place in places else {}
    volume = volume._replace(hounsfield=None)  # a volume takes much memory, and cleaning its mask takes more
    return progress._replace(mask=clean_mask(mask), volume=volume, shown=shown)


def _row(progress: _Progress) -> dict:
    """Return the beginning of a case's row of the journal."""
    return {"file": str(progress.case.path), "stem": progress.case.stem, "stamp": progress.stamp}


def _write(progress: _Progress, out: Path, options: Options) -> _Progress:
    """Write what is asked for of a case, and add its row of the journal."""
    (file, stem), mask, picture = progress.case, progress.mask, progress.picture
    lungs = tuple(map(picture.turn.stored, split_sides(picture.turn.upright(mask)))) if picture else split_sides(mask)
    if options.dicom_segs:
        write_dicom_seg(out / f"{stem}_seg.dcm", lungs, file, progress.volume)
    right, left = (int(np.count_nonzero(lung)) for lung in lungs)
    row = _row(progress) | {"height": mask.shape[-2], "width": mask.shape[-1], "right_px": right, "left_px": left}
    row |= {"lung": round(float(mask.mean()), 4), "milliseconds": progress.milliseconds}
    millilitres = None
    if progress.volume:
        name, voxel = f"{stem}_mask.nii.gz", float(np.prod(progress.volume.spacing_mm)) / 1000
        write_nifti_mask(out / name, mask, progress.volume)
        if options.overlays:
            write_png(out / f"{stem}_overlay.png", _sheet(progress))
        millilitres = (right + left) * voxel
        row |= {"slices": len(mask), "right_ml": round(right * voxel, 1), "left_ml": round(left * voxel, 1)}
    else:
        name = f"{stem}_mask.png"
        write_png(out / name, mask)
        _write_pictures(progress, out / stem, options)
        if picture.pixel_mm:
            area = float(np.prod(picture.pixel_mm))
            row |= {"right_mm2": round(right * area), "left_mm2": round(left * area)}
    status = "ok" if right + left else "no lung found"
    pages = "the first of several pictures" if picture and picture.has_more else ""
    review = ", ".join(filter(None, [pages, why_implausible(mask, right, left, millilitres)]))
    return progress._replace(row=row | {"status": status, "mask": name, "review": review}, mask=None, probability=None)


def _sheet(progress: _Progress) -> np.ndarray:
    """Return a volume's overlays side by side, three in a row, each of `_SIDE` px at most."""
    pictures = []
    for place, grey in progress.shown.items():
        small = shrink(grey, _SIDE)
        mask = shrink(progress.mask[place], _SIDE)
        pictures.append(overlay(small, mask))
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % 3)
    rows = [np.hstack([*pictures, *blank][start : start + 3]) for start in range(0, len(pictures), 3)]
    return np.vstack(rows)


def _write_pictures(progress: _Progress, start: Path, options: Options) -> None:
    image, mask = progress.picture.grey, progress.mask
    if options.overlays:
        write_png(start.with_name(f"{start.name}_overlay.png"), overlay(image, mask))
    if options.cutouts:
        write_png(start.with_name(f"{start.name}_cutout.png"), cut_out(image, mask))
    if options.probabilities:
        shades = np.rint(255 * progress.probability).astype(np.uint8)
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


def _read_journal(out: Path) -> dict[str, dict]:
    """Return the rows of earlier runs, by key, the last of each; leave the journal with these alone."""
    file, rows = out / JOURNAL, {}
    stems: dict[str, str] = {}  # in small letters, with the key of the image that has it
    if os.path.isfile(file):
        refuse_memory(file, 4 * file.stat().st_size, "so long a list of what is done", "Remove it to begin anew")
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if os.path.isfile(file) else ():
        try:
            row = json.loads(line)
            if _is_sound(row) and stems.setdefault(row["stem"].lower(), row["key"]) == row["key"]:
                rows[row["key"]] = row
        except (KeyError, TypeError, ValueError, RecursionError):
            continue  # cut off by an interruption, or not written by lungnb
    with written(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return rows


def _is_sound(row: dict) -> bool:
    """Return whether a row of the journal may be ours: what it names lies in the folder of the masks, and all fits."""
    stem, mask = row["stem"], row.get("mask", "")
    texts = [row[name] for name in ("key", "file", "stem", "stamp", "plan", "status")]
    texts += [row.get(name, "") for name in ("review", "error", "mask")]
    if not all(isinstance(text, str) for text in texts) or row["status"] not in _STATUSES:
        return False
    if stem in ("", ".", "..") or set(stem) & {"/", os.sep, "\0", ":" if os.name == "nt" else "/"}:
        return False
    if row["status"] != "failed" and mask not in (f"{stem}_mask.png", f"{stem}_mask.nii.gz"):
        return False
    counts, numbers = ([row[name] for name in names if name in row] for names in (_COUNTS, _NUMBERS))
    return all(type(count) is int and 0 <= count < 2**53 for count in counts) and all(
        type(number) in (int, float) and math.isfinite(number) and abs(number) < 2**53 for number in numbers
    )


def _write_table(out: Path, files: list[Path]) -> pd.DataFrame:
    """Write `segmentation.csv` from the journal, in the order of the files, and return it."""
    rows = _read_journal(out)
    found = [rows[key_of(file)] | {"file": str(file)} for file in files]
    found = [{name: row[name] for name in TABLE_COLUMNS if name in row} for row in found]
    table = make_table(found).reindex(columns=TABLE_COLUMNS)
    table["review"] = table["review"].astype(object).fillna("")
    table = table[[column for column in TABLE_COLUMNS if column not in _RARE or table[column].notna().any()]]
    table = table.astype({column: "Int64" for column in _COUNTS if column in table})
    write_table(table, out / "segmentation.csv")
    return table


def _stamp(path: Path) -> str:
    """Return a digest of what a file holds, or the files of a series, so that no mask of other pixels is kept.

    It is empty for what cannot be read.
    """
    total = hashlib.sha256()
    try:
        for file in dicom_files(path) if os.path.isdir(path) else [path]:
            with open_file(file) as opened:
                total.update(os.fsencode(file.name) + hashlib.file_digest(opened, "sha256").digest())
    except (OSError, ValueError):
        return ""
    return total.hexdigest()
