"""What is black and white: the values of the picture, whatever else lies in the file."""

import numpy as np
import pytest

from lungnb.formats.pixels import show_grey
from lungnb.formats.ranges import LUNG_WINDOW, GreyRange, doubt_of_sign, grey_range, without_fill

RNG = np.random.default_rng(0)
FILM = np.clip(RNG.normal(1800, 700, (300, 400)), 0, 4080).astype(np.uint16)
SLICE = RNG.integers(-1024, 1500, (256, 256)).astype(np.int16)


def with_marker(value):
    film = FILM.astype(np.int32)
    film[10:40, 10:40] = value
    return film


def with_padding(*values):
    film = FILM.astype(np.int32)
    for number, value in enumerate(values):
        film[:, 40 * number : 40 * number + 40] = value
    return film


def with_broken_pixels():
    film = FILM.astype(np.int32)
    film.flat[RNG.integers(0, film.size, 200)] = RNG.integers(20_000, 65_535, 200)
    return film


@pytest.mark.parametrize(
    "film",
    [
        with_marker(65535), with_marker(30_000), with_marker(-30_000), with_broken_pixels(), with_padding(65535),
        with_padding(-2000), with_padding(65535, 65000, 64900), with_padding(-2000, 65535), with_marker(2**31 - 1),
    ],
    ids=["marker", "lower marker", "dark", "broken pixels", "white", "black", "three values", "both ends", "32 bits"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["i4", "f4", "f8"])
def test_values_outside_the_picture_do_not_move_the_range(film, kind):
    inside = film == FILM
    low, high = int(FILM[inside].min()), int(FILM[inside].max())
    shown = grey_range(film.astype(kind))
    assert shown.window == (low, high)
    assert shown.note == f"values outside {low:g} to {high:g} are left out"
    volume = grey_range(np.stack([film, FILM, FILM]).astype(kind))
    assert volume.window == (FILM.min(), FILM.max())


@pytest.mark.parametrize("value", [-999, -1000, -1024])
def test_one_value_below_0_is_padding_not_ct(value):
    film = with_padding(value)
    inside = film[film >= 0]
    assert grey_range(film) == GreyRange((inside.min(), inside.max()), f"values of {value} are left out")
    assert grey_range(np.where(film < 0, film, film % 256)).window == (0, 255)
    assert grey_range(np.where(film < 0, value, film % 3)).window == LUNG_WINDOW  # a drawing of CT
    film[-9:] = -300
    assert grey_range(film).window == LUNG_WINDOW


@pytest.mark.parametrize(
    "array",
    [FILM, FILM << 4, FILM.astype(np.float64) * 1000, np.array([[0, 500, 1000]]), np.array([[3, 3], [3, 900]])],
    ids=["12 bits", "16 bits", "floats", "three values", "two values"],
)
def test_all_values_of_a_picture_count(array):
    assert grey_range(array) == ((array.min(), array.max()), "")


def test_ct_is_seen_through_the_lung_window_whatever_surrounds_it():
    for padding in (-1024, -2000, -3024, -32768):
        padded = SLICE.astype(np.int32)
        padded[:60] = padding
        assert grey_range(padded).window == LUNG_WINDOW
    abdomen = np.clip(RNG.normal(40, 40, (256, 256)), -150, 300).astype(np.int16)  # without air
    abdomen[:60] = -3024
    assert grey_range(abdomen).window == LUNG_WINDOW


def test_ct_with_an_offset_and_padding_keeps_its_contrast():
    stored = SLICE.astype(np.int32) + 32768
    stored[:60] = 0
    assert grey_range(stored.astype(np.uint16)).window == (stored[60:].min(), stored[60:].max())


def test_values_that_are_not_numbers_become_black():
    values = SLICE.astype(np.float32)
    values[:10], values[10:12, :5] = np.nan, np.inf
    grey, note = show_grey(values)
    assert note == "values that are not numbers are black"
    assert not grey[:10].any() and (grey[12:] == show_grey(SLICE)[0][12:]).all()
    with pytest.raises(ValueError, match=r"a\.tif: none of its values is a number"):
        grey_range(np.full((3, 3), np.nan), name="a.tif")


def test_floats_of_a_few_units_are_not_8_bit_greys():
    shares = RNG.random((200, 200)).astype(np.float32)
    shares[:9, :9] = 5  # a marker
    assert grey_range(shares).window == pytest.approx((shares.min(), shares[9:].max()))
    assert grey_range(shares[9:] * 3).window == pytest.approx((0, 3), abs=0.01)
    assert grey_range(shares[9:] * 255).window == (0, 255)
    assert grey_range((shares[9:] * 9).astype(np.uint16)).window == (0, 255)


def filled(*corners, kind=np.float32):
    """Return a slice of CT with these values in its corners, from the first row to the last."""
    values = np.tile(np.linspace(-1000, 300, 64), (64, 1)).astype(kind)
    values[::63, ::63] = np.reshape(corners, (2, 2))
    return values


@pytest.mark.parametrize("fills", [(9999,) * 4, (9999, 9999, 0, 9999)])
def test_one_value_that_fills_the_corners_of_ct_is_air(fills):
    values, note = without_fill(filled(*fills, kind=np.int16))
    assert values.max() <= 300 and values.dtype == np.int16 and "values of 9999" in note


@pytest.mark.parametrize("fills", [(9999, 9999, 5000, 5000), (9999, 5000, 9999, 0), (np.inf,) * 4, (2000,) * 4])
def test_other_corners_stay_as_they_are(fills):
    values = filled(*fills)
    assert without_fill(values) == (values, "")


def test_the_corners_of_a_film_stay_as_they_are():
    film = filled(*(65535,) * 4) + 1000
    assert "which fill" not in show_grey(film)[1]


@pytest.mark.parametrize("window", [None, (-1350, 150)])
def test_the_fill_of_ct_is_air_in_all_windows(window):
    grey, note = show_grey(filled(*(9999,) * 4), window)
    assert grey[0, 0] == show_grey(filled(*(-1000,) * 4), window)[0][0, 0] and "values of 9999" in note


@pytest.mark.parametrize(("largest", "is_cut"), [(255, False), (300, True)])
def test_only_values_beyond_8_bits_may_have_lost_their_sign(largest, is_cut):
    hu = np.clip(np.tile(np.linspace(-200, largest, 64), (64, 1)), 0, None)
    assert bool(doubt_of_sign(hu)) == is_cut
