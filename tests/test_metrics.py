import numpy as np
import pytest
from sklearn import metrics as reference

from lungnb.metrics import SCORES, TRAINING_SCORES, Counts, count_pixels, score_image, scores, training_metrics

EMPTY, FULL = np.zeros((8, 8), bool), np.ones((8, 8), bool)
HALF = np.arange(8) < 4 * np.ones((8, 1))


def square(top, left, side=10, size=40):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disk(x, y, radius, size=400):
    row, column = np.ogrid[:size, :size]
    return (column - x) ** 2 + (row - y) ** 2 <= radius**2


@pytest.mark.parametrize(
    ("shift", "counts", "dice", "iou"),
    [
        (0, (100, 0, 0, 1500), 1, 1),
        (5, (50, 50, 50, 1450), 1 / 2, 1 / 3),
        (2, (80, 20, 20, 1480), 4 / 5, 2 / 3),
        (10, (0, 100, 100, 1400), 0, 0),
    ],
)
def test_shifted_squares(shift, counts, dice, iou):
    truth, found = square(5, 5), square(5, 5 + shift)
    assert count_pixels(truth, found) == counts
    scored = score_image(truth, found)
    assert scored["dice"] == scored["f1"] == pytest.approx(dice)
    assert scored["iou"] == pytest.approx(iou)
    assert scored["precision"] == scored["recall"] == pytest.approx(counts[0] / 100)
    assert scored["specificity"] == pytest.approx(counts[3] / 1500)
    assert scored["accuracy"] == pytest.approx(1 - 2 * counts[1] / 1600)


def test_a_square_within_a_square():
    scored = score_image(square(5, 5, 20), square(10, 10, 10))  # 100 px found of 400
    expected = {"dice": 0.4, "iou": 0.25, "accuracy": 1300 / 1600, "precision": 1, "recall": 0.25, "f1": 0.4}
    assert scored == pytest.approx(expected | {"specificity": 1})


@pytest.mark.parametrize("shift", [20, 50, 90, 160])
def test_shifted_disks_overlap_as_geometry_says(shift):
    radius = 80
    lens = 2 * radius**2 * np.arccos(shift / 2 / radius) - shift / 2 * np.sqrt(4 * radius**2 - shift**2)
    scored = score_image(disk(120, 200, radius), disk(120 + shift, 200, radius))
    assert scored["dice"] == pytest.approx(lens / (np.pi * radius**2), abs=0.005)


@pytest.mark.parametrize("seed", range(8))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.random((2, 30, 40)) < rng.uniform(0.05, 0.95, (2, 1, 1))
    y, p = truth.ravel(), found.ravel()
    expected = {
        "dice": reference.f1_score(y, p),
        "iou": reference.jaccard_score(y, p),
        "accuracy": reference.accuracy_score(y, p),
        "precision": reference.precision_score(y, p),
        "recall": reference.recall_score(y, p),
        "f1": reference.f1_score(y, p),
        "specificity": reference.recall_score(~y, ~p),
    }
    scored = score_image(truth, found)
    assert scored == pytest.approx(expected)
    assert tuple(scored) == SCORES
    assert scored["dice"] == scored["f1"]
    assert scored["iou"] == pytest.approx(scored["dice"] / (2 - scored["dice"]))
    tn, fp, fn, tp = reference.confusion_matrix(y, p).ravel()
    assert count_pixels(truth, found) == (tp, fp, fn, tn)


ALL_ONE = dict.fromkeys(SCORES, 1)
ALL_ZERO = dict.fromkeys(SCORES, 0)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (EMPTY, EMPTY, ALL_ONE),
        (FULL, FULL, ALL_ONE),
        (HALF, HALF, ALL_ONE),
        (EMPTY, FULL, ALL_ZERO),
        (FULL, EMPTY, ALL_ZERO),
        (EMPTY, HALF, ALL_ZERO | {"accuracy": 0.5, "specificity": 0.5}),
        (HALF, EMPTY, ALL_ZERO | {"accuracy": 0.5, "specificity": 1}),
        (
            FULL,
            HALF,
            ALL_ZERO | {"accuracy": 0.5, "precision": 1, "recall": 0.5, "dice": 2 / 3, "f1": 2 / 3, "iou": 0.5},
        ),
        (
            HALF,
            FULL,
            ALL_ZERO | {"accuracy": 0.5, "precision": 0.5, "recall": 1, "dice": 2 / 3, "f1": 2 / 3, "iou": 0.5},
        ),
        (HALF, ~HALF, ALL_ZERO),
    ],
)
def test_empty_and_full_masks(truth, found, expected):
    assert score_image(truth, found) == pytest.approx(expected)


def test_pooled_scores_come_from_sums():
    first, second = count_pixels(square(5, 5), square(5, 10)), count_pixels(square(5, 5, 20), square(5, 5, 20))
    pooled = scores(Counts(*np.add(first, second)))
    assert pooled["dice"] == pytest.approx(2 * 450 / (2 * 450 + 100))
    assert pooled["dice"] != pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (EMPTY, EMPTY[:4], r"one shape, not \(8, 8\) and \(4, 8\)"),
        (EMPTY, np.zeros((8, 8)), "must be bool, not bool and float64: threshold first"),
        (EMPTY.astype(np.uint8), EMPTY, "must be bool, not uint8 and bool"),
    ],
)
def test_other_arrays_are_refused(truth, found, message):
    with pytest.raises(ValueError, match=message):
        score_image(truth, found)


def test_scores_while_training_are_those_of_the_tables():
    rng = np.random.default_rng(1)
    truth = np.stack([EMPTY, EMPTY, FULL, FULL, HALF, HALF, *(rng.random((6, 8, 8)) < 0.4)])
    found = np.stack([EMPTY, HALF, FULL, EMPTY, ~HALF, EMPTY, *(rng.random((6, 8, 8)) < 0.4)])
    # Probabilities on both sides of the threshold, which itself is not lung.
    probability = np.where(found, rng.uniform(0.51, 1, found.shape), rng.uniform(0, 0.5, found.shape))
    probability[~found & (rng.random(found.shape) < 0.2)] = 0.5
    metrics = training_metrics()
    assert [metric.__name__ for metric in metrics] == list(TRAINING_SCORES)
    expected = [score_image(*masks) for masks in zip(truth, found, strict=True)]
    for metric in metrics:
        values = np.asarray(metric(truth[..., None].astype("float32"), probability[..., None].astype("float32")))
        np.testing.assert_allclose(values, [scored[metric.__name__] for scored in expected], atol=1e-6)
