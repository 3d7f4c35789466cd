import numpy as np
import pandas as pd
import pytest

from helpers.tables import assert_readable, table_of
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.published import published_review, read_published
from lungnb.evaluation.readable_tables import MAIN_COLUMNS, TEST_COLUMNS, column_title, readable, readable_conclusion
from lungnb.evaluation.repeats import seed_summary, variation
from lungnb.evaluation.scoring import comparison_table, group_scores
from lungnb.evaluation.statistics import classification_table, pooled_counts
from lungnb.evaluation.transfer import dataset_summary


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return table_of(unet=rng.uniform(0.9, 0.95, 12), resunet=rng.uniform(0.8, 0.85, 12))


def text_of(table):
    return table.replace("\u00a0", " ", regex=True)


def test_no_table_of_results_shows_a_short_name(scores):
    costs = {"parameters": 1, "multiplications": 1, "epochs": 1, "training_minutes": 1.0, "milliseconds_per_image": 1.0}
    comparison = comparison_table(scores).assign(**costs)
    seeds = comparison.reset_index().assign(seed=1)
    for table in (
        comparison, paired_tests(scores), group_scores(scores.assign(group="ill")),
        variation(scores.assign(seed=1, fold=1)), seed_summary(seeds),
        dataset_summary({"montgomery": scores}), classification_table(pooled_counts(scores)),
    ):  # fmt: skip
        assert_readable(table)


@pytest.mark.parametrize("name", ["benchmarks/inference.csv", "networks/networks.csv"])
def test_published_tables_of_notebooks_show_no_short_name(name):
    assert_readable(read_published(name))


def test_shares_are_percentages():
    table = readable(published_review(), ["below_0.85", "of_them_found", "false_alarms"])
    titles = ["Masks with a Dice below 0.85", "Of these, flagged", "False alarms (share of the other masks)"]
    assert [*table.columns] == titles and table[titles[-1]].str.fullmatch(r"\d+%").all()


def test_limits_are_in_brackets_and_the_unit_in_the_title(scores):
    table = text_of(readable(comparison_table(scores.assign(unit="mm")), MAIN_COLUMNS))
    titles = ["Dice, mean (95 % interval)", "IoU, mean", "HD95 (mm), median (quartiles)", "Failed masks"]
    assert [*table.columns] == titles and [*table.index] == ["U-Net", "ResUNet"] and table.columns.name == "Network"
    wide = comparison_table(scores)
    low, mean, high = (f"{wide.loc['U-Net', name]:.3f}" for name in ("dice_low", "dice", "dice_high"))
    assert table.loc["U-Net", titles[0]] == f"{mean} ({low} to {high})"


def test_columns_are_chosen_in_their_order(scores):
    assert [*readable(comparison_table(scores), ["failed", "dice", "nothing"]).columns] == [
        "Failed masks", "Dice, mean (95 % interval)",
    ]  # fmt: skip


def test_a_pair_is_one_column_and_the_better_network_has_its_name(scores):
    tests = paired_tests(scores)
    table = text_of(readable(tests, TEST_COLUMNS))
    assert [*table.index] == ["U-Net minus ResUNet"] and table["Conclusion"].iloc[0] == "U-Net is better"
    assert table["p, Holm-corrected"].iloc[0] == "< 0.001" and " to " in table["90 % interval"].iloc[0]
    turned = tests.assign(first="resunet", second="unet", conclusion="second is better").iloc[0]
    assert readable_conclusion(turned) == "U-Net is better"
    assert readable_conclusion(turned.replace("second is better", "undecided")) == "undecided"


def test_one_patient_has_no_limits(scores):
    one = comparison_table(scores.assign(patient="a"))
    assert readable(one, ["dice"]).iloc[0, 0] == f"{one['dice'].iloc[0]:.3f}"


def test_a_summary_of_seeds_names_its_limits():
    rows = {"model": ["unet"] * 2, "seed": [1, 2], "dice": [0.9, 0.92], "iou": [0.8, 0.82], "parameters": [5, 5]}
    costs = dict.fromkeys(["multiplications", "training_minutes", "milliseconds_per_image"], [2_500_000.0] * 2)
    table = text_of(readable(seed_summary(pd.DataFrame(rows | costs))))
    assert table["Dice, mean (lowest to highest seed)"].tolist() == ["0.910 (0.900 to 0.920)"]
    assert table["Multiply-accumulates per image"].tolist() == ["2 million"]


def test_a_table_without_rows_and_unknown_columns_stay():
    assert [*readable(pd.DataFrame(columns=["model", "new_column"])).columns] == ["new column"]
    assert column_title("t_logit") == "t logit"
    table = readable(pd.DataFrame({"Unnamed: 0": [0], "name": ["<i>"], "count": [12345], "share": [0.123456]}))
    assert table.loc["<i>"].tolist() == ["12,345", "0.1235"]
    missing = readable(pd.DataFrame({"name": ["a", "b"], "count": pd.array([1, None], "Int64"), "gone": [None, None]}))
    assert missing["count"].tolist() == ["1", ""] and "gone" not in missing


def test_stages_and_adaptations_show_no_short_name():
    stages = {"height": 128, "width": 128, "channels": 8, "pixels_per_place": 1, "parameters": 3584}
    assert_readable(pd.DataFrame(stages, index=pd.Index(["encoder_1"], name="stage")))
    row = {"dataset": "a", "images": 5, "draws": 3, "before": 0.9, "after": 0.95, "after_low": 0.94, "after_high": 0.96}
    table = pd.DataFrame([row | {"helped": 3}]).set_index(["dataset", "images"])
    assert_readable(table)
    spread = text_of(readable(table)).loc["a", "Dice after, mean (lowest to highest draw)"]
    assert spread == "0.950 (0.940 to 0.960)"
