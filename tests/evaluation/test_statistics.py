import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from helpers.tables import table_of
from lungnb.evaluation.statistics import (
    add_variances,
    classification_table,
    decisive_patients,
    first_places,
    interval,
    mean_interval,
    paired,
    patient_means,
    pooled_counts,
    say_p,
)
from lungnb.metrics import Counts, count_pixels


def test_the_interval_holds_the_mean_and_narrows_with_patients():
    rng = np.random.default_rng(0)
    widths = []
    for count in (10, 40, 160, 640):
        values = rng.normal(0.9, 0.05, count)
        low, high = mean_interval(table_of(unet=values), "dice")
        assert low < values.mean() < high
        widths.append(high - low)
        normal = 2 * 1.96 * values.std(ddof=1) / np.sqrt(count)  # for many patients, what the normal law says
        if count > 100:
            assert high - low == pytest.approx(normal, rel=0.08)
    assert widths == sorted(widths, reverse=True)


def test_the_interval_is_by_patient():
    table = table_of(unet=np.repeat([0.95, 0.9, 0.2, 0.85, 0.3], 40))
    by_image = mean_interval(table, "dice")
    table["patient"] = np.repeat(list("abcde"), 40)
    low, high = mean_interval(table, "dice")
    assert high - low > 4 * (by_image[1] - by_image[0])
    assert low < table["dice"].mean() < high <= 1
    assert mean_interval(table, "dice") == (low, high)  # the same each time
    # Patients of unequal numbers of images count alike.
    uneven = table_of(unet=[0.2] * 30 + [0.8, 0.8])
    uneven["patient"] = ["a"] * 30 + ["b", "c"]
    even = table_of(unet=[0.2, 0.8, 0.8])
    assert mean_interval(uneven, "dice") == pytest.approx(mean_interval(even, "dice"))


def test_the_limits_are_within_the_range_of_the_score():
    few = pd.DataFrame({"patient": ["a", "b", "c"], "dice": [0.1, 0.5, 0.9]})
    assert mean_interval(few, "dice") == (0, 1)
    for score in ("hd95", "assd", "loss"):
        low, high = mean_interval(pd.DataFrame({"patient": ["a", "b", "c"], score: [1.0, 5.0, 9.0]}), score)
        assert low == 0 and high > 9


def _of_seeds(rng, patients, seeds, patients_sd, seeds_sd):
    """Draw scores of several trainings: a mean of 5, and parts of the patient, of the training, and of both."""
    values = 5 + rng.normal(0, patients_sd, (patients, 1)) + rng.normal(0, seeds_sd, seeds)
    values = values + rng.normal(0, 0.1, values.shape)
    rows = [(f"{p:03}", s, values[p, s]) for p in range(patients) for s in range(seeds)]
    return pd.DataFrame(rows, columns=["patient", "seed", "hd95"])


def test_the_interval_includes_how_trainings_differ():
    scores = _of_seeds(np.random.default_rng(0), 20, 3, patients_sd=1, seeds_sd=1)
    low, high = mean_interval(scores, "hd95")
    of_patients = mean_interval(scores.drop(columns="seed"), "hd95")
    assert low < of_patients[0] and high > of_patients[1]
    one = scores[scores["seed"] == 0]
    assert mean_interval(one, "hd95") == mean_interval(one.drop(columns="seed"), "hd95")
    alike = one.assign(seed=1)
    assert mean_interval(pd.concat([one, alike]), "hd95") == pytest.approx(mean_interval(one, "hd95"), rel=1e-3)


def test_seeds_never_narrow_an_interval():
    """Two seeds that hardly differ add degrees of freedom, with which t is smaller. Equal patients give no width."""
    patients = {"a": 0.7, "b": 0.8, "c": 0.9}
    rows = [(patient, seed, dice + seed / 100) for patient, dice in patients.items() for seed in (1, 2)]
    table = pd.DataFrame(rows, columns=["patient", "seed", "dice"])
    alone = interval(np.array([0.715, 0.815, 0.915]))
    assert mean_interval(table, "dice") == pytest.approx((alone[0], min(alone[1], 1)))
    assert mean_interval(table.assign(dice=0.9), "dice") == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("seeds_sd", [0.1, 1, 5], ids=lambda sd: f"seeds_sd={sd}")
