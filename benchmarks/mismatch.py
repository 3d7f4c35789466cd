"""Which masks of another image `lungnb check` finds: `python benchmarks/mismatch.py DATASET ...`.

Judges all pairs of prepared data sets as they are. Then it changes the masks of a tenth of the pairs at a time, until
each mask was changed once: exchanges them among these pairs, mirrors, turns or shifts them. `MIN_DICE` and `MIN_GAIN`
of `lungnb/evaluation/mismatch.py` were chosen on Montgomery, so only the other data sets test them. Columns: masks that
were changed; those that are listed, by any rule and by the Dice alone; those whose row names what was changed; and
those of which `check_dataset` warns as they were published.
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
from lungnb.evaluation.mismatch import MIN_DICE, MOVES, MaskPair, judge_pairs, read_pairs
from lungnb.presets import make_settings

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


def changed_tenths(cases: list[MaskPair], change: str) -> list[tuple[list[MaskPair], dict[str, str]]]:
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


def row_of(findings: pd.DataFrame, answers: dict[str, str], known: set[str]) -> dict[str, int]:
    """Return how many of the masks in `answers` are listed, by which rule, and how many with what is wrong."""
    listed = findings[findings["file"].isin([*answers])]
    return {
        "masks": len(answers),
        "listed": len(listed),
        "below_min_dice": int((listed["dice"] < MIN_DICE).sum()),
        "named": sum(answers[file] in what for file, what in zip(listed["file"], listed["what"], strict=True)),
        "wrong_as_published": int(listed["file"].isin(known).sum()),
    }


def rows_of(dataset: str) -> list[dict[str, Any]]:
    """Return the rows of a data set: as it is, and a row for each change."""
    settings = make_settings(dataset)
    download(dataset, progress=False)
    checked = check_dataset(settings, progress=False)
    known = {*checked.loc[checked["severity"] != "note", "file"]}
    cases = [*read_pairs(open_prepared(settings), open_network(), progress=False)]
    every = {case.file: "would fit" for case in cases}  # the change that a false alarm names
    rows = [{"dataset": settings.name, "change": "as they are"} | row_of(judge_pairs(cases), every, known)]
    for change in tqdm(["swapped", *CHANGED], settings.name):
        tenths = [row_of(judge_pairs(mixed), answers, known) for mixed, answers in changed_tenths(cases, change)]
        sums = pd.DataFrame(tenths).sum().to_dict()
        rows.append({"dataset": settings.name, "change": change} | sums)
    return rows


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", nargs="+", help="names of the catalogue, or folders")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    table = pd.DataFrame([row for name in options.datasets for row in rows_of(name)])
    table["share_listed"] = (table["listed"] / table["masks"]).round(4)
    drawn = table[~table["change"].str.contains("2 %|9 %")]
    write(table, "mismatch", options.out, bars(drawn, ["dataset", "change"], {"share_listed": "share listed"}), "numpy")


if __name__ == "__main__":
    main()
