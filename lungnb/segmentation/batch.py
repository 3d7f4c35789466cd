"""Many files in, a mask each and one table out; what was done is not done twice.

Images are read and masks are written on other threads while the network works.
"""

import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from lungnb.engines.engines import Engine
from lungnb.files import locked, make_table, remove, writable, write_table
from lungnb.segmentation.journal import WHOLE_NUMBERS, Row, is_up_to_date, read_journal, result_plan
from lungnb.segmentation.listing import JOURNAL, InputFile, Options, list_images, name_images, refuse_foreign_masks
from lungnb.segmentation.predict import Model, Window, open_model
from lungnb.segmentation.steps import read_case, segment_case, write_case

TABLE_COLUMNS = (
    *("file", "status", "review", "note", "mask", "height", "width", "slices", "lung", "right_px", "left_px"),
    *("right_mm2", "left_mm2", "right_ml", "left_ml", "milliseconds", "error"),
)
_LEFT_OUT_IF_EMPTY = ("note", "slices", "right_mm2", "left_mm2", "right_ml", "left_ml")
_FILES_AHEAD = 4  # that are read, and that are written, while the network works on another
Item = TypeVar("Item")
Result = TypeVar("Result")


def segment_files(
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    model: Model = None,
    overlays: bool = False,
    cutouts: bool = False,
    probabilities: bool = False,
    dicom_segs: bool = False,
    progress: bool = True,
    engine: str = "auto",
) -> pd.DataFrame:
    """Segment image files and volumes; return and write a table, `segmentation.csv`, with a row a file.

    For each image, write `<stem>_mask.png` (0 and 255, at the image's own size) into `out`, and on request
    `<stem>_overlay.png`, `<stem>_cutout.png` and `<stem>_probability.png` (0 to 255). For each volume, write
    `<stem>_mask.nii.gz` (0 and 1) on the volume's own grid, and on request an overlay of nine slices. `dicom_segs` adds
    `<stem>_seg.dcm`, which carries the patient's identifiers; all files must be DICOM.

    Areas are those of the patient's right and left lung, which a picture shows on its left and right. They are in px,
    and also in mm² or mL if the file gives the size of a pixel. `review` says why a person should look, `note` what was
    left out of a file.

    A file that cannot be used gets a row whose `error` says why, and the others are segmented. If only an output on
    request cannot be written, the row stays `ok` and `error` says why, too. A file is not segmented again if
    it, the model and the options are unchanged since an earlier run.

    `paths` are files, folders of them, and patterns such as `films/*.png`. A folder that holds the slices of a DICOM
    series is one volume. `model` and `engine` are as in `segment`.

    Raises ValueError if there is nothing to segment, FileNotFoundError if there is no model, RuntimeError if another
    run works in the same folder.
    """
    out, options = Path(out), Options(overlays, cutouts, probabilities, dicom_segs)
    files = list_images(paths, out)
    network, window_hu = open_model(model, None, engine)
    with locked(out / "segmentation.csv"):
        refuse_foreign_masks(out, out / JOURNAL)
        for leftover in out.glob(".*.[0-9]*.part.*"):
            remove(leftover)  # of a run that was killed
        plan = hashlib.sha256(repr(result_plan(model, window_hu, options)).encode()).hexdigest()[:16]
        rows = read_journal(out)
        cases = name_images(files, {key: row["stem"] for key, row in rows.items()})
        of_plan = {key: row for key, row in rows.items() if row["plan"] == plan}
        to_do = [case for case in cases if not is_up_to_date(of_plan.get(os.path.abspath(case.path)), out, options)]
        with writable(out / JOURNAL), (out / JOURNAL).open("a", encoding="utf-8") as journal:
            done = segment_cases(to_do, network, window_hu, out, options)
            for row in tqdm(done, "Segmenting", len(to_do), unit="file", file=sys.stdout, disable=not progress):
                journal.write(json.dumps({"key": os.path.abspath(row["file"]), "plan": plan} | row) + "\n")
                journal.flush()
        return _write_table(out, files)


def segment_cases(
    cases: Iterable[InputFile], engine: Engine, window_hu: Window, out: Path, options: Options
) -> Iterator[Row]:
    """Read, segment and write one case after another; yield the row of the journal of each.

    Whatever goes wrong with one file becomes the error in its row. Only a full disk ends the work: DiskFull.
    """
    with ThreadPoolExecutor(2 * _FILES_AHEAD) as pool:
        files = _ahead(pool, lambda case: read_case(case, window_hu), cases)
        segmented = (segment_case(file, engine, window_hu) for file in files)
        yield from _ahead(pool, lambda result: write_case(result, out, options), segmented)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of `work` in order, and begin the next `_FILES_AHEAD` items before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _FILES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _write_table(out: Path, files: list[Path]) -> pd.DataFrame:
    """Write `segmentation.csv` from the journal, in the order of the files, and return it."""
    journal = read_journal(out)
    rows = [journal[os.path.abspath(file)] | {"file": str(file)} for file in files]
    table = make_table(rows, TABLE_COLUMNS)
    table["review"] = table["review"].astype(object).fillna("")
    table = table[[name for name in TABLE_COLUMNS if name not in _LEFT_OUT_IF_EMPTY or table[name].notna().any()]]
    table = table.astype({name: "Int64" for name in WHOLE_NUMBERS if name in table})
    write_table(table, out / "segmentation.csv")
    return table