def test_the_interval_covers_the_mean_over_patients_and_trainings(seeds_sd):
    rng = np.random.default_rng(0)
    limits = [
        mean_interval(_of_seeds(rng, 20, 3, 1, seeds_sd).assign(loss=lambda t: 10 + t["hd95"]), "loss")
        for _ in range(200)
    ]
    assert np.mean([low < 15 < high for low, high in limits]) > 0.92  # 0.95, with a standard error of 0.015


def test_variances_add_up_with_the_degrees_of_freedom_of_satterthwaite():
    assert add_variances((0.5, 4), (0.5, 4)) == pytest.approx((1, 8))
    assert add_variances((1, 9), (0, 2)) == pytest.approx((1, 9))
    assert add_variances((0, 3), (0, 2)) == (0, np.inf)


def test_an_interval_is_at_least_students_t():
    """With five values, the bootstrap misses the tails; with many values, both intervals agree."""
    rng = np.random.default_rng(0)
    for count, ratio in ((3, 1), (5, 1), (400, 0.93)):
        values = rng.normal(0, 1, count)
        low, high = interval(values)
        expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
        assert low <= expected[0] and high >= expected[1]
        assert expected[1] - expected[0] > ratio * (high - low) or count < 10


@pytest.mark.parametrize(
    ("values", "level", "errors"),
    [
        ([0, 0, 0, 1], 0.5, np.sqrt(3) / 2),
        ([0, 0, 0, 1], 0.8, 2),  # 0.6 of the tail of 10 %: fewer than the 7 % of resamples with three
        ([0, 0, 0, 1], 0.74, stats.t.ppf(0.87, 3)),  # 0.6 of the tail of 13 %: more than these
        ([0, 0, 1], 0.27, 1),  # a tail of 36.5 %, which is 31 % when expanded: fewer than the 33 % with two
    ],
)
def test_an_interval_of_few_values_by_hand(values, level, errors):
    """How many standard errors the lower limit is below the mean.

    Resamples with both values count. Of four values, 62 % have one 1, 31 % two and 7 % three; their means are 0, 0.866
    and 2 of their own standard errors above 1/4. Of three values, 67 % have one 1 and 33 % two: 0 and 1 above 1/3.
    """
    (low, _), (_, high) = interval(np.array(values), level), interval(-np.array(values), level)
    assert low == pytest.approx(np.mean(values) - errors * stats.sem(values)) and high == pytest.approx(-low)


def test_equal_values_have_an_interval_of_no_width():
    assert interval(np.full(5, 0.5)) == (0.5, 0.5)
    assert np.isnan(interval(np.array([0.5]))).all() and np.isnan(interval(np.array([]))).all()


def test_an_interval_reaches_further_to_the_failures():
    values = 1 - np.random.default_rng(0).lognormal(-3.6, 1, 20)
    low, high = interval(values)
    assert values.mean() - low > 1.3 * (high - values.mean())


@pytest.mark.slow
def test_an_interval_covers_what_it_says():
    """Skewed scores of 20 patients: percentiles of the bootstrap cover 0.87, as results/published/benchmarks shows."""
    rng, truth, covered = np.random.default_rng(0), 1 - np.exp(-3.6 + 0.6**2 / 2), []
    for _ in range(600):
        low, high = interval(1 - rng.lognormal(-3.6, 0.6, 20))
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_a_patients_score_is_the_mean_over_images_and_trainings():
    table = table_of(unet=[0.9, 0.7, 0.5]).assign(patient=["a", "a", "b"])
    assert patient_means(table).to_dict() == pytest.approx({"a": 0.8, "b": 0.5})
    with pytest.raises(ValueError, match="001 has no dice; score it again"):
        patient_means(table.assign(dice=[0.9, np.nan, 0.5]))
    with pytest.raises(ValueError, match="002 has no patient; score it again"):
        patient_means(table.assign(patient=["a", "a", None]))


def test_patients_who_decide_a_mean_are_named():
    usual = pd.Series(np.random.default_rng(0).normal(0.96, 0.01, 60), [f"p{n}" for n in range(60)])
    assert decisive_patients(usual) == []
    one, two = usual.copy(), usual.copy()
    one["p7"] = two["p7"] = 0.1
    two["p9"] = 0.2
    assert decisive_patients(one) == decisive_patients(-one) == ["p7"] and decisive_patients(two) == ["p7", "p9"]
    assert decisive_patients(two[:20]) == []  # two of 20 are not rare
    assert decisive_patients(usual[:1]) == [] and decisive_patients(usual[:2]) == []
    assert decisive_patients(pd.Series(0.5, usual.index)) == []
    assert decisive_patients(pd.Series(0.7, [*"abcdef"])) == []  # their mean has a rounding error


