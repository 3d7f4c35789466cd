import numpy as np
import pandas as pd
import pytest

from lungnb.engines.engines import Engine
from lungnb.lessons import exports as lesson
from lungnb.settings import SHIPPED


def test_the_operators_of_the_shipped_network():
    pytest.importorskip("onnx")
    table = lesson.operator_table(SHIPPED.with_suffix(".onnx"))
    assert table.loc["Conv", "number"] > 10 and table.loc["Conv", "what"].startswith("convolution")
    assert "BatchNormalization" not in table.index  # as notebook 11 says


def test_only_pixels_near_the_threshold_can_flip():
    first = Engine("first", 2, lambda batch: batch)
    second = Engine("second", 2, lambda batch: batch + np.float32(0.01))
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    pixels = lesson.compare_pixels(first, second, images)
    assert pixels["flipped"].tolist() == [False, True, False, False]
    assert pixels["difference"].to_numpy() == pytest.approx(0.01, abs=1e-6)
    assert "2 of 4 pixels are at most this far from 0.5. The masks differ in 1 pixel." in lesson.say_rounding(pixels)


def test_a_format_that_failed_is_not_the_fastest():
    rows = [("keras", "keras, model.predict", 50.0, 1.0, ""), ("keras", "keras, compiled", 5.0, 1.0, "")]
    rows += [("onnx", "onnx 1.0", 2.5, 0.9999, ""), ("openvino", "openvino", np.nan, np.nan, "not installed")]
    said = lesson.say_exports(pd.DataFrame(rows, columns=["form", "engine", "milliseconds", "mean_dice", "said"]))
    assert "The fastest here is onnx 1.0 (onnx) with 2.5 ms" in said and "20 times as fast as model.predict" in said
    assert said.endswith("is 0.99990.")
