import numpy as np
import pytest
from PIL import Image

from lungnb import images
from lungnb.images import (
    fit_square,
    hounsfield_to_grey,
    read_image,
    read_mask,
    shrink,
    to_grey,
    unfit_square,
    write_png,
)

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), np.uint8)
LUMINANCE = np.asarray(Image.fromarray(COLOUR).convert("L"))
MASK = np.zeros((20, 30), bool)
MASK[3:15, 4:9] = True


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


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


def test_the_window_ends_are_black_and_white_and_it_must_rise():
    grey = hounsfield_to_grey(np.array([-160.0, -159.0, 0.0, 349.0, 350.0]), (-160, 350))
    np.testing.assert_array_equal(grey, [0, 0, 80, 254, 255])  # half a grey value is 1 HU, rounded to even
    with pytest.raises(ValueError, match="window must rise"):
        hounsfield_to_grey(np.zeros(1), (400, -1000))


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


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 4)), np.array([[np.nan, 1.0]])])
def test_arrays_that_are_no_image_are_refused(array):
    with pytest.raises(ValueError, match="the array: "):
        to_grey(array)


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
def test_what_is_no_whole_image_is_named_in_one_sentence(tmp_path, suffix, content):
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
    Image.fromarray(GREY).save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"a\.gif: not an image format this reads \(\.png, \.jpg"):
        read_image(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "b.png")  # its content counts, not its name
    with pytest.raises(ValueError, match=r"b\.png: cannot be read"):
        read_image(tmp_path / "b.png")


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", GREY)
    monkeypatch.setattr(images, "MAX_PIXELS", GREY.size)
    assert read_image(path).shape == GREY.shape
    monkeypatch.setattr(images, "MAX_PIXELS", GREY.size - 1)
    with pytest.raises(ValueError, match=r"a\.png: more than 599 pixels; scale it down first\."):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest undoes the module's own filter
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path):
    side = 1 + int(images.MAX_PIXELS**0.5)
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="more than 100,000,000 pixels"):
        read_image(tmp_path / "a.png")


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


def dicom(path, pixels, modality, **tags):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.SamplesPerPixel, file.PhotometricInterpretation = modality, 1, "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def test_dicom_ct_comes_in_hounsfield_units(tmp_path):
    pixels = np.array([[0, 24, 724], [1424, 2000, 23]])
    path = dicom(tmp_path / "a.dcm", pixels, "CT", RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(read_image(path), [[0, 0, 128], [255, 255, 0]])


@pytest.mark.parametrize(
    ("interpretation", "expected"), [("MONOCHROME2", [[0, 128, 255]]), ("MONOCHROME1", [[255, 128, 0]])]
)
def test_dicom_film_is_shown_with_bone_white(tmp_path, interpretation, expected):
    path = dicom(tmp_path / "a.dcm", np.array([[100, 2100, 4100]]), "DX", PhotometricInterpretation=interpretation)
    np.testing.assert_allclose(read_image(path), expected, atol=1)
