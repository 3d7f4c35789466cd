"""The training of the output `chest`, with few drawings."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import train_chest
from helpers.networks import bright
from lungnb.networks.backend import keras
from lungnb.networks.chest_output import has_chest, probability_part
from lungnb.networks.costs import count_multiplications
from lungnb.networks.models import build_model
from train_chest import (
    POOLED_PX,
    Pooled,
    add_chest,
    changed,
    classifier,
    drawn,
    pooled_part,
    set_limit,
    shifted,
    with_chest,
)

SIZE = 2 * POOLED_PX


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(train_chest, "TRAINING", {"mixed": (60, 1), "other": (60, 2)})
    monkeypatch.setattr(train_chest, "VALIDATION", {"mixed-wider": (30, 3), "other": (30, 4)})
    monkeypatch.setattr(train_chest, "EPOCHS", 25)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


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


def test_the_classifier_is_small():
    assert classifier().count_params() < 50_000
    assert count_multiplications(classifier()) < 0.02 * 180e6  # of the shipped network


def test_a_new_classifier_replaces_the_old_one():
    again = with_chest(with_chest(bright(SIZE)))
    assert has_chest(again) and len(again.layers) == len(with_chest(bright(SIZE)).layers)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="takes 48 px; take one of a multiple of 32 px"):
        with_chest(bright(48))


@pytest.mark.slow
def test_it_learns_and_leaves_the_probability_alone(few, pool, tmp_path):
    model = bright(64)
    extended = add_chest(model, tmp_path)
    assert probability_part(extended).get_weights()[0] == model.get_weights()[0]
    training = train_chest.pooled(extended, train_chest.TRAINING, tmp_path, pool)
    values = extended.get_layer("chest").predict(training.maps, verbose=0)
    is_chest = training.is_chest > 0
    above = values[is_chest][:, None] > values[~is_chest][None]  # for each pair of a chest and another picture
    assert above.mean() > 0.8


def test_drawings_are_kept_and_chests_have_lungs(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(train_chest, "LUNG_SHARE", (0.12, 0.6))  # so that some of few drawings are left out
    first = drawn(pool, "mixed", 20, 5, 64, tmp_path)
    (file,) = tmp_path.glob("*.npy")
    np.save(file, first[:3])
    assert len(first) > 5 and len(drawn(pool, "mixed", 20, 5, 64, tmp_path)) == 3
    assert len(drawn(pool, "other", 20, 5, 64, None)) == 20
    assert len(first) < 20


def test_changes_keep_most_of_a_chest():
    image = np.full((100, 100), 200, np.uint8)
    shapes = {
        is_chest: np.array([changed(np.random.default_rng(i), image, is_chest).shape for i in range(60)])
        for is_chest in (True, False)
    }
    assert 85 <= shapes[True].min() < 90 and 60 <= shapes[False].min() < 70
    assert {int(changed(np.random.default_rng(i), image, True)[0, 0]) for i in range(60)} == {55, 200}


def test_maps_are_shifted():
    maps = np.arange(12).reshape(3, 4, 1)
    np.testing.assert_array_equal(shifted(maps, 1, 0)[..., 0], maps[[0, 0, 1], :, 0])
    np.testing.assert_array_equal(shifted(maps, 0, -1)[..., 0], maps[:, [1, 2, 3, 3], 0])


def test_the_limit_flags_the_asked_share_of_chests():
    rng = np.random.default_rng(1)
    network = classifier()
    maps = rng.random((300, 32, 32, 3), np.float32) * rng.random((300, 1, 1, 1), np.float32)
    is_chest = np.arange(300)[:, None] < 200
    set_limit(network, Pooled(maps, is_chest.astype(np.float32)))
    flagged = (network.predict(maps[:200], verbose=0) < 0.5).mean()
    assert abs(flagged - train_chest.FLAGGED_CHESTS) < 0.005
    assert isinstance(network, keras.Model)
