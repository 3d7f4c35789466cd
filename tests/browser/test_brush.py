import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from lungnb.browser.brush import Brush, pack_mask, unpack_mask


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_any_mask_comes_back(mask):
    assert np.array_equal(unpack_mask(pack_mask(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("rows", "runs"), [([[0, 0], [0, 0]], [4]), ([[1, 1]], [0, 2]), ([[0, 1], [1, 0], [0, 1]], [1, 2, 2, 1])]
)
def test_runs_begin_with_background(rows, runs):
    assert np.frombuffer(pack_mask(np.array(rows, bool)), "<u4").tolist() == runs


def test_the_mask_of_a_large_film_takes_kilobytes():
    y, x = np.mgrid[:3000, :3000]
    mask = np.hypot(x - 1500, y - 1500) < 1200
    assert len(pack_mask(mask)) < 20_000


@given(st.binary(max_size=40))
def test_runs_of_another_size_are_refused(runs):
    lengths = np.frombuffer(runs[: len(runs) // 4 * 4], "<u4")
    if len(runs) % 4 or lengths.sum(dtype=np.uint64) != 12:
        with pytest.raises(ValueError, match="another size than its image"):
            unpack_mask(runs, (3, 4))


def test_an_image_is_sent_without_loss_with_its_mask():
    brush, grey = Brush(print), np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30)
    states = []
    brush.observe(lambda change: states.append((change["name"], brush.opened)))
    assert brush.show("film", grey, grey > 100) == 1 and brush.show("film", grey, grey > 90) == 2
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(brush.picture))), grey)
    assert np.array_equal(unpack_mask(brush.mask, grey.shape), grey > 90)
    assert {"picture", "mask", "opened"} <= {name for name, _ in states}


def test_image_and_mask_are_sent_in_one_message(monkeypatch):
    brush, grey, sent = Brush(print), np.zeros((4, 5), np.uint8), []
    monkeypatch.setattr(brush, "send_state", lambda names: sent.append({*names}))
    brush.show("film", grey, grey > 0)
    assert sent == [{"title", "picture", "mask", "opened"}]


def test_a_stroke_is_told_with_the_number_of_its_image():
    told = []
    brush, grey = Brush(lambda *stroke: told.append(stroke)), np.zeros((4, 5), np.uint8)
    first, second = brush.show("one", grey, grey > 0), brush.show("two", grey, grey > 0)
    before, drawn = brush.mask, pack_mask(grey == 0)
    brush._receive(brush, {"opened": first}, [memoryview(drawn)])
    assert brush.mask == before
    brush._receive(brush, {"opened": second}, [memoryview(drawn)])
    assert brush.mask == drawn and told == [(first, drawn), (second, drawn)]


def test_the_front_end_comes_with_the_widget():
    assert "export class Editor" in Brush._esm and 'from "' not in Brush._esm  # it needs no library
