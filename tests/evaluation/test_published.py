import pandas as pd
import pytest

from lungnb.evaluation.published import (
    published_adaptation,
    published_networks,
    published_review,
    read_published,
    say_review,
)


def test_all_networks_are_there_with_three_seeds_each():
    table = published_networks()
    assert len(table) == 7 and table.index.is_unique and (table["seeds"] == 3).all()
    assert (table["dice_low"] <= table["dice"]).all() and (table["dice"] <= table["dice_high"]).all()


def test_adaptation_is_summed_up_over_draws():
    table, draws = published_adaptation(), read_published("adapt/adapt.csv")
    assert table["draws"].sum() == len(draws)
    five = draws[(draws["dataset"] == "montgomery") & (draws["images"] == 5)]
    row = table.loc[("montgomery", 5)]
    assert row["after"] == pytest.approx(five["after"].mean()) and row["after_low"] == five["after"].min()
    assert {name for name, _ in table.index} == {"montgomery", "shenzhen", "finding-lungs-in-ct-data"}


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
