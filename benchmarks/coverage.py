"""Measure how often 95 % intervals of a mean contain the true mean, by number of patients and method.

The populations are the published scores of real images. Patients are drawn from them with replacement, so the true mean
is that of the population. `lungnb` is the interval that score tables have; the others are the candidates it was chosen
from. `warned` is the share of samples with a `decisive_patients`, and `lungnb_not_warned` the coverage in all others.
`equivalent` is how often the verdict on a difference is "no relevant difference" although the true one is the margin.

    python benchmarks/coverage.py --out results/published/benchmarks
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
from measure import write
from scipy import stats
from scipy.special import expit, logit

from lungnb.evaluation.statistics import decisive_patients, interval, patient_means
from lungnb.settings import EQUIVALENCE_MARGIN

PUBLISHED = Path(__file__).parents[1] / "results" / "published"
PATIENTS = (80, 28, 20, 8, 5, 3)
WRONG_MASK_DICE = 0.85  # of the CT slices, those below have a wrong ground truth (results/published/README.md)
FAILURES = 0.03  # share of patients on whom a network fails, in the population with failures
_RESAMPLES = 1000  # of the candidates
_TAILS = np.array([0.025, 0.975])
Limits = tuple[float, float] | np.ndarray


def populations() -> dict[str, np.ndarray]:
    """Return the scores or differences of patients, by the name of the population."""
    montgomery, shenzhen, ct = (_shipped(name) for name in ("montgomery", "shenzhen", "finding-lungs-in-ct-data"))
    wrong = ct.index[ct < WRONG_MASK_DICE]
    failed = np.random.default_rng(0).uniform(0, 0.8, round(FAILURES * len(montgomery)))
    found = {
        "Dice, Montgomery": montgomery, "Dice, CT": ct.drop(wrong), "Dice, Shenzhen": shenzhen,
        "Dice, CT with three wrong masks": ct,
        f"Dice, Montgomery and {FAILURES:.0%} failures": np.append(montgomery, failed),
    }  # fmt: skip
    pairs = pd.read_csv(PUBLISHED / "benchmarks" / "coverage_pairs.csv")
    for name, table in pairs.groupby("dataset", sort=False):
        wide = table.pivot(index="patient", columns="model", values="dice").drop(wrong, errors="ignore")
        found[f"U-Net minus ResUNet, {name}"] = wide["unet"] - wide["resunet"]
    return {name: np.asarray(values) for name, values in found.items()}


def _shipped(dataset: str) -> pd.Series:
    """Return each patient's Dice of the network that comes with lungnb."""
    return patient_means(pd.read_csv(PUBLISHED / "phantom" / f"pretrained_{dataset}.csv"))


def candidates(values: np.ndarray, rng: np.random.Generator, is_score: bool) -> dict[str, Limits]:
    """Return the limits of the mean by each method; those on the logit scale for scores only."""
    count, mean = len(values), values.mean()
    error, t = values.std(ddof=1) / np.sqrt(count), stats.t.ppf(_TAILS, count - 1)
    drawn = values[rng.integers(0, count, (_RESAMPLES, count))]
    means, errors = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(count)
    differ = errors > 1e-12
    pivots = np.quantile((means - mean)[differ] / errors[differ], _TAILS)
    limits: dict[str, Limits] = {
        "percentile": np.quantile(means, _TAILS), "bca": _bca(values, means), "t": mean + t * error,
        "studentised": mean - pivots[::-1] * error,
    }  # fmt: skip
    if is_score:
        slope, slopes = mean * (1 - mean), means * (1 - means)  # the delta method
        pivots = np.quantile((logit(means) - logit(mean))[differ] / (errors / slopes)[differ], _TAILS)
        limits["t_logit"] = expit(logit(mean) + t * error / slope)
        limits["studentised_logit"] = expit(logit(mean) - pivots[::-1] * error / slope)
    return limits


def _bca(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the limits of the bias-corrected and accelerated bootstrap (Efron 1987)."""
    gaps, mean = values - values.mean(), values.mean()
    bias = stats.norm.ppf(np.clip((np.mean(means < mean) + np.mean(means <= mean)) / 2, 0.001, 0.999))
    acceleration = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    shifted = bias + stats.norm.ppf(_TAILS)
    return np.quantile(means, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))


def coverage(name: str, population: np.ndarray, patients: int, samples: int) -> dict[str, float]:
    """Return the share of samples whose limits contain the population's mean, by method, and the median width."""
    rng, truth, rows = np.random.default_rng(patients), population.mean(), []
    while len(rows) < samples:
        values = rng.choice(population, patients)
        if np.ptp(values) == 0:
            continue
        low, high = interval(values)
        row = {
            name: low <= truth <= high for name, (low, high) in candidates(values, rng, name.startswith("Dice")).items()
        }
        is_warned = bool(decisive_patients(pd.Series(values)))
        rows.append(row | {"lungnb": low <= truth <= high, "width": high - low, "warned": is_warned})
    table = pd.DataFrame(rows)
    not_warned = table.loc[~table["warned"], "lungnb"].mean()
    shares = table.drop(columns="width").mean().to_dict()
    shares |= {"lungnb_not_warned": not_warned, "median_width": table["width"].median()}
    is_difference = not name.startswith("Dice")
    return shares | ({"equivalent": equivalent(population, patients, samples)} if is_difference else {})


def equivalent(population: np.ndarray, patients: int, samples: int) -> float:
    """Return the share of samples whose 90 % interval lies within the margin, if the true mean is at one of its ends.

    It should be 0.05 at most. Of the two ends, the one with the larger share counts.
    """
    rng, centred, found = np.random.default_rng(patients), population - population.mean(), np.zeros(2)
    for _ in range(samples):
        low, high = interval(rng.choice(centred, patients), 0.9)
        found += low > -2 * EQUIVALENCE_MARGIN and high < 0, low > 0 and high < 2 * EQUIVALENCE_MARGIN
    return float(found.max() / samples)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="per population and number of patients")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    cases = [(name, values, count) for name, values in populations().items() for count in PATIENTS]
    with ProcessPoolExecutor() as pool:
        shares = pool.map(coverage, *zip(*cases, strict=True), repeat(options.samples))
        rows = [
            {"population": name, "of": len(values), "patients": count, **row}
            for (name, values, count), row in zip(cases, shares, strict=True)
        ]
    write(pd.DataFrame(rows).round(4), "coverage", options.out, None)


if __name__ == "__main__":
    main()
