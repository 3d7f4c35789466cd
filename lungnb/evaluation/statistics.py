"""Statistics of score tables: intervals, paired tests, how often a model comes first, pooled counts.

A table has a row an image, with its `patient`, its scores, and `model` if there are several; see `evaluation`.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lungnb.metrics import Counts

FEW_IMAGES = 50  # with fewer, an interval or a test says little
MIN_PATIENTS_TO_TEST = 6  # with fewer, no paired test can separate a difference from chance
_RESAMPLES = 5000  # of the bootstrap
SIGNIFICANT_P = 0.05  # Holm-corrected; a difference with a lower p is unlikely to be chance


def mean_interval(table: pd.DataFrame, score: str) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a score's mean, resampled by patient; NaN for one patient.

    Example:
        >>> table = pd.DataFrame({"patient": ["a", "a", "b", "c"], "dice": [0.98, 0.98, 0.96, 0.94]})
        >>> low, high = mean_interval(table, "dice")
        >>> bool(low < table["dice"].mean() < high)
        True
    """
    result = _resampled_means(table[[score]], table["patient"])
    if result is None:
        return np.nan, np.nan
    low, high = result.confidence_interval
    return float(low[0]), float(high[0])


def first_places(table: pd.DataFrame) -> pd.Series:
    """Return how often each model has the best mean Dice when patients are resampled, 0 to 1, by model.

    0.5 for each of two models is a draw: with other patients, the ranking may be reversed. Models with equal means
    share the first place. Raises ValueError as `paired` does.

    Example:
        >>> rows = [("unet", "1", "a", 0.98), ("unet", "2", "b", 0.97)]
        >>> rows += [("resunet", "1", "a", 0.96), ("resunet", "2", "b", 0.96)]
        >>> table = pd.DataFrame(rows, columns=["model", "id", "patient", "dice"])
        >>> first_places(table).to_dict()  # U-Net is ahead on both patients
        {'unet': 1.0, 'resunet': 0.0}
    """
    wide = paired(table)
    result = _resampled_means(wide, table.groupby("id")["patient"].first()[wide.index])
    if result is None:
        return pd.Series(np.nan, wide.columns)
    means = result.bootstrap_distribution
    first = means == means.max(axis=0)
    return pd.Series((first / first.sum(axis=0)).mean(axis=1), wide.columns)


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return the Dice as a row an image and a column a model, in the models' order.

    Raises ValueError that names the image if a model has no Dice of it, or several.

    Example:
        >>> table = pd.DataFrame({"model": ["unet", "resunet"], "id": ["case1", "case1"], "dice": [0.98, 0.96]})
        >>> paired(table).loc["case1"].to_dict()
        {'unet': 0.98, 'resunet': 0.96}
    """
    is_double = table.duplicated(["id", "model"])
    if is_double.any():
        double = table[is_double].iloc[0]
        raise ValueError(f"{double['id']} stands twice in the scores of {double['model']}; score it again.")
    wide = table.pivot(index="id", columns="model", values="dice")[[*table["model"].unique()]]
    if wide.isna().any(axis=None):
        model = wide.columns[wide.isna().any()][0]
        image = wide.index[wide[model].isna()][0]
        raise ValueError(f"{model} has no dice of {image}; score all models again on the same images.")
    return wide


def _resampled_means(scores: pd.DataFrame, patients: pd.Series) -> Any:  # noqa: ANN401
    """Return SciPy's bootstrap of each column's mean over images, with patients resampled; None for one patient."""
    groups = scores.groupby(patients.to_numpy())
    sums, counts = groups.sum().to_numpy().T, groups.size().to_numpy()
    if len(counts) < 2:
        return None
    return stats.bootstrap(
        (*sums, counts),
        lambda *samples, axis: np.stack([sums.sum(axis) for sums in samples[:-1]]) / samples[-1].sum(axis),
        paired=True, vectorized=True, method="percentile", n_resamples=_RESAMPLES, rng=np.random.default_rng(0),
    )  # fmt: skip


def pooled_counts(table: pd.DataFrame) -> Counts:
    """Return the confusion matrix of all pixels: the sums of the images' counts.

    Example:
        >>> pooled_counts(pd.DataFrame({"tp": [6, 4], "fp": [1, 0], "fn": [0, 2], "tn": [93, 94]}))
        Counts(tp=10, fp=1, fn=2, tn=187)
    """
    return Counts(*(int(table[name].sum()) for name in Counts._fields))


def classification_table(counts: Counts) -> pd.DataFrame:
    """Return scikit-learn's classification report of pooled counts: a row a class and average, support in pixels.

    The accuracy is in the row `accuracy` and the column of F1, as scikit-learn prints it.

    Example:
        >>> table = classification_table(Counts(tp=6, fp=2, fn=2, tn=90))
        >>> table.loc["lung", ["precision", "recall", "support"]].tolist()
        [0.75, 0.75, 8.0]
    """
    from sklearn.metrics import classification_report

    report = classification_report(
        [1, 0, 1, 0], [1, 1, 0, 0], sample_weight=list(counts), target_names=["background", "lung"],
        output_dict=True, zero_division=0,
    )  # fmt: skip
    report["accuracy"] = {"f1-score": report["accuracy"], "support": sum(counts)}
    return pd.DataFrame(report).T.astype({"support": int}).rename_axis("class")


def paired_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each pair of models, the paired Wilcoxon signed-rank test of their Dice over patients.

    A patient's Dice is the mean over their images, because images of one patient are not independent. Columns: the two
    models, the number of `patients`, the mean difference of first minus second, the effect size (matched-pairs
    rank-biserial correlation, -1 to 1), `p`, and `p_holm`, corrected after Holm. Raises ValueError as `paired` does.

    Example:
        >>> rows = [("unet", str(n), f"patient {n}", 0.95 + n / 1000) for n in range(8)]
        >>> rows += [("resunet", str(n), f"patient {n}", 0.94) for n in range(8)]
        >>> test = paired_tests(pd.DataFrame(rows, columns=["model", "id", "patient", "dice"])).iloc[0]
        >>> f"{test['patients']} patients, difference {test['difference']:.4f}, p = {test['p_holm']:.4f}"
        '8 patients, difference 0.0135, p = 0.0078'
    """
    wide = paired(table).groupby(table.groupby("id")["patient"].first()).mean()
    rows = []
    for first, second in combinations(wide.columns, 2):
        difference = (wide[first] - wide[second]).to_numpy()
        nonzero = difference[difference != 0]
        p = stats.wilcoxon(nonzero).pvalue if len(nonzero) else 1.0
        ranks = stats.rankdata(np.abs(nonzero))
        effect = float((np.sign(nonzero) * ranks).sum() / ranks.sum()) if len(nonzero) else 0.0
        rows.append((first, second, len(wide), difference.mean(), effect, p))
    tests = pd.DataFrame(rows, columns=["first", "second", "patients", "difference", "effect", "p"])
    # Holm: multiply the smallest p by the number of pairs, the next by one less, and so on; let no p fall.
    order = tests["p"].sort_values().index
    factors = np.arange(len(order), 0, -1)
    tests.loc[order, "p_holm"] = np.minimum(np.maximum.accumulate(tests.loc[order, "p"] * factors), 1.0)
    return tests
