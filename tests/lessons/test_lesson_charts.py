import numpy as np
import pandas as pd
import pytest

from helpers.figures import drawn
from lungnb.lessons import lesson_charts, searches
from lungnb.phantoms import ADDITIONS, Wild


def test_a_panel_an_invented_network():
    axes = drawn(lesson_charts.confidence_chart())
    assert [axis.get_title().partition(",")[0] for axis in axes] == ["over-confident", "calibrated", "under-confident"]


def test_four_forms_of_an_image_with_their_masks(trained):
    from lungnb.datasets.prepared import open_prepared

    prepared = open_prepared(trained)
    row = prepared.rows(prepared.scoring_split())[0]
    axes = drawn(lesson_charts.augmented_masks_grid(trained, "unet", row["id"]))
    titles = [axis.get_title().partition(",")[0] for axis in axes]
    assert titles == ["as it is", "mirrored", "brighter", "darker"]
    shown = [axis.images[0].get_array() for axis in axes]
    assert (shown[1] == shown[0][:, ::-1]).all() and shown[2].sum() > shown[0].sum() > shown[3].sum()


def test_the_samplers_have_a_line_and_a_panel_each():
    table = searches.repeat_searches(trials=7, seeds=[1, 2])
    figure = lesson_charts.sampler_chart(table)
    _, random, tpe = drawn(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == [*searches.SAMPLERS.values()]
    assert [len(axis.collections[0].get_offsets()) for axis in (random, tpe)] == [14, 14]


@pytest.mark.parametrize(("kind", "names"), [("film", ADDITIONS), ("wild", Wild._fields)])
def test_every_part_that_can_be_left_out_is_shown_and_makes_a_difference(kind, names):
    assert [*lesson_charts.WITHOUT_SHOWN[kind]] == [*names]
    axes = drawn(lesson_charts.without_grid(kind))
    assert [axis.get_title() for axis in axes[: len(names)]] == [f"with {name}" for name in names]
    shown = [np.asarray(axis.images[0].get_array()) for axis in axes]
    pairs = zip(shown[: len(names)], shown[len(names) :], strict=True)
    changed = [np.sum(np.abs(part.astype(float) - without) > 20) for part, without in pairs]
    assert min(changed) > 100, dict(zip(names, changed, strict=True))


def test_a_row_a_part_and_a_point_a_data_set():
    table = pd.DataFrame({"films": [0.9, 0.8, 0.95], "slices": [0.9, 0.85, 0.9]}, index=["nothing", "tone", "shape"])
    (axis,) = drawn(lesson_charts.left_out_chart(table))
    points = {line.get_label(): [round(x, 3) for x in line.get_xdata()] for line in axis.lines[:3]}
    assert points == {"films": [-0.1, 0.05], "slices": [-0.05, 0.0], "mean": [-0.075, 0.025]}


def test_the_largest_difference_is_marked_on_the_axis_of_distances():
    pixels = pd.DataFrame({"difference": [1e-7, 3e-6], "from_half": [0.4, 1e-3]})
    (axis,) = drawn(lesson_charts.rounding_chart(pixels))
    assert axis.lines[0].get_xdata()[0] == 3e-6 and sum(bar.get_height() for bar in axis.patches) == 2
