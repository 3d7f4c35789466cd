"""The second output of a network, which says whether an image shows a chest."""

import numpy as np
import pytest

from helpers.networks import bright
from lungnb.networks import tuning
from lungnb.networks.backend import keras
from lungnb.networks.chest_output import has_chest, probability_part
from lungnb.networks.examples import Examples
from lungnb.networks.model_files import read_network
from lungnb.networks.models import build_model
from lungnb.networks.tuning import fine_tune
from train_chest import POOLED_PX, with_chest

SIZE = 2 * POOLED_PX


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((3, SIZE, SIZE, 1), np.float32)


def test_a_file_with_both_outputs_is_read(tmp_path, pictures):
    extended = with_chest(bright(SIZE))
    extended.save(tmp_path / "both.keras")
    opened = read_network(tmp_path / "both.keras")
    assert has_chest(opened) and not has_chest(probability_part(opened))
    for own, other in zip(extended.predict_on_batch(pictures), opened.predict_on_batch(pictures), strict=True):
        np.testing.assert_array_equal(own, other)


def test_other_second_outputs_are_no_chest():
    model = bright(SIZE)
    twice = keras.Model(model.inputs[0], [model.outputs[0], keras.layers.Identity(name="chest")(model.outputs[0])])
    assert not has_chest(twice) and not has_chest(model)


@pytest.mark.slow
def test_adapting_trains_the_probability_alone(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 50)
    extended = with_chest(build_model("unet", size=SIZE, filters=2, depth=1))
    tuned = fine_tune(extended, Examples(np.uint8(255 * pictures), pictures > 0.5), tmp_path, "", progress=False)
    assert has_chest(tuned)
    same = [
        all(np.array_equal(*pair) for pair in zip(own.get_weights(), other.get_weights(), strict=True))
        for own, other in ((tuned.get_layer("chest"), extended.get_layer("chest")), (tuned, extended))
    ]
    assert same == [True, False]
