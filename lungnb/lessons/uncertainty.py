"""Interpret what notebook 13 shows: calibration, temperature, and whether uncertain masks are the worse ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation.calibration import Examination, compare_with_truth, predict_augmented
from lungnb.evaluation.probabilities import BINS, calibration_error, reliability_table
from lungnb.evaluation.statistics import say_p
from lungnb.messages import progress_bar
from lungnb.metrics import LOW_DICE
from lungnb.settings import Settings, title_of

CONFIDENCES = {"over-confident": 2.0, "calibrated": 1.0, "under-confident": 0.5}  # factors of the true logits
SMALL_ERROR = 0.1 / BINS  # a calibration error of a tenth of a bin's width cannot be seen in the diagram
_SD_OF_LOGITS = 2.0  # of the invented pixels, so that no bin is empty
_SURE = 0.05  # a correlation with a higher p may be chance
_HELPS = 0.5  # share of the gain of a perfect choice over chance; from this share on, say "much better"
_NOISE, _BLUR = 40.0, 2.0  # of a damaged image: SD in grey values; SD in percent of the longer side
_CONTRAST = 0.35  # of a damaged image, as a share of the original contrast


def confidence_examples() -> dict[str, pd.DataFrame]:
    """Return the reliability tables of three invented networks, which rank the pixels in the same order.

    Example:
        >>> tables = confidence_examples()
        >>> {name: round(calibration_error(table), 2) for name, table in tables.items()}
        {'over-confident': 0.09, 'calibrated': 0.0, 'under-confident': 0.1}
    """
    logits = np.arange(-8, 8, 0.02) + 0.01
    weight = np.exp(-0.5 * (logits / _SD_OF_LOGITS) ** 2)
    pixels = pd.DataFrame({"lung": weight * expit(logits), "other": weight * expit(-logits), "pixels": weight})
    shares = pixels / weight.sum()
    return {name: reliability_table(shares.assign(logit=factor * logits)) for name, factor in CONFIDENCES.items()}


def say_calibration(examinations: Mapping[str, Examination]) -> str:
    """Return for each model its calibration error near the border, and whether it is over-confident."""
    tables = {title_of(name): reliability_table(examination.border) for name, examination in examinations.items()}
    return "\n".join(
        f"{title}: calibration error {calibration_error(table):.3f}. {say_confidence(table)}"
        for title, table in tables.items()
    )


def say_confidence(table: pd.DataFrame) -> str:
    """Return whether a network is over-confident, under-confident or calibrated, from a `reliability_table`.

    Example:
        >>> say_confidence(pd.DataFrame({"probability": [0.1, 0.9], "observed": [0.3, 0.7], "share": [0.5, 0.5]}))
        'It is over-confident: too near to 0 and 1.'
    """
    error = calibration_error(table)
    if error < SMALL_ERROR:
        return "It is calibrated: the error is too small to see in the chart."
    excess = (table["probability"] - table["observed"]) * table["share"]
    gap = (excess * np.sign(table["probability"] - 0.5)).sum()
    if abs(gap) < error / 2:
        return f"It is too {'high' if excess.sum() > 0 else 'low'} on both sides of 0.5."
    return "It is over-confident: too near to 0 and 1." if gap > 0 else "It is under-confident: too near to 0.5."


def say_temperature(table: pd.DataFrame) -> str:
    """Return for each model of a `calibration_table` how its temperature changes the calibration error."""
    return "\n".join(_say_temperature(str(name), row) for name, row in table.iterrows())


def _say_temperature(title: str, row: pd.Series) -> str:
    direction = "towards 0.5" if row["temperature"] > 1 else "away from 0.5"
    before, after = row["calibration_error"], row["corrected_error"]
    change = "falls" if after < before else "rises"
    if abs(after - before) < SMALL_ERROR:
        change = "hardly changes"
    uncorrected = " T cannot correct the rest." if after < before else " T cannot correct it."
    rest = uncorrected if after > max(before / 2, SMALL_ERROR) else ""
    return f"{title}: T = {row['temperature']:.2f}, {direction}. The error {change}: {before:.3f} to {after:.3f}.{rest}"


def say_thresholds(table: pd.DataFrame, margin: float) -> str:
    """Return how far a threshold and augmented predictions change the Dice, at most, in a `calibration_table`.

    `margin` is the difference in Dice that matters.
    """
    threshold, mean = table[["dice_at_best", "augmented_dice"]].sub(table["dice"], axis=0).abs().max()
    verdict = "too little to matter" if max(threshold, mean) < margin else f"changes of {margin:g} and more matter"
    return (
        f"The best threshold of each network changes its Dice by at most {threshold:.4f}, and the mean of four "
        f"predictions by at most {mean:.4f}: {verdict}."
    )


def say_order(reviewed: Mapping[str, pd.DataFrame]) -> str:
    """Return the rank correlation between disagreement and Dice, from tables of `review_reasons`: a line per verdict.

    It is over the means of patients, because images of one patient are alike.

    Example:
        >>> images = pd.DataFrame({"disagreement": [0.3, 0.2, 0.1, 0.05, 0.01], "dice": [0.6, 0.7, 0.8, 0.9, 0.95]})
        >>> print(say_order({"unet": images.assign(patient=range(5))}))
        Rank correlations over 5 patients.
        Masks with more disagreement are worse: U-Net (-1.00, p = 0.017).
    """
    models: dict[str, list[str]] = {}
    counts = {images["patient"].nunique() for images in reviewed.values()}
    for name, images in reviewed.items():
        means = images.groupby("patient")[["disagreement", "dice"]].mean()
        r, p = _rank_correlation(means)
        verdict = f"Masks with more disagreement are {'' if r < 0 else 'not '}worse"
        if not p < _SURE:  # also if it is NaN, because all are equal
            verdict = "This may be chance"
        models.setdefault(verdict, []).append(f"{title_of(name)} ({r:.2f}, {say_p(p)})")
    lines = [f"{verdict}: {', '.join(names)}." for verdict, names in models.items()]
    return "\n".join([f"Rank correlations over {' or '.join(map(str, sorted(counts)))} patients.", *lines])


def _rank_correlation(means: pd.DataFrame) -> tuple[float, float]:
    """Return Spearman's correlation of two columns and its p from shuffled ranks; NaN if a column is constant."""
    if means.nunique().min() < 2:
        return np.nan, np.nan
    # Student's t, which scipy.stats.spearmanr uses, gives p = 0 for three patients in order.
    first, second = stats.zscore(means.rank().to_numpy()).T
    test = stats.permutation_test(
        (first,), lambda shuffled, axis: (shuffled * second).mean(axis=axis), permutation_type="pairings",
        vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(test.statistic), float(test.pvalue)


def say_gain(gains: pd.DataFrame) -> str:
    """Return for each model whether the uncertainty finds bad masks better than chance, from rows of `review_gain`.

    Example:
        >>> gain = {"images": 17, "looked_at": 2, "worst": 0.5, "worst_left": 0.95, "worst_ideal": 0.96}
        >>> print(say_gain(pd.DataFrame({"unet": gain | {"worst_by_chance": 0.6}}).T))
        U-Net: without the 2 most uncertain of 17 images, the worst Dice is 0.950.
        Chance would leave 0.600, a perfect choice 0.960. The uncertainty finds bad masks much better than chance.
    """
    is_good = gains["worst"] >= LOW_DICE
    lines = [_say_gain(title_of(str(name)), row) for name, row in gains[~is_good].iterrows()]
    if is_good.any():
        names = ", ".join(map(title_of, gains.index[is_good]))
        gain = (gains["worst_ideal"] - gains["worst"])[is_good].max()
        lines.append(
            f"{names}: no Dice is below {LOW_DICE:g}, so there is no bad mask to find.\n"
            f"Even a perfect choice would raise the lowest Dice by only {gain:.3f}."
        )
    return "\n".join(lines)


def _say_gain(title: str, row: pd.Series) -> str:
    chance, ideal, left = row["worst_by_chance"], row["worst_ideal"], row["worst_left"]
    counts = f"the {row['looked_at']:.0f} most uncertain of {row['images']:.0f} images"
    if left <= chance:
        verdict = "The uncertainty is no better than chance"
        verdict += ": it misses the worst mask." if left == row["worst"] else "."
    else:
        much = "much" if left - chance >= _HELPS * (ideal - chance) else "a little"
        verdict = f"The uncertainty finds bad masks {much} better than chance."
    digits = 3 if min(round(left, 3), round(ideal, 3)) != round(chance, 3) else 4
    return (
        f"{title}: without {counts}, the worst Dice is {left:.{digits}f}.\nChance would leave {chance:.{digits}f}, a "
        f"perfect choice {ideal:.{digits}f}. {verdict}"
    )


def examine_damaged(settings: Settings, model_name: str, every: int = 3, progress: bool = True) -> pd.DataFrame:
    """Damage each `every`-th image of the test split, and examine all images of it as `examine` does.

    The column `damaged` says which images have less contrast, more noise and more blur. Their ground truth is the same.
    """
    engine, prepared = engine_of(load_model(settings.results / model_name / MODEL)), open_prepared(settings)
    rows = prepared.rows(prepared.scoring_split())
    examined = []
    for index, row in enumerate(progress_bar(rows, "Examining", progress=progress)):
        grey, truth = prepared.pair(row)
        is_damaged = index % every == 0
        image = damaged(grey, index) if is_damaged else grey
        entry = compare_with_truth(truth, predict_augmented(engine, image))
        examined.append({key: row[key] for key in ("id", "patient", "split")} | {"damaged": is_damaged} | entry)
    return pd.DataFrame(examined)


def damaged(grey: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a uint8 image with less contrast, more noise and more blur. The seed decides the noise.

    Example:
        >>> image = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
        >>> bool(damaged(image).std() < image.std())
        True
    """
    noise = np.random.default_rng(seed).normal(0, _NOISE, grey.shape)
    blurred = gaussian_filter(_CONTRAST * grey + noise, _BLUR / 100 * max(grey.shape))
    return np.asarray(np.clip(np.rint(blurred), 0, 255).astype(np.uint8))
