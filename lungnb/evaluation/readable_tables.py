"""Readable names and numbers for the tables of results: in notebooks, in reports, and in the documentation.

Files keep the short names of columns, because programs read them. People read the titles that are defined here.
"""

import re
from collections.abc import Iterator, Sequence

import pandas as pd

from lungnb.evaluation.differences import BETTER, WORSE
from lungnb.evaluation.statistics import SMALLEST_P
from lungnb.messages import printable
from lungnb.settings import title_of

# The columns that a comparison shows first: the main scores and the costs. Other tables have the rest.
MAIN_COLUMNS = (
    "dice", "iou", "hd95_median", "failed", "parameters", "training_minutes", "milliseconds_per_image",
)  # fmt: skip
TEST_COLUMNS = ("patients", "difference", "low_90", "p_holm", "conclusion")  # of `paired_tests`
SCORE_TITLES = {
    "dice": "Dice", "iou": "IoU", "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall (sensitivity)",
    "f1": "F1", "specificity": "Specificity", "right_dice": "Dice of the right lung",
    "left_dice": "Dice of the left lung", "costophrenic": "Share of costophrenic angles",
    "raw_dice": "Dice before clean-up",
}  # fmt: skip
_DISTANCES = {"hd95": "HD95", "assd": "ASSD", "nsd": "NSD", "raw_hd95": "HD95 before clean-up"}
COLUMN_TITLES = {
    "model": "Network", "network": "Network", "dataset": "Data set", "id": "Image", "patient": "Patient",
    "split": "Split", "group": "Group", "images": "Images", "patients": "Patients", "seeds": "Seeds", "folds": "Folds",
    "seed": "Seed", "unit": "Unit of distances", "note": "Note", "volume": "Volume", "slices": "Slices",
    "empty": "Empty masks", "failed": "Failed masks", "first": "Ranks first if patients are resampled",
    "pooled_dice": "Dice of all pixels together", "pooled_iou": "IoU of all pixels together",
    "parameters": "Parameters", "multiplications": "Multiply-accumulates per image", "epochs": "Epochs",
    "training_minutes": "Training time (min)", "milliseconds_per_image": "Time per image (ms)",
    "difference": "Difference of Dice", "p": "p", "p_holm": "p, Holm-corrected", "conclusion": "Conclusion",
    "patients_needed": "Patients needed", "patients_sd": "SD over patients", "seeds_sd": "SD over seeds",
    "folds_sd": "SD over folds", "image_sd": "SD of one image over seeds", "dice_sd": "SD of Dice over seeds",
    "median_dice": "Dice, median", "below_0.9": "Images with a Dice below 0.9", "worst": "Worst image",
    "worst_dice": "Lowest Dice", "class": "Class", "f1-score": "F1", "support": "Pixels",
    "scored": "Scored", "missing": "Missing", "unusable": "Unusable", "without_truth": "Masks without ground truth",
    "folder": "Folder", "problem": "Problem", "trained_on": "Trained on", "tested_on": "Tested on", "start": "Start",
    "dice_low": "Dice, lower limit", "dice_high": "Dice, upper limit", "low": "Lower limit", "high": "Upper limit",
    "low_90": "Lower limit of 90 %", "high_90": "Upper limit of 90 %",
    "step": "Step", "setting": "Setting", "number": "Item", "section": "Section", "item": "Question",
    "statement": "Answer", "left out": "Left out",
    "calibration_error": "Calibration error", "temperature": "Temperature",
    "corrected_error": "Calibration error with temperature", "best_threshold": "Best threshold",
    "dice_at_best": "Dice at the best threshold", "augmented_dice": "Dice of the mean of augmented predictions",
    "loss": "Loss", "epochs_to_good": "First epoch with a Dice of 0.95", "seconds_per_epoch": "Time per epoch (s)",
    "times_the_first": "Computing relative to the first row", "dice_of_all": "Best Dice of all epochs",
    "lung": "Grey value of lung", "rest": "Grey value elsewhere", "contrast": "Contrast (grey values)",
    "contrast_sd": "SD of contrast (grey values)", "lung_share": "Share of lung in the image", "engine": "Engine",
    "ms_slice": "Slice to cleaned mask (ms)", "ms_network_128": "Network alone, 128 px (ms)",
    "ms_network_256": "Network alone, 256 px (ms)", "below_0.85": "Masks with a Dice below 0.85",
    "of_them_found": "Of these, flagged", "false_alarms": "False alarms (share of the other masks)",
    "stage": "Stage", "height": "Height (places)", "width": "Width (places)", "channels": "Channels",
    "pixels_per_place": "Side of a place (px)", "file": "File", "status": "Status", "review": "Review",
    "right_px": "Right lung (px)", "left_px": "Left lung (px)", "draws": "Draws", "before": "Dice before, mean",
    "after": "Dice after, mean", "helped": "Draws that raised the Dice", "trial": "Trial", "state": "State",
    "learning_rate": "Learning rate", "filters": "Filters", "augmentation": "Strength of augmentation",
    "validation_dice": "Validation Dice", "seconds": "Time (s)", "form": "Format", "megabytes": "File (MB)",
    "milliseconds": "Time per image (ms)", "mean_agreement": "Dice with the masks of Keras, mean",
    "lowest_agreement": "Dice with the masks of Keras, lowest", "said": "Why there is no file",
    "looked_at": "Looked at", "worst_of_all": "Lowest Dice of all images", "worst_left": "Lowest Dice of the others",
    "worst_by_chance": "Lowest after a random choice", "worst_ideal": "Lowest after a perfect choice",
    "reasons": "Reasons", "disagreement": "Disagreement", "regions": "Regions", "area": "Area (share of the image)",
}  # fmt: skip
_COUNTS = ("parameters", "epochs", "patients_needed", "support", "empty", "failed")
_SHARES = ("first", "below_0.9", "costophrenic", "lung_share", "false_alarms")  # percentages
_PRECISE = (
    "difference", "dice_sd", "patients_sd", "seeds_sd", "image_sd", "folds_sd",
    "worst_of_all", "worst_left", "worst_by_chance", "worst_ideal",
)  # fmt: skip
_NEAR_ONE = ("mean_agreement", "lowest_agreement")  # at least 0.9995 and 0.995, so three digits say nothing
_SCORES = (  # beginnings of names: three digits
    "dice", "pooled", "nsd", "f1", "before", "after", "validation_dice", "median_dice", "worst_dice", "loss",
    "disagreement", "area",
)  # fmt: skip
_NO_BREAK = "\u00a0"  # a line never breaks at this space, so both limits stay on one line


