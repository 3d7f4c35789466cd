"""Judge answers: a mask or a sentence is right, everything else is a fault with a name in capitals."""

import csv
import io
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

from hostile import SEGMENT, Case
from hostile.dicom import SECRETS
from hostile.worker import Taken

LIMIT_SECONDS, LIMIT_MB, LIMIT_KB = 10, 1000, 10_000  # the last: of the files that the others are promised for
RIGHT = ("mask", "sentence", "done", "nothing")  # nothing: no file to segment, as in an empty folder
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def judge(case: Case, taken: Taken, path: Path, out: Path, log: str, good: Path, good_mask: bytes) -> tuple[str, str]:
    """Return the answer to a case, and the sentence or the traceback's last line."""
    if taken.error:
        answer = taken.error if taken.error.isupper() else "TRACEBACK"
        return answer, taken.error.strip().splitlines()[-1]
    if case.command == SEGMENT or (case.command[0] == "segment" and taken.status in (0, 1)):
        answer, sentence = _of_table(out, good if "{good}" in case.command else None, good_mask)
    else:
        answer, sentence = ("done", "") if taken.status == 0 else ("sentence", _sentence(log))
    if answer not in RIGHT:
        return answer, sentence
    return _fault(case, answer, sentence, path, out, log) or (answer, sentence)


def _fault(case: Case, answer: str, sentence: str, path: Path, out: Path, log: str) -> tuple[str, str] | None:
    """Return what is wrong with an answer that seems right, and the sentence or the place."""
    texts = [log, *(file.read_text(errors="replace") for file in out.glob("*.csv") if file.is_file())]
    if "Traceback (most recent" in log:
        return "TRACEBACK", sentence
    if any(secret in text for secret in SECRETS for text in texts):
        return "LEAK", sentence
    if fault := _unsafe(log):
        return "UNSAFE OUTPUT", fault
    if case.command[0] == "unpack" and _bytes_in(out) > LIMIT_MB * 1e6:
        return "FILLS THE DISK", sentence
    if answer == "sentence" and len(sentence) < 20:
        return "NO SENTENCE", sentence
    names_file = path.name in sentence or not path.name.isprintable()  # such a name is escaped
    if answer == "sentence" and case.command[:2] == SEGMENT[:2] and not names_file:
        return "UNCLEAR", sentence
    if case.answer not in ("either", answer):
        return ("REFUSED" if answer == "sentence" else "ACCEPTED"), sentence
    return None


def over_limits(taken: Taken, kilobytes: float) -> str:
    """Return SLOW or LARGE if a case took too much; nothing if it did not, or if the input is above the stated size."""
    if kilobytes > LIMIT_KB:
        return ""
    return "SLOW" if taken.seconds > LIMIT_SECONDS else "LARGE" if taken.mb > LIMIT_MB else ""


def _of_table(out: Path, good: Path | None, good_mask: bytes) -> tuple[str, str]:
    """Return the answer that the table of masks gives; the `good` film must be in it with its mask."""
    table = out / "segmentation.csv"
    if not table.is_file():
        return "NO TABLE", ""
    cells = list(csv.reader(io.StringIO(table.read_bytes().decode(errors="replace"), newline="")))
    if fault := next(filter(None, (_unsafe_cell(cell) for row in cells for cell in row)), ""):
        return "UNSAFE TABLE", fault
    if any(len(row) != len(cells[0]) for row in cells):
        return "UNSAFE TABLE", "a row is broken"
    rows = [dict(zip(cells[0], map(unquote, row), strict=True)) for row in cells[1:]]
    goods = [row for row in rows if row["file"] == str(good)]
    if good and ([row["status"] for row in goods] != ["ok"] or _bytes(out / goods[0]["mask"]) != good_mask):
        return "GOOD FILM LOST", ""
    others = [row for row in rows if row["file"] != str(good)]
    if not others:
        return "nothing", ""
    errors = [row["error"] for row in others if row["status"] == "failed"]
    if not errors:
        missing = [row["mask"] for row in others if not (out / row["mask"]).is_file()]
        return ("NO MASK", missing[0]) if missing else ("mask", others[0]["review"])
    return "sentence", errors[0]


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _unsafe_cell(cell: str) -> str:
    """Return what of a table's cell breaks the table, or would run in a spreadsheet."""
    if cell.startswith(_FORMULA):
        return f"a formula: {cell[:20]!a}"
    return next((f"the character {character!a}" for character in cell if not _is_plain(character)), "")


def _is_plain(character: str) -> bool:
    """Return whether a character is one that neither moves the cursor nor hides or reorders others."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _sentence(log: str) -> str:
    lines = [line for line in log.splitlines() if line.startswith("lungnb: ")]
    return lines[-1] if lines else log.strip()[-200:]


def _unsafe(log: str) -> str:
    """Return what of an output a terminal would obey, or take for a line of lungnb."""
    for character in log:
        if character not in "\n\r\t" and not _is_plain(character):
            return f"the character {character!a}"
    return "a forged line" if re.search(r"^forged|\rforged", log, re.MULTILINE) else ""
