"""The second output of a network, which says whether an image shows a chest."""

import numpy as np
import pytest

from helpers.networks import bright
from lungnb.networks import tuning
from lungnb.networks.backend import keras
from lungnb.networks.chest import POOLED_PX, classifier, has_chest, pooled_part, probability_part, with_chest
from lungnb.networks.costs import count_multiplications
from lungnb.networks.examples import Examples
from lungnb.networks.model_files import read_network
from lungnb.networks.models import build_model
from lungnb.networks.tuning import fine_tune

SIZE = 2 * POOLED_PX


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((3, SIZE, SIZE, 1), np.float32)


def test_the_probability_is_unchanged(pictures):
    model = build_model("unet", size=SIZE, filters=4, depth=2)
    extended = with_chest(model)
    assert extended.output_shape == [(None, SIZE, SIZE, 1), (None, 1)]
    probability, chest = extended.predict_on_batch(pictures)
    np.testing.assert_array_equal(probability, model.predict_on_batch(pictures))
    assert chest.shape == (3, 1) and (chest > 0).all() and (chest < 1).all()
    np.testing.assert_array_equal(probability_part(extended).predict_on_batch(pictures), probability)


def test_the_classifier_sees_averages_of_image_probability_and_uncertainty(pictures):
    extended = with_chest(bright(SIZE))
    probability, chest = extended.predict_on_batch(pictures)
    maps = pooled_part(extended).predict_on_batch(pictures)
    for channel, values in enumerate((pictures, probability, probability * (1 - probability))):
        averages = values.reshape(3, POOLED_PX, 2, POOLED_PX, 2).mean(axis=(2, 4))
        np.testing.assert_allclose(maps[..., channel], averages, atol=1e-6)
    np.testing.assert_allclose(extended.get_layer("chest").predict_on_batch(maps), chest, atol=1e-6)


def test_a_file_with_both_outputs_is_read(tmp_path, pictures):
    extended = with_chest(bright(SIZE))
    extended.save(tmp_path / "both.keras")
    opened = read_network(tmp_path / "both.keras")
    assert has_chest(opened) and not has_chest(probability_part(opened))
    for own, other in zip(extended.predict_on_batch(pictures), opened.predict_on_batch(pictures), strict=True):
        np.testing.assert_array_equal(own, other)


def test_the_classifier_is_small():
    assert classifier().count_params() < 50_000
    assert count_multiplications(classifier()) < 0.02 * 180e6  # of the shipped network


def test_other_second_outputs_are_no_chest():
    model = bright(SIZE)
    twice = keras.Model(model.inputs[0], [model.outputs[0], keras.layers.Identity(name="chest")(model.outputs[0])])
    assert not has_chest(twice) and not has_chest(model)


def test_a_new_classifier_replaces_the_old_one():
    again = with_chest(with_chest(bright(SIZE)))
    assert has_chest(again) and len(again.layers) == len(with_chest(bright(SIZE)).layers)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="takes 48 px; take one of a multiple of 32 px"):
        with_chest(bright(48))


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
