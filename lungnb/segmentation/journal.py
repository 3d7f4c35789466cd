"""The journal of a folder of masks: what was done, so that an interrupted run continues and nothing is done twice."""

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from lungnb import __version__
from lungnb.artefacts import JOURNAL
from lungnb.files import written
from lungnb.formats.dicom_series import dicom_files
from lungnb.formats.opening import digest_of_file, open_file, refuse_memory
from lungnb.masks import Window
from lungnb.segmentation.listing import Options
from lungnb.segmentation.predict import Model, file_of

JournalRow = dict[str, Any]  # what was done with one file, as JSON stores it
NUMBERS = ("right_mm2", "left_mm2", "right_ml", "left_ml", "lung", "chest", "milliseconds")
WHOLE_NUMBERS = ("height", "width", "slices", "right_px", "left_px")  # also in columns in which some files have none
_STATUSES = ("ok", "no lung found", "failed")
KEPT = "its mask was changed after lungnb wrote it, so it is kept; numbers, overlay and SEG are of lungnb's own mask"
OTHER_IMAGE = "the image has changed since, and this mask, which somebody corrected, is of the earlier one"
UNSURE = {"plan": "", "written": ""}  # of a row whose mask is about to be replaced
_LARGEST = 2**53  # of the whole numbers that every reader of JSON keeps


def read_journal(out: Path) -> dict[str, JournalRow]:
    """Return the last sound row of each file, by the file's key, and write the journal anew with these rows only."""
    file, rows = out / JOURNAL, {}
    owners: dict[str, str] = {}  # the key of the file that has a stem, by the stem in small letters
    if os.path.isfile(file):
        refuse_memory(file, 4 * file.stat().st_size, "so long a list of what is done", "Remove it to begin anew")
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if os.path.isfile(file) else ():
        try:
            row = json.loads(line)
            if _is_sound(row) and owners.setdefault(row["stem"].lower(), row["key"]) == row["key"]:
                rows[row["key"]] = row
        except (KeyError, TypeError, ValueError, RecursionError):
            continue  # cut off by an interruption, or not written by lungnb
    with written(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    return rows


def _is_sound(row: JournalRow) -> bool:
    """Return whether lungnb may have written a row: all values fit, and its files are in the folder of the masks."""
    stem, mask = row["stem"], row.get("mask", "")
    texts = [row[name] for name in ("key", "file", "stem", "stamp", "plan", "network", "status")]
    texts += [row.get(name) or "" for name in ("review", "note", "error", "mask", "written")]
    if not all(isinstance(text, str) for text in texts) or row["status"] not in _STATUSES:
        return False
    if stem in ("", ".", "..") or set(stem) & {"/", os.sep, "\0", ":" if os.name == "nt" else "/"}:
        return False
    if row["status"] != "failed" and mask not in (f"{stem}_mask.png", f"{stem}_mask.nii.gz"):
        return False
    counts, numbers = ([row[name] for name in names if row.get(name) is not None] for names in (WHOLE_NUMBERS, NUMBERS))
    return all(type(count) is int and 0 <= count < _LARGEST for count in counts) and all(
        type(number) in (int, float) and math.isfinite(number) and abs(number) < _LARGEST for number in numbers
    )


def result_plan(model: Model, window_hu: Window | None, options: Options) -> JournalRow:
    """Return what the results depend on besides the files. Two models in memory never count as the same."""
    file = file_of(model)
    digest = digest_of_file(file) if file else f"in memory, {time.time_ns()}"
    window = list(window_hu) if window_hu else None
    return {"lungnb": __version__, "model": digest, "window": window, "options": options._asdict()}


def is_up_to_date(row: JournalRow | None, out: Path, options: Options) -> bool:
    """Return whether there is a row whose outputs are still valid: its file is unchanged, and all outputs exist."""
    if not row or row["status"] == "failed" or not row["stamp"]:
        return False
    if row["stamp"] != stamp_of(Path(row.get("key") or row["file"])):
        return False
    endings = options.endings(is_volume=row["mask"].endswith(".nii.gz"))
    return all((out / name).exists() for name in (row["mask"], *(row["stem"] + ending for ending in endings)))


def kept_row(row: JournalRow | None, out: Path) -> JournalRow | None:
    """Return the row of a mask that a person changed after lungnb wrote it, with a note; None of any other mask.

    It needs no review any more, except if its image is another one now.
    """
    mask = out / row["mask"] if row and row["status"] != "failed" and row.get("written") else None
    if not row or not mask or not mask.is_file() or digest_of_file(mask) == row["written"]:
        return None
    is_same = row["stamp"] == stamp_of(Path(row.get("key") or row["file"]))
    note = ", ".join(filter(None, [without_kept(row).get("note"), KEPT]))
    return row | {"note": note, "review": "" if is_same else OTHER_IMAGE}


def without_kept(row: JournalRow) -> JournalRow:
    """Return a row without the note of `kept_row`."""
    note = row.get("note") or ""
    return row | {"note": note.removesuffix(KEPT).removesuffix(", ") or None} if note.endswith(KEPT) else row


def stamp_of(path: Path) -> str:
    """Return a digest of a file's content, or of the files of a series; "" if they cannot be read."""
    total = hashlib.sha256()
    try:
        for file in dicom_files(path) if os.path.isdir(path) else [path]:
            with open_file(file) as opened:
                total.update(os.fsencode(file.name) + hashlib.file_digest(opened, "sha256").digest())
    except (OSError, ValueError):
        return ""
    return total.hexdigest()