def column_title(name: str, is_mean: bool = False, unit: str = "") -> str:
    """Return the readable title of a column; an unknown name loses its underscores.

    `is_mean` says whether a row has means over several images. `unit` is the unit of distances.

    Example:
        >>> column_title("p_holm"), column_title("iou", is_mean=True), column_title("hd95_median", unit="mm")
        ('p, Holm-corrected', 'IoU, mean', 'HD95 (mm), median')
    """
    if name in SCORE_TITLES:
        return SCORE_TITLES[name] + (", mean" if is_mean else "")
    score, _, level = name.rpartition("_") if name not in _DISTANCES else (name, "", "")
    if score in _DISTANCES:
        words = {"median": ", median", "q1": ", lower quartile", "q3": ", upper quartile"}.get(level, "")
        return _DISTANCES[score] + _in_unit(score, unit) + words
    return COLUMN_TITLES.get(name, re.sub(r"_+", " ", name).strip())


def readable(table: pd.DataFrame, columns: Sequence[str] = ()) -> pd.DataFrame:
    r"""Return a table of results for people: titles for columns, rounded numbers as text, limits in brackets.

    A score and the limits of its interval become one column. A median and its quartiles become one column, too. In a
    table of `paired_tests`, both networks become one column. The first column names the rows. `columns` chooses columns
    by their short names, in this order. Limits stay with their value.

    Example:
        >>> rows = {"dice": [0.9861], "dice_low": [0.98312], "dice_high": [0.98749], "parameters": [487881]}
        >>> table = readable(pd.DataFrame(rows, index=pd.Index(["unet"], name="model")).assign(images=17))
        >>> table.columns.tolist()
        ['Dice, mean (95 % interval)', 'Parameters', 'Images']
        >>> print(*table.loc["U-Net"].str.replace("\u00a0", " "), sep="; ")
        0.986 (0.983 to 0.987); 487,881; 17
    """
    table = _with_rows_as_columns(table)
    if {"first", "second"} <= {*table}:
        table = _with_pairs(table)
    units = [*table["unit"].dropna().unique()] if "unit" in table else []
    unit = str(units[0]) if len(units) == 1 else ""
    shown = {}
    for name, title, parts in _shown_columns(table, unit):
        if name in (columns or (name,)) or name == table.columns[0]:
            shown[name] = pd.Series([_join(name, row) for row in table[parts].itertuples(index=False)], name=title)
    order = [table.columns[0], *(name for name in columns or shown if name in shown and name != table.columns[0])]
    result = pd.concat([shown[name] for name in order], axis=1)
    names, cells = result.iloc[:, 0], result.iloc[:, 1:]
    return cells.set_axis(names, axis=0).rename_axis(index=None, columns=str(names.name))


