import pandas as pd
import pytest

from lungnb.evaluation import published
from lungnb.lessons import from_phantoms as lesson


def left_out(films, slices):
    return pd.DataFrame({"films": [0.95, films], "slices": [0.97, slices]}, index=["nothing", "tone"])


@pytest.mark.parametrize(
    ("films", "slices", "verdict"),
    [
        (0.92, 0.96, "-0.020 on average, from -0.030 (films) to -0.010 (slices): it probably helped."),
        (0.97, 0.97, "+0.010 on average, from +0.000 (slices) to +0.020 (films): it probably did not help here."),
        (0.92, 1.00, "from -0.030 (films) to +0.030 (slices): it helps some data sets and harms others."),
        (0.93, 0.976, "from -0.020 (films) to +0.006 (slices): it helps some data sets and harms others."),
        (0.943, 0.97, "-0.004 on average, from -0.007 (films) to +0.000 (slices): it helps some data sets only."),
        (0.951, 0.969, "Too little to tell: without tone (Dice +0.000)."),
    ],
)
def test_a_part_that_is_left_out_counts_in_the_right_direction(films, slices, verdict):
    assert verdict in lesson.say_left_out(left_out(films, slices))


def test_the_most_harmful_omission_comes_first():
    table = pd.DataFrame({"films": [0.9, 0.95, 0.7, 0.8]}, index=["nothing", "tone", "shape", "labels"])
    assert lesson.left_out_changes(table).index.tolist() == ["shape", "labels", "tone"]


def test_a_change_whose_sign_differs_between_seeds_is_too_little():
    films = {"films": [0.90, 0.95, 0.92, 0.91, 0.89, 0.90], "films, normal": [0.1] * 6, "seed": [2, 2, 2, 3, 3, 3]}
    table = pd.DataFrame(films, index=["nothing", "tone", "shape"] * 2)
    changes = lesson.left_out_changes(table)
    assert changes.loc["tone"].round(3).to_dict() == {"films": 0.015, "mean": 0.015, "low": -0.02, "high": 0.05}
    assert lesson.say_left_out(table).splitlines() == [
        "Too little to tell: without shape (Dice +0.005, -0.010 to +0.020 over seeds), "
        "without tone (Dice +0.015, -0.020 to +0.050 over seeds)."
    ]


def test_a_loss_on_one_data_set_whose_sign_differs_between_seeds_is_too_little():
    table = pd.DataFrame({"films": [0.95, 0.91, 0.95, 0.96], "seed": [2, 2, 3, 3]}, index=["nothing", "tone"] * 2)
    assert lesson.say_left_out(table).startswith("Too little to tell: without tone (Dice -0.015, ")


def test_notebook_09_tells_the_published_ablation_as_it_is():
    table = published.read_published("phantom/leave_one_out.csv").set_index("left out")
    said = {seed: lesson.say_left_out(rows) for seed, rows in table.groupby("seed")}
    assert "pathology: Dice +0.007" in said[2] and "pathology: Dice -0.006" in said[4]
    verdicts = lesson.say_left_out(table).splitlines()
    assert [line.split(":")[0] for line in verdicts if line.endswith("it probably helped.")] == ["Without acquisition"]
    assert verdicts[0].startswith("Without acquisition") and lesson.left_out_changes(table).loc["acquisition"].max() < 0
    changes = [rows - rows.loc["nothing"] for _, rows in table.drop(columns="seed").groupby(table["seed"])]
    assert all(each.loc["tone", "shenzhen"] < 0 and each.loc["texture", "montgomery"] < 0 for each in changes)
    mean = sum(changes) / len(changes)
    assert mean.loc["tone", "shenzhen"] <= -0.005 and mean.loc["texture", "montgomery"] <= -0.005


def test_a_change_that_costs_nothing_is_said():
    means = pd.DataFrame({"as it is": [0.9], "inverted": [0.91], "photographed": [0.7]}, index=["films"])
    assert lesson.say_changed(means).splitlines() == [
        "inverted: the mean Dice falls on no data set.",
        "photographed: the mean Dice falls by 0.200 at most (films).",
    ]


def test_bad_masks_lower_the_mean_only_if_there_are_some():
    table = {"dice": [0.95], "below_0.9": [0.0], "median_dice": [0.96], "images": [10]}
    assert "lower it" not in lesson.say_untrained(pd.DataFrame(table, index=["films"]))
    assert "lower it" in lesson.say_untrained(pd.DataFrame(table | {"below_0.9": [0.1]}, index=["films"]))
