"""Segment many files: write a mask for each and one table, and skip files that were segmented before.

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

from lungnb.artefacts import JOURNAL, SEGMENTED, given_path
from lungnb.engines.engines import Engine
from lungnb.files import locked, remove, writable
from lungnb.formats.opening import digest_of_file
from lungnb.formats.tables import make_table, write_table
from lungnb.masks import Window
from lungnb.segmentation import journal as records
from lungnb.segmentation import listing
from lungnb.segmentation.journal import WHOLE_NUMBERS, JournalRow, is_up_to_date
from lungnb.segmentation.listing import InputFile, Options
from lungnb.segmentation.predict import Model, network_name, open_model
from lungnb.segmentation.steps import read_input, segment_input, write_results

TABLE_COLUMNS = (
    *("file", "status", "review", "note", "mask", "height", "width", "slices", "lung", "chest", "right_px", "left_px"),
    *("right_mm2", "left_mm2", "right_ml", "left_ml", "milliseconds", "network", "error"),
)
_LEFT_OUT_IF_EMPTY = ("note", "slices", "right_mm2", "left_mm2", "right_ml", "left_ml")
_FILES_AHEAD = 4  # that are read, and that are written, while the network works on another
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def segment_files(
    paths: str | Path | Iterable[str | Path], out: str | Path, model: Model = None, overlays: bool = False,
    cutouts: bool = False, probabilities: bool = False, dicom_segs: bool = False, progress: bool = True,
    engine: str = "auto", upright: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Segment image files and volumes; return and write a table, `segmentation.csv`, with one row per file.

    For each image, write `<stem>_mask.png` (0 and 255, at the image's own size) into `out`, and on request
    `<stem>_overlay.png`, `<stem>_cutout.png` and `<stem>_probability.png` (0 to 255). For each volume, write
    `<stem>_mask.nii.gz` (0 and 1) on the volume's own grid, and on request an overlay of nine slices. `dicom_segs` adds
    `<stem>_seg.dcm`, which carries the patient's identifiers; all files must be DICOM.

    Areas are those of the patient's right lung (on the left of the picture) and left lung. They are in px, and also in
    mm² or mL if the file gives the size of a pixel. `review` says why a person should look, `note` what was left out of
    a file. `network` names the network that made the mask: `shipped` or the path of its file, and the first digits of
    the file's SHA-256. `chest`, 0 to 1, is low if an image does not look like an upright chest film or an axial CT
    slice; below 0.5, `review` says so. For a volume, `chest` is the median of the slices with lung. For a network
    without this output, `chest` is empty.

    A file that cannot be used gets a row whose `error` says why, and the others are segmented. If only an output on
    request cannot be written, the row stays `ok` and `error` says why, too. A file is not segmented again if it, the
    model and the options are unchanged since an earlier run. If the model's file has other content, as after another
    training, the masks of these files are replaced. A mask that somebody changed is kept, and `note` says so.

    `paths` are files, folders of them, and patterns such as `films/*.png`. A folder that holds the slices of a DICOM
    series is one volume. `model`, `engine` and `upright` are as in `segment`.

    Raises ValueError if there is nothing to segment, or if `out` holds masks of another origin or of another network;
    FileNotFoundError if there is no model, RuntimeError if another run works in the same folder.
    """
    out = given_path(out, "the folder for masks")
    options = Options(overlays, cutouts, probabilities, dicom_segs, upright)
    files = listing.list_images(paths, out)
    network, window_hu = open_model(model, None, engine)
    with locked(out / SEGMENTED):
        listing.refuse_foreign_masks(out, out / JOURNAL, files)
        for leftover in out.glob(".*.[0-9]*.part.*"):
            remove(leftover)  # of a run that was killed
        plan = hashlib.sha256(repr(records.result_plan(model, window_hu, options)).encode()).hexdigest()[:16]
        rows, name = records.read_journal(out), network_name(model)
        listing.refuse_other_network(out, (row["network"] for row in rows.values()), name)
        inputs = listing.name_images(files, {key: row["stem"] for key, row in rows.items()})
        of_plan = {key: row for key, row in rows.items() if row["plan"] == plan}
        keys = {each: os.path.abspath(each.path) for each in inputs}
        kept = {key: row for key in keys.values() if (row := records.kept_row(rows.get(key), out))}
        to_do = [
            each for each, key in keys.items()
            if key not in kept and not is_up_to_date(of_plan.get(key), out, options)
        ]  # fmt: skip
        with writable(out / JOURNAL), (out / JOURNAL).open("a", encoding="utf-8") as journal:

            def add(row: JournalRow) -> None:
                journal.write(json.dumps(row) + "\n")
                journal.flush()

            def begin(each: InputFile) -> InputFile:
                """Forget the plan and the digest of a mask, because this run may be killed after it has replaced it."""
                if earlier := rows.get(os.path.abspath(each.path)):
                    add(earlier | records.UNSURE)
                return each

            done = segment_inputs(map(begin, to_do), network, window_hu, out, options)
            for row in tqdm(done, "Segmenting", len(to_do), unit="file", file=sys.stdout, disable=not progress):
                about = {"key": os.path.abspath(row["file"]), "plan": plan, "network": name}
                add(about | row | {"written": digest_of_file(out / row["mask"]) if row.get("mask") else ""})
        return _write_table(out, files, kept)


def segment_inputs(
    inputs: Iterable[InputFile], engine: Engine, window_hu: Window | None, out: Path, options: Options
) -> Iterator[JournalRow]:
    """Read, segment and write one file after another; yield the row of the journal of each.

    Whatever goes wrong with one file becomes the error in its row. Only a full disk ends the work: DiskFull.
    """
    with ThreadPoolExecutor(2 * _FILES_AHEAD) as pool:
        files = _ahead(pool, lambda input_file: read_input(input_file, window_hu), inputs)
        segmented = (segment_input(file, engine, window_hu, options.upright) for file in files)
        yield from _ahead(pool, lambda result: write_results(result, out, options), segmented)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield the results of `work` in order, and begin the next `_FILES_AHEAD` items before they are asked for."""
    waiting: deque[Future[_Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > _FILES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _write_table(out: Path, files: list[Path], kept: dict[str, JournalRow]) -> pd.DataFrame:
    """Write `segmentation.csv` from the journal and the rows of `kept` masks, in the order of the files; return it."""
    journal = records.read_journal(out) | kept
    rows = [journal[os.path.abspath(file)] | {"file": str(file)} for file in files]
    table = make_table(rows, TABLE_COLUMNS)
    table["review"] = table["review"].astype(object).fillna("")
    table = table[[name for name in TABLE_COLUMNS if name not in _LEFT_OUT_IF_EMPTY or table[name].notna().any()]]
    table = table.astype({name: "Int64" for name in WHOLE_NUMBERS if name in table})
    write_table(table, out / SEGMENTED)
    return table
