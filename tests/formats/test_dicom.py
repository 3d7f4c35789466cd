import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.films import dicom
from helpers.pictures import GREY
from lungnb.formats.dicom import read_dicom
from lungnb.formats.dicom_header import view_note
from lungnb.formats.images import peculiarity, read_image, read_picture

pydicom = pytest.importorskip("pydicom")


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
    ("interpretation", "expected"),
    [("MONOCHROME2", [[0, 128, 255]]), ("MONOCHROME1", [[255, 128, 0]]), ("monochrome1", [[255, 128, 0]])],
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


@pytest.mark.slow
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
def test_a_pixel_size_that_makes_no_sense_is_ignored(tmp_path, spacing):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", PixelSpacing=["0.125", "0.125"])
    assert read_picture(path).pixel_mm == (0.125, 0.125)
    text, other = b"0.125\\0.125 ", "\\".join(spacing).encode()
    content = path.read_bytes()
    assert text in content
    length = (len(other) + 1) // 2 * 2
    old, new = struct.pack("<H", len(text)) + text, struct.pack("<H", length) + other.ljust(length)
    path.write_bytes(content.replace(old, new))
    assert read_picture(path).pixel_mm is None


def test_the_size_at_the_detector_counts_if_pixel_spacing_is_impossible(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", PixelSpacing=[0, 0], ImagerPixelSpacing=[0.25, 0.125])
    assert read_picture(path).pixel_mm == (0.25, 0.125)


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
    # A film of low values white, which fills a fifth of its window only.
    film = read_picture(files["6154"])
    assert film.grey.min() < 20 and film.grey.max() > 230 and "its window does not fit" in film.note


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_table_may_be_of_other_bits_than_it_states(tmp_path, bits):
    table = voi_table(0, range(4096), bits)  # of 12
    path = dicom(tmp_path / "a.dcm", FILM, "DX", VOILUTSequence=table, BitsStored=12, HighBit=11)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 62, 93, 125, 255], atol=1)


def test_a_window_without_width_is_ignored(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX", WindowCenter=100, WindowWidth=0)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 62, 93, 125, 255], atol=1)


def test_padding_around_a_film_does_not_darken_it(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.array([[0, 1000, 2000, 65535]]), "DX", PixelPaddingValue=65535)
    np.testing.assert_allclose(read_image(path)[0].astype(int), [0, 128, 255, 0], atol=1)


def test_frames_of_ct_are_not_read_as_a_picture(tmp_path):
    frames = np.zeros((40, 30))
    path = dicom(tmp_path / "a.dcm", frames, "CT", Rows=20, NumberOfFrames=2, RescaleSlope=1, RescaleIntercept=-1024)
    with pytest.raises(ValueError, match=r"a\.dcm: holds 2 pictures of CT, so it is a volume"):
        read_image(path)


def test_a_dicom_file_without_its_preamble_is_read(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "DX")
    content = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    (tmp_path / "b.dcm").write_bytes(content[meta:])
    np.testing.assert_array_equal(read_image(tmp_path / "b.dcm"), read_image(path))


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
    """Six bytes of the palette stand for 65,535 entries."""
    tags = {}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [0, 0, 16]
        tags[f"Segmented{colour}PaletteColorLookupTableData"] = struct.pack("<3H", 1, 65535, 65535) * 3000
    path = dicom(tmp_path / "a.dcm", FILM, "DX", PhotometricInterpretation="PALETTE COLOR", **tags)
    with pytest.raises(ValueError, match=r"a\.dcm: cannot be read as a DICOM image"):
        read_image(path)


def film_pixels():
    """Return a picture of 12 bits with all its greys, and many of each."""
    return np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (64, 1))


TWELVE_BITS = {"BitsStored": 12, "HighBit": 11}


