import numpy as np
import pytest

from helpers import masks
from lungnb.metrics import count_pixels, scores
from lungnb.networks.losses import LOSSES, TRAINING_SCORES, get_loss, training_metrics

TRUTH = np.array([[1, 1], [0, 0]], "float32")[None, :, :, None]
FOUND = np.array([[0.5, 0.5], [0.5, 0]], "float32")[None, :, :, None]
LN2 = np.log(2)
# 1 px of lung found of 2, 1.5 px found in all; 1 is added above and below.
BCE, DICE, IOU = 3 * LN2 / 4, 1 - (2 * 1 + 1) / (2 + 1.5 + 1), 1 - (1 + 1) / (2 + 1.5 - 1 + 1)
EMPTY, FULL = np.zeros((1, 8, 8, 1), "float32"), np.ones((1, 8, 8, 1), "float32")


def value(name, truth, found):
    return np.asarray(get_loss(name)(truth, found))


@pytest.mark.parametrize(
    ("name", "expected"), [("bce", BCE), ("dice", DICE), ("iou", IOU), ("bce_dice", BCE + DICE), ("bce_iou", BCE + IOU)]
)
def test_hand_computed(name, expected):
    assert value(name, TRUTH, FOUND) == pytest.approx([expected], abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("truth", [TRUTH, EMPTY, FULL])
def test_a_perfect_prediction_costs_nothing(name, truth):
    assert value(name, truth, truth) == pytest.approx([0], abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_wrong_way_round_costs_most(name):
    worst = value(name, EMPTY, FULL)
    assert np.isfinite(worst)
    assert worst > value(name, EMPTY, FULL / 2) > value(name, EMPTY, FULL / 10)


@pytest.mark.parametrize(("name", "expected"), [("dice", 1 - 1 / 65), ("iou", 1 - 1 / 65)])
def test_false_lung_and_missed_lung_have_a_high_loss(name, expected):
    assert value(name, EMPTY, FULL) == pytest.approx([expected])
    assert value(name, FULL, EMPTY) == pytest.approx([expected])


@pytest.mark.parametrize("name", LOSSES)
def test_each_image_counts_by_itself(name):
    truth, found = np.zeros((2, 3, 8, 8, 1), "float32")
    truth[0], found[0] = 1, 1  # large and right
    truth[1, 0, 0], truth[2, 2, 2], found[2, 2, 3] = 1, 1, 1  # small and missed; small and beside
    batch = value(name, truth, found)
    assert batch.shape == (3,)
    alone = [value(name, truth[n : n + 1], found[n : n + 1])[0] for n in range(3)]
    np.testing.assert_allclose(batch, alone, atol=1e-6)
    assert batch[0] == pytest.approx(0, abs=1e-6)
    assert batch[1] > 0.2  # pooled over the batch, the large lung would hide it
    assert batch[2] > 0.2


@pytest.mark.parametrize("name", LOSSES)
def test_masks_may_be_whole_numbers(name):
    assert value(name, TRUTH.astype("uint8"), FOUND) == pytest.approx(value(name, TRUTH, FOUND))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="loss must be one of bce, dice, iou, bce_dice, bce_iou, not 'focal'"):
        get_loss("focal")


def test_scores_while_training_are_those_of_the_tables():
    rng = np.random.default_rng(1)
    none, full, half = masks.EMPTY, masks.FULL, masks.HALF
    truth = np.stack([none, none, full, full, half, half, *(rng.random((6, 8, 8)) < 0.4)])
    found = np.stack([none, half, full, none, ~half, none, *(rng.random((6, 8, 8)) < 0.4)])
    # Probabilities on both sides of the threshold, which itself is not lung.
    probability = np.where(found, rng.uniform(0.51, 1, found.shape), rng.uniform(0, 0.5, found.shape))
    probability[~found & (rng.random(found.shape) < 0.2)] = 0.5
    metrics = training_metrics()
    assert [metric.__name__ for metric in metrics] == list(TRAINING_SCORES)
    expected = [scores(count_pixels(*pair)) for pair in zip(truth, found, strict=True)]
    for metric in metrics:
        values = np.asarray(metric(truth[..., None].astype("float32"), probability[..., None].astype("float32")))
        np.testing.assert_allclose(values, [scored[metric.__name__] for scored in expected], atol=1e-6)
