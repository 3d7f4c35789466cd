import numpy as np
import pytest

from helpers.networks import BLOCKS
from lungnb.masks import OUTLINE, clean_mask, count_regions, cut_out, largest_regions, overlay


def test_cleaning_keeps_two_regions_and_fills_their_holes():
    mask = np.zeros((40, 60), bool)
    mask[5:30, 5:20] = mask[5:25, 35:50] = mask[34:38, 20:30] = True
    expected = mask.copy()
    expected[34:38] = False
    mask[10:15, 8:12] = mask[8, 40] = False  # holes
    mask[0, 59] = True
    before = mask.copy()
    np.testing.assert_array_equal(clean_mask(mask), expected)
    np.testing.assert_array_equal(mask, before)
    only = expected.copy()
    only[:, 30:] = False
    np.testing.assert_array_equal(clean_mask(mask, regions=1), only)
    np.testing.assert_array_equal(clean_mask(clean_mask(mask)), expected)


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool), np.eye(9, dtype=bool)])
def test_cleaning_leaves_what_needs_none(mask):
    np.testing.assert_array_equal(clean_mask(mask), mask)


def test_holes_of_a_volume_are_filled_slice_by_slice():
    """A hole through all slices is open at both ends, so in three dimensions it would not count as a hole."""
    volume = np.ones((3, 9, 9), bool)
    volume[:, 4, 4] = False
    assert clean_mask(volume).all()


def test_regions_are_the_largest_ones_wherever_they_are():
    mask = np.zeros((5, 12), bool)
    mask[:4, 1:3] = mask[2:5, 6:9] = mask[0, 11] = True
    first, second = largest_regions(mask)
    assert [int(region.mask.sum()) for region in (first, second)] == [9, 8]
    assert (first.middle(), second.middle()) == (7, 1.5) and first.columns().tolist() == [3, 3, 3]
    assert len(largest_regions(mask, regions=3)) == 3


@pytest.mark.parametrize("empty", [False, True])
def test_overlays_and_cut_outs(empty):
    image, mask = np.full((60, 100), 100, np.uint8), (BLOCKS > 0) & (not empty)
    picture, lungs = overlay(image, mask), cut_out(image, mask)
    assert picture.shape == (60, 100, 3)
    assert picture.dtype == lungs.dtype == np.uint8
    assert (picture[0, 0] == 100).all()
    if empty:
        assert (picture == 100).all()
        assert not lungs[..., 3].any()
    else:
        assert picture[30, 25].tolist() == [138, 119, 75]  # a quarter amber
        assert picture[15, 25].tolist() == [255, 176, 0]  # the outline
        assert lungs.shape == (35, 80, 4)  # rows 15 to 49, columns 10 to 89
        np.testing.assert_array_equal(lungs[..., 3] == 255, mask[15:50, 10:90])
        assert (lungs[..., :3] == 100).all()


def test_the_outline_of_a_large_image_is_wider_and_does_not_follow_its_edge():
    mask = np.zeros((1024, 600), bool)
    mask[:, :300] = True
    is_amber = (overlay(np.zeros(mask.shape, np.uint8), mask) == OUTLINE).all(axis=2)
    for row in (0, 512):
        assert np.flatnonzero(is_amber[row]).tolist() == [297, 298, 299, 300, 301]


def test_specks_are_not_regions():
    mask = np.zeros((100, 100), bool)
    mask[10:40, 10:30] = mask[10:40, 60:80] = True
    mask[90, 90] = True
    assert count_regions(mask) == 2 and count_regions(np.zeros((9, 9), bool)) == 0
    mask[90:95, 90:94] = True  # 20 of 10,000 px
    assert count_regions(mask) == 3
    mask[40:60, 30:60] = True  # it touches both lungs at a corner
    assert count_regions(mask) == 2