def with_jpeg_2000(path, pixels):
    """Write pixels into a DICOM file as JPEG 2000 of 16 bits."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG2000", irreversible=False, no_jp2=True)
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    file.PixelData = pydicom.encaps.encapsulate([held.getvalue()])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_bits_that_do_not_belong_to_the_picture_are_cleared(tmp_path, is_compressed):
    clean = dicom(tmp_path / "clean.dcm", film_pixels(), "DX", **TWELVE_BITS)
    overlay = film_pixels()
    overlay[10:20, 20:200] |= 0xF000
    path = dicom(tmp_path / "a.dcm", overlay, "DX", **TWELVE_BITS)
    if is_compressed:
        with_jpeg_2000(path, overlay)
    np.testing.assert_array_equal(read_image(path), read_image(clean))


CT_12 = {"BitsStored": 12, "RescaleSlope": 1}


@pytest.mark.parametrize("is_signed", [0, 1])
@pytest.mark.parametrize(("high", "beside"), [(15, 0), (15, 0b1010), (13, 0), (13, 0x8001)])
def test_values_end_at_the_high_bit(tmp_path, is_signed, high, beside):
    """The other bits may hold an overlay, as in old files (PS3.5, 8.1.1)."""
    values = np.array([[-1000, -300, 400, 2000]]) + 1024 * (1 - is_signed)
    stored = ((values & 0x0FFF) << high - 11) | beside
    tags = CT_12 | {"HighBit": high, "PixelRepresentation": is_signed, "RescaleIntercept": -1024 * (1 - is_signed)}
    path = dicom(tmp_path / "a.dcm", stored, "CT", **tags)
    np.testing.assert_array_equal(read_dicom(path)[0], [[-1000, -300, 400, 2000]])


@pytest.mark.parametrize("overlay", [0, 1 << 13])
def test_a_sign_that_tears_the_picture_apart_is_ignored(tmp_path, overlay):
    smooth = np.tile(np.linspace(0, 4095, 60).astype(np.int16), (40, 1))
    tags = CT_12 | {"HighBit": 11, "PixelRepresentation": 1, "RescaleIntercept": -1024}
    path = dicom(tmp_path / "a.dcm", smooth | overlay, "CT", **tags)
    np.testing.assert_array_equal(read_dicom(path)[0], smooth - 1024)
    signed = np.tile(np.linspace(-1000, 1000, 60).astype(np.int16), (40, 1))
    path = dicom(tmp_path / "b.dcm", signed & 0x0FFF, "CT", **tags | {"RescaleIntercept": 0})
    np.testing.assert_array_equal(read_dicom(path)[0], signed)


@pytest.mark.parametrize("is_signed", [0, 1])
@pytest.mark.parametrize("high", [15, 3, 40])
def test_a_high_bit_that_the_values_contradict_is_ignored(tmp_path, is_signed, high):
    values = np.array([[-1001, -300, 400, 2000]]) + 1024 * (1 - is_signed)
    tags = CT_12 | {"HighBit": high, "PixelRepresentation": is_signed, "RescaleIntercept": -1024 * (1 - is_signed)}
    path = dicom(tmp_path / "a.dcm", values & 0xFFFF, "CT", **tags)
    np.testing.assert_array_equal(read_dicom(path)[0], [[-1001, -300, 400, 2000]])


def test_signed_values_of_few_bits_keep_their_sign(tmp_path):
    """The sign is kept although the bits beyond BitsStored are 0."""
    pixels = np.array([[-1000, -300, 400, 2000]])
    tags = TWELVE_BITS | {"PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": 0}
    path = dicom(tmp_path / "a.dcm", pixels & 0x0FFF, "CT", **tags)
    assert read_image(path).tolist() == [[0, 128, 255, 255]]


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 0, "WindowWidth": 1},
        {"WindowCenter": 2048, "WindowWidth": 0.5},
        {"WindowCenter": 127, "WindowWidth": 255},
        {"WindowCenter": 32768, "WindowWidth": 65535},
        {"WindowCenter": 8192, "WindowWidth": 16384},
        {"WindowCenter": -600, "WindowWidth": 100},
        {"VOILUTSequence": ("table", 0, [5] * 4096, 8)},
        {"VOILUTSequence": ("table", 0, [], 99)},
    ],
)
@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
def test_a_window_that_does_not_fit_is_not_used(tmp_path, tags, interpretation):
    if "VOILUTSequence" in tags:
        tags = {"VOILUTSequence": voi_table(*tags["VOILUTSequence"][1:])}
    path = dicom(
        tmp_path / "a.dcm", film_pixels(), "DX", PhotometricInterpretation=interpretation, **TWELVE_BITS, **tags
    )
    picture = read_picture(path)
    expected = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    np.testing.assert_allclose(picture.grey, expected if interpretation == "MONOCHROME2" else expected[:, ::-1], atol=1)
    assert picture.note == "its window does not fit its values and is not used"


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "LOG"},
        {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": ""},
        {"WindowCenter": [2048, 1000], "WindowWidth": [4096]},
        {"WindowCenter": [-9000, 2048], "WindowWidth": [10, 4096]},  # the second fits
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"},
    ],
)
def test_oddly_written_windows_are_not_refused(tmp_path, tags):
    picture = read_picture(dicom(tmp_path / "a.dcm", film_pixels(), "DX", **TWELVE_BITS, **tags))
    np.testing.assert_allclose(picture.grey, np.tile(np.arange(256), (64, 1)), atol=1)
    assert picture.note == ""


@pytest.mark.parametrize("interpretation", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}])
def test_a_range_of_padding_is_black(tmp_path, interpretation, window):
    pixels = film_pixels()
    pixels[:, :8], pixels[:, 8:16] = 65535, 64500
    tags = {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 64000, "PhotometricInterpretation": interpretation}
    grey = read_image(dicom(tmp_path / "a.dcm", pixels, "DX", **TWELVE_BITS, **tags, **window)).astype(int)
    assert set(np.unique(grey[:, :16])) == {0}
    expected = np.arange(16, 256)
    if not window:
        expected = (expected - 16) / 239 * 255
    np.testing.assert_allclose(grey[0, 16:], expected if interpretation == "MONOCHROME2" else 255 - expected, atol=1)


def test_padding_written_without_its_sign_is_padding(tmp_path):
    pixels = film_pixels().astype(np.int32)
    pixels[:, :8] = -2000
    tags = {"PixelRepresentation": 1, "BitsStored": 16}
    path = dicom(tmp_path / "a.dcm", pixels & 0xFFFF, "DX", **tags)
    file = pydicom.dcmread(path)
    file.add_new("PixelPaddingValue", "US", 63536)
    file.save_as(path)
    grey = read_image(path)
    assert set(np.unique(grey[:, :8])) == {0} and grey[0, 8] < 3 and grey.max() == 255


@pytest.mark.parametrize(
    "window", [{}, {"WindowCenter": -600, "WindowWidth": 1500}, {"WindowCenter": 40, "WindowWidth": 400}]
)
@pytest.mark.parametrize("offset", [1024, 0])
def test_ct_that_does_not_say_how_it_is_scaled_is_shown_as_usual_and_flagged(tmp_path, window, offset):
    hounsfield = np.tile(np.linspace(-1024, 1500, 256).astype(int), (64, 1))
    path = dicom(tmp_path / "a.dcm", (hounsfield + offset) & 0xFFFF, "CT", PixelRepresentation=1, **window)
    picture = read_picture(path)
    np.testing.assert_allclose(picture.grey, np.clip((hounsfield + 1000) * 255 / 1400, 0, 255), atol=1)
    assert picture.note == f"no RescaleIntercept: {-offset} is taken for it"


def test_a_segmentation_is_not_read_as_a_picture(tmp_path):
    path = dicom(tmp_path / "a.dcm", FILM, "SEG")
    with pytest.raises(ValueError, match=r"a\.dcm: no picture, but a segmentation\. Put it into a folder of masks\."):
        read_image(path)


def lossless_jpeg(pixels):
    """Return pixels as lossless JPEG of 16 bits (SOF3): differences from the left, each category a code of 5 bits."""
    height, width = pixels.shape
    before = np.zeros((height, width), np.int64)
    before[:, 1:], before[1:, 0], before[0, 0] = pixels[:, :-1], pixels[:-1, 0], 2**15
    bits = ""
    for difference in ((pixels - before + 2**15) % 2**16 - 2**15).ravel().tolist():
        size = abs(difference).bit_length()
        more = difference if difference > 0 else difference + 2**size - 1
        bits += f"{size:05b}" + (f"{more:0{size}b}" if 0 < size < 16 else "")
    bits += "1" * (-len(bits) % 8)
    code = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker, content):
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    frame = segment(0xC3, struct.pack(">BHHB", 16, height, width, 1) + b"\1\x11\0")
    table = segment(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)]))
    return b"\xff\xd8" + frame + table + segment(0xDA, b"\1\1\0\1\0\0") + code + b"\xff\xd9"


@pytest.mark.parametrize("end", ["57", "70"])
def test_lossless_jpeg_is_read_or_its_decoder_named(tmp_path, end, monkeypatch):
    pixels = (film_pixels() + np.arange(64)[:, None]).astype(np.int64)
    path = dicom(tmp_path / "a.dcm", pixels, "DX")
    expected = read_image(path)
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = pydicom.uid.UID(f"1.2.840.10008.1.2.4.{end}")
    file.PixelData = pydicom.encaps.encapsulate([lossless_jpeg(pixels)])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    with monkeypatch.context() as patch:
        patch.setattr("lungnb.formats.dicom_frames.find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"compressed \(JPEG Lossless\), and no package here .* imagecodecs"):
            read_image(path)
    pytest.importorskip("imagecodecs")
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.parametrize("padding", [65_535, -2000, 300])
def test_padding_values_that_pixels_cannot_have_are_ignored(tmp_path, padding):
    film = np.tile(np.arange(256), (64, 1))
    path = dicom(tmp_path / "a.dcm", film, "DX")
    file = pydicom.dcmread(path)
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = film.astype(np.uint8).tobytes()
    file.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)  # left from 16 bits
    file.save_as(path)
    np.testing.assert_allclose(read_image(path), film, atol=3)


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_a_slope_of_zero_is_named(tmp_path, modality):
    path = dicom(tmp_path / "a.dcm", FILM, modality, RescaleSlope=0, RescaleIntercept=-1024)
    with pytest.raises(ValueError, match=r"a\.dcm: its RescaleSlope is 0"):
        read_image(path)


@pytest.mark.parametrize("modality", ["CT", "DX"])
def test_an_intercept_without_a_value_counts_as_missing(tmp_path, modality):
    pixels = np.tile(np.linspace(0, 2500, 256).astype(int), (64, 1))
    plain = read_picture(dicom(tmp_path / "a.dcm", pixels, modality))
    empty = read_picture(dicom(tmp_path / "b.dcm", pixels, modality, RescaleSlope=1, RescaleIntercept=""))
    np.testing.assert_array_equal(empty.grey, plain.grey)
    assert empty.note == plain.note


@pytest.mark.parametrize("name", ["SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "PixelRepresentation"])
def test_what_a_header_lacks_to_read_its_pixels_is_named(tmp_path, name):
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm", FILM, "DX"))
    delattr(file, name)
    file.save_as(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=rf"a\.dcm: .*its header lacks {name}\. Export it again"):
        read_image(tmp_path / "a.dcm")


def test_cut_float_pixels_are_called_damaged(tmp_path):
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm", FILM, "DX", BitsAllocated=32))
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(file, name)
    file.FloatPixelData = bytes(8)
    file.save_as(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"a\.dcm: .*its pixels are damaged or cut"):
        read_image(tmp_path / "a.dcm")


def test_without_a_modality_the_class_says_that_it_is_ct(tmp_path):
    pixels = np.array([[0, 24, 724], [1424, 2000, 23]])
    path = dicom(tmp_path / "a.dcm", pixels, "", RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(read_image(path), [[0, 0, 128], [255, 255, 0]])


@pytest.mark.parametrize(
    ("modality", "part", "is_noted"),
    [("CT", "ABDOMEN", False), ("CT", "NECK", False), ("CT", "HEAD", True), ("DX", "ABDOMEN", True)],
)
def test_ct_of_the_neck_and_the_abdomen_may_show_the_chest(modality, part, is_noted):
    header = pydicom.Dataset()
    header.Modality, header.BodyPartExamined = modality, part
    assert view_note(header) == (f"not of a chest by its header (BodyPartExamined {part})" if is_noted else "")
