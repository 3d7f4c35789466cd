import re
import struct

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import COLOUR, GREY, MASK, RNG, saved
from lungnb.formats.images import peculiarity, read_image, read_mask, read_picture, write_png

LUMINANCE = np.asarray(Image.fromarray(COLOUR).convert("L"))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff", "A.PNG", "a.BMP"])
def test_eight_bit_grey_comes_as_it_is(tmp_path, name):
    found = read_image(saved(tmp_path / name, GREY))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, GREY)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg"])
def test_jpeg_comes_nearly_as_it_is(tmp_path, name):
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    found = read_image(saved(tmp_path / name, smooth, quality=95))
    assert np.abs(found.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colours_become_luminance(tmp_path, name):
    np.testing.assert_array_equal(read_image(saved(tmp_path / name, COLOUR)), LUMINANCE)


def test_transparency_is_dropped(tmp_path):
    alpha = RNG.integers(0, 256, (20, 30, 1), np.uint8)
    found = read_image(saved(tmp_path / "a.png", np.dstack([COLOUR, alpha])))
    np.testing.assert_array_equal(found, LUMINANCE)


def test_a_palette_is_looked_up(tmp_path):
    picture = Image.fromarray((GREY // 64).astype(np.uint8), "L")
    picture.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90, 0, 0, 0])  # indices do not rise with grey
    picture.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.array([200, 10, 90, 0])[GREY // 64])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_one_bit_is_black_and_white(tmp_path, name):
    path = saved(tmp_path / name, MASK)
    assert Image.open(path).mode == "1"
    np.testing.assert_array_equal(read_image(path), np.where(MASK, 255, 0))
    np.testing.assert_array_equal(read_mask(path), MASK)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_is_scaled_from_its_own_range(tmp_path, name):
    deep = np.array([[1000, 2000], [3000, 5000]], np.uint16)
    np.testing.assert_array_equal(read_image(saved(tmp_path / name, deep)), np.array([[0, 64], [128, 255]]))
    flat = np.full((4, 4), 4095, np.uint16)
    assert not read_image(saved(tmp_path / name, flat)).any()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_hounsfield_units_are_shown_through_the_window(tmp_path, kind):
    hounsfield = np.array([[-31000, -2000, -1000, -999], [-300, 399, 400, 3071]], kind)
    path = saved(tmp_path / "a.tif", hounsfield)
    np.testing.assert_array_equal(read_image(path), [[0, 0, 0, 0], [128, 255, 255, 255]])
    np.testing.assert_array_equal(read_image(path, window=(-300, 210)), [[0, 0, 0, 0], [0, 255, 255, 255]])


def test_files_that_a_window_is_not_for_are_named(tmp_path):
    hounsfield = np.array([[-2048, -1000, -125], [76, 275, 3071]], np.int32)
    path = saved(tmp_path / "a.tif", hounsfield)
    np.testing.assert_array_equal(read_image(path, (-125, 275)), [[0, 0, 0], [128, 255, 255]])
    for name, array in {"b.png": GREY, "c.jpg": COLOUR, "d.tif": GREY.astype(np.float32), "e.png": MASK}.items():
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name}: not in Hounsfield units")):
            read_image(saved(tmp_path / name, array), (-125, 275))


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_rotation_is_undone(tmp_path, orientation, turn, suffix):
    picture = np.zeros((16, 32), np.uint8)
    picture[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a{suffix}", picture, exif=exif)
    np.testing.assert_array_equal(read_image(path) > 127, np.rot90(picture, turn) > 127)


@pytest.mark.parametrize("value", [1, 128, 255])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_masks_of_any_height_mean_the_same(tmp_path, suffix, value):
    np.testing.assert_array_equal(read_mask(saved(tmp_path / f"a{suffix}", MASK * np.uint8(value))), MASK)


def test_masks_of_colour_sixteen_bit_and_jpeg(tmp_path):
    white = np.repeat(MASK[:, :, None] * np.uint8(255), 3, axis=2)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", white)), MASK)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "b.png", MASK * np.uint16(65535))), MASK)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "c.jpg", MASK * np.uint8(255), quality=90)), MASK)


def test_an_empty_mask_is_empty(tmp_path):
    found = read_mask(saved(tmp_path / "a.png", np.zeros((4, 5), np.uint8)))
    assert found.dtype == bool
    assert found.shape == (4, 5)
    assert not found.any()


def test_chosen_grey_values_are_the_lung(tmp_path):
    organs = np.array([[0, 85, 170, 255]], np.uint8)
    path = saved(tmp_path / "a.png", organs)
    np.testing.assert_array_equal(read_mask(path, (255,)), [[False, False, False, True]])
    np.testing.assert_array_equal(read_mask(path, (85, 255)), [[False, True, False, True]])


@pytest.mark.parametrize("array", [GREY, COLOUR, np.dstack([COLOUR, GREY])])
def test_png_gives_back_what_was_written(tmp_path, array):
    write_png(tmp_path / "new" / "a.png", array)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), array)


def test_bool_is_written_as_0_and_255(tmp_path):
    write_png(tmp_path / "a.png", MASK)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.where(MASK, 255, 0))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".dcm"])
