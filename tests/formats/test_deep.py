"""Pictures that Pillow reduces to 8 bits, misreads or refuses: their values are those of the file."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers.pictures import MASK, RNG
from hostile.png import COLOURS, chunk, header
from lungnb.formats.images import peculiarity, read_image, read_mask, read_picture
from lungnb.formats.pixels import to_grey
from lungnb.formats.rasters import read_raster

DEEP = RNG.integers(0, 4096, (20, 30), np.uint16)
OPACITY = RNG.integers(0, 65_536, DEEP.shape, np.uint16)


def write_png16(path, array, exif=b""):
    """Write a PNG of 16 bits: grey and opacity, RGB, or RGB and opacity."""
    colour = {2: "greyalpha", 3: "rgb", 4: "rgba"}[array.shape[-1]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    path.write_bytes(
        header(array.shape[1], array.shape[0], 16, colour) + exif + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    )
    return path


def colours(channels, values=DEEP):
    """Return an array of 2 to 4 channels, all of the same grey, the last one of 2 or 4 opacity."""
    grey = np.stack([values] * (1 if channels == 2 else 3), axis=-1)
    return np.dstack([grey, OPACITY]) if channels in (2, 4) else grey


def write_tiff(path, array, **options):
    extra = ["unassalpha"] * (options.get("planarconfig") is not None and min(array.shape) in (2, 4))
    tifffile.imwrite(path, array, extrasamples=extra, **options)
    return path


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_16_bit_colours_keeps_all_bits(tmp_path, channels):
    assert set(COLOURS) >= {"greyalpha", "rgb", "rgba"}
    path = write_png16(tmp_path / "a.png", colours(channels))
    np.testing.assert_array_equal(read_raster(path).pixels, DEEP)
    np.testing.assert_array_equal(read_image(path), to_grey(DEEP))
    assert peculiarity(path).startswith("16-bit")


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_of_16_bit_colours_keeps_all_bits(tmp_path, channels, order, planes, compression):
    array = colours(channels) if planes == "contig" else np.moveaxis(colours(channels), -1, 0)
    kind = "minisblack" if channels == 2 else "rgb"
    options = {"byteorder": order, "planarconfig": planes, "photometric": kind, "compression": compression}
    path = write_tiff(tmp_path / "a.tif", array, **options)
    np.testing.assert_array_equal(read_raster(path).pixels, DEEP)
    np.testing.assert_array_equal(read_image(path), to_grey(DEEP))


def test_luminance_of_deep_colours_is_that_of_shallow_ones(tmp_path):
    colour = RNG.integers(0, 256, (20, 30, 3), np.uint16)
    path = write_png16(tmp_path / "a.png", colour * 257)
    shallow = np.asarray(Image.fromarray(colour.astype(np.uint8)).convert("L"))
    np.testing.assert_allclose(read_raster(path).pixels / 257, shallow, atol=1)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("label", [1, 255, 65_535])
def test_masks_of_16_bit_colours(tmp_path, channels, label):
    path = write_png16(tmp_path / "a.png", colours(channels, (MASK * label).astype(np.uint16)))
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_deep_colours_are_turned_by_exif(tmp_path):
    turn = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", 274, 3, 1, 6, 0, 0))
    path = write_png16(tmp_path / "a.png", colours(3), turn)
    np.testing.assert_array_equal(read_raster(path).pixels, np.rot90(DEEP, -1))
    assert read_raster(path).orientation == 6


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
def test_tiff_of_any_numbers_is_read(tmp_path, kind, order, options):
    top = {"u1": 255, "i1": 127, "f2": 2048, "f4": 2**22, "u4": 2**32 - 1, "i4": 2**31 - 1}.get(kind, 32_767)
    values = np.linspace(0, top, 24 * 32).reshape(24, 32)
    values = (values if kind[0] == "u" else values - top / 2).astype(kind)
    path = write_tiff(tmp_path / "a.tif", values, byteorder=order, **options)
    np.testing.assert_allclose(read_raster(path).pixels.astype(float), values.astype(float), rtol=1e-6)
    np.testing.assert_allclose(read_image(path).astype(int), to_grey(values), atol=1)


@pytest.mark.parametrize("kind", ["f2", "f8", "i8"])
def test_ct_slices_of_other_numbers_look_alike(tmp_path, kind):
    hounsfield = RNG.integers(-1000, 1000, (20, 30))
    shown = read_image(write_tiff(tmp_path / "a.tif", hounsfield.astype(np.float32)))
    np.testing.assert_allclose(read_image(write_tiff(tmp_path / "b.tif", hounsfield.astype(kind))), shown, atol=1)


def test_pages_and_turns_of_other_numbers(tmp_path):
    values = np.linspace(-900, 900, 600).reshape(20, 30)
    pages = np.stack([values, values + 1])
    path = write_tiff(tmp_path / "a.tif", pages, photometric="minisblack", extratags=[(274, "H", 1, 6, True)])
    picture = read_picture(path)
    assert picture.has_more and picture.note == "turned by its EXIF data" and picture.grey.shape == (30, 20)
    np.testing.assert_allclose(read_raster(path).pixels, np.rot90(values, -1), rtol=1e-6)
    assert peculiarity(path) == "float64 numbers, several pages, of which the first is read"


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_values_that_are_not_numbers_are_black(tmp_path, kind):
    values = np.linspace(-900, 900, 600).reshape(20, 30).astype(kind)
    values[:3] = np.nan
    picture = read_picture(write_tiff(tmp_path / "a.tif", values))
    assert not picture.grey[:3].any() and picture.grey[3:].any()
    assert picture.note == "values that are not numbers are black"


def change(path, changes):
    """Change numbers of the entries of a little-endian TIFF's only directory."""
    content = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", content, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        tag, kind = struct.unpack_from("<HH", content, entry)
        if tag in changes:
            struct.pack_into("<H" if kind == 3 else "<I", content, entry + 8, changes[tag])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({259: 5}, "its compression is not read for float64 numbers. Save it without compression"),
        ({339: 6}, "its pixels are not plain numbers"),
        ({256: 60_000, 257: 60_000}, "60,000 x 60,000 pixels would need about"),
        ({256: 4}, "holds more bytes than its pixels have"),
    ],
    ids=["LZW", "complex", "size", "bomb"],
)
def test_other_numbers_beyond_the_limits_are_refused(tmp_path, changes, words):
    path = write_tiff(tmp_path / "a.tif", np.zeros((64, 64)), compression="zlib", rowsperstrip=64)
    with pytest.raises(ValueError, match=words):
        read_image(change(path, changes))


