import pytest

from lungnb.evaluation.published import published_adaptation, published_networks, read_published


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
