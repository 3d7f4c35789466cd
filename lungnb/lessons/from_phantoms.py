"""Interpret what notebook 09 shows, in sentences that are computed from its tables."""

import pandas as pd

from lungnb.lessons.text import signed
from lungnb.settings import EQUIVALENCE_MARGIN

NOTHING_LEFT_OUT = "nothing"  # the row of `leave_one_out` in which nothing is left out


def say_untrained(summary: pd.DataFrame) -> str:
    """Return the scores of a network that has seen no patient, from a table of `dataset_summary`.

    Example:
        >>> table = {"dice": [0.95, 0.97], "below_0.9": [0.06, 0.01], "median_dice": [0.96, 0.98], "images": [138, 89]}
        >>> print(say_untrained(pd.DataFrame(table, index=["montgomery", "lung-ct-bmp"])))
        The mean Dice is 0.950 (montgomery) to 0.970 (lung-ct-bmp).
        Of all 227 images, 4 % have a Dice below 0.9. The median is higher than the mean: a few bad masks lower it.
    """
    low, high = summary["dice"].idxmin(), summary["dice"].idxmax()
    images = summary["images"].sum()
    bad = (summary["below_0.9"] * summary["images"]).sum() / images
    is_skewed = bad > 0 and (summary["median_dice"] > summary["dice"]).all()
    rest = " The median is higher than the mean: a few bad masks lower it." if is_skewed else ""
    return (
        f"The mean Dice is {summary['dice'].min():.3f} ({low}) to {summary['dice'].max():.3f} ({high}).\n"
        f"Of all {images:,} images, {100 * bad:.0f} % have a Dice below 0.9.{rest}"
    )


def say_changed(means: pd.DataFrame) -> str:
    """Return how much each change of the images lowers the mean Dice.

    `means` has a row for each data set. The first column is the unchanged images, each other column a change.

    Example:
        >>> means = pd.DataFrame({"as it is": [0.95, 0.97], "inverted": [0.94, 0.968]}, index=["films", "slices"])
        >>> print(say_changed(means))
        inverted: the mean Dice falls by 0.010 at most (films).
    """
    losses = means.drop(columns=means.columns[0]).rsub(means.iloc[:, 0], axis=0)
    return "\n".join(
        f"{name}: the mean Dice falls by {loss.max():.3f} at most ({loss.idxmax()})."
        if loss.max() > 0
        else f"{name}: the mean Dice falls on no data set."
        for name, loss in losses.items()
    )


def left_out_changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return how the mean Dice changes if a part of the drawings is left out, the largest loss first.

    `table` is one of `leave_one_out`; groups of patients do not count. The columns are the data sets, with means over
    seeds, and `mean`, `low` and `high`: the mean over the data sets, and that of the lowest and of the highest seed.

    Example:
        >>> table = pd.DataFrame({"films": [0.95, 0.90, 0.96]}, index=["nothing", "tone", "shape"])
        >>> left_out_changes(table).round(2).index.tolist()
        ['tone', 'shape']
    """
    sets = [name for name in table if name != "seed" and "," not in str(name)]
    if len(sets) > 1:  # because finding-lungs-in-ct-data has its slices too
        sets = [name for name in sets if name != "lung-ct-bmp"]
    parts = [name for name in table.index.unique() if name != NOTHING_LEFT_OUT]
    by_seed = [part[sets] for _, part in table.groupby("seed")] if "seed" in table else [table[sets]]
    changes = pd.concat([part.loc[parts] - part.loc[NOTHING_LEFT_OUT] for part in by_seed])
    means = changes.mean(axis=1).groupby(level=0)
    spread = {"mean": means.mean(), "low": means.min(), "high": means.max()}
    return changes.groupby(level=0).mean().assign(**spread).sort_values("mean")


def say_left_out(table: pd.DataFrame) -> str:
    """Return what each part of the drawings was worth, from a table of `leave_one_out`.

    Changes below `EQUIVALENCE_MARGIN` are too small to count, and so are those whose sign differs between seeds.

    Example:
        >>> columns = {"films": [0.95, 0.90, 0.96, 0.951], "ct": [0.97, 0.97, 0.99, 0.971]}
        >>> print(say_left_out(pd.DataFrame(columns, index=["nothing", "tone", "shape", "pathology"])))
        Without tone: Dice -0.025 on average, from -0.050 (films) to +0.000 (ct): it probably helped.
        Without shape: Dice +0.015 on average, from +0.010 (films) to +0.020 (ct): it probably did not help here.
        Too little to tell: without pathology (Dice +0.001).
    """
    lines, unclear = [], []
    for name, row in left_out_changes(table).iterrows():
        if verdict := _verdict(row):
            lines.append(_say_part(str(name), row, verdict))
        else:
            unclear.append(f"without {name} (Dice {signed(row['mean'])}{_say_seeds(row, ', {}')})")
    if unclear:
        lines.append(f"Too little to tell: {', '.join(unclear)}.")
    return "\n".join(lines)


def _verdict(row: pd.Series) -> str:
    """Return what a row of `left_out_changes` says of the part that was left out, or "" for nothing."""
    by_set = _by_set(row)
    if by_set.min() <= -EQUIVALENCE_MARGIN and by_set.max() >= EQUIVALENCE_MARGIN:
        return "it helps some data sets and harms others"
    if row["mean"] <= -EQUIVALENCE_MARGIN and row["high"] < 0:
        return "it probably helped"
    if row["mean"] >= EQUIVALENCE_MARGIN and row["low"] > 0:
        return "it probably did not help here"
    if by_set.min() <= -EQUIVALENCE_MARGIN < by_set.max():
        return "it helps some data sets only"
    return ""


def _by_set(row: pd.Series) -> pd.Series:
    return row.drop(["mean", "low", "high"])


def _say_part(name: str, row: pd.Series, verdict: str) -> str:
    by_set = _by_set(row)
    return (
        f"Without {name}: Dice {signed(row['mean'])} on average{_say_seeds(row, ' ({})')}, from {signed(by_set.min())} "
        f"({by_set.idxmin()}) to {signed(by_set.max())} ({by_set.idxmax()}): {verdict}."
    )


def _say_seeds(row: pd.Series, form: str) -> str:
    """Return the lowest and the highest seed in words, put into `form`; "" if there is only one."""
    return form.format(f"{signed(row['low'])} to {signed(row['high'])} over seeds") if row["low"] < row["high"] else ""
