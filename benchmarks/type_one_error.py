"""Measure how often tests find a difference between two networks that are equal.

`architectures`: two architectures are equal, but each training differs, as seeds did on Montgomery
(results/published/montgomery-seeds/variation.csv and results/published/networks/networks.csv). `patients`: two trained
networks are equal on average, but one fails on some patients. `lungnb` is the test of `paired_tests`, `conclusion` says
how often it called one network better, and the others are the tests it replaces. `equivalent` is how often the verdict
would be "no relevant difference" if one network were better by the margin, of the two networks the one with more.

    python benchmarks/type_one_error.py --out results/published/benchmarks
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from measure import write
from scipy import stats

from lungnb.evaluation.differences import BETTER, WORSE, conclude, difference
from lungnb.settings import EQUIVALENCE_MARGIN

# Of both networks: the SD of the mean Dice between seeds, and the SD of one image's Dice between seeds.
SPREADS = {
    "U-Net and ResUNet": ((0.00146, 0.00302), (0.00312, 0.00437)),
    "U-Net and R2U-Net": ((0.00146, 0.00302), (0.00387, 0.00536)),
    "networks of notebook 08": ((0.00209, 0.0035), (0.00108, 0.0035)),
}
PATIENT_SD = 0.002  # between patients, of the difference that every training has
DESIGNS = ((2, 1, 21), (3, 1, 21), (5, 1, 21), (1, 3, 28), (1, 5, 28), (3, 5, 28))  # seeds, folds, patients of a fold
FAILURES = 0.05  # share of patients on whom one network fails


def trainings(spreads: tuple, design: tuple[int, int, int], rng: np.random.Generator) -> list[pd.Series]:
    """Return the Dice of both networks for one simulated experiment, by seed, fold and patient."""
    seeds, folds, patients = design
    fold, seed = np.repeat(np.arange(folds), patients), np.repeat(np.arange(seeds), folds * patients)
    columns = [seed, np.tile(fold, seeds), np.tile(np.arange(folds * patients), seeds)]
    index = pd.MultiIndex.from_arrays(columns, names=["seed", "fold", "patient"])
    series = []
    for seeds_sd, image_sd in spreads:
        of_training = rng.normal(0, seeds_sd, (seeds, folds, 1))
        of_image = rng.normal(0, np.sqrt(image_sd**2 - seeds_sd**2), (seeds, folds, patients))
        of_patient = rng.normal(0, PATIENT_SD / np.sqrt(2), (1, folds, patients))
        series.append(pd.Series((0.97 + of_training + of_image + of_patient).ravel(), index))
    return series


def failures(patients: int, rng: np.random.Generator) -> list[pd.Series]:
    """Return the Dice of two networks with one mean: the first is a little better, and fails on some patients."""
    failed = rng.random(patients) < FAILURES
    index = pd.MultiIndex.from_arrays(
        [[1] * patients, [1] * patients, range(patients)], names=["seed", "fold", "patient"]
    )
    gaps = np.where(failed, -0.2, 0.2 * FAILURES / (1 - FAILURES)) + rng.normal(0, 0.005, patients)
    return [pd.Series(0.95 + gaps, index), pd.Series(0.95, index)]


def rejections(experiments: list[list[pd.Series]]) -> dict[str, float]:
    """Return the share of experiments in which each test finds a difference, p below 0.05."""
    rows = []
    for first, second in experiments:
        result, gaps = difference(first, second), (first - second).groupby("patient").mean()
        conclusion = conclude(pd.Series(result | {"p_holm": result["p"]}), EQUIVALENCE_MARGIN)
        low, high, width = result["low_90"], result["high_90"], 2 * EQUIVALENCE_MARGIN
        rows.append({
            "first": -width < low and high < 0, "second": low > 0 and high < width,  # after adding the margin
            "lungnb": result["p"] < 0.05, "conclusion": conclusion in (BETTER, WORSE),
            "wilcoxon": stats.wilcoxon(gaps).pvalue < 0.05, "t_over_patients": stats.ttest_1samp(gaps, 0).pvalue < 0.05,
        })  # fmt: skip
    shares = pd.DataFrame(rows).mean().to_dict()
    return shares | {"equivalent": max(shares.pop("first"), shares.pop("second"))}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="experiments of each kind")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    rows, columns = [], ("seeds", "folds", "patients")
    for name, spreads in SPREADS.items():
        for design in DESIGNS:
            rng = np.random.default_rng(5)
            experiments = [trainings(spreads, design, rng) for _ in range(options.samples)]
            rows.append(
                {"equal": f"architectures, {name}", **dict(zip(columns, design, strict=True))} | rejections(experiments)
            )
    for patients in (20, 60, 138):
        rng = np.random.default_rng(5)
        experiments = [failures(patients, rng) for _ in range(options.samples)]
        rows.append(
            {"equal": f"means, {FAILURES:.0%} failures", "seeds": 1, "folds": 1, "patients": patients}
            | rejections(experiments)
        )
    write(pd.DataFrame(rows).round(4), "type_one_error", options.out, None)


if __name__ == "__main__":
    main()
