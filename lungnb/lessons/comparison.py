"""Interpret the tables and charts of notebook 06 in sentences that are computed from the reader's own results."""

from collections.abc import Mapping

import pandas as pd

from lungnb.evaluation.differences import EQUIVALENT, SIGNIFICANT_P, UNDECIDED
from lungnb.evaluation.readable_tables import readable_conclusion
from lungnb.evaluation.statistics import patient_means
from lungnb.metrics import FAILED_DICE, Counts
from lungnb.networks.callbacks import MONITOR
from lungnb.settings import counted, title_of

HARDEST = 3  # images of each network; an image that is among the hardest of all networks is hard in itself
_LARGE_GAP = 0.02  # of Dice between training and test: several times as much as another seed changes


def say_pairs(tests: pd.DataFrame, margin: float) -> str:
    """Return the conclusion of each row of `paired_tests` and the reason for it, a line for each pair.

    Example:
        >>> pair = {"first": "unet", "second": "resunet", "difference": 0.002, "low": 0.001, "high": 0.003}
        >>> pair |= {"low_90": 0.0012, "high_90": 0.0028, "p_holm": 0.01, "conclusion": EQUIVALENT}
        >>> print(say_pairs(pd.DataFrame([pair]), margin=0.005))
        U-Net and ResUNet: no relevant difference. The 90 % interval lies within the margin.
    """
    lines = []
    for _, test in tests.iterrows():
        pair = f"{title_of(test['first'])} and {title_of(test['second'])}"
        lines.append(f"{pair}: {readable_conclusion(test)}. {_reason(test, margin)}")
    return "\n".join(lines) if lines else "One network alone has no pair to compare."


def _reason(test: pd.Series, margin: float) -> str:
    if test["conclusion"] == EQUIVALENT:
        return "The 90 % interval lies within the margin."
    if test["conclusion"] != UNDECIDED:
        return "The 95 % interval does not contain 0, and the difference is at least the margin."
    if not (test["low"] > 0 or test["high"] < 0):
        return "The 95 % interval contains 0, and the 90 % interval reaches beyond the margin."
    if abs(test["difference"]) < margin:
        return "The 95 % interval does not contain 0, but the difference is smaller than the margin."
    return f"The 95 % interval does not contain 0, but the corrected p is not below {SIGNIFICANT_P:g}."


def say_generalisation(histories: Mapping[str, pd.DataFrame], scores: pd.DataFrame) -> str:
    """Return the Dice of each network in each split, and whether the scored split is far below training.

    `histories` has a table of `read_history` for each model. `scores` has rows of `evaluate` with the column `model`.
    """
    split, lines, gaps = scores["split"].iloc[0], [], {}
    for name, history in histories.items():
        kept = history.iloc[int(history[MONITOR].argmin())]
        last = patient_means(scores[scores["model"] == name]).mean()
        gaps[title_of(name)] = kept["dice"] - last
        lines.append(
            f"{title_of(name)}: Dice {kept['dice']:.3f} in training, {kept['val_dice']:.3f} in validation, "
            f"{last:.3f} on {split} images."
        )
    worst = max(gaps, key=gaps.__getitem__)
    said = f"No network is more than {_LARGE_GAP:g} lower on {split} images than in training: no sign of overfitting."
    if gaps[worst] > _LARGE_GAP:
        said = f"{worst} is {gaps[worst]:.3f} lower on {split} images than in training: a sign of overfitting."
    return "\n".join([*lines, said])


def say_failures(scores: pd.DataFrame) -> str:
    """Return how many masks failed, what is wrong with the worst, and how many hard images the networks share.

    `scores` has rows of `evaluate` with the column `model`.

    Example:
        >>> rows = [("unet", "a", 0.6, 60, 0, 80), ("unet", "b", 0.9, 90, 10, 10)]
        >>> print(say_failures(pd.DataFrame(rows, columns=["model", "id", "dice", "tp", "fp", "fn"])))
        1 of 2 masks failed: the Dice is below 0.7.
        The lowest Dice is 0.600: U-Net on a. It misses 57.1% of the lung and adds 0.0% outside it.
    """
    failed, worst = int((scores["dice"] < FAILED_DICE).sum()), scores.sort_values("dice").iloc[0]
    lung = max(worst["tp"] + worst["fn"], 1)
    lines = [
        f"{failed} of {counted(len(scores), 'mask')} failed: the Dice is below {FAILED_DICE:g}."
        if failed
        else f"None of {counted(len(scores), 'mask')} failed: every Dice is at least {FAILED_DICE:g}.",
        f"The lowest Dice is {worst['dice']:.3f}: {title_of(worst['model'])} on {worst['id']}. It misses "
        f"{worst['fn'] / lung:.1%} of the lung and adds {worst['fp'] / lung:.1%} outside it.",
    ]
    hardest = [{*rows.nsmallest(HARDEST, "dice")["id"]} for _, rows in scores.groupby("model", sort=False)]
    if len(hardest) > 1 and len(hardest[0]) == HARDEST:
        shared = len(set.intersection(*hardest))
        lines.append(f"Of the {HARDEST} hardest images of each network, {shared} are the same for all networks.")
    return "\n".join(lines)


