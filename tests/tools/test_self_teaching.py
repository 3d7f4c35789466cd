"""The rounds in which the shipped network learns from its own predictions: what it learns, and that they continue."""

import numpy as np
import pytest

import self_teaching
from lungnb.networks.backend import keras
from lungnb.networks.model_files import read_network
from lungnb.networks.models import build_model


@pytest.fixture
def start(tmp_path):
    file = tmp_path / "start.keras"
    build_model("compact_unet", size=32, filters=2, depth=2).save(file)
    return file


def test_the_mean_of_views_is_that_of_image_and_mirror_image(start, monkeypatch):
    monkeypatch.setattr(self_teaching, "_CHUNK", 2)
    network, images = read_network(start), np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    means = self_teaching.mean_of_views(network, images)
    assert means.shape == images.shape and means.dtype == np.float16
    plain, mirrored = (
        np.asarray(network(view[..., None].astype(np.float32) / 255))[..., 0] for view in (images, images[:, :, ::-1])
    )
    np.testing.assert_allclose(means, (plain + mirrored[:, :, ::-1]) / 2, atol=1e-3)
    np.testing.assert_allclose(self_teaching.mean_of_views(network, images[:, :, ::-1])[:, :, ::-1], means, atol=1e-3)


def test_far_from_the_line_the_mask_is_learned(start):
    network, images = read_network(start), np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    masks = np.zeros(images.shape, bool)
    masks[0, 10:, 10:] = True  # a line between the columns 9 and 10, and the rows
    lesson, means = self_teaching.lesson_of(network, images, masks), self_teaching.mean_of_views(network, images)
    assert ((means > 0) & (means < 1)).all()
    assert (lesson[0, 13:, 13:] == 1).all() and (lesson[0, :7] == 0).all() and (lesson[1] == 0).all()
    np.testing.assert_array_equal(lesson[0, 20, 7:13], means[0, 20, 7:13])


def test_each_round_learns_from_the_earlier_one_and_finished_rounds_are_kept(start, monkeypatch, tmp_path):
    monkeypatch.setattr(self_teaching, "ROUNDS", 3)
    images, seen = np.zeros((2, 32, 32), np.uint8), []

    def fit(network, targets, number):
        seen.append((number, float(network.get_weights()[0].ravel()[0]), targets))
        if number == stop[0]:
            raise KeyboardInterrupt
        network.set_weights([weight + 1 for weight in network.get_weights()])
        return network

    def run():
        return self_teaching.learn_from_itself(
            start, tmp_path / "rounds", lambda number: [(images + number, images > 0)], fit
        )

    first, stop = float(read_network(start).get_weights()[0].ravel()[0]), [1]
    with pytest.raises(KeyboardInterrupt):
        run()
    stop[0] = None
    last = run()
    assert last.name == "round_3.keras" and [number for number, *_ in seen] == [0, 1, 1, 2]
    assert [weight - first for _, weight, _ in seen] == pytest.approx([0, 1, 1, 2], abs=1e-5)
    ((drawings, targets),) = seen[-1][2]
    assert (drawings == 2).all() and targets.shape == drawings.shape
    assert float(read_network(last).get_weights()[0].ravel()[0]) == pytest.approx(first + 3, abs=1e-5)
    assert run() == last and len(seen) == 4
    assert isinstance(read_network(last), keras.Model)