@pytest.mark.parametrize("content", [b"", b"this is a text\n" * 20, "truncated"])
def test_incomplete_images_are_named_in_one_sentence(tmp_path, suffix, content):
    if suffix == ".dcm":
        pytest.importorskip("pydicom")
    path = tmp_path / f"a{suffix}"
    if content == "truncated":
        whole = saved(tmp_path / f"whole{suffix if suffix != '.dcm' else '.png'}", RNG.integers(0, 256, (90, 90), "u1"))
        content = whole.read_bytes()[: whole.stat().st_size // 2]
    path.write_bytes(content)
    for read in (read_image, read_mask):
        with pytest.raises(ValueError) as raised:
            read(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_missing_files_and_other_formats_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.png: there is no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"gone: there is no such file"):
        read_image(tmp_path / "gone")
    Image.fromarray(GREY).save(tmp_path / "a.webp")
    with pytest.raises(ValueError, match=r"a\.webp: not an image format this reads \(\.png, \.jpg"):
        read_image(tmp_path / "a.webp")
    (tmp_path / "a.webp").rename(tmp_path / "b.png")  # its content counts, not its name
    with pytest.raises(
        ValueError, match=r"b\.png: holds a WebP picture, so it is not named after its format\. Convert it to PNG\."
    ):
        read_image(tmp_path / "b.png")


@pytest.mark.parametrize(("height", "is_refused"), [(50, False), (20_000, True)])
def test_a_large_bmp_of_run_lengths_is_refused(tmp_path, height, is_refused):
    content = bytearray(saved(tmp_path / "a.bmp", np.zeros((height, 1000), np.uint8)).read_bytes()[:1078])
    content[30:34] = struct.pack("<I", 1)  # BI_RLE8
    (tmp_path / "a.bmp").write_bytes(bytes(content) + (b"\xfa\x80" * 4 + b"\0\0") * height + b"\0\1")
    if is_refused:
        with pytest.raises(ValueError, match=r"a\.bmp: is a run-length encoded BMP of more than 16 million pixels"):
            read_image(tmp_path / "a.bmp")
    else:
        assert read_image(tmp_path / "a.bmp").shape == (height, 1000)


BROKEN_SECOND_PAGES = {
    "of nothing": struct.pack("<HI", 0, 0),
    "cut off": b"\xff\xff\x01",
    "missing": b"",
    "of text": struct.pack("<HHHI4sHHI4sI", 2, 256, 2, 4, b"abc", 257, 2, 4, b"abc", 0),
    "of no pixels": struct.pack("<HHHIIHHIII", 2, 256, 4, 1, 0, 257, 4, 1, 0, 0),
}


@pytest.mark.parametrize("second", BROKEN_SECOND_PAGES.values(), ids=BROKEN_SECOND_PAGES)
def test_a_broken_second_page_leaves_the_first_alone(tmp_path, second):
    content = bytearray(saved(tmp_path / "a.tif", GREY).read_bytes())
    directory = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[directory : directory + 2])[0]
    end = directory + 2 + 12 * entries
    content[end : end + 4] = struct.pack("<I", len(content))
    (tmp_path / "a.tif").write_bytes(bytes(content) + second)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), GREY)
    assert read_picture(tmp_path / "a.tif").has_more
    assert peculiarity(tmp_path / "a.tif") == "several pages, of which the first is read"


@pytest.mark.parametrize("labels", [(1, 2), (1, 1), (3, 1), (255, 255)])
def test_every_label_of_a_mask_is_lung(tmp_path, labels):
    other = MASK[:, ::-1] & ~MASK
    for name in ("a.png", "a.gif", "a.tif"):
        path = saved(tmp_path / name, (MASK * labels[0] + other * labels[1]).astype(np.uint8))
        np.testing.assert_array_equal(read_mask(path), MASK | other)


@pytest.mark.parametrize("colour", [(0, 0, 255), (128, 0, 0), (255, 255, 0)])
def test_a_mask_may_be_of_any_colour(tmp_path, colour):
    drawing = Image.fromarray(MASK[..., None] * np.uint8(colour))
    drawing.save(tmp_path / "a.png")
    drawing.convert("P", palette=Image.Palette.ADAPTIVE, colors=2).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


