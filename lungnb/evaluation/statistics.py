"""Statistics of score tables: means over patients with their intervals, first places, pooled counts.

A table has one row per image, with its `patient`, its scores, and `model` if there are several; see `evaluation`.
It may also have `seed` and `fold`, of several trainings. docs/explanation/conclusions.md has reasons and formulas.
"""

import numpy as np
import pandas as pd
from scipy import stats

from lungnb.metrics import ROUNDING, Counts

FEW_PATIENTS = 59  # with fewer, a failure on 1 of 20 patients is absent from more than 5 % of samples: 0.95**59 < 0.05
SMALLEST_P = 0.001  # show smaller p as "< 0.001", because `paired_tests` draws only 9,999 permutations
_MAX_DECISIVE = 3  # patients; if more of them failed, failures would not be rare
_MAX_DECISIVE_SHARE = 0.05  # of the patients; but always one
_RESAMPLES = 5000  # of the bootstrap
_BATCH = 500  # resamples at a time; 10,000 patients then take 40 MB
_MAX_EXPANSION = 0.6  # of a tail's probability; quantiles further out are noise in samples of fewer than 10 patients
_UNBOUNDED = ("hd95", "assd", "loss")  # scores without an upper limit
_TRAINING = ("seed", "fold")  # columns that tell trainings of one model apart


def say_p(p: float) -> str:
    """Return a p-value as text.

    Example:
        >>> say_p(0.0312), say_p(0.0001)
        ('p = 0.031', 'p < 0.001')
    """
    return f"p < {SMALLEST_P}" if p < SMALLEST_P else f"p = {p:.2g}"


