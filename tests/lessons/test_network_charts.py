import numpy as np
import pandas as pd

from helpers.figures import drawn
from lungnb.figures.theme import COLORS
from lungnb.lessons import network_charts
from lungnb.lessons.architectures import Channel


def test_both_budgets_show_each_network_in_its_colour():
    curve = pd.DataFrame({"epoch": [0, 1], "val_dice": [0.8, 0.9], "computed": [1.0, 2.0]})
    curves = {"compact_unet": curve, "unet": curve.assign(computed=[4.0, 8.0])}
    epochs, computed = drawn(network_charts.budget_curves(curves))
    assert [line.get_color() for line in epochs.lines] == [COLORS[5], COLORS[0]]
    assert [line.get_xdata().tolist() for line in computed.lines[:2]] == [[1, 2], [4, 8]]
    assert computed.lines[2].get_xdata() == [2, 2]  # where the cheapest network ends


def test_gates_are_drawn_from_the_finest_level():
    image, truth = np.zeros((32, 32)), np.eye(32, dtype=bool)
    openings = {4: np.ones((2, 2)), 1: np.ones((16, 16)), 2: np.ones((8, 8)), 3: np.ones((4, 4))}
    titles = [axis.get_title() for axis in network_charts.gate_maps(image, truth, openings).axes]
    assert titles[:4] == ["image and true mask", "gate of level 1, 16²", "gate of level 2, 8²", "gate of level 3, 4²"]
    assert network_charts.gate_maps(image, truth, {}).axes[0].get_title() == "image and true mask"


def test_the_way_down_is_above_the_way_up():
    names = ["encoder_1", "bridge", "decoder_1", "lung"]
    figure = network_charts.stage_maps({name: Channel(np.eye(4), 0.5) for name in names})
    assert [axis.get_title() for axis in drawn(figure)] == [f"{name}, 4²" for name in names]
