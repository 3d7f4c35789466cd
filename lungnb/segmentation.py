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
from tqdm import tqdm

from lungnb import __version__
from lungnb.dicom import Turn, count_frames, is_dicom, pixel_size_mm, turn_of
from lungnb.dicom_seg import write_dicom_seg
from lungnb.files import locked, make_table, remove, writable, write_table, written
from lungnb.images import count_pages, read_image, shrink, write_png
from lungnb.inference import THRESHOLD, clean_mask, cut_out, open_model, overlay, predict_slices, segment_grey
from lungnb.listing import Case, key_of, list_images, name_images, refuse_masks_of_others
from lungnb.lungs import doubtful, sides
from lungnb.settings import SHIPPED
from lungnb.volumes import dicom_files, is_nifti, read_volume, write_nifti_mask

COLUMNS = (
    *("file", "status", "review", "mask", "height", "width", "slices", "lung", "right_px", "left_px"),
    *("right_mm2", "left_mm2", "right_ml", "left_ml", "milliseconds", "error"),
)
_RARE = ("slices", "right_mm2", "left_mm2", "right_ml", "left_ml")  # columns of tables in which they say something
_COUNTS = ("height", "width", "slices", "right_px", "left_px")  # whole numbers, also beside a file that failed
_JOURNAL = ".segmentation.jsonl"
_SHOWN, _SIDE = 9, 320  # slices of a volume that are drawn, and how large, px
_AHEAD = 4  # files that are read, and that are written, while the network works on another


class Options(NamedTuple):
    """What is written for each image, besides its mask."""

    overlays: bool = False
    cutouts: bool = False
    probabilities: bool = False
    dicom_segs: bool = False


class _Read(NamedTuple):
    """An image as it was read, or why it was not; a volume is read later."""

    image: np.ndarray | None = None
    pixel_mm: tuple[float, float] | None = None
    turn: Turn = Turn()
    pages: int = 1
    error: str = ""


class _Found(NamedTuple):
    """What the network made of a case."""

    case: Case
    image: np.ndarray | None  # of an image, uint8
    mask: np.ndarray | None  # (height, width), or of a volume (slices, height, width)
    probability: np.ndarray | None
    volume: Any = None
    shown: dict[int, np.ndarray] | None = None  # some of its slices, as grey, by their number
    read: _Read = _Read()
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
        refuse_masks_of_others(out, out / _JOURNAL)
        for left in out.glob(".*.[0-9]*.part.*"):
            remove(left)  # of a run that was killed
        rows, wanted = _read_journal(out), repr(plan(model, window, options))
        wanted = hashlib.sha256(wanted.encode()).hexdigest()[:16]
        cases = name_images(listed, {key: row["stem"] for key, row in rows.items()})
        new = [case for case in cases if not _is_done(rows.get(key_of(case.path)), wanted, out, options)]
        with writable(out / _JOURNAL), (out / _JOURNAL).open("a", encoding="utf-8") as journal:
            work = segment_cases(new, network, window, out, options)
            for row in tqdm(work, "Segmenting", len(new), unit="file", file=sys.stdout, disable=not progress):
                journal.write(json.dumps({"key": key_of(Path(row["file"])), "plan": wanted} | row) + "\n")
                journal.flush()
        return _write_table(out, listed)


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
    window = list(window) if window else None
    return {"lungnb": __version__, "model": digest, "window": window, "options": options._asdict()}


def stands(row: dict, out: Path, options: Options) -> bool:
    """Whether what a row of the journal says was done still is: the same file, and all that was written of it there."""
    if row["status"] == "failed" or row["stamp"] != _stamp(Path(row.get("key", row["file"]))):
        return False
    wanted = dict(zip(("_overlay.png", "_cutout.png", "_probability.png", "_seg.dcm"), options, strict=True))
    if row["mask"].endswith(".nii.gz"):
        wanted = {"_overlay.png": options.overlays, "_seg.dcm": options.dicom_segs}
    names = [row["mask"], *(row["stem"] + ending for ending, asked in wanted.items() if asked)]
    return all((out / name).exists() for name in names)


def _is_done(row: dict | None, wanted: str, out: Path, options: Options) -> bool:
    return row is not None and row["plan"] == wanted and stands(row, out, options)


def _read(case: Case, window: tuple[float, float] | None) -> tuple[Case, _Read]:
    """Return a case with what was read of it, or with the error; volumes are read one at a time, later."""
    path = case.path
    if path.is_dir() or is_nifti(path):
        return case, _Read()
    try:
        if is_dicom(path):
            known = pixel_size_mm(path), turn_of(path), count_frames(path)
        else:
            known = None, Turn(), count_pages(path)
        return case, _Read(read_image(path, window), *known)
    except (ValueError, OSError, MemoryError) as error:
        return case, _Read(error=_sentence(error, path))