def patient_means(table: pd.DataFrame, score: str = "dice") -> pd.Series:
    """Return each patient's mean score over their images (and trainings, if there are several), by patient.

    Raises ValueError if a score is not a number, or if an image has no patient.

    Example:
        >>> table = pd.DataFrame({"patient": ["a", "a", "b"], "dice": [0.98, 0.96, 0.94]})
        >>> patient_means(table).round(3).to_dict()
        {'a': 0.97, 'b': 0.94}
    """
    _refuse_missing(table, "patient", score)
    return table.groupby("patient")[score].mean()


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the mean of independent values; NaN for fewer than two.

    The wider of two limits on each side: Student's t, and the studentised bootstrap (Efron and Tibshirani 1993, chapter
    12.5), which allows for skewed scores. The bootstrap's quantiles are expanded for small samples (Hesterberg 2015,
    https://doi.org/10.1080/00031305.2015.1089789). results/published/benchmarks/coverage.csv has its coverage.

    Example:
        >>> low, high = interval(np.array([0.98, 0.97, 0.97, 0.96, 0.80]))
        >>> bool(0.936 - low > high - 0.936)  # further on the side of the failure
        True
    """
    values = np.asarray(values, float)
    count, tail = len(values), (1 - level) / 2
    if count < 2:
        return np.nan, np.nan
    mean, error = values.mean(), stats.sem(values)
    t = -stats.t.ppf(tail, count - 1)
    expanded = max(stats.norm.cdf(-np.sqrt(count / (count - 1)) * t), _MAX_EXPANSION * tail)
    low, high = np.quantile(_pivots(values), [expanded, 1 - expanded])
    return float(mean - max(high, t) * error), float(mean - min(low, -t) * error)


def _pivots(values: np.ndarray) -> np.ndarray:
    """Return how many standard errors the mean of each bootstrap resample is above the mean of the values."""
    rng, count, pivots = np.random.default_rng(0), len(values), [np.zeros(1)]
    for _ in range(_RESAMPLES // _BATCH):
        resampled = values[rng.integers(0, count, (_BATCH, count))]
        resampled = resampled[np.ptp(resampled, axis=1) > 0]  # equal values have no standard error
        pivots.append((resampled.mean(axis=1) - values.mean()) / stats.sem(resampled, axis=1))
    return np.concatenate(pivots)


def mean_interval(table: pd.DataFrame, score: str) -> tuple[float, float]:
    """Return the 95 % `interval` of a score's mean over patients; NaN for one patient. Raises as `patient_means`.

    With several seeds in `table`, the variance over trainings is added to that over patients. The limits are kept
    within the range of the score: from 0, and to 1 except for distances and losses.

    Example:
        >>> table = pd.DataFrame({"patient": ["a", "a", "b", "c"], "dice": [0.98, 0.98, 0.96, 0.94]})
        >>> low, high = mean_interval(table, "dice")
        >>> bool(low < 0.96 < high)
        True
    """
    means = patient_means(table, score)
    low, high = interval(means.to_numpy())
    if np.isnan(low):
        return low, high
    mean, factor = means.mean(), _widening(table, means, score)
    low, high = mean - factor * (mean - low), mean + factor * (high - mean)
    return max(low, 0.0), high if score in _UNBOUNDED else min(high, 1.0)


def _widening(table: pd.DataFrame, means: pd.Series, score: str) -> float:
    """Return how many times wider an interval over patients becomes with the variance over seeds; 1 for one seed."""
    of_patients = (means.var(ddof=1) / len(means), len(means) - 1)
    if "seed" not in table or table["seed"].nunique() < 2 or not of_patients[0]:
        return 1.0
    seeds = table.groupby(["seed", "patient"])[score].mean().groupby("seed").mean()
    variance, freedom = add_variances(of_patients, (seeds.var(ddof=1) / len(seeds), len(seeds) - 1))
    widths = [stats.t.ppf(0.975, degrees) * np.sqrt(part) for part, degrees in ((variance, freedom), of_patients)]
    return max(float(widths[0] / widths[1]), 1.0)


def add_variances(*parts: tuple[float, int]) -> tuple[float, float]:
    """Return the sum of variances of a mean and its degrees of freedom (Satterthwaite 1946), which may be infinite.

    Each part is a variance of the mean and its degrees of freedom.

    >>> add_variances((0.5, 4), (0.5, 4))
    (1.0, 8.0)
    """
    variance = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts if freedom)
    return variance, variance**2 / spread if spread else np.inf


def decisive_patients(means: pd.Series) -> list[str]:
    """Return the patients, three at most, without whom the interval does not contain the mean of all; often none.

    `means` are `patient_means`, or differences of them. If there are such patients, failures are rare and large. Then
    no interval holds, because another sample may have more of them or none.

    Example:
        >>> usual = [0.97, 0.96, 0.97, 0.98, 0.96, 0.97, 0.98]
        >>> decisive_patients(pd.Series([*usual, 0.4], list("abcdefgh")))
        ['h']
        >>> decisive_patients(pd.Series([*usual, 0.94], list("abcdefgh")))
        []
    """
    far = (means - means.median()).abs().sort_values(ascending=False, kind="stable").index
    for count in range(1, min(_MAX_DECISIVE, max(1, int(len(means) * _MAX_DECISIVE_SHARE))) + 1):
        low, high = interval(means.drop(far[:count]).to_numpy())
        if max(low - means.mean(), means.mean() - high) > ROUNDING:  # means of equal scores differ
            return [str(patient) for patient in far[:count]]
    return []


def first_places(table: pd.DataFrame) -> pd.Series:
    """Return how often each model has the best mean Dice over patients when patients are resampled, 0 to 1, by model.

    0.5 for each of two models is a draw: with other patients, the ranking may be reversed. Models with equal means
    share the first place. NaN for one patient. Raises ValueError as `paired` does.

    Example:
        >>> rows = [("unet", "1", "a", 0.98), ("unet", "2", "b", 0.97)]
        >>> rows += [("resunet", "1", "a", 0.96), ("resunet", "2", "b", 0.96)]
        >>> table = pd.DataFrame(rows, columns=["model", "id", "patient", "dice"])
        >>> first_places(table).to_dict()  # U-Net is ahead on both patients
        {'unet': 1.0, 'resunet': 0.0}
    """
    by_patient = paired_by_patient(table).groupby("patient").mean()
    if len(by_patient) < 2:
        return pd.Series(np.nan, by_patient.columns)
    rng, values, shares = np.random.default_rng(0), by_patient.to_numpy(), []
    for _ in range(_RESAMPLES // _BATCH):
        means = values[rng.integers(0, len(values), (_BATCH, len(values)))].mean(axis=1)
        first = np.isclose(means, means.max(axis=1, keepdims=True), rtol=0, atol=1e-12)  # sums differ in rounding
        shares.append((first / first.sum(axis=1, keepdims=True)).mean(axis=0))
    return pd.Series(np.mean(shares, axis=0), by_patient.columns)


def paired(table: pd.DataFrame) -> pd.DataFrame:
    """Return the Dice as one row per image (with several trainings: seed, fold and image) and one column per model.

    The models are in the table's order. Raises ValueError that names the image if a model has no Dice of it, or
    several, and if some seeds have other images than others.

    Example:
        >>> table = pd.DataFrame({"model": ["unet", "resunet"], "id": ["case1", "case1"], "dice": [0.98, 0.96]})
        >>> paired(table).loc["case1"].to_dict()
        {'unet': 0.98, 'resunet': 0.96}
    """
    keys = [*(name for name in _TRAINING if name in table), "id"]
    is_double = table.duplicated([*keys, "model"])
    if is_double.any():
        double = table[is_double].iloc[0]
        raise ValueError(f"{double['id']} is twice in the scores of {double['model']}; score this model again.")
    wide = table.pivot(index=keys, columns="model", values="dice")[[*table["model"].unique()]]
    if wide.isna().any(axis=None):
        model = wide.columns[wide.isna().any()][0]
        row = wide[wide[model].isna()].reset_index().iloc[0]
        of = "".join(f" with {name} {row[name]}" for name in keys[:-1] if table[name].nunique() > 1)
        raise ValueError(f"{model} has no dice of {row['id']}{of}; score all models again on the same images.")
    if "seed" in table:
        _refuse_unlike_seeds(table)
    return wide


def paired_by_patient(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice over images: one row per training (`seed`, `fold`) and `patient`, one column per model.

    Raises ValueError as `paired` and `patient_means` do.

    Example:
        >>> table = pd.DataFrame({"model": ["unet"] * 2, "id": ["1", "2"], "patient": ["a"] * 2, "dice": [0.98, 0.96]})
        >>> paired_by_patient(table).round(3).to_dict("records")
        [{'unet': 0.97}]
    """
    _refuse_missing(table, "patient")
    table = table.assign(**{name: 1 for name in _TRAINING if name not in table})
    wide, patients = paired(table), table.groupby("id")["patient"].first()
    by_patient = wide.reset_index().assign(patient=lambda rows: rows["id"].map(patients)).drop(columns="id")
    return by_patient.groupby([*_TRAINING, "patient"]).mean()


def _refuse_missing(table: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError that names the first image without a value in one of the columns."""
    for column in columns:
        missing = table[table[column].isna()]
        if len(missing):
            raise ValueError(f"{missing.iloc[0].get('id', 'An image')} has no {column}; score it again.")


def _refuse_unlike_seeds(table: pd.DataFrame) -> None:
    """Raise ValueError if the trainings with one seed have no scores of an image that others have scores of."""
    for seed, counts in pd.crosstab(table["seed"], table["id"]).iterrows():
        if not counts.all():
            missing = counts.idxmin()
            raise ValueError(f"The trainings with seed {seed} have no scores of {missing}; score them all again.")


def pooled_counts(table: pd.DataFrame) -> Counts:
    """Return the confusion matrix of all pixels: the sums of the images' counts.

    Example:
        >>> pooled_counts(pd.DataFrame({"tp": [6, 4], "fp": [1, 0], "fn": [0, 2], "tn": [93, 94]}))
        Counts(tp=10, fp=1, fn=2, tn=187)
    """
    return Counts(*(int(table[name].sum()) for name in Counts._fields))


def classification_table(counts: Counts) -> pd.DataFrame:
    """Return scikit-learn's classification report of pooled counts: one row per class and average, support in pixels.

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
