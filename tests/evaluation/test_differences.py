import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.tables import table_of
from lungnb.evaluation.differences import (
    BETTER,
    EQUIVALENT,
    UNDECIDED,
    WORSE,
    conclude,
    holm,
    min_patients,
    paired_tests,
)
from lungnb.evaluation.statistics import interval


def only(tests):
    (row,) = tests.to_dict("records")
    return row


def trainings_of(gaps, seeds=1, folds=1):
    """A table of two models. `gaps` is the difference of each seed (rows) and patient (columns), dealt into folds."""
    gaps = np.broadcast_to(gaps, (seeds, np.shape(gaps)[-1]))
    rows = [
        {"model": model, "id": f"i{n}", "patient": f"p{n}", "seed": seed, "fold": 1 + n % folds, "dice": dice}
        for seed, row in enumerate(gaps)
        for n, gap in enumerate(row)
        for model, dice in (("unet", 0.9 + gap), ("resunet", 0.9))
    ]
    return pd.DataFrame(rows)


def test_forty_images_of_one_patient_do_not_decide():
    """One patient with 40 images is for the first network, eleven patients with one image each for the second."""
    table = table_of(unet=[0.9] * 40 + [0.5] * 11, resunet=[0.8] * 40 + [0.6] * 11)
    table["patient"] = [*["a"] * 40, *"bcdefghijkl"] * 2
    test = only(paired_tests(table))
    assert test["patients"] == 12 and test["difference"] == pytest.approx((0.1 - 11 * 0.1) / 12)
    assert test["conclusion"] != BETTER


def test_the_test_is_of_the_mean_and_not_of_most_patients():
    """57 of 60 patients are a little better, and three fail: the means are equal, which a signed-rank test denies."""
    gaps = np.array([0.01] * 57 + [-0.19] * 3)
    test = only(paired_tests(table_of(unet=0.8 + gaps, resunet=[0.8] * 60)))
    assert test["difference"] == pytest.approx(0) and test["p"] > 0.9 and test["conclusion"] == UNDECIDED
    assert stats.wilcoxon(gaps).pvalue < 1e-6


def test_all_signs_are_tried_for_few_patients():
    gaps = np.array([0.03, 0.01, 0.02, -0.005, 0.015])
    test = only(paired_tests(table_of(unet=0.8 + gaps, resunet=[0.8] * 5)))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    means = np.abs(gaps @ signs)
    assert test["p"] == pytest.approx((means >= gaps.sum() - 1e-9).mean())


def test_the_test_of_many_patients_is_as_students_t():
    gaps = np.random.default_rng(0).normal(0.002, 0.01, 100)
    test = only(paired_tests(table_of(unet=0.8 + gaps, resunet=[0.8] * 100)))
    assert test["p"] == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, abs=0.02)
    assert (test["low"], test["high"]) == pytest.approx(interval(gaps))
    assert (test["low_90"], test["high_90"]) == pytest.approx(interval(gaps, 0.9))


def test_six_patients_cannot_decide_between_three_networks():
    steps = np.arange(6) / 1000
    three = paired_tests(table_of(a=0.9 + steps, b=0.7 + steps**2, c=[0.5] * 6))
    assert (three["p"] == 2 / 2**6).all() and (three["p_holm"] > 0.05).all()
    assert set(three["conclusion"]) == {UNDECIDED}
    assert only(paired_tests(table_of(a=0.9 + steps, b=0.7 + steps**2)))["conclusion"] == BETTER
    assert [min_patients(models) for models in (2, 3, 4)] == [6, 7, 8]
    for models in (2, 3, 4):  # the smallest p of n patients is 2 / 2**n
        pairs, least = models * (models - 1) / 2, min_patients(models)
        assert pairs * 2 / 2**least < 0.05 <= pairs * 2 / 2 ** (least - 1)