def _segmented(network: Any, window: tuple[float, float] | None, case: Case, read: _Read) -> _Found:  # noqa: ANN401
    """Let the network find the lungs in what was read."""
    started = time.perf_counter()
    try:
        if read.error:
            return _Found(case, None, None, None, error=read.error)
        if read.image is None:
            volume = read_volume(case.path)
            places = np.linspace(0, len(volume.hounsfield) - 1, _SHOWN + 2)[1:-1].round().astype(int)
            masks, shown = [], {}  # probabilities of a whole volume would take four times its mask's memory
            for place, (grey, probability) in enumerate(predict_slices(network, volume.hounsfield, window, case.path)):
                masks.append(probability > THRESHOLD)
                shown |= {place: grey} if place in places else {}
            found = _Found(case, None, clean_mask(np.stack(masks)), None, volume._replace(hounsfield=None), shown)
        else:
            found = _Found(case, *segment_grey(read.image, network, turn=read.turn), read=read._replace(image=None))
    except (ValueError, OSError, MemoryError) as error:
        return _Found(case, None, None, None, error=_sentence(error, case.path))
    return found._replace(milliseconds=round(1000 * (time.perf_counter() - started), 1))


def _sentence(error: Exception, path: Path) -> str:
    """Return why a file could not be used; what is read raises ValueErrors that say it all."""
    if isinstance(error, ValueError):
        return str(error)
    reason = "it takes more memory than there is" if isinstance(error, MemoryError) else error.strerror or str(error)
    return f"{path}: cannot be read: {reason.lower()}."


def _written(found: _Found, out: Path, options: Options) -> dict:
    """Write what is asked for of a case, and return its row of the journal."""
    file, stem = found.case
    row = {"file": str(file), "stem": stem, "stamp": _stamp(file)}
    if found.error:
        return row | {"status": "failed", "error": found.error}
    mask, name = found.mask, f"{stem}_mask.png"
    turn = found.read.turn
    lungs = tuple(map(turn.stored, sides(turn.upright(mask)))) if found.image is not None else sides(mask)
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
        if options.overlays:
            write_png(out / f"{stem}_overlay.png", _sheet(found))
        millilitres = (right + left) * voxel
        row |= {"slices": len(mask), "right_ml": round(right * voxel, 1), "left_ml": round(left * voxel, 1)}
    else:
        write_png(out / name, mask)
        _write_pictures(found, out / stem, options)
        if found.read.pixel_mm:
            area = float(np.prod(found.read.pixel_mm))
            row |= {"right_mm2": round(right * area), "left_mm2": round(left * area)}
    status = "ok" if right + left else "no lung found"
    pages = f"the first of {found.read.pages} pictures" if found.read.pages > 1 else ""
    review = ", ".join(filter(None, [pages, doubtful(mask, right, left, millilitres)]))
    return row | {"status": status, "mask": name, "review": review}


def _sheet(found: _Found) -> np.ndarray:
    """Return a volume's overlays side by side, three in a row, each of `_SIDE` px at most."""
    pictures = []
    for place, grey in found.shown.items():
        small = shrink(grey, _SIDE)
        mask = shrink(found.mask[place], _SIDE)
        pictures.append(overlay(small, mask))
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % 3)
    rows = [np.hstack([*pictures, *blank][start : start + 3]) for start in range(0, len(pictures), 3)]
    return np.vstack(rows)


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


def _read_journal(out: Path) -> dict[str, dict]:
    """Return the rows of earlier runs, by key, the last of each; leave the journal with these alone."""
    file, rows = out / _JOURNAL, {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
            rows[row["key"]] = row
        except (KeyError, TypeError, ValueError):
            continue  # cut off by an interruption
    with written(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return rows


def _write_table(out: Path, files: list[Path]) -> pd.DataFrame:
    """Write `segmentation.csv` from the journal, in the order of the files, and return it."""
    rows = _read_journal(out)
    found = [rows[key_of(file)] | {"file": str(file)} for file in files]
    found = [{name: row[name] for name in COLUMNS if name in row} for row in found]
    table = make_table(found).reindex(columns=COLUMNS)
    table["review"] = table["review"].astype(object).fillna("")
    table = table[[column for column in COLUMNS if column not in _RARE or table[column].notna().any()]]
    table = table.astype({column: "Int64" for column in _COUNTS if column in table})
    write_table(table, out / "segmentation.csv")
    return table


def _stamp(path: Path) -> str:
    """Return what changes when a file does, or the files of a folder."""
    try:
        files = dicom_files(path) if path.is_dir() else [path]
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return ""
    return hashlib.sha256(repr(stats).encode(errors="surrogateescape")).hexdigest()
