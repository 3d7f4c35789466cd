"""Which values of a mask file are lung: labels of any values, blurred or not, and no other organs."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from helpers.pictures import saved
from lungnb.formats.images import read_mask
from lungnb.formats.labels import find_values, lung_mask

Y, X = np.mgrid[:240, :240] / 240
LEFT, RIGHT = (np.hypot((X - x) / 0.15, (Y - 0.5) / 0.32) < 1 for x in (0.28, 0.72))
BOTH = LEFT | RIGHT
PAIRS = [(127, 255), (10, 20), (20, 10), (100, 201), (128, 255), (1, 2), (85, 170), (3, 250), (60, 255), (255, 255)]


def labelled(left, right, kind=np.uint8):
    return (LEFT * left + RIGHT * right).astype(kind)


def dice(mask):
    return 2 * (mask & BOTH).sum() / (mask.sum() + BOTH.sum())


@pytest.mark.parametrize("labels", PAIRS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_every_label_is_lung_whatever_its_value(tmp_path, labels, suffix):
    np.testing.assert_array_equal(read_mask(saved(tmp_path / f"a{suffix}", labelled(*labels))), BOTH)


@pytest.mark.parametrize("labels", [(1000, 2000), (30_000, 65_535), (1, 2)])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, np.int64])
def test_labels_may_be_numbers_of_any_kind(labels, kind):
    np.testing.assert_array_equal(lung_mask(labelled(*labels, kind)), BOTH)
    volume = np.stack([labelled(*labels, kind)] * 3)
    np.testing.assert_array_equal(lung_mask(volume), np.stack([BOTH] * 3))


@pytest.mark.parametrize("labels", [pair for pair in PAIRS if pair not in [(1, 2), (3, 250)]])
@pytest.mark.parametrize("quality", [50, 75, 95])
def test_labels_may_be_blurred_by_jpeg(tmp_path, labels, quality):
    path = saved(tmp_path / "a.jpg", labelled(*labels), quality=quality)
    assert dice(read_mask(path)) > 0.97
    assert find_values(np.asarray(Image.open(path))).grey_share < 0.05


@pytest.mark.parametrize("labels", [pair for pair in PAIRS if pair not in [(1, 2), (3, 250)]])
@pytest.mark.parametrize("method", [Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_labels_may_have_soft_edges(labels, method):
    soft = Image.fromarray(labelled(*labels)).resize((120, 120), method).resize((240, 240), Image.Resampling.NEAREST)
    assert dice(lung_mask(np.asarray(soft))) > 0.97


@pytest.mark.parametrize("labels", [(1, 255), (2, 200), (10, 255)])
@pytest.mark.parametrize("method", [Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_soft_edges_beside_a_label_near_0_are_refused(labels, method):
    soft = np.asarray(Image.fromarray(labelled(*labels)).resize((130, 130), method))
    with pytest.raises(ValueError, match=rf"the mask: has the labels {labels[0]}, \d+ and values between"):
        lung_mask(soft)
    assert dice(lung_mask(labelled(*labels))) == 1
    assert lung_mask(soft, labels).any()


SMALL = {
    "heart": (np.hypot(X - 0.5, Y - 0.75) < 0.13, 20), "bars": ((Y < 0.05) | (Y > 0.95), 10),
    "text": ((Y < 0.12) & (X < 0.4), 12),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_small_dark_area_beside_soft_lungs_is_not_lung(name):
    place, value = SMALL[name]
    soft = ndimage.gaussian_filter(BOTH * 255.0, 1)
    assert dice(lung_mask(np.where(place, soft.clip(value), soft).astype(np.uint8))) > 0.97


def test_a_soft_mask_on_dark_grey_is_not_a_label_beside_another():
    soft = (ndimage.gaussian_filter(BOTH * 255.0, 2) + 1).clip(0, 255).astype(np.uint8)
    soft[:9] = soft[-9:] = 0  # a border, as of a picture that was made square
    assert dice(lung_mask(soft)) > 0.97


def test_maps_of_distances_are_refused_and_ignored_values_are_not():
    inside = ndimage.distance_transform_edt(BOTH)
    outside = ndimage.distance_transform_edt(~BOTH)
    for distance in (inside - outside, outside - inside, (inside - outside) / 100, (inside - outside).clip(-3, 3)):
        with pytest.raises(ValueError, match="maps of distances"):
            lung_mask(distance)
    ignored = BOTH.astype(np.float32)
    ignored[:9], ignored[-9:] = -1, -2
    np.testing.assert_array_equal(lung_mask(ignored), BOTH)


@pytest.mark.parametrize("colours", [((255, 0, 0), (0, 255, 0)), ((128, 0, 0), (0, 0, 60)), ((9, 9, 9), (0, 200, 90))])
def test_labels_may_be_colours_and_palettes(tmp_path, colours):
    drawing = Image.fromarray(np.uint8(LEFT[..., None] * colours[0] + RIGHT[..., None] * colours[1]))
    drawing.save(tmp_path / "a.png")
    drawing.convert("P", palette=Image.Palette.ADAPTIVE, colors=3).save(tmp_path / "b.png")
    indices = Image.fromarray(labelled(1, 2))
    indices.putpalette([0, 0, 0, *colours[0], *colours[1]])
    indices.save(tmp_path / "c.png")
    for name in ("a.png", "b.png", "c.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), BOTH)


def test_without_a_0_the_smallest_value_is_the_background():
    for low, left, right in ((16, 235, 235), (1, 2, 3), (50, 120, 200)):
        np.testing.assert_array_equal(lung_mask(np.where(BOTH, labelled(left, right), low)), BOTH)
    np.testing.assert_array_equal(lung_mask(np.where(BOTH, labelled(1, 2, np.int16), -1)), BOTH)


@pytest.mark.parametrize("quality", [60, 80, 95])
@pytest.mark.parametrize(("low", "lung"), [(30, 200), (60, 250), (100, 200), (10, 20), (0, 255)])
def test_jpeg_makes_values_below_a_grey_background(tmp_path, low, lung, quality):
    Image.fromarray(np.where(BOTH, lung, low).astype(np.uint8)).save(tmp_path / "a.jpg", quality=quality)
    assert (read_mask(tmp_path / "a.jpg") == BOTH).mean() > 0.98


def test_a_mask_of_one_value_is_empty_or_full():
    assert not lung_mask(np.zeros((4, 5))).any() and lung_mask(np.full((4, 5), 7)).all()
    assert not lung_mask(np.full((4, 5), np.nan)).any() and not lung_mask(np.full((4, 5), -3)).any()
    with pytest.raises(ValueError, match=r"holds only 0 and values that are not numbers \(NaN\)\. Save the lungs as 1"):
        lung_mask(np.where(BOTH, np.nan, 0))
    assert np.array_equal(lung_mask(np.where(BOTH, 1, np.nan)), BOTH)


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint8, 177), (np.uint16, 65_535), (np.float32, 7.0)])
def test_in_a_soft_mask_lung_is_from_half_of_the_largest(kind, top):
    for sigma in (3, 15):
        soft = (ndimage.gaussian_filter(BOTH.astype(float), sigma) * top).astype(kind)
        np.testing.assert_array_equal(lung_mask(soft), soft > soft.max() / 2)


def test_a_probability_counts_as_it_is():
    soft = (ndimage.gaussian_filter(BOTH.astype(float), 5) * 0.9).astype(np.float32)
    np.testing.assert_array_equal(lung_mask(soft), soft >= 0.5)
    assert not lung_mask(soft / 2).any()


def test_values_that_are_not_numbers_are_not_lung():
    values = labelled(1, 2, np.float32)
    values[:10], values[-10:] = np.nan, np.inf
    np.testing.assert_array_equal(lung_mask(values), BOTH)


def test_chosen_labels_are_lung(tmp_path):
    path = saved(tmp_path / "a.png", labelled(10, 80))
    np.testing.assert_array_equal(read_mask(path, (10, 11)), LEFT)
    np.testing.assert_array_equal(lung_mask(labelled(10, 80, np.float32), (80,)), RIGHT)
    assert not read_mask(path, (3,)).any()


def lobes(*labels):
    """Return a map of horizontal stripes of lung, with these labels."""
    return np.where(BOTH, np.take([*labels], (Y * len(labels)).astype(int)), 0).astype(np.uint8)


def test_lobes_alone_are_lungs():
    for labels in ((1, 2, 3, 4, 5), (10, 11, 12, 13, 14), (50, 100, 150, 200, 250), (10, 20, 30, 40, 50)):
        np.testing.assert_array_equal(lung_mask(lobes(*labels)), BOTH)


def test_maps_of_the_whole_body_are_refused_and_say_how_to_choose():
    organs = np.where(BOTH, lobes(10, 11, 12, 13, 14), np.where(Y > 0.9, 80, np.where(X < 0.05, 92, 0)))
    with pytest.raises(ValueError, match=r"a\.png: has the labels 10 to 14, 80, 92, .*mask_values=10,11,12,13,14\.$"):
        lung_mask(organs, name="a.png")
    stripes = (Y * 40).astype(np.uint8)
    with pytest.raises(ValueError, match=r"has the labels 1 to 39, .*mask_values=10,11,12,13,14\.$"):
        lung_mask(stripes)


def test_labels_of_flesh_are_distinguished_from_labels_of_air():
    hu = np.where(BOTH, -800.0, 40.0)
    heart = np.where(np.hypot(X - 0.5, Y - 0.5) < 0.1, 7, 0)
    np.testing.assert_array_equal(lung_mask(labelled(3, 4), hu=hu), BOTH)
    with pytest.raises(ValueError, match=r"has the labels 3 to 4, 7, .* such as mask_values=3,4\."):
        lung_mask(np.where(BOTH, labelled(3, 4), heart), hu=hu)


@pytest.mark.parametrize("labels", [(1, 1), (1, 2), (3, 4)])
@pytest.mark.parametrize(("kind", "stray"), [(np.uint8, 255), (np.uint16, 65_535), (np.float32, 9_999.0)])
def test_a_stray_value_takes_no_lung_away(labels, kind, stray):
    mask = labelled(*labels, kind)
    mask[4, 4:9] = mask[2:9, 6] = stray
    assert dice(lung_mask(mask)) > 0.999


def test_a_line_around_lungs_takes_no_lung_away():
    mask = BOTH.astype(np.uint8)
    mask[ndimage.binary_dilation(BOTH) & ~BOTH] = 255  # as in data sets in which 255 means undecided
    np.testing.assert_array_equal(lung_mask(mask), ndimage.binary_dilation(BOTH))


@pytest.mark.parametrize("kind", [np.int8, np.float32])
def test_a_mask_without_a_value_above_0_is_empty_or_refused(kind):
    assert not lung_mask(np.zeros((9, 9), kind)).any()
    with pytest.raises(ValueError, match="the mask: has values below 0 and none above"):
        lung_mask(-BOTH.astype(kind))  # 255 in 8 bits with a sign


def test_areas_of_1_beside_255_are_noise_if_they_are_large():
    blocks = np.kron(np.arange(BOTH.size // 64).reshape(BOTH.shape[0] // 8, -1) % 3, np.ones((8, 8), int))
    np.testing.assert_array_equal(lung_mask(np.where(BOTH, 255 - blocks, blocks).astype(np.uint8)), BOTH)


COLOURS = {  # of the background and the lungs, as Matplotlib's `imsave` draws a mask
    "jet": ((0, 0, 127), (127, 0, 0)), "bwr": ((0, 0, 255), (255, 0, 0)), "winter": ((0, 0, 255), (0, 255, 127)),
    "spring": ((255, 0, 255), (255, 255, 0)), "autumn": ((255, 0, 0), (255, 255, 0)), "brg": ((0, 0, 255), (0, 255, 0)),
    "hsv": ((255, 0, 0), (255, 0, 23)), "cool": ((0, 255, 255), (255, 0, 255)), "cyan": ((0, 255, 0), (0, 255, 255)),
}  # fmt: skip


@pytest.mark.parametrize("colours", COLOURS.values(), ids=COLOURS)
def test_colours_of_one_strength_are_distinguished_from_the_outline(tmp_path, colours):
    background, lung = colours
    lungs = np.roll(BOTH, -30, axis=1)  # which touch the outline, as in a slice that was cropped
    drawing = np.where(lungs[..., None], lung, background).astype(np.uint8)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", drawing)), lungs)
    assert read_mask(saved(tmp_path / "b.png", np.full_like(drawing, background))).all()  # of one colour: all is drawn
    drawing[:, :120] = lung
    with pytest.raises(ValueError, match=r"c\.png: has several equally strong colours at its outline"):
        read_mask(saved(tmp_path / "c.png", drawing))


def test_red_on_white_may_have_a_black_frame(tmp_path):
    drawing = np.where(BOTH[..., None], (255, 0, 0), (255, 255, 255)).astype(np.uint8)
    drawing[:3] = drawing[-3:] = 0
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", drawing)), BOTH)


def test_white_lungs_with_a_red_mark_are_not_drawn_on_white(tmp_path):
    lungs = np.hypot((X - 0.5) / 0.45, (Y - 0.5) / 0.45) < 1  # more than half of a slice that was cropped
    drawing = np.where(lungs[..., None], 255, 0).repeat(3, axis=-1).astype(np.uint8)
    drawing[2:6, 2:6] = 255, 0, 0
    assert read_mask(saved(tmp_path / "a.png", drawing))[lungs].all()
