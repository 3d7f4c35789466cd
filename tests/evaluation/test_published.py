import pandas as pd
import pytest

from helpers.tables import drawn
from lungnb.evaluation import published
from lungnb.evaluation.differences import EQUIVALENT, UNDECIDED
from lungnb.evaluation.published import (
    published_adaptation,
    published_draws,
    published_networks,
    published_review,
    read_published,
    say_curve,
    say_review,
    with_published,
)


def test_all_networks_are_there_with_three_seeds_each():
    table = published_networks()
    assert len(table) == 7 and table.index.is_unique and (table["seeds"] == 3).all()
    assert (table["dice_low"] <= table["dice"]).all() and (table["dice"] <= table["dice_high"]).all()


def test_adaptation_is_summed_up_over_draws():
    table, draws = published_adaptation(), published_draws().query("images > 0 and start == 'shipped'")
    assert table["draws"].sum() == len(draws)
    five = draws[(draws["dataset"] == "montgomery") & (draws["images"] == 5)]
    row = table.loc[("montgomery", 5)]
    assert row["after"] == pytest.approx(five["after"].mean()) and row["after_low"] == five["after"].min()
    assert {name for name, _ in table.index} >= {"montgomery", "shenzhen", "finding-lungs-in-ct-data"}


def test_what_adapting_brought_is_that_of_the_shipped_network(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "published" / "adapt"
    folder.mkdir(parents=True)
    monkeypatch.setattr(published, "series_folder", lambda: tmp_path)
    drawn(montgomery=0.98).to_csv(folder / "curve.csv", index=False)
    assert published_draws()["after"].max() == pytest.approx(0.98)
    table = published_adaptation()  # of the shipped network only, and without the row of no image
    assert table.index.tolist() == [("montgomery", 1), ("montgomery", 5)] and (table["draws"] == 2).all()


def test_the_title_of_the_curve_counts_the_sets_in_which_adapting_helps():
    table = drawn(a=0.97, b=0.94)
    assert say_curve(table) == (
        "5 corrected images improve the shipped network on 1 of 2 data sets.\n"
        "From random weights, 5 images give a lower Dice than these 5 on 2 of 2."
    )
    shipped = table[table["start"] == "shipped"]
    assert say_curve(shipped) == "5 corrected images improve the shipped network on 1 of 2 data sets."
    assert say_curve(shipped[shipped["images"] != 5]).startswith("1 corrected image improves ")
    assert say_curve(table[table["images"] == 0]) == "The shipped network was adapted to no image yet."
    assert say_curve(pd.DataFrame(columns=table.columns)).endswith("no image yet.")


def test_a_missing_table_says_what_to_do():
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv is not there yet: name a table of results/published"):
        read_published("networks/nothing.csv")


def test_images_of_two_data_sets_are_counted_once():
    table = published_review()
    assert {*table["rule"]} == {"review"} and {*table["changed"]} == {False, True}
    assert {*table["dataset"]} == {"montgomery", "shenzhen", "finding-lungs-in-ct-data"}


def test_the_review_in_words():
    columns = ("changed", "images", "below_0.85", "of_them_found", "false_alarms")
    rows = [(False, 104, 4, 3, 0.1), (False, 100, 0, 0, 0.2), (True, 10, 0, 0, 0.2)]
    lines = say_review(pd.DataFrame(rows, columns=columns)).splitlines()
    assert "as they are: review found 3 of 4 masks" in lines[0] and lines[0].endswith("flagged 15% of the others.")
    assert "changed: review found 0 of 0 masks" in lines[1]
    assert len(say_review(published_review()).splitlines()) == 2


def test_published_comparisons_follow_those_here():
    rows = with_published(read_published("quick/montgomery/paired_tests.csv"), "r2unet", 0.005)
    sources = ["here", "Montgomery, 1 training", "Montgomery, 15 trainings"]
    assert rows[["first", "source"]].to_numpy().tolist() == [[n, s] for n in ("unet", "resunet") for s in sources]
    assert {*rows["second"]} == {"r2unet"}
    last = with_published(pd.DataFrame(), "resunet", 0.005).iloc[-1]
    assert (last["seeds"], last["folds"], last["conclusion"]) == (3, 5, EQUIVALENT)
    narrow = with_published(pd.DataFrame(), "resunet", 0.001).iloc[-1]  # the margin is the reader's
    assert narrow["conclusion"] == UNDECIDED
