"""Scores while training."""

import numpy as np

from helpers.masks import EMPTY, FULL, HALF
from lungnb.metrics import count_pixels, scores
from lungnb.networks.metrics import TRAINING_SCORES, training_metrics


def test_scores_while_training_are_those_of_the_tables():
    rng = np.random.default_rng(1)
    truth = np.stack([EMPTY, EMPTY, FULL, FULL, HALF, HALF, *(rng.random((6, 8, 8)) < 0.4)])
    found = np.stack([EMPTY, HALF, FULL, EMPTY, ~HALF, EMPTY, *(rng.random((6, 8, 8)) < 0.4)])
    # Probabilities on both sides of the threshold, which itself is not lung.
    probability = np.where(found, rng.uniform(0.51, 1, found.shape), rng.uniform(0, 0.5, found.shape))
    probability[~found & (rng.random(found.shape) < 0.2)] = 0.5
    metrics = training_metrics()
    assert [metric.__name__ for metric in metrics] == list(TRAINING_SCORES)
    expected = [scores(count_pixels(*masks)) for masks in zip(truth, found, strict=True)]
    for metric in metrics:
        values = np.asarray(metric(truth[..., None].astype("float32"), probability[..., None].astype("float32")))
        np.testing.assert_allclose(values, [scored[metric.__name__] for scored in expected], atol=1e-6)