def test_a_p_of_one_in_a_thousand_is_still_a_number():
    assert (say_p(0.001), say_p(0.00099)) == ("p = 0.001", "p < 0.001")


def test_one_patient_has_no_interval():
    table = table_of(unet=[0.9, 0.8])
    table["patient"] = "a"
    assert np.isnan(mean_interval(table, "dice")).all()


def test_pooled_counts_are_sums():
    table = pd.DataFrame({"tp": [1, 2], "fp": [3, 4], "fn": [5, 6], "tn": [7, 8]})
    assert pooled_counts(table) == Counts(3, 7, 11, 15)


def test_the_classification_table_is_that_of_the_pixels():
    rng = np.random.default_rng(3)
    truth = rng.random(2000) < 0.3
    found = np.where(rng.random(2000) < 0.1, ~truth, truth)
    table = classification_table(count_pixels(truth, found))
    expected = precision_recall_fscore_support(truth, found)
    assert table.loc[["background", "lung"]].to_numpy().T == pytest.approx(np.array(expected))
    assert table.loc["accuracy", "f1-score"] == pytest.approx((truth == found).mean())
    assert table["support"].tolist() == [(~truth).sum(), truth.sum(), 2000, 2000, 2000]


def test_the_classification_table_of_empty_masks():
    table = classification_table(Counts(0, 0, 0, 9))
    assert table.loc["lung"].tolist() == [0, 0, 0, 0] and table.loc["accuracy", "f1-score"] == 1


def test_first_places_are_shared_by_equals_and_sure_if_one_is_always_better():
    rng = np.random.default_rng(0)
    worse = rng.uniform(0.8, 0.9, 30)
    first = first_places(table_of(unet=worse, resunet=worse + 0.01, r2unet=worse - 0.01))
    assert first.to_dict() == {"unet": 0, "resunet": 1, "r2unet": 0}
    assert first_places(table_of(a=worse, b=worse)).tolist() == [0.5, 0.5]
    assert first_places(table_of(a=[0.3] * 5, b=[0.1 + 0.2] * 5)).tolist() == [0.5, 0.5]  # equal except for rounding
    assert first_places(table_of(a=worse)).tolist() == [1]


def test_first_places_agree_with_the_normal_law():
    rng = np.random.default_rng(1)
    one = rng.uniform(0.8, 0.9, 400)
    gain = 0.001 + 0.02 * stats.zscore(rng.normal(size=400))  # its mean is one standard error above 0
    first = first_places(table_of(one=one, other=one + gain))
    assert first["other"] == pytest.approx(stats.norm.cdf(1), abs=0.02)


def test_places_are_drawn_by_patient():
    """Forty images of one patient for a model, two patients against: images alone would make it the sure winner."""
    table = table_of(a=[0.9] * 40 + [0.5, 0.5], b=[0.8] * 40 + [0.9, 0.9])
    assert first_places(table)["a"] > 0.99
    table["patient"] = [*["p"] * 40, "q", "r"] * 2
    assert first_places(table)["a"] == pytest.approx(1 / 27, abs=0.02)  # only if p is drawn three times
    table["patient"] = "p"
    assert first_places(table).isna().all()


def test_scores_are_paired_by_image_in_the_models_order():
    table = table_of(unet=[0.9, 0.8], attention=[0.7, 0.6]).sample(frac=1, random_state=0).sort_values("model")[::-1]
    wide = paired(table)
    assert list(wide) == ["unet", "attention"]
    assert wide.loc[["000", "001"]].to_numpy().tolist() == [[0.9, 0.7], [0.8, 0.6]]


@pytest.mark.parametrize("of", [first_places, paired])
def test_what_cannot_be_paired_is_named(of):
    table = table_of(unet=[0.9, 0.8], resunet=[0.7, 0.6])
    with pytest.raises(ValueError, match="resunet has no dice of 001; score all models again"):
        of(table.drop(index=3))
    with pytest.raises(ValueError, match="unet has no dice of 000"):
        of(table.assign(dice=[np.nan, 0.8, 0.7, 0.6]))
    with pytest.raises(ValueError, match="000 is twice in the scores of unet"):
        of(pd.concat([table, table.head(1)]))
