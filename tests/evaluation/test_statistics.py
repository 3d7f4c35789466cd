import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from helpers.tables import table_of
from lungnb.evaluation.statistics import (
    classification_table,
    first_places,
    mean_interval,
    paired,
    paired_tests,
    pooled_counts,
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
    assert low < table["dice"].mean() < high
    assert mean_interval(table, "dice") == (low, high)  # the same each time
    # Patients of unequal numbers of images: the mean is over images all the same.
    uneven = table_of(unet=[0.2] * 30 + [0.8, 0.8])
    uneven["patient"] = ["a"] * 30 + ["b", "c"]
    low, high = mean_interval(uneven, "dice")
    assert (low, high) == pytest.approx((0.2, 0.8))


def test_one_patient_has_no_interval():
    table = table_of(unet=[0.9, 0.8])
    table["patient"] = "a"
    assert np.isnan(mean_interval(table, "dice")).all()


def test_pooled_counts_are_sums():
    table = pd.DataFrame({"tp": [1, 2], "fp": [3, 4], "fn": [5, 6], "tn": [7, 8]})
    assert pooled_counts(table) == Counts(3, 7, 11, 15)


def test_pairs_are_tested_as_scipy_does():
    rng = np.random.default_rng(1)
    unet, resunet, r2unet = rng.uniform([[0.8], [0.82], [0.85]], [[0.9], [0.92], [0.95]], (3, 30))
    unet[:4] = resunet[:4]  # ties are left out
    tests = paired_tests(table_of(unet=unet, resunet=resunet, r2unet=r2unet)).set_index(["first", "second"])
    pairs = {("unet", "resunet"): unet - resunet, ("unet", "r2unet"): unet - r2unet}
    pairs["resunet", "r2unet"] = resunet - r2unet
    assert set(tests.index) == set(pairs)
    for pair, difference in pairs.items():
        assert tests.loc[pair, "difference"] == pytest.approx(difference.mean())
        assert tests.loc[pair, "p"] == pytest.approx(stats.wilcoxon(difference[difference != 0]).pvalue)


def test_effect_size_by_hand():
    # Ranks 1, 2, 3 for, 4 against: (1 + 2 + 3 - 4) / 10.
    tests = paired_tests(table_of(unet=[0.51, 0.52, 0.53, 0.46], resunet=[0.5] * 4))
    assert tests["effect"].tolist() == pytest.approx([0.2])
    assert tests["difference"].tolist() == pytest.approx([0.005])


def test_holm_by_hand():
    steps = np.arange(1, 9) / 100
    tests = paired_tests(table_of(a=0.5 + steps, b=[0.5] * 8, c=[0.5] * 8)).set_index(["first", "second"])
    # Eight of eight in one direction: p = 2 / 2**8, twice; b and c are the same.
    assert tests["p"].tolist() == pytest.approx([2 / 256, 2 / 256, 1])
    assert tests["p_holm"].tolist() == pytest.approx([6 / 256, 6 / 256, 1])  # 3 * p; max(2 * p, before); 1
    assert tests["effect"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.001, 0.4], [0.8, 0.003, 0.8]),
        ([0.2, 0.9, 0.6], [0.6, 1.0, 1.0]),
    ],
)
def test_holm_by_the_book(monkeypatch, p, expected):
    given = iter(p)
    monkeypatch.setattr(stats, "wilcoxon", lambda _: type("Result", (), {"pvalue": next(given)}))
    tests = paired_tests(table_of(a=[0.9, 0.8], b=[0.7, 0.7], c=[0.5, 0.6]))
    assert tests["p_holm"].tolist() == pytest.approx(expected)


def test_one_model_makes_no_pair():
    tests = paired_tests(table_of(unet=[0.9, 0.8]))
    assert tests.empty
    assert "p_holm" in tests


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


def test_who_comes_first_is_a_draw_between_equals_and_sure_where_one_is_always_better():
    rng = np.random.default_rng(0)
    worse = rng.uniform(0.8, 0.9, 30)
    first = first_places(table_of(unet=worse, resunet=worse + 0.01, r2unet=worse - 0.01))
    assert first.to_dict() == {"unet": 0, "resunet": 1, "r2unet": 0}
    assert first_places(table_of(a=worse, b=worse)).tolist() == [0.5, 0.5]
    assert first_places(table_of(a=worse)).tolist() == [1]


def test_who_comes_first_is_as_the_normal_law_says():
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
    assert first_places(table)["a"] == pytest.approx(1 - 8 / 27, abs=0.02)  # unless p is not drawn at all
    table["patient"] = "p"
    assert first_places(table).isna().all()


def test_scores_are_paired_by_image_in_the_models_order():
    table = table_of(unet=[0.9, 0.8], attention=[0.7, 0.6]).sample(frac=1, random_state=0).sort_values("model")[::-1]
    wide = paired(table)
    assert list(wide) == ["unet", "attention"]
    assert wide.loc[["000", "001"]].to_numpy().tolist() == [[0.9, 0.7], [0.8, 0.6]]


@pytest.mark.parametrize("of", [paired_tests, first_places, paired])
def test_what_cannot_be_paired_is_named(of):
    table = table_of(unet=[0.9, 0.8], resunet=[0.7, 0.6])
    with pytest.raises(ValueError, match="resunet has no dice of 001; score all models again"):
        of(table.drop(index=3))
    with pytest.raises(ValueError, match="unet has no dice of 000"):
        of(table.assign(dice=[np.nan, 0.8, 0.7, 0.6]))
    with pytest.raises(ValueError, match="000 stands twice in the scores of unet"):
        of(pd.concat([table, table.head(1)]))


def test_images_of_one_patient_are_one_witness():
    table = table_of(unet=np.arange(48) / 100, resunet=np.arange(48) / 100 + np.tile([0.05, -0.01, -0.01], 16))
    table["patient"] = table["id"].astype(int) % 3
    (row,) = paired_tests(table).itertuples()
    assert row.patients == 3 and row.p >= 0.25