def test_one_patient_decides_nothing():
    table = table_of(unet=[0.9, 0.8], resunet=[0.5, 0.5]).assign(patient="a")
    test = only(paired_tests(table))
    assert test["patients"] == 1 and test["p"] == 1 and test["conclusion"] == UNDECIDED
    assert np.isnan([test["low"], test["high"], test["patients_needed"]]).all()


def test_a_draw_is_no_relevant_difference():
    test = only(paired_tests(table_of(unet=[0.9, 0.8, 0.7] * 9, resunet=[0.9, 0.8, 0.7] * 9)))
    assert test["p"] == 1 and test["difference"] == 0 and test["conclusion"] == EQUIVALENT


def test_a_difference_below_the_margin_is_not_better_however_sure_it_is():
    gaps = 0.003 + np.random.default_rng(0).normal(0, 0.001, 50)
    table = table_of(unet=0.9 + gaps, resunet=[0.9] * 50)
    test = only(paired_tests(table))
    assert test["p_holm"] < 0.001 and test["conclusion"] == EQUIVALENT
    assert only(paired_tests(table, margin=0.002))["conclusion"] == BETTER
    swapped = table.iloc[::-1].reset_index(drop=True)
    assert only(paired_tests(swapped, margin=0.002))["conclusion"] == WORSE
    assert only(paired_tests(table, margin=0.0033))["conclusion"] == UNDECIDED  # the 90 % interval holds the margin


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((0.01, 0.002, 0.018, 0.003, 0.017, 0.049), BETTER),  # exactly the margin
        ((-0.01, -0.018, -0.002, -0.017, -0.003, 0.049), WORSE),
        ((0.01, 0.002, 0.018, 0.003, 0.017, 0.05), UNDECIDED),
        ((0.01, -0.001, 0.021, 0.003, 0.017, 0.049), UNDECIDED),  # the 95 % interval includes 0
        ((0.001, -0.012, 0.012, -0.009, 0.009, 0.5), EQUIVALENT),  # the 90 % interval decides
        ((0.001, -0.012, 0.012, -0.01, 0.009, 0.5), UNDECIDED),
        ((0.001, -0.012, 0.012, -0.009, 0.01, 0.5), UNDECIDED),
    ],
)
def test_what_a_row_supports_at_a_margin_of_one_hundredth(row, expected):
    names = ("difference", "low", "high", "low_90", "high_90", "p_holm")
    assert conclude(pd.Series(row, names), margin=0.01) == expected


