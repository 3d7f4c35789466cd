import numpy as np
import pytest

from lungnb.segmentation.lungs import split_sides, uncertainty, why_implausible


def test_right_and_left_are_the_patients():
    mask = np.zeros((20, 40), bool)
    mask[4:16, 5:15] = mask[4:12, 17:33] = True  # the larger one begins left of the middle
    right, left = split_sides(mask)
    assert right.sum() == 120 and left.sum() == 128 and right[:, :15].sum() == 120
    joined = mask | (np.arange(20) == 10)[:, None]
    right, left = split_sides(joined)
    np.testing.assert_array_equal(right | left, joined)
    assert not right[:, 17:].any() and not left[:, :15].any()  # cut where they touch, not in the middle of the picture
    assert not any(side.any() for side in split_sides(np.zeros((5, 5), bool)))
    volume = np.stack([mask, mask, joined])
    right, left = split_sides(volume)
    assert not right[..., 17:].any() and not left[..., :15].any() and (right | left == volume).all()


LUNGS = np.zeros((40, 60), bool)  # two of them, beside one another
LUNGS[6:34, 8:26] = LUNGS[6:34, 32:50] = True
TOUCHING = LUNGS.copy()
TOUCHING[18:20, 26:32] = True
PIECES = np.zeros((40, 60), bool)  # of the left one, and nothing of the right
PIECES[4:18, 36:54] = PIECES[20:38, 34:55] = True


@pytest.mark.parametrize("speck", [(36, 20), (2, 2), (2, 55), (18, slice(4, 8))])  # the last is a thin end of a lung
def test_lungs_that_touch_are_two_whatever_speck_lies_beside_them(speck):
    mask = TOUCHING.copy()
    mask[speck] = True
    for found in (split_sides(mask), (side[0] for side in split_sides(mask[None]))):
        right, left = found
        assert abs(int(right.sum()) - int(left.sum())) < 6 and not (right & left).any() and (right | left == mask).all()


def test_pieces_of_one_lung_are_not_two():
    narrow = PIECES & ((np.arange(40)[:, None] > 18) | (np.arange(60) < 42))  # above, and less than half as wide
    for pieces in (PIECES, narrow):
        right, left = split_sides(pieces)
        assert not right.any() and (left == pieces).all()
    left, right = split_sides(PIECES[:, ::-1])[::-1]
    assert not left.any() and (right == PIECES[:, ::-1]).all()
    assert why_implausible(PIECES, right.sum(), 0) == "one lung only"


def test_one_lung_is_not_cut():
    for mask in (LUNGS & (np.arange(60) < 30), np.roll(LUNGS & (np.arange(60) < 30), 13, axis=1)):
        assert sorted(side.sum() for side in split_sides(mask)) == [0, mask.sum()]


def test_a_lung_that_is_a_fifth_of_the_other_is_a_lung():
    mask = LUNGS & ((np.arange(40)[:, None] > 27) | (np.arange(60) > 30))
    right, left = split_sides(mask)
    assert (right == (mask & (np.arange(60) < 30))).all() and (right | left == mask).all()


@pytest.mark.parametrize(
    ("right", "left", "millilitres", "says"),
    [
        (100, 41, None, ""), (0, 0, None, "no lung"), (100, 0, None, "one lung only"),
        (100, 20, None, "one lung is 5.0 times as large as the other"), (500, 400, None, "90% of"),
        (10, 9, None, "2% of the picture is lung (usual: 2%"), (448_709, 163_861, None, "one lung is 2.7 times"),
        (100, 90, 4000, ""), (100, 90, 300, "the lungs have 300 mL (usual: 1000 to 9000)"),
        (100, 90, 9001, "the lungs have 9001 mL"), (100, 39, None, "one lung is 2.6 times"),
    ],
)  # fmt: skip
def test_implausible_masks_are_flagged(right, left, millilitres, says):
    mask = (np.arange(1000) < right + left).reshape(20, 50)
    found = why_implausible(mask, right, left, millilitres)
    assert says in found and bool(says) == bool(found)


def test_of_a_volume_the_share_that_is_lung_is_not_judged():
    assert why_implausible(np.zeros((2, 20, 50), bool), 10, 9, 4000) == ""


def test_a_mask_of_which_the_network_is_uncertain_is_flagged():
    """The film has 1,600 x 2,400 px."""
    sure = np.kron(np.where(LUNGS, 0.97, 0.02), np.ones((40, 40))).astype(np.float32)
    mask = sure > 0.5
    unsure = np.where(np.roll(mask, 200, axis=1), np.float32(0.6), sure)
    assert uncertainty(sure, mask) == 0 and uncertainty(unsure, unsure > 0.5) > 0.7
    assert why_implausible(mask, 1000, 900, probability=sure) == ""
    assert "the network is uncertain" in why_implausible(mask, 1000, 900, probability=unsure)
    for columns, is_flagged in ((500, False), (700, True)):  # an eighth and a quarter of the mask
        partly = np.where(mask & (np.arange(2400) < columns), np.float32(0.6), sure)
        assert ("uncertain" in why_implausible(mask, 1000, 900, probability=partly)) == is_flagged
    assert uncertainty(sure, np.zeros_like(mask)) == float("inf")
