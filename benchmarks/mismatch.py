"""Which masks of another image `lungnb check` finds: `python benchmarks/mismatch.py DATASET ...`.

Judges all pairs of prepared data sets as they are. Then it changes the masks of a tenth of the pairs at a time, until
each mask was changed once: exchanges them among these pairs, mirrors, turns or shifts them. `MIN_DICE` and `MIN_GAIN`
of `lungnb/evaluation/mismatch.py` were chosen on Montgomery, so only the other data sets test them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import bars, write
from scipy import ndimage
from tqdm import tqdm

from lungnb.datasets import check_dataset, download, open_prepared
from lungnb.engines import open_network
from lungnb.evaluation.mismatch import MIN_DICE, MOVES, Case, judge_cases, read_cases
from lungnb.settings import make_settings

AT_ONCE = 10  # each tenth of the masks is changed at a time, because sets with mostly wrong masks are judged as a whole
SHIFTS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
STEPS = {"2 %": 1, "5 %": 3, "9 %": 6}  # px of the small masks


def _shifted(step: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda truth: ndimage.shift(truth.astype(np.uint8), (0, *step), order=0) > 0


CHANGED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    name: lambda truth, flip=flip: truth[flip] for name, flip in MOVES.items()
} | {
    f"shifted {share} {where}": _shifted((steps * down, steps * right))
    for share, steps in STEPS.items()
    for where, (down, right) in SHIFTS.items()
}


def changed_tenths(cases: list[Case], change: str) -> list[tuple[list[Case], dict[str, str]]]:
    """Return the data set once a tenth, with its masks changed, and for each changed mask the text that names why."""
    sets = []
    for start in range(AT_ONCE):
        picked = [*range(start, len(cases), AT_ONCE)]
        mixed, answers = [*cases], {}
        for place, number in enumerate(picked):
            if change == "swapped":  # each gets the mask of the previous one, and its own goes to the next one
                truth = cases[picked[place - 1]].truth
                answers[cases[number].file] = cases[picked[(place + 1) % len(picked)]].file
            else:
                truth = CHANGED[change](cases[number].truth)
                answers[cases[number].file] = change.split()[0]
            mixed[number] = cases[number]._replace(truth=truth)
        sets.append((mixed, answers))
    return sets


def row_of(cases: list[Case], change: str) -> dict[str, Any]:
    """Return how many changed masks are found, how many of them with what is wrong."""
    changed = detected = named = low = 0
    for mixed, answers in changed_tenths(cases, change):
        findings = judge_cases(mixed).set_index("file")
        hits = findings.loc[findings.index.intersection([*answers])]
        changed += len(answers)
        detected += len(hits)
        low += int((hits["dice"] < MIN_DICE).sum())
        named += sum(answers[str(file)] in str(what) for file, what in hits["what"].items())
    return {
        "masks": changed, "found": detected / changed, "found_by_dice_alone": low / changed,
        "change_named": named / changed,
    }  # fmt: skip


def rows_of(dataset: str) -> list[dict[str, Any]]:
    """Return the rows of a data set: as it is, and a row for each change."""
    settings = make_settings(dataset)
    download(dataset, progress=False)
    checked = check_dataset(settings, progress=False)
    wrong = {*checked.loc[checked["severity"] != "note", "file"]}
    cases = [*read_cases(open_prepared(settings), open_network(), progress=False)]
    alarms = {*judge_cases(cases)["file"]}
    head = {"dataset": settings.name}
    unchanged = {"masks": len(cases), "alarms": len(alarms), "of_them_known_to_be_wrong": len(alarms & wrong)}
    rows = [head | {"change": "as they are"} | unchanged]
    changes = tqdm(["swapped", *CHANGED], settings.name)
    return rows + [head | {"change": change} | row_of(cases, change) for change in changes]


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names of the catalogue, or folders")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    table = pd.DataFrame([row for name in options.datasets for row in rows_of(name)]).round(4)
    drawn = table[table["found"].notna() & table["dataset"].ne(table["dataset"].iloc[0])]
    write(table, "mismatch", options.out, bars(drawn, ["dataset", "change"], {"found": "share found"}), "numpy")


if __name__ == "__main__":
    main()