def test_the_patients_needed_are_those_of_the_formula():
    gaps = np.array([-0.02, 0.02] * 10)
    needed = only(paired_tests(table_of(unet=0.9 + gaps, resunet=[0.9] * 20), margin=0.01))["patients_needed"]
    assert needed == np.ceil((1.959964 + 0.841621) ** 2 * gaps.var(ddof=1) / 0.01**2)
    alike = only(paired_tests(table_of(unet=[0.9] * 8, resunet=[0.8] * 8)))
    assert alike["patients_needed"] == min_patients(2)  # although patients do not differ
    # A study of that size finds the margin in 80 of 100 cases.
    rng = np.random.default_rng(1)
    studies = rng.normal(0.01, gaps.std(ddof=1), (4000, int(needed)))
    assert (stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_seeds_that_disagree_make_a_lead_unsure():
    """On 21 patients the first network is 0.01 ahead with one seed. With two more it is 0.01 behind and level."""
    patients = np.random.default_rng(0).normal(0, 0.001, 21)
    one = only(paired_tests(trainings_of(patients + 0.01)))
    assert one["conclusion"] == BETTER and (one["seeds"], one["folds"]) == (1, 1)
    three = only(paired_tests(trainings_of(patients + np.array([[0.01], [-0.01], [0.0]]), seeds=3)))
    assert three["p"] > 0.5 and three["conclusion"] == UNDECIDED and three["seeds"] == 3
    assert three["high"] - three["low"] > 10 * (one["high"] - one["low"])


def test_the_variances_of_patients_and_seeds_add_up():
    """All of the chance is of the first network's seeds: their variance, 0.01**2, divided by three."""
    test = only(paired_tests(trainings_of(np.array([[0.03], [0.04], [0.05]]) + np.zeros(9), seeds=3)))
    error = 0.01 / np.sqrt(3)
    assert test["high"] - test["difference"] == pytest.approx(stats.t.ppf(0.975, 2) * error)
    assert test["p"] == pytest.approx(2 * stats.t.sf(0.04 / error, 2))


def test_the_variances_of_both_networks_seeds_count():
    """The variances are 0.0012 over four patients, and 0.0001 and 0.0004 over the three seeds of each network."""
    rows = [
        (model, f"p{patient}", seed, dice + step * (seed - 2) + gap * (model == "unet"))
        for model, dice, step in (("unet", 0.9, 0.01), ("resunet", 0.7, 0.02))
        for seed in (1, 2, 3)
        for patient, gap in enumerate((-0.03, -0.03, 0.03, 0.03))
    ]
    table = pd.DataFrame(rows, columns=["model", "id", "seed", "dice"]).assign(patient=lambda of: of["id"])
    test, error = only(paired_tests(table)), np.sqrt(0.0012 / 4 + 0.0001 / 3 + 0.0004 / 3)
    # Satterthwaite would give 5.5 degrees of freedom, but the trainings have four.
    assert test["high"] - test["difference"] == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert test["high_90"] - test["difference"] == pytest.approx(stats.t.ppf(0.95, 4) * error)


def test_seeds_without_any_chance_and_seeds_of_one_patient():
    alike, ahead = (only(paired_tests(trainings_of(np.full(4, gap), seeds=2))) for gap in (0.0, 0.1))
    assert (alike["p"], alike["conclusion"]) == (1, EQUIVALENT) and (ahead["p"], ahead["conclusion"]) == (0, BETTER)
    limits = ("low", "high", "low_90", "high_90")
    assert [alike[name] for name in limits] == [0] * 4 and [ahead[name] for name in limits] == pytest.approx([0.1] * 4)
    one = only(paired_tests(trainings_of(np.array([[0.03], [0.04]]), seeds=2)))
    assert (one["patients"], one["p"], one["conclusion"]) == (1, 1, UNDECIDED)


def test_folds_are_tested_over_folds_and_corrected_for_shared_training_images():
    """Patients n and n + 2 are in fold 1 + n % 2: the folds differ by 0.02 and 0.04."""
    test = only(paired_tests(trainings_of(np.tile([0.02, 0.04], 6), folds=2)))
    variance = 0.02**2 / 2 * (1 / 2 + 1 / 1)  # Nadeau and Bengio: one part tests and one part trains
    assert test["difference"] == pytest.approx(0.03)
    assert test["p"] == pytest.approx(2 * stats.t.sf(0.03 / np.sqrt(variance), 1))
    # With folds of unequal size, it remains the mean over patients.
    assert only(paired_tests(trainings_of(np.tile([0.02, 0.04], 6)[:11], folds=2)))["difference"] == pytest.approx(
        (6 * 0.02 + 5 * 0.04) / 11
    )


def test_three_folds_of_three_two_and_one_patients():
    """By hand: the weights are 1/2, 1/3 and 1/6, their squares add up to 7/18, and the mean is 0.05."""
    table = trainings_of([0.03, 0.03, 0.03, 0.06, 0.06, 0.09])
    table["fold"] = table["id"].map({"i0": 1, "i1": 1, "i2": 1, "i3": 2, "i4": 2, "i5": 3})
    test, over_folds = only(paired_tests(table)), 0.0005 / (1 - 7 / 18)
    error = np.sqrt(over_folds * (7 / 18 + 1 / 2))  # two parts train, and one tests
    assert test["difference"] == pytest.approx(0.05)
    assert test["high"] - 0.05 == pytest.approx(stats.t.ppf(0.975, 2) * error)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "folds", "patients"), [(2, 1, 21), (3, 1, 21), (1, 5, 140), (3, 5, 140)])
