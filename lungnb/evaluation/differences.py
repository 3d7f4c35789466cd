"""Differences between two networks: their mean over patients, its interval, and a test of that same mean.

With one training of each network, the result is about these trained networks. With several seeds or folds, it is about
the architectures. docs/explanation/conclusions.md gives the reasons and the formulas.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from lungnb.evaluation.statistics import add_variances, interval, paired_by_patient
from lungnb.settings import EQUIVALENCE_MARGIN

BETTER, WORSE, EQUIVALENT, UNDECIDED = "first is better", "second is better", "no relevant difference", "undecided"
SIGNIFICANT_P = 0.05  # Holm-corrected
POWER = 0.8  # of a study with as many patients as `patients_needed` says
_EQUIVALENCE_LEVEL = 0.9  # two one-sided tests at 5 % each
_PERMUTATIONS = 9999  # of signs; up to 13 patients, all are tried instead
_BATCH = 1000  # permutations at a time


def paired_tests(table: pd.DataFrame, margin: float = EQUIVALENCE_MARGIN) -> pd.DataFrame:
    """Return the difference of Dice of each pair of models, how sure it is, and what may be concluded.

    The `difference` of `first` minus `second` is the mean over patients. A patient's Dice is the mean over their
    images, seeds and folds. `low` and `high` bound its 95 % interval, `low_90` and `high_90` its 90 % interval. `p`
    tests that the difference is 0, and `p_holm` is corrected for the number of pairs. `conclusion` is one of `BETTER`,
    `WORSE`, `EQUIVALENT` and `UNDECIDED` (see `conclude`). `patients_needed` is the number of patients that a study of
    one training each needs to find a difference of `margin` (Dice).

    | trainings of each model | interval | test |
    |---|---|---|
    | one | `interval` | random signs of the patients' differences |
    | several seeds | t, with the variances over patients and over seeds | the same t |
    | several folds | t over folds, corrected for shared training images | the same t |

    Raises ValueError that names the image if the models or the seeds were not scored on the same images.

    Example:
        >>> rows = [("unet", str(n), f"patient {n}", 0.95 + n / 1000) for n in range(8)]
        >>> rows += [("resunet", str(n), f"patient {n}", 0.94) for n in range(8)]
        >>> test = paired_tests(pd.DataFrame(rows, columns=["model", "id", "patient", "dice"])).iloc[0]
        >>> f"{test['patients']} patients, difference {test['difference']:.4f}, p = {test['p_holm']:.4f}"
        '8 patients, difference 0.0135, p = 0.0078'
        >>> test["conclusion"]
        'first is better'
    """
    wide, rows = paired_by_patient(table), []
    sizes = {f"{name}s": wide.index.get_level_values(name).nunique() for name in ("patient", "seed", "fold")}
    for first, second in combinations(wide.columns, 2):
        rows.append({"first": first, "second": second, **sizes, **difference(wide[first], wide[second])})
    columns = ("difference", "low", "high", "low_90", "high_90", "p", "patients_needed")
    tests = pd.DataFrame(rows, columns=["first", "second", *sizes, *columns])
    if rows:  # with fewer than the least, no test can find anything
        least = min_patients(len(wide.columns))
        tests["patients_needed"] = np.ceil(tests["patients_needed"] / margin**2).clip(lower=least)
    tests["p_holm"] = holm(tests["p"])
    tests["conclusion"] = [conclude(row, margin) for _, row in tests.iterrows()]
    return tests


def conclude(test: pd.Series, margin: float) -> str:
    """Return what a row of `paired_tests` supports.

    One network is better if the corrected p is below 0.05, the 95 % interval lies on one side of 0, and the difference
    is at least `margin`. There is no relevant difference if the 90 % interval lies within `margin` on both sides of 0
    (two one-sided tests; Schuirmann 1987, https://doi.org/10.1007/BF01068419). Otherwise it is undecided.
    """
    is_sure = test["p_holm"] < SIGNIFICANT_P and (test["low"] > 0 or test["high"] < 0)
    if is_sure and abs(test["difference"]) >= margin:
        return BETTER if test["difference"] > 0 else WORSE
    return EQUIVALENT if -margin < test["low_90"] and test["high_90"] < margin else UNDECIDED


def holm(p: pd.Series) -> pd.Series:
    """Return p values corrected for their number after Holm (1979).

    Example:
        >>> holm(pd.Series([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    # The smallest p is multiplied by the number of pairs, the next by one less, and so on; no p falls.
    rising = p.sort_values()
    factors = np.arange(len(rising), 0, -1)
    return (rising * factors).cummax().clip(upper=1.0).reindex(p.index)


def min_patients(models: int) -> int:
    """Return the number of patients with which a test of one training each can reach a corrected p below 0.05.

    The smallest p of n patients is 2 / 2**n.

    Example:
        >>> min_patients(2), min_patients(3)
        (6, 7)
    """
    pairs = models * (models - 1) / 2
    return int(np.floor(np.log2(2 * pairs / SIGNIFICANT_P))) + 1


def difference(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """Return the difference of two columns of `paired_by_patient`, with its intervals and p.

    `patients_needed` is for a margin of 1: divide it by the square of the margin. With z for the quantiles of the
    normal law and s for the standard deviation of the patients' differences, it is (z(0.975) + z(0.8))^2 s^2 (Lachin
    1981, https://doi.org/10.1016/0197-2456(81)90001-5).
    """
    gaps = first - second
    if gaps.index.get_level_values("fold").nunique() > 1:
        result = _over_folds(gaps)
    elif gaps.index.get_level_values("seed").nunique() > 1:
        result = _over_seeds(first, second)
    else:
        result = _of_one_training(gaps.to_numpy())
    for limit in ("low", "high", "low_90", "high_90"):
        result[limit] = float(np.clip(result[limit], -1, 1))  # two Dice differ by no more than 1
    quantiles = stats.norm.ppf([1 - SIGNIFICANT_P / 2, POWER])
    return result | {"patients_needed": quantiles.sum() ** 2 * gaps.groupby("patient").mean().var(ddof=1)}


def _of_one_training(gaps: np.ndarray) -> dict[str, float]:
    """Return the result for the differences between two trained networks, one value per patient."""
    (low, high), (low_90, high_90) = interval(gaps), interval(gaps, _EQUIVALENCE_LEVEL)
    result = {"difference": gaps.mean(), "low": low, "high": high, "low_90": low_90, "high_90": high_90}
    if len(gaps) < 2 or not gaps.any():
        return result | {"p": 1.0}
    # If both networks were equal, a patient's difference could as well have the other sign (Fisher 1935).
    test = stats.permutation_test(
        (gaps,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_PERMUTATIONS, batch=_BATCH,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return result | {"p": float(test.pvalue)}


def _over_seeds(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """Return the result for several seeds: the variances over patients and over each network's trainings add up.

    The degrees of freedom are those of Satterthwaite (1946), but at most those of the trainings: with two seeds, a
    variance over seeds that is small by chance would count for too much. Trainings of two networks with one seed share
    no weights, so they are not paired. Chance that comes neither from patients nor from trainings is counted in both,
    so the variance is rather too large.
    """
    gaps = (first - second).groupby("patient").mean()
    parts = [(gaps.var(ddof=1) / len(gaps), len(gaps) - 1)]
    for scores in (first, second):
        trainings = scores.groupby("seed").mean()
        parts.append((trainings.var(ddof=1) / len(trainings), len(trainings) - 1))
    variance, freedom = add_variances(*parts)
    return _t_test(gaps.mean(), variance, min(freedom, sum(of_seeds for _, of_seeds in parts[1:])))


def _over_folds(gaps: pd.Series) -> dict[str, float]:
    """Return the result for several folds: a t test over folds, weighted by their patients.

    Networks of two folds share training images, so their differences are correlated, and the variance over folds is too
    small. Nadeau and Bengio (2003, https://doi.org/10.1023/A:1024068626366) add the ratio of test to training images.
    """
    folds = gaps.groupby(["fold", "patient"]).mean().groupby("fold").agg(["mean", "size"])
    weights = folds["size"] / folds["size"].sum()
    mean = float((weights * folds["mean"]).sum())
    squares = float((weights**2).sum())  # 1 / K for K folds of equal size
    variance = (weights * (folds["mean"] - mean) ** 2).sum() / (1 - squares)
    return _t_test(mean, variance * (squares + 1 / (len(folds) - 1)), len(folds) - 1)


def _t_test(mean: float, variance: float, freedom: float) -> dict[str, float]:
    """Return the result of a t test of a mean with the variance and the degrees of freedom of that mean."""
    error = np.sqrt(variance)
    outer, inner = (stats.t.ppf((1 + level) / 2, freedom) * error for level in (0.95, _EQUIVALENCE_LEVEL))
    p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
    limits = {"low": mean - outer, "high": mean + outer, "low_90": mean - inner, "high_90": mean + inner}
    return {"difference": mean, **limits, "p": 1.0 if np.isnan(p) else float(p)}
