import numpy as np
import pytest
from scipy.special import expit

from lungnb.evaluation.probabilities import (
    BORDER_SHARE,
    best_temperature,
    border_bins,
    calibration_error,
    mean_bins,
    near_border,
    reliability_table,
)


def lung(size=256):
    mask = np.zeros((size, size), bool)
    mask[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = True
    return mask


@pytest.mark.parametrize("size", [128, 256, 512])
def test_the_band_is_a_share_of_the_longer_side(size):
    near, width = near_border(lung(size)), round(BORDER_SHARE * size)
    row = near[size // 2]
    assert row[size // 4 - width : size // 4 + width].all()
    assert not row[size // 4 + width + 1 : size // 2].any() and not row[: size // 4 - width - 1].any()


def test_the_band_of_a_lung_in_the_corner_of_a_wide_image():
    """The band has 8 px, 8/256 of the longer side, on either side of the border. The image's edge is not a border."""
    truth = np.zeros((64, 256), bool)
    truth[40:, 200:] = True
    near = near_border(truth)
    assert np.flatnonzero(near[60]).tolist() == [*range(192, 208)]
    assert np.flatnonzero(near[:, 230]).tolist() == [*range(32, 48)]


def test_background_does_not_hide_wrong_probabilities():
    """The mask is right far from the border and wrong within 8 px of it, where all is said to be lung."""
    truth = lung()
    near = near_border(truth)
    probability = np.where(near, 0.9, truth).astype(np.float32)
    table = reliability_table(mean_bins([border_bins(truth, probability)]))
    assert calibration_error(table) == pytest.approx(0.9 - truth[near].mean(), abs=0.003)
    assert table["pixels"].sum() == near.sum() < 0.2 * truth.size
    assert table["share"].sum() == pytest.approx(1)


def test_a_large_image_counts_as_much_as_a_small_one():
    sizes = 64, 512
    masks = [lung(size) for size in sizes]
    bins = [border_bins(mask, np.full(mask.shape, p, np.float32)) for mask, p in zip(masks, (0.15, 0.85), strict=True)]
    table = reliability_table(mean_bins(bins))
    assert table["share"].dropna()[[1, 8]].tolist() == pytest.approx([0.5, 0.5])
    assert table.loc[8, "pixels"] > 50 * table.loc[1, "pixels"]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_the_temperature_undoes_what_made_a_network_too_sure(temperature):
    bins = border_bins(lung(), np.full((256, 256), 0.5, np.float32))
    weight = np.exp(-0.5 * (bins["logit"] / 3) ** 2)
    share = expit(bins["logit"] / temperature)  # the logits are `temperature` times those of the true probabilities
    border = bins.assign(lung=weight * share, other=weight * (1 - share), pixels=weight)
    assert best_temperature(border) == pytest.approx(temperature, abs=0.002)
    assert calibration_error(reliability_table(border, temperature)) == pytest.approx(0, abs=1e-6)
    assert calibration_error(reliability_table(border)) > (0.01 if temperature != 1 else -1)


def test_a_probability_that_a_low_temperature_rounds_to_1_is_in_the_last_bin():
    table = reliability_table(mean_bins([border_bins(lung(), lung().astype(np.float32))]), temperature=0.1)
    assert table["share"].tolist() == pytest.approx([0.5, *[0] * 8, 0.5], abs=0.05)


@pytest.mark.parametrize("mask", [np.zeros((32, 32), bool), np.ones((32, 32), bool)])
def test_masks_without_a_border_do_not_count(mask):
    empty = border_bins(mask, np.full(mask.shape, 0.5, np.float32))
    assert empty[["lung", "other"]].to_numpy().sum() == 0
    assert best_temperature(mean_bins([empty])) == 1
    some = border_bins(lung(), np.full((256, 256), 0.7, np.float32))
    both, alone = (reliability_table(mean_bins(bins)) for bins in ([some, empty], [some]))
    assert calibration_error(both) == calibration_error(alone) > 0