def test_equal_architectures_are_rarely_called_different(seeds, folds, patients):
    """Trainings differ by 0.0035 (SD): a test over patients alone finds a difference in half of these cases."""
    rng, rejected = np.random.default_rng(0), []
    for _ in range(300):
        gaps = rng.normal(0, 0.004, (seeds, folds))[:, np.arange(patients) % folds]
        gaps = gaps + rng.normal(0, 0.004, (seeds, patients)) + rng.normal(0, 0.002, patients)
        rejected.append(only(paired_tests(trainings_of(gaps, seeds, folds)))["p"] < 0.05)
    assert np.mean(rejected) < 0.08


def test_holm_by_hand():
    steps = np.arange(1, 9) / 100
    tests = paired_tests(table_of(a=0.5 + steps, b=[0.5] * 8, c=[0.5] * 8)).set_index(["first", "second"])
    # Eight of eight in one direction: p = 2 / 2**8, twice; b and c are the same.
    assert tests["p"].tolist() == pytest.approx([2 / 256, 2 / 256, 1])
    assert tests["p_holm"].tolist() == pytest.approx([6 / 256, 6 / 256, 1])  # 3 * p; max(2 * p, before); 1


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.001, 0.4], [0.8, 0.003, 0.8]),
        ([0.2, 0.9, 0.6], [0.6, 1.0, 1.0]),
    ],
)
def test_holm_by_the_book(p, expected):
    assert holm(pd.Series(p)).tolist() == pytest.approx(expected)


def test_one_model_makes_no_pair():
    tests = paired_tests(table_of(unet=[0.9, 0.8]))
    assert tests.empty and {"p_holm", "conclusion"} <= {*tests}


def test_images_of_one_patient_count_once():
    table = table_of(unet=np.arange(48) / 100, resunet=np.arange(48) / 100 + np.tile([0.05, -0.01, -0.01], 16))
    table["patient"] = table["id"].astype(int) % 3
    test = only(paired_tests(table))
    assert test["patients"] == 3 and test["p"] >= 0.25


def test_an_interval_of_a_difference_stays_within_what_two_dice_can_differ():
    gaps = np.append(np.random.default_rng(1).normal(0, 0.001, 19), 0.97)  # one patient of 20 fails
    one = only(paired_tests(table_of(unet=[0.97] * 20, resunet=0.97 - gaps)))
    two = only(paired_tests(trainings_of(np.array([[0.0], [-0.4]]) + gaps[None, :4], seeds=2)))
    folds = only(paired_tests(trainings_of(np.tile([0.4, -0.4], 6), folds=2)))
    for test in (one, two, folds):
        assert -1 <= test["low"] <= test["low_90"] < test["high_90"] <= test["high"] <= 1
    assert one["high"] == 1 and (folds["low"], folds["high"]) == (-1, 1)


def test_bad_tables_are_named():
    table = trainings_of(np.zeros((2, 4)), seeds=2)
    with pytest.raises(ValueError, match="resunet has no dice of i3 with seed 1; score all models again"):
        paired_tests(table.drop(index=table.index[-1]))
    with pytest.raises(ValueError, match="The trainings with seed 1 have no scores of i2; score them all again"):
        paired_tests(table[(table["id"] != "i2") | (table["seed"] == 0)])
    with pytest.raises(ValueError, match="i1 has no patient; score it again"):
        paired_tests(table.assign(patient=table["patient"].where(table["id"] != "i1")))
    with pytest.raises(ValueError, match="unet has no dice of i0"):
        paired_tests(table.assign(dice=table["dice"].where(table.index > 0)))
    with pytest.raises(ValueError, match="i0 is twice in the scores of unet"):
        paired_tests(pd.concat([table, table.head(1)]))
