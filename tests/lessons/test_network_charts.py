import numpy as np
import pandas as pd

from helpers.figures import drawn
from lungnb.figures.theme import COLORS
from lungnb.lessons import network_charts
from lungnb.lessons.architectures import Channel


def test_both_budgets_show_each_network_in_its_colour():
    columns = {"epochs": [12, 1, 0], "dice": [0.9, 0.5, np.nan], "dice_of_all": [0.9, 0.97, 0.98]}
    table = pd.DataFrame(columns, index=["compact_unet", "unet", "transunet"])
    (axis,) = drawn(network_charts.budget_chart(table))
    markers = [line for line in axis.lines if line.get_linestyle() == "None"]
    assert [line.get_color() for line in markers[:3:2]] == [COLORS[5], COLORS[0]]
    assert [line.get_xdata()[0] for line in markers[:4]] == [0.9, 0.9, 0.5, 0.97]
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["0.900", "0.900 after 12 epochs", "0.970", "0.500 after 1 epoch", "0.980"]


def test_gates_are_drawn_from_the_finest_level():
    image, truth = np.zeros((32, 32)), np.eye(32, dtype=bool)
    openings = {4: np.ones((2, 2)), 1: np.ones((16, 16)), 2: np.ones((8, 8)), 3: np.ones((4, 4))}
    titles = [axis.get_title() for axis in network_charts.gate_maps(image, truth, openings).axes]
    assert titles[:4] == ["image and true mask", "gate of level 1, 16²", "gate of level 2, 8²", "gate of level 3, 4²"]
    assert network_charts.gate_maps(image, truth, {}).axes[0].get_title() == "image and true mask"


def test_the_way_down_is_above_the_way_up():
    names = ["encoder_1", "bridge", "decoder_1", "lung"]
    figure = network_charts.stage_maps({name: Channel(np.eye(4), 0.5) for name in names})
    assert [axis.get_title() for axis in drawn(figure)] == [f"{name}, 4²\nr = 0.50" for name in names]