def test_half_a_file_of_other_numbers_is_refused(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.zeros((64, 64)))
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"a\.tif: cannot be read as an image"):
        read_image(path)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "f4", "f8", "i2", "i4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_of_any_numbers_may_say_that_white_is_zero(tmp_path, kind, order, compression):
    values = (np.arange(24 * 32).reshape(24, 32) % 256).astype(kind)
    top = np.array(np.iinfo(kind).max if kind[0] == "u" else 255, kind)
    options = {"photometric": "miniswhite", "byteorder": order, "compression": compression}
    path = write_tiff(tmp_path / "a.tif", top - values, **options)
    np.testing.assert_allclose(read_raster(path).pixels, values)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "f4", "i4"])
@pytest.mark.parametrize("label", [1, 2])
def test_small_labels_of_a_mask_stay_whatever_is_white(tmp_path, kind, label):
    path = write_tiff(tmp_path / "a.tif", (MASK * label).astype(kind), photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(path), MASK)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_a_mask_of_the_largest_numbers_may_say_that_white_is_zero(tmp_path, kind):
    path = write_tiff(tmp_path / "a.tif", (~MASK * np.iinfo(kind).max).astype(kind), photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_hounsfield_units_stay_whatever_is_white(tmp_path):
    hounsfield = RNG.integers(-1000, 1000, (20, 30)).astype(np.int16)
    path = write_tiff(tmp_path / "a.tif", hounsfield, photometric="miniswhite")
    np.testing.assert_array_equal(read_raster(path).pixels, hounsfield)
    nothing = write_tiff(tmp_path / "b.tif", np.full((20, 30), np.nan), photometric="miniswhite")
    assert np.isnan(read_raster(nothing).pixels).all()
