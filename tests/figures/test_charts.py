import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from helpers.tables import drawn, examined
from lungnb.evaluation.calibration import (
    Examination,
)
from lungnb.figures.charts import (
    generalisation_chart,
    learning_curve,
    reliability_diagram,
    search_chart,
    uncertainty_chart,
)
from lungnb.networks.losses import LOSSES


def test_charts_say_what_the_tables_do():
    bins = {"logit": logit([0.05, 0.9]), "lung": [0.05, 0.5], "other": [0.45, 0], "pixels": [1500, 2500]}
    table = pd.DataFrame(bins)
    figure = reliability_diagram({"unet": Examination(table, table, table)})
    upper, lower = figure.axes
    points = upper.lines[1].get_xydata()
    np.testing.assert_allclose(points[~np.isnan(points[:, 0])], [[0.05, 0.1], [0.9, 1.0]])
    assert upper.lines[1].get_label() == "U-Net, error 0.075"
    assert [text.get_text() for text in lower.texts] == ["1.5", "2.5"]  # thousands of pixels
    assert "3.1% of the longer side" in upper.get_title()
    reviewed = examined(dice=[0.6, 0.9, 0.5, 0.8], disagreement=[0.4, 0.3, 0.2, 0.1])
    others, picked = uncertainty_chart({"unet": reviewed}, 0.25).axes[0].collections
    assert picked.get_offsets().tolist() == [[0.4, 0.6]] and len(others.get_offsets()) == 3


def test_the_learning_curve_has_a_panel_a_set_with_means_and_the_spread_of_draws():
    figure = learning_curve(drawn(montgomery=0.97, shenzhen=0.94, ct=0.97))
    assert [axis.get_title() for axis in figure.axes if axis.axison] == ["montgomery", "shenzhen", "ct"]
    shipped, adapted, random = figure.axes[0].lines
    assert shipped.get_ydata() == pytest.approx([0.95, 0.95])
    np.testing.assert_allclose(adapted.get_xydata(), [[0, 0.95], [1, 0.96], [5, 0.96]])  # means of two draws
    np.testing.assert_allclose(random.get_xydata(), [[1, 0.85], [5, 0.85]])
    assert adapted.get_linestyle() != random.get_linestyle() and adapted.get_marker() != random.get_marker()
    spread = figure.axes[0].collections[0].get_paths()[0].vertices
    np.testing.assert_allclose([spread[:, 1].min(), spread[:, 1].max()], [0.95, 0.97])
    figure.canvas.draw()
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "1", "5"]
    assert "improve the shipped network on 2 of 3 data sets" in figure.get_suptitle()


def test_the_learning_curve_can_be_drawn_before_all_is_measured():
    table = drawn(montgomery=0.97)
    for part in (table[table["images"] == 0], table[table["start"] == "shipped"]):
        learning_curve(part).canvas.draw()


def test_the_search_chart_shows_every_trial_in_five_panels():
    states = ["complete"] * 5 + ["pruned"] * 2 + ["failed"]
    table = pd.DataFrame({"number": range(1, 9), "state": states, "loss": ["iou", "bce"] * 4, "filters": [8, 16] * 4})
    table = table.assign(learning_rate=1e-3, augmentation=1.0, validation_dice=table["number"] / 10)
    figure = search_chart(table)
    assert not plt.get_fignums()  # or a notebook would show it twice
    figure.canvas.draw()
    for axis in figure.axes[:5]:
        points = {points.get_label(): points.get_offsets() for points in axis.collections}
        assert {name: len(points[name]) for name in ("complete", "pruned", "best")} == {
            "complete": 5,
            "pruned": 2,
            "best": 1,
        }
        assert points["best"][0][1] == 0.5
    assert [text.get_text().replace("\n", "") for text in figure.axes[2].get_xticklabels()] == sorted(LOSSES)
    assert [text.get_text() for text in figure.axes[3].get_xticklabels()] == ["8", "16"]
    names = [text.get_text() for text in figure.axes[5].get_legend().get_texts()]
    assert names == ["complete", "pruned", "best", "best yet"]


def test_numbers_of_a_heat_map_are_dark_on_bright_cells_and_bright_on_dark_ones():
    rows = [("a", "a", 0.99), ("a", "b", 0.94), ("b", "a", 0.8), ("b", "b", 0.85)]
    table = pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"]).assign(dice_low=np.nan, dice_high=np.nan)
    colors = {text.get_text(): text.get_color() for text in generalisation_chart(table).axes[0].texts}
    assert colors == {"0.990": "black", "0.940": "black", "0.800": "white", "0.850": "white"}
