"""What an answer is worth: a mask or a sentence is right, all else is a fault with a name in capitals."""

import csv
import re
import unicodedata
from pathlib import Path

from hostile import Case
from hostile.dicom import SECRETS
from hostile.worker import Taken

LIMIT_SECONDS, LIMIT_MB, LIMIT_KB = 10, 1000, 10_000  # the last: of the files that the others are promised for
RIGHT = ("mask", "sentence", "done", "nothing")  # nothing: no file to segment, as in an empty folder
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def judge(case: Case, taken: Taken, out: Path, log: str, good: Path, good_mask: bytes) -> tuple[str, str]:
    """Return the answer to a case, and the sentence or the traceback's last line."""
    if taken.error:
        answer = taken.error if taken.error.isupper() else "TRACEBACK"
        return answer, taken.error.strip().splitlines()[-1]
    if case.command[0] == "segment" and "{good}" in case.command:
        answer, sentence = _of_table(out, good, good_mask)
    else:
        answer, sentence = ("done", "") if taken.status == 0 else ("sentence", _sentence(log))
    if answer not in RIGHT:
        return answer, sentence
    texts = [log, *(file.read_text(errors="replace") for file in out.glob("*.csv"))]
    if "Traceback (most recent" in log:
        return "TRACEBACK", sentence
    if any(secret in text for secret in SECRETS for text in texts):
        return "LEAK", sentence
    if fault := _unsafe(log):
        return "UNSAFE OUTPUT", fault
    if case.answer not in ("either", answer):
        return ("REFUSED" if answer == "sentence" else "ACCEPTED"), sentence
    return answer, sentence


def over_limits(taken: Taken, kilobytes: float) -> str:
    """Return SLOW or LARGE for what took too much, nothing for what did not or is too large to be promised for."""
    if kilobytes > LIMIT_KB:
        return ""
    return "SLOW" if taken.seconds > LIMIT_SECONDS else "LARGE" if taken.mb > LIMIT_MB else ""


def _of_table(out: Path, good: Path, good_mask: bytes) -> tuple[str, str]:
    """Return the answer that the table of masks gives."""
    table = out / "segmentation.csv"
    if not table.exists():
        return "NO TABLE", ""
    text = table.read_bytes().decode(errors="replace")
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in text.replace("\n", "")):
        return "UNSAFE TABLE", "a control character"
    rows = list(csv.reader(text.splitlines()))
    if any(len(row) != len(rows[0]) for row in rows):
        return "UNSAFE TABLE", "a row is broken"
    if any(cell.startswith(_FORMULA) for row in rows for cell in row):
        return "UNSAFE TABLE", "a formula"
    rows = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    goods = [row for row in rows if row["file"] == str(good)]
    if [row["status"] for row in goods] != ["ok"] or (out / goods[0]["mask"]).read_bytes() != good_mask:
        return "GOOD FILM LOST", ""
    others = [row for row in rows if row["file"] != str(good)]
    if not others:
        return "NO ROW", ""
    errors = [row["error"] for row in others if row["status"] == "failed"]
    if not errors:
        missing = [row["mask"] for row in others if not (out / row["mask"]).is_file()]
        return ("NO MASK", missing[0]) if missing else ("mask", others[0]["review"])
    return ("sentence", errors[0]) if len(errors[0]) > 20 else ("NO SENTENCE", errors[0])


def _sentence(log: str) -> str:
    lines = [line for line in log.splitlines() if line.startswith("lungnb: ")]
    return lines[-1] if lines else log.strip()[-200:]


def _unsafe(log: str) -> str:
    """Return what of an output a terminal would obey, or take for a line of lungnb."""
    for character in log:
        if unicodedata.category(character) in ("Cc", "Cf", "Zl") and character not in "\n\r\t":
            return f"the character {character!a}"
    return "a forged line" if re.search(r"^forged", log, re.MULTILINE) or "\rforged" in log else ""
