import numpy as np
import pytest

from helpers.pictures import GREY, MASK, saved
from lungnb.formats.images import read_image
from lungnb.formats.pixels import fit_square, resample_mm, shrink, through_window, to_grey, unfit_square


def test_the_window_ends_are_black_and_white_and_it_must_rise():
    grey = through_window(np.array([-1000.0, -160.0, -159.0, 0.0, 349.0, 350.0]), (-160, 350))
    np.testing.assert_array_equal(grey, [0, 0, 0, 80, 254, 255])  # half a grey value is 1 HU, rounded to even
    with pytest.raises(ValueError, match="window must rise"):
        through_window(np.full(1, -800.0), (400, -1000))


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (GREY, "0 to 255"),
        (GREY / 255.0, "0 to 1"),
        (GREY / 127.5 - 1, "-1 to 1"),
        (GREY * np.uint16(16), "0 to 4080"),  # as stored, without RescaleIntercept
        (np.where(MASK, -2000, GREY.astype(np.int16)), "-2000 to 255"),  # the same, with a scanner's padding
        (GREY.astype(np.float32) - 150, "-150 to 105"),
        (MASK, "0 to 1"),
    ],
)
def test_rescaled_values_are_not_hounsfield_units(array, found):
    with pytest.raises(ValueError, match=f"slice 7: not in Hounsfield units: its values run from {found}, .* leave wi"):
        to_grey(array, (-125, 275), "slice 7")


SHAPE_MM = [((60, 40), (0.7, 0.7), 1.0), ((50, 64), (0.5, 2.0), (1.0, 1.0)), ((11, 48, 36), (5.0, 0.6, 0.6), 1.5)]


@pytest.mark.parametrize(("shape", "spacing", "new"), SHAPE_MM)
def test_resampling_keeps_extent_mean_and_place(shape, spacing, new):
    places = np.meshgrid(*((np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing, strict=True)), indexing="ij")
    ramp = sum(places).astype(np.float32)  # mm, so that each voxel says where it lies
    found = resample_mm(ramp, spacing, new)
    extent, steps = np.multiply(shape, spacing), np.broadcast_to(new, len(shape))
    assert found.dtype == np.float32
    assert np.abs(found.shape * steps - extent).max() <= steps.max() / 2
    assert found.mean() == pytest.approx(ramp.mean(), rel=1e-3)
    steps = extent / found.shape  # met but for rounding
    places = np.meshgrid(*((np.arange(n) + 0.5) * mm for n, mm in zip(found.shape, steps, strict=True)), indexing="ij")
    inner = tuple(slice(n // 4, -(n // 4)) for n in found.shape)
    np.testing.assert_allclose(found[inner], sum(places)[inner], atol=0.05)


@pytest.mark.parametrize(("shape", "spacing", "new"), SHAPE_MM)
def test_masks_are_resampled_like_their_images_and_stay_bool(shape, spacing, new):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 4, -(n // 4)) for n in shape)] = True
    found = resample_mm(mask, spacing, new, is_mask=True)
    image = resample_mm(mask * np.uint8(200), spacing, new)
    assert found.dtype == bool
    assert image.dtype == np.uint8
    assert found.shape == image.shape
    assert found.mean() == pytest.approx(mask.mean(), rel=0.12)
    assert (found == (image > 100)).mean() > 0.96
    inner = tuple(slice(n // 3, -(n // 3)) for n in found.shape)
    assert found[inner].all()


def test_resampling_blurs_away_what_is_too_fine_for_the_new_spacing():
    checkers = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    found = resample_mm(checkers, (0.25, 0.25), 1.0)
    assert found.shape == (16, 16)
    assert np.abs(found.astype(int) - 100).max() <= 5
    assert resample_mm(checkers, (1, 1), 1) is checkers


@pytest.mark.parametrize(("spacing", "new"), [((1, 1, 1), 1), ((1, 0), 1), ((1, 1), 0), ((1, np.nan), 1)])
def test_invalid_spacings_are_refused(spacing, new):
    with pytest.raises(ValueError, match="spacing_mm needs a positive number for each of 2 axes"):
        resample_mm(GREY, spacing, new)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]]), [[0, 128, 255]]),
        (np.array([[False, True]]), [[0, 255]]),
        (np.array([[0.0, 100.4, 255.0]]), [[0, 100, 255]]),
        (np.array([[0, 1, 200]], np.int32), [[0, 1, 200]]),
        (np.array([[[9], [7]]], np.uint8), [[9, 7]]),
        (np.array([[[255, 255, 255, 0], [255, 0, 0, 0]]], np.uint8), [[255, 76]]),
    ],
)
def test_arrays_become_grey(array, expected):
    found = to_grey(array)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2, 5)), np.zeros((0, 4)), np.full((2, 2), np.nan)])
def test_arrays_that_are_not_images_are_refused(array):
    with pytest.raises(ValueError, match="the array: "):
        to_grey(array)


SHAPES = [(64, 64), (300, 100), (100, 300), (97, 64), (33, 250), (1, 40)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_square_keeps_the_aspect_ratio_in_its_middle(height, width):
    square = fit_square(np.full((height, width), 200, np.uint8), 64)
    assert square.array.shape == (64, 64)
    assert max(square.height, square.width) == 64
    assert abs(square.height * max(height, width) - 64 * height) <= max(height, width)
    assert abs(square.width * max(height, width) - 64 * width) <= max(height, width)
    inside = square.array[square.top : square.top + square.height, square.left : square.left + square.width]
    assert (inside == 200).all()
    assert square.array.sum() == inside.sum(dtype=int)  # black around
    assert abs(2 * square.top + square.height - 64) <= 2
    assert abs(2 * square.left + square.width - 64) <= 2


@pytest.mark.parametrize(("height", "width"), [(256, 256), (400, 200), (200, 400), (311, 256), (50, 64)])
def test_a_mask_comes_back_from_the_square_where_it_was(height, width):
    mask = np.zeros((height, width), bool)
    mask[height // 8 : height // 2, width // 2 : -width // 8] = True
    square = fit_square(mask * np.uint8(255), 128)
    back = unfit_square(square.array.astype(np.float32) / 255, square, height, width)
    assert back.shape == mask.shape
    assert back.dtype == np.float32
    found = back > 0.5
    assert (found & mask).sum() / (found | mask).sum() > 0.96
    for axis in (0, 1):  # each edge within the two image pixels that a network pixel may cover
        edges, expected = np.flatnonzero(found.any(axis)), np.flatnonzero(mask.any(axis))
        assert abs(edges[0] - expected[0]) <= 2
        assert abs(edges[-1] - expected[-1]) <= 2


def test_shrink_keeps_what_is_small_and_masks_hard():
    assert shrink(GREY, 30) is GREY
    wide = np.full((100, 400), 77, np.uint8)
    assert shrink(wide, 40).shape == (10, 40)
    assert (shrink(wide, 40) == 77).all()
    checkers = (np.indices((64, 64)).sum(0) % 2 * 200).astype(np.uint8)
    assert np.unique(shrink(checkers, 32)).tolist() == [100]  # the mean over the area, no moiré
    small = shrink(MASK, 15)
    assert small.dtype == bool
    assert small.shape == (10, 15)


def test_negative_values_alone_make_no_hounsfield_units(tmp_path):
    scores = (GREY.astype(np.float32) - 128) / 60
    np.testing.assert_allclose(to_grey(scores).astype(int), GREY, atol=1)
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.tif", scores)).astype(int), GREY, atol=1)