def say_area(scores: pd.DataFrame) -> str:
    """Return the mean and the limits of agreement of `bland_altman` in words, and how many images lie between them."""
    lines = []
    for name, rows in scores.groupby("model", sort=False):
        gap = (200 * (rows["fp"] - rows["fn"]) / (2 * rows["tp"] + rows["fp"] + rows["fn"])).dropna()
        if len(gap) > 1:
            mean, spread = gap.mean(), 1.96 * gap.std()
            size, alike = ("larger", gap > 0) if mean > 0 else ("smaller", gap < 0)
            lines.append(
                f"{title_of(str(name))}: the lungs are {abs(mean):.1f} % {size} on average, and {size} in "
                f"{alike.sum()} of {counted(len(gap), 'image')}. {(abs(gap - mean) <= spread).sum()} are between "
                f"the limits {mean - spread:+.1f} % and {mean + spread:+.1f} %."
            )
    return "\n".join(lines) or "One image has no limits of agreement."


def say_choice(tests: pd.DataFrame, comparison: pd.DataFrame) -> str:
    """Return which network to use: the quickest one that has no relevant difference to the best.

    `comparison` is a table of `compare`, and `tests` one of `paired_tests` on the same networks.
    """
    if len(comparison) == 1:
        return "With one network, there is nothing to choose."
    best = comparison["dice"].idxmax()
    equivalent = tests.loc[tests["conclusion"] == EQUIVALENT, ["first", "second"]].map(title_of).to_numpy()
    alike = {name for pair in equivalent if best in pair for name in pair} - {best}
    if not alike:
        return f"No network is shown to be as good as {best}, so do not choose another one for its lower cost yet."
    times = comparison.loc[comparison.index.isin(alike | {best}), "milliseconds_per_image"]
    return (
        f"No relevant difference to {best}: {', '.join(sorted(alike))}. Of these networks, {times.idxmin()} is the "
        f"quickest, with {times.min():.1f} ms per image."
    )


def say_pixels(counts: Mapping[str, Counts]) -> str:
    """Return how many pixels of lung each network misses, and how many it adds, from pooled counts.

    Example:
        >>> print(say_pixels({"unet": Counts(tp=900, fp=50, fn=100, tn=8950)}))
        U-Net misses 100 pixels of lung and adds 50: it draws the lungs too small.
    """
    lines = []
    for name, count in counts.items():
        size = "small" if count.fn > count.fp else "large"
        verdict = "as often too small as too large" if count.fn == count.fp else f"too {size}"
        lines.append(
            f"{title_of(name)} misses {counted(int(count.fn), 'pixel')} of lung and adds {count.fp:,}: it draws the "
            f"lungs {verdict}."
        )
    return "\n".join(lines)


def say_spread(scores: pd.DataFrame) -> str:
    """Return for each network how far its worst image is from its middle one, from rows of `evaluate` with `model`.

    Example:
        >>> scores = pd.DataFrame({"model": "unet", "id": ["a", "b", "c"], "dice": [0.8, 0.95, 0.97]})
        >>> print(say_spread(scores.assign(hd95=[9.0, 2.0, 1.0])))
        U-Net: half of the Dice are below 0.950, the lowest is 0.800 (a). The largest HD95 is 4.5 times the median (a).
    """
    lines = []
    for name, rows in scores.groupby("model", sort=False):
        low, far = rows.nsmallest(1, "dice").iloc[0], rows.nlargest(1, "hd95").iloc[0]
        line = f"{title_of(str(name))}: half of the Dice are below {rows['dice'].median():.3f}, the lowest is "
        line += f"{low['dice']:.3f} ({low['id']})."
        if (median := rows["hd95"].median()) > 0:
            line += f" The largest HD95 is {far['hd95'] / median:.1f} times the median ({far['id']})."
        lines.append(line)
    return "\n".join(lines)


def say_epochs(histories: Mapping[str, pd.DataFrame]) -> str:
    """Return which epoch of each history is kept, and whether more epochs may help.

    Example:
        >>> say_epochs({"unet": pd.DataFrame({"epoch": [0, 1], "val_loss": [0.5, 0.4]})})
        'U-Net keeps epoch 2 of 2, the last, so more epochs may help.'
    """
    lines = []
    for name, history in histories.items():
        kept, last = int(history[MONITOR].argmin()) + 1, len(history)
        verdict = ", the last, so more epochs may help" if kept == last else ": later epochs were no better"
        lines.append(f"{title_of(name)} keeps epoch {kept} of {last}{verdict}.")
    return "\n".join(lines)
