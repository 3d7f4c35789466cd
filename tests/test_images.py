import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import make_pipe
from lungnb.formats import images
from lungnb.formats.images import peculiarity, read_image, read_mask, read_picture, write_png
from lungnb.formats.nifti import read_nifti
from lungnb.formats.pixels import fit_square, hounsfield_to_grey, resample_mm, shrink, to_grey, unfit_square

pydicom = pytest.importorskip("pydicom")

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
    grey = hounsfield_to_grey(np.array([-1000.0, -160.0, -159.0, 0.0, 349.0, 350.0]), (-160, 350))
    np.testing.assert_array_equal(grey, [0, 0, 0, 80, 254, 255])  # half a grey value is 1 HU, rounded to even
    with pytest.raises(ValueError, match="window must rise"):
        hounsfield_to_grey(np.full(1, -800.0), (400, -1000))


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
def test_what_is_rescaled_already_is_no_hounsfield_units(array, found):
    for read in (hounsfield_to_grey, to_grey):
        with pytest.raises(
            ValueError, match=f"slice 7: not in Hounsfield units: its values run from {found}, .* leave wi"
        ):
            read(array, (-125, 275), "slice 7")


def test_files_that_a_window_is_not_for_are_named(tmp_path):
    hounsfield = np.array([[-2048, -1000, -125], [76, 275, 3071]], np.int32)
    path = saved(tmp_path / "a.tif", hounsfield)
    np.testing.assert_array_equal(read_image(path, (-125, 275)), [[0, 0, 0], [128, 255, 255]])
    for name, array in {"b.png": GREY, "c.jpg": COLOUR, "d.tif": GREY.astype(np.float32), "e.png": MASK}.items():
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name}: not in Hounsfield units")):
            read_image(saved(tmp_path / name, array), (-125, 275))


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
def test_spacings_that_are_none_are_refused(spacing, new):
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
    Image.fromarray(GREY).save(tmp_path / "a.webp")
    with pytest.raises(ValueError, match=r"a\.webp: not an image format this reads \(\.png, \.jpg"):
        read_image(tmp_path / "a.webp")
    (tmp_path / "a.webp").rename(tmp_path / "b.png")  # its content counts, not its name
    with pytest.raises(ValueError, match=r"b\.png: cannot be read"):
        read_image(tmp_path / "b.png")


