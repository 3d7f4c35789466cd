import numpy as np

from helpers.figures import drawn
from helpers.tables import table_of
from lungnb.evaluation.differences import paired_tests
from lungnb.figures.difference_charts import difference_chart


def test_differences_are_drawn_with_their_intervals_and_the_margin():
    rng = np.random.default_rng(0)
    tests = paired_tests(table_of(unet=rng.uniform(0.9, 0.95, 9), resunet=rng.uniform(0.8, 0.85, 9), own=[0.9] * 9))
    (axis,) = drawn(difference_chart(tests, margin=0.005))
    names = ["U-Net minus ResUNet", "U-Net minus own", "ResUNet minus own"]
    assert [label.get_text() for label in axis.get_yticklabels()] == names
    assert [text.get_text() for text in axis.texts][::2] == ["U-Net is better", "own is better"]
    zero, *lines = axis.lines
    wide, narrow, mean = lines[:3]
    assert zero.get_xdata() == [0, 0]
    assert wide.get_xdata().tolist() == tests.loc[0, ["low", "high"]].tolist()
    assert narrow.get_xdata().tolist() == tests.loc[0, ["low_90", "high_90"]].tolist()
    assert mean.get_xdata()[0] == tests.loc[0, "difference"]
    band = axis.patches[0].get_window_extent().transformed(axis.transData.inverted())
    np.testing.assert_allclose([band.x0, band.x1], [-0.005, 0.005])
    assert axis.get_xlim()[0] < tests[["low", "high"]].min(axis=None) and len(axis.get_legend_handles_labels()[0]) == 4


def test_one_network_and_one_patient_have_a_chart_of_differences():
    alone, one = (paired_tests(table) for table in (table_of(unet=[0.9]), table_of(unet=[0.9], resunet=[0.8])))
    assert [text.get_text() for text in difference_chart(alone, 0.005).axes[0].texts] == [
        "one network: no pair to compare"
    ]
    assert [text.get_text() for text in difference_chart(one, 0.005).axes[0].texts] == ["undecided"]


def test_the_source_of_a_row_is_below_its_pair():
    tests = paired_tests(table_of(unet=[0.9, 0.8], resunet=[0.8, 0.8])).assign(source="here")
    (axis,) = drawn(difference_chart(tests, 0.005))
    assert [label.get_text() for label in axis.get_yticklabels()] == ["U-Net minus ResUNet\nhere"]