def _with_rows_as_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its row names as first columns, and without row numbers."""
    named = table.reset_index() if any(name is not None for name in table.index.names) else table
    named = named.drop(columns=[name for name in named if str(name).startswith("Unnamed")])
    return (named.dropna(axis=1, how="all") if len(named) else named).reset_index(drop=True)


def _with_pairs(tests: pd.DataFrame) -> pd.DataFrame:
    """Return a table of `paired_tests` with one column for both networks, and conclusions that name the better one."""
    first, second = tests["first"].map(title_of), tests["second"].map(title_of)
    pairs = tests.drop(columns=["first", "second"])
    pairs.insert(0, "pair", first + " minus " + second)
    if "conclusion" in tests:
        pairs["conclusion"] = [readable_conclusion(test) for _, test in tests.iterrows()]
    return pairs


def readable_conclusion(test: pd.Series) -> str:
    """Return the conclusion of a row of `paired_tests`, with the name of the better network."""
    better = {BETTER: "first", WORSE: "second"}.get(test["conclusion"])
    return f"{title_of(test[better])} is better" if better else str(test["conclusion"])


def _shown_columns(table: pd.DataFrame, unit: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each column to show: its short name, its title, and the columns that it is made of."""
    is_mean = "images" in table or "seeds" in table
    ranges = [(title, parts) for title, parts in _ranges(table, unit) if {*parts} <= {*table}]
    hidden = {part for _, parts in ranges for part in parts[1:]} | ({"unit"} if unit else set())
    range_of = {parts[0]: (title, parts) for title, parts in ranges}
    for name in map(str, table):
        if name in range_of:
            yield name, *range_of[name]
        elif name not in hidden:
            yield name, "Difference between" if name == "pair" else column_title(name, is_mean, unit), [name]


def _ranges(table: pd.DataFrame, unit: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the columns of what is shown as one column: a value and its limits, or two limits."""
    limits = "lowest to highest seed" if "dice_sd" in table else "95 % interval"
    yield f"Dice, mean ({limits})", ["dice", "dice_low", "dice_high"]
    yield "Dice, mean (95 % interval)", ["dice", "low", "high"]
    yield "Dice after, mean (lowest to highest draw)", ["after", "after_low", "after_high"]
    yield "Difference of Dice (95 % interval)", ["difference", "low", "high"]
    yield "90 % interval", ["low_90", "high_90"]
    for score, title in _DISTANCES.items():
        parts = [f"{score}_{level}" for level in ("median", "q1", "q3")]
        yield f"{title}{_in_unit(score, unit)}, median (quartiles)", parts


def _in_unit(score: str, unit: str) -> str:
    """Return the unit of a distance in brackets; for NSD return nothing, because it is a share."""
    return f" ({'% of image side' if unit == '%' else unit})" if unit and score != "nsd" else ""


def _join(name: str, values: Sequence[object]) -> str:
    """Return a value and its limits as text. Three values are a value and two limits; two values are limits only."""
    texts = [_number(name, value) for value in values]
    if len(texts) == 1 or "" in texts:
        return texts[0]
    limits = f"{texts[-2]} to {texts[-1]}".replace(" ", _NO_BREAK)
    return limits if len(texts) == 2 else f"{texts[0]} ({limits})"


def _number(name: str, value: object) -> str:
    """Return a value of a column as text; a missing value is empty text."""
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return ""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return title_of(printable(value)) if name in ("model", "network") else printable(value)
    if name in ("p", "p_holm"):
        return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.2g}"
    if name in _NEAR_ONE:
        return f"{value:.5f}"
    if name in _SHARES:
        return f"{value:.0%}"
    if name == "multiplications":
        return f"{value / 1e6:,.0f} million"
    if name in _COUNTS or (value == int(value) and abs(value) > 1):
        return f"{value:,.0f}"
    if name in _PRECISE or name.startswith(("low", "high")):
        return f"{value:.4f}"
    if name in ("milliseconds_per_image", "training_minutes", "milliseconds", "megabytes", "seconds_per_epoch"):
        return f"{value:.1f}"
    if name.startswith((*_DISTANCES,)) and not name.startswith("nsd"):
        return f"{value:.2f}"
    is_score = name in SCORE_TITLES or name.startswith(_SCORES)
    return f"{value:.3f}" if is_score else f"{value:,.4g}"