def test_too_many_pixels_are_refused_and_the_sentence_names_the_setting(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", GREY)
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.0001")
    assert read_image(path).shape == GREY.shape
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.00001")
    with pytest.raises(ValueError, match=r"a\.png: .* pixels would need .* the limit is 1e-05 GB.*LUNGNB_MAX_GB=1"):
        read_image(path)


@pytest.mark.parametrize("value", ["many", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_of_gigabytes_is_said(tmp_path, monkeypatch, value):
    monkeypatch.setenv("LUNGNB_MAX_GB", value)
    with pytest.raises(ValueError, match="LUNGNB_MAX_GB must be a positive number of GB"):
        read_image(saved(tmp_path / "a.png", GREY))


@pytest.mark.parametrize("side", [10_001, 15_000])  # Pillow itself refuses the second
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"would need about|more pixels than Pillow opens"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("shape", [(1, 101), (500_000, 2)])
def test_a_picture_too_thin_for_a_chest_is_refused(tmp_path, shape):
    assert read_image(saved(tmp_path / "wide.png", np.zeros((2, 200), np.uint8))).shape == (2, 200)
    with pytest.raises(ValueError, match="more than 100 times the other"):
        read_image(saved(tmp_path / "a.png", np.zeros(shape, np.uint8)))


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    content = saved(tmp_path / "a.jpg", GREY, progressive=True).read_bytes()
    last = content.rfind(b"\xff\xda")
    assert read_image(tmp_path / "a.jpg").shape == GREY.shape
    (tmp_path / "a.jpg").write_bytes(content[:-2] + content[last:-2] * 100 + content[-2:])
    with pytest.raises(ValueError, match=r"a\.jpg: has more than 100 scans"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("height, is_refused", [(50, False), (20_000, True)])
def test_a_large_bmp_of_run_lengths_is_refused(tmp_path, height, is_refused):
    content = bytearray(saved(tmp_path / "a.bmp", np.zeros((height, 1000), np.uint8)).read_bytes()[:1078])
    content[30:34] = struct.pack("<I", 1)  # BI_RLE8
    (tmp_path / "a.bmp").write_bytes(bytes(content) + (b"\xfa\x80" * 4 + b"\0\0") * height + b"\0\1")
    if is_refused:
        with pytest.raises(ValueError, match=r"a\.bmp: is a run-length encoded BMP of more than 16 million pixels"):
            read_image(tmp_path / "a.bmp")
    else:
        assert read_image(tmp_path / "a.bmp").shape == (height, 1000)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".dcm", ".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "proc"])
def test_only_regular_files_are_opened(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    if kind == "pipe":
        make_pipe(path)
    elif not Path("/dev/zero").exists() or not Path("/proc/self/maps").exists():
        pytest.skip("this system has no such devices")
    else:
        path.symlink_to({"device": "/dev/zero", "proc": "/proc/self/maps"}[kind])
    with pytest.raises(ValueError, match=r"a\.[\w.]+: (not a file|the file is empty)"):
        read_nifti(path) if ".nii" in suffix else read_image(path)


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


def test_what_a_library_says_of_a_file_is_dropped_and_kept_in_the_log_as_a_place(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_LOG", str(tmp_path / "log.txt"))

    def fail(*_, **__):
        warnings.warn("DOE^JANE", stacklevel=1)
        raise KeyError("DOE^JANE")

    monkeypatch.setattr(images, "to_grey", fail)
    with warnings.catch_warnings(record=True) as shown, pytest.raises(ValueError, match="KeyError") as raised:
        read_image(saved(tmp_path / "a.png", GREY))
    log = (tmp_path / "log.txt").read_text()
    assert "KeyError" in log and " in fail" in log
    assert "DOE" not in log + str(raised.value) + "".join(str(warning.message) for warning in shown)
    assert raised.value.__suppress_context__  # so that a notebook does not show it either


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


def voi_table(first, entries, bits):
    table = pydicom.dataset.Dataset()
    table.LUTDescriptor = [len(entries), first, bits]
    table.add_new("LUTData", "US", list(entries))
    return [table]


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


FILM = np.array([[0, 1000, 1500, 2000, 4095]])


@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"WindowCenter": 1500.5, "WindowWidth": 1001}, [0, 0, 128, 255, 255]),
        ({"WindowCenter": [1500.5, 9], "WindowWidth": [1001, 9]}, [0, 0, 128, 255, 255]),  # the first of two views
        (
            {"WindowCenter": 3000.5, "WindowWidth": 4001},
            [0, 0, 32, 64, 197],
        ),  # white is the window's end, not the film's
        (
            {"WindowCenter": 2000.5, "WindowWidth": 2001, "RescaleSlope": 2, "RescaleIntercept": -1000},
            [0, 0, 128, 255, 255],
        ),
        ({"WindowCenter": 1500, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}, [1, 30, 128, 225, 255]),
        ({"VOILUTSequence": ("table", 1000, range(0, 1001), 10)}, [0, 0, 125, 249, 249]),
        ({"VOILUTSequence": ("table", 0, [n // 16 for n in range(4096)], 8)}, [0, 62, 93, 125, 255]),
    ],
)
def test_dicom_film_is_shown_as_its_own_window_or_table_says(tmp_path, tags, expected, interpretation):
    if "VOILUTSequence" in tags:
        tags = {"VOILUTSequence": voi_table(*tags["VOILUTSequence"][1:])}
    path = dicom(
        tmp_path / "a.dcm", FILM, "DX", PhotometricInterpretation=interpretation, BitsStored=12, HighBit=11, **tags
    )
    shown = read_image(path)[0].astype(int)
    np.testing.assert_allclose(shown if interpretation == "MONOCHROME2" else 255 - shown, expected, atol=1)


def test_a_window_is_for_dicom_ct_and_refuses_film(tmp_path):
    pixels = np.array([[24, 899, 1099, 1299]])  # -1000, -125, 75 and 275 HU
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 9}
    path = dicom(tmp_path / "a.dcm", pixels, "CT", PhotometricInterpretation="MONOCHROME1", **tags)
    np.testing.assert_array_equal(read_image(path, (-125, 275)), [[0, 0, 128, 255]])
    with pytest.raises(ValueError, match=r"b\.dcm: not in Hounsfield units: its values run from 0 to 1,"):
        read_image(dicom(tmp_path / "b.dcm", pixels, "DX"), (-125, 275))
    with pytest.raises(ValueError, match=r"c\.dcm: not in Hounsfield units"):  # CT that does not say how it is scaled
        read_image(dicom(tmp_path / "c.dcm", pixels, "CT"), (-125, 275))


def test_dicom_without_a_suffix_is_known_by_its_content(tmp_path):
    path = dicom(tmp_path / "IM000001", FILM, "DX")
    assert read_image(path).shape == FILM.shape
    path.rename(tmp_path / "DICOMDIR")
    with pytest.raises(ValueError, match="not an image format"):
        read_image(tmp_path / "DICOMDIR")


def test_the_first_of_several_dicom_frames_is_read(tmp_path):
    frames = np.stack([GREY, GREY[::-1]]).reshape(40, 30)
    path = dicom(tmp_path / "a.dcm", frames, "XA", Rows=20, NumberOfFrames=2)
    np.testing.assert_allclose(read_image(path).astype(int), GREY, atol=2)
    assert peculiarity(path) == "2 frames, of which the first is read"


def test_a_dicom_of_too_many_pixels_is_refused_by_its_header(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", Rows=20_000, Columns=20_000)
    with pytest.raises(ValueError, match=r"a\.dcm: 20,000 x 20,000 pixels would need about"):
        read_image(path)


def with_transfer_syntax(path, syntax, data):
    """Rewrite a DICOM file with data in another transfer syntax behind its meta information."""
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = syntax
    length = 132 + 12 + file.file_meta.FileMetaInformationGroupLength
    file.save_as(path)
    content = path.read_bytes()
    length = 132 + 12 + struct.unpack("<I", content[140:144])[0]
    path.write_bytes(content[:length] + data)
    return path


def test_a_deflated_dicom_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", FILM, "DX")
    content = path.read_bytes()
    data = content[132 + 12 + struct.unpack("<I", content[140:144])[0] :]
    shown = read_image(path)
    deflated = pydicom.uid.DeflatedExplicitVRLittleEndian
    small, large = (zlib.compressobj(9, zlib.DEFLATED, -15) for _ in range(2))
    with_transfer_syntax(path, deflated, small.compress(data) + small.flush())
    np.testing.assert_array_equal(read_image(path), shown)
    padding = struct.pack("<HH2sHI", 0x7FDF, 0x1010, b"OB", 0, 2**29) + b"\0" * 2**29
    with_transfer_syntax(path, deflated, large.compress(data) + large.compress(padding) + large.flush())
    assert path.stat().st_size < 10**6
    with pytest.raises(ValueError, match=r"a\.dcm: .* MB or more of data would need about .* LUNGNB_MAX_GB=2"):
        read_image(path)


def test_a_dicom_of_many_items_is_refused(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX")
    content = path.read_bytes()
    place = content.find(struct.pack("<HH", 0x7FE0, 0x10))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    sequence = struct.pack("<HH2sHI", 0x40, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(content[:place] + sequence + 1000 * item + end + content[place:])
    assert read_image(path).shape == FILM.shape
    path.write_bytes(content[:place] + sequence + 100_001 * item + end + content[place:])
    with pytest.raises(ValueError, match=r"a\.dcm: has more than 100,000 items"):
        read_image(path)


@pytest.mark.parametrize("spacing", [["inf", "inf"], ["1e200", "1e200"], ["-1", "-1"], ["0", "0"], ["1", "1", "1"]])
def test_a_size_of_a_pixel_that_makes_no_sense_is_not_believed(tmp_path, spacing):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", PixelSpacing=["0.125", "0.125"])
    assert read_picture(path).pixel_mm == (0.125, 0.125)
    text, other = b"0.125\\0.125 ", "\\".join(spacing).encode()
    content = path.read_bytes()
    assert text in content
    length = (len(other) + 1) // 2 * 2
    old, new = struct.pack("<H", len(text)) + text, struct.pack("<H", length) + other.ljust(length)
    path.write_bytes(content.replace(old, new))
    assert read_picture(path).pixel_mm is None


def test_a_compressed_stream_larger_than_the_header_says_is_refused(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.zeros((64, 64), np.uint8), "DX")
    for form, syntax in (("JPEG", "JPEGBaseline8Bit"), ("JPEG2000", "JPEG2000Lossless")):
        held = io.BytesIO()
        Image.fromarray(np.zeros((65, 64), np.uint8)).save(held, form)
        file = pydicom.dcmread(path)
        file.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        file.PixelData = pydicom.encaps.encapsulate([held.getvalue()])
        file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
        file.save_as(tmp_path / f"{form}.dcm")
        with pytest.raises(ValueError, match="its compressed picture is 64 x 65 pixels and its header says 64 x 64"):
            read_image(tmp_path / f"{form}.dcm")


def real_dicom_files():
    return sorted(path for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if path.is_file())


@pytest.mark.filterwarnings("ignore")  # pydicom's, on the faults these files were chosen for
def test_real_dicom_files_are_read_or_named():
    files = real_dicom_files()
    read = {}
    for path in files:
        try:
            read[path.name] = read_image(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
    assert len(files) > 100
    assert len(read) > 60
    assert all(image.ndim == 2 and image.dtype == np.uint8 for image in read.values())
    assert {"CT_small.dcm", "MR_small_RLE.dcm", "rtdose.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"} <= set(
        read
    )


@pytest.mark.filterwarnings("ignore")
def test_real_dicom_files_look_as_they_should():
    files = {path.name: path for path in real_dicom_files()}
    same = [
        read_image(files[f"MR_small{kind}.dcm"]) for kind in ("", "_RLE", "_bigendian", "_implicit", "_jp2klossless")
    ]
    assert all(np.array_equal(image, same[0]) for image in same)
    ct = read_image(files["CT_small.dcm"], (-125, 275))
    assert (ct == 0).mean() > 0.2 and (ct == 255).mean() > 0.01
    scan = read_image(files["examples_palette.dcm"])
    assert set(np.unique(scan[:5])) == {58}  # a dark bar, whose colour has the number 244
    # A film of low values white, which its window does not fill, and so neither black nor white.
    film = read_image(files["6154"])
    assert 80 <= film.min() and film.max() <= 131


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


def test_negative_values_alone_make_no_hounsfield_units(tmp_path):
    scores = (GREY.astype(np.float32) - 128) / 60
    np.testing.assert_allclose(to_grey(scores).astype(int), GREY, atol=1)
    np.testing.assert_allclose(read_image(saved(tmp_path / "a.tif", scores)).astype(int), GREY, atol=1)


def test_a_deep_tiff_may_say_that_white_is_zero(tmp_path):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    deep.save(tmp_path / "a.tif")
    deep.save(tmp_path / "b.tif", tiffinfo={262: 0})
    shown = read_image(tmp_path / "a.tif").astype(int)
    with Image.open(tmp_path / "b.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_allclose(read_image(tmp_path / "b.tif"), 255 - shown, atol=1)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_table_may_be_of_other_bits_than_it_states(tmp_path, bits):
    table = voi_table(0, range(4096), bits)  # of 12
    path = dicom(tmp_path / "a.dcm", FILM, "DX", VOILUTSequence=table, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 62, 93, 125, 255], atol=1)


def test_a_window_of_no_width_is_none(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", WindowCenter=100, WindowWidth=0)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 62, 93, 125, 255], atol=1)


def test_padding_around_a_film_does_not_darken_it(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.array([[0, 1000, 2000, 65535]]), "DX", PixelPaddingValue=65535)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 128, 255, 255], atol=1)


def test_frames_of_ct_are_no_picture(tmp_path):
    frames = np.zeros((40, 30))
    path = dicom(tmp_path / "a.dcm", frames, "CT", Rows=20, NumberOfFrames=2, RescaleSlope=1, RescaleIntercept=-1024)
    with pytest.raises(ValueError, match=r"a\.dcm: has several frames; export the series"):
        read_image(path)


def test_a_dicom_file_without_its_preamble_is_read(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX")
    content = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    (tmp_path / "b.dcm").write_bytes(content[meta:])
    np.testing.assert_array_equal(read_image(tmp_path / "b.dcm"), read_image(path))


def test_a_jpeg_filled_up_between_its_segments_is_refused(tmp_path):
    content = saved(tmp_path / "a.jpg", GREY).read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:2] + 9 * b"\xff" + content[2:])
    assert read_image(tmp_path / "a.jpg").shape == GREY.shape
    (tmp_path / "a.jpg").write_bytes(content[:2] + 100_000 * b"\xff" + content[2:])
    with pytest.raises(ValueError, match=r"a\.jpg: has 10,000 bytes or more between its segments"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_of_many_segments_is_refused(tmp_path):
    content, comment = saved(tmp_path / "a.jpg", GREY).read_bytes(), b"\xff\xfe\x00\x03x"
    (tmp_path / "a.jpg").write_bytes(content[:2] + 900 * comment + content[2:])
    assert read_image(tmp_path / "a.jpg").shape == GREY.shape
    (tmp_path / "a.jpg").write_bytes(content[:2] + 1100 * comment + content[2:])
    with pytest.raises(ValueError, match=r"a\.jpg: has more than 1,000 segments"):
        read_image(tmp_path / "a.jpg")


def fresh_jpeg(tmp_path, **options):
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    return saved(tmp_path / "a.jpg", smooth, **options)


def test_what_follows_a_jpeg_is_not_looked_at(tmp_path):
    """As the video that phones put behind a photo."""
    path = fresh_jpeg(tmp_path)
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"\xff\xda" * 1000)
    np.testing.assert_array_equal(read_image(path), expected)


def test_a_tile_far_larger_than_its_tiff_is_refused(tmp_path):
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32768, 323: 50000, 324: 8, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    (tmp_path / "a.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    )
    with pytest.raises(ValueError, match=r"a\.tif: has tiles of 32,768 x 50,000 pixels"):
        read_image(tmp_path / "a.tif")


def test_a_file_far_larger_than_the_memory_limit_is_not_opened(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**11)  # a hole, which takes no room
    with pytest.raises(ValueError, match=r"a\.png: a file of 100\.0 GB would need"):
        read_image(tmp_path / "a.png")


def test_a_fake_size_in_a_comment_hides_no_jpeg(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.zeros((64, 64), np.uint8), "DX")
    held = io.BytesIO()
    Image.fromarray(np.zeros((65, 64), np.uint8)).save(held, "JPEG")
    fake = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, 64, 64, 0, 0)
    comment = b"\xff\xfe" + struct.pack(">H", len(fake) + 2) + fake
    content = held.getvalue()
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    file.PixelData = pydicom.encaps.encapsulate([content[:2] + comment + content[2:]])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    file.save_as(path)
    with pytest.raises(ValueError, match="its compressed picture is 64 x 65 pixels"):
        read_image(path)


@pytest.mark.parametrize("group", [0x0002, 0x0041])
def test_a_dicom_of_many_elements_is_refused(tmp_path, group):
    path = dicom(tmp_path / "a.dcm", FILM, "DX")
    content = path.read_bytes()
    tag = b"\x08\x00" if group == 2 else struct.pack("<HH", 0x7FE0, 0x10)
    place = content.find(tag, 132 + 12 + struct.unpack("<I", content[140:144])[0])
    element = struct.pack("<HH2sH", group, 0x1001, b"LO", 0)
    path.write_bytes(content[:place] + 1000 * element + content[place:])
    assert read_image(path).shape == FILM.shape
    path.write_bytes(content[:place] + 100_001 * element + content[place:])
    with pytest.raises(ValueError, match=r"a\.dcm: has more than 100,000 elements"):
        read_image(path)


def test_a_palette_in_segments_is_not_unfolded(tmp_path):
    """Six bytes of it stand for 65,535 entries."""
    tags = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [0, 0, 16]
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = struct.pack("<3H", 1, 65535, 65535) * 3000
    path = dicom(tmp_path / "a.dcm", FILM, "DX", PhotometricInterpretation="PALETTE COLOR", **tags)
    with pytest.raises(ValueError, match=r"a\.dcm: cannot be read as a DICOM image"):
        read_image(path)
