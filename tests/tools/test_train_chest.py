"""The training of the output `chest`, with few drawings."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import train_chest
from helpers.networks import bright
from lungnb.networks.backend import keras
from lungnb.networks.chest import classifier, probability_part
from train_chest import Pooled, add_chest, changed, drawn, set_limit, shifted


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(train_chest, "TRAINING", {"mixed": (60, 1), "other": (60, 2)})
    monkeypatch.setattr(train_chest, "VALIDATION", {"mixed-wider": (30, 3), "other": (30, 4)})
    monkeypatch.setattr(train_chest, "EPOCHS", 25)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


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