def test_a_mask_may_be_drawn_by_its_opacity_alone(tmp_path):
    path = saved(tmp_path / "a.png", np.dstack([np.zeros((20, 30, 3), np.uint8), MASK * np.uint8(255)]))
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_a_deep_tiff_may_say_that_white_is_zero(tmp_path):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    deep.save(tmp_path / "a.tif")
    deep.save(tmp_path / "b.tif", tiffinfo={262: 0})
    shown = read_image(tmp_path / "a.tif").astype(int)
    with Image.open(tmp_path / "b.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_allclose(read_image(tmp_path / "b.tif"), 255 - shown, atol=1)


def test_a_tile_far_larger_than_its_tiff_is_refused(tmp_path):
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32768, 323: 50000, 324: 8, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    (tmp_path / "a.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    )
    with pytest.raises(ValueError, match=r"a\.tif: has tiles of 32,768 x 50,000 pixels"):
        read_image(tmp_path / "a.tif")


OTHER = np.roll(MASK, 15, axis=1)  # of the other lung


def drawing(background, first, second):
    """Return a drawing of both lungs in two colours."""
    picture = np.empty((*MASK.shape, len(background)), np.uint8)
    picture[:], picture[MASK], picture[OTHER] = background, first, second
    return picture


@pytest.mark.parametrize(
    ("background", "first", "second"),
    [
        ((255, 255, 255), (255, 0, 0), (255, 0, 0)),
        ((255, 255, 255), (255, 0, 0), (0, 0, 255)),
        ((255, 255, 255), (200, 30, 30), (0, 0, 139)),
        ((240, 240, 240), (0, 130, 0), (130, 0, 0)),
        ((255, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 255)),
        ((255, 255, 255, 0), (0, 160, 0, 255), (200, 0, 0, 255)),
        ((255, 255, 255, 0), (90, 30, 30, 128), (90, 30, 30, 128)),
        ((255, 255, 255, 0), (255, 255, 255, 255), (255, 255, 255, 255)),
        ((9, 9, 9, 0), (0, 0, 60, 255), (255, 0, 0, 255)),
        ((255, 0), (0, 255), (0, 255)),
    ],
)
def test_a_mask_may_be_drawn_in_colours_on_white_or_on_nothing(tmp_path, background, first, second):
    path = saved(tmp_path / "a.png", drawing(background, first, second))
    np.testing.assert_array_equal(read_mask(path), MASK | OTHER)


def test_a_transparent_margin_of_white_is_not_lung(tmp_path):
    picture = drawing((0, 0, 0, 255), (255, 255, 255, 255), (255, 255, 255, 255))
    picture[:2] = (255, 255, 255, 0)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", picture)), MASK | OTHER)


@pytest.mark.parametrize("lung", [(0, 255, 0), (255, 255, 255), (0, 0, 0), (255, 0, 255)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_mask_may_be_drawn_on_a_strong_colour(tmp_path, lung, suffix):
    shape = np.zeros((160, 160), bool)
    shape[40:120, 30:130] = True
    colours = np.where(shape[..., None], np.uint8(lung), np.uint8((0, 0, 250)))
    mask = read_mask(saved(tmp_path / f"a{suffix}", colours))
    assert (mask == shape).mean() > 0.99


def test_a_frame_is_not_the_background(tmp_path):
    shape = np.zeros((160, 160), bool)
    shape[40:120, 30:130] = True
    colours = np.where(shape[..., None], np.uint8((0, 255, 0)), np.uint8((128, 0, 0)))
    colours[:3] = colours[-3:] = colours[:, :3] = colours[:, -3:] = (255, 0, 0)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", colours))[3:-3, 3:-3], shape[3:-3, 3:-3])


def test_the_opacity_of_a_cut_out_is_its_mask(tmp_path):
    film = RNG.integers(0, 255, MASK.shape, np.uint8)
    path = saved(tmp_path / "a.png", np.dstack([film, film, film, MASK * np.uint8(255)]))
    np.testing.assert_array_equal(read_mask(path), MASK)


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_a_mask_of_several_pictures_is_refused(tmp_path, suffix):
    first, second = (Image.fromarray(part * np.uint8(255)) for part in (MASK, OTHER))
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second])
    with pytest.raises(ValueError, match=rf"a\{suffix}: holds several pictures \(pages or frames\)\. Save each"):
        read_mask(tmp_path / f"a{suffix}")


def test_a_picture_without_an_ending_is_named(tmp_path):
    for kind, suffix in (("PNG", ".png"), ("TIFF", ".tif"), ("JPEG", ".jpg"), ("GIF", ".gif")):
        Image.fromarray(GREY).save(tmp_path / "a", kind)
        with pytest.raises(ValueError, match=rf"It holds a {kind}: end its name with \{suffix}\."):
            read_image(tmp_path / "a")


@pytest.mark.parametrize("channels", [3, 4])
def test_a_black_mask_in_colours_is_empty_and_a_white_one_full(tmp_path, channels):
    for colour in (0, 255):
        pixel = [colour] * 3 + [255] * (channels - 3)
        path = saved(tmp_path / "a.png", np.tile(np.array(pixel, np.uint8), (20, 30, 1)))
        np.testing.assert_array_equal(read_mask(path), np.full((20, 30), colour > 0))


def test_a_soft_mask_that_fades_into_transparency_is_read_by_its_values(tmp_path):
    y, x = np.mgrid[:128, :128]
    noise = np.random.default_rng(0).normal(0, 4, (128, 128))
    soft = np.clip(255 / (1 + np.exp((np.hypot(y - 64, x - 64) - 36) / 5)) + noise, 0, 255).astype(np.uint8)
    pixels = np.dstack([soft] * 3 + [np.where(soft > 12, 255, 0).astype(np.uint8)])
    Image.fromarray(pixels, "RGBA").save(tmp_path / "soft.png")
    mask, true = read_mask(tmp_path / "soft.png"), soft > 127
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.97
