import io
import struct

import numpy as np
import pytest
from PIL import Image

from helpers.films import dicom
from helpers.pictures import GREY, saved
from lungnb.formats.images import read_image

pydicom = pytest.importorskip("pydicom")


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    content = saved(tmp_path / "a.jpg", GREY, progressive=True).read_bytes()
    last = content.rfind(b"\xff\xda")
    assert read_image(tmp_path / "a.jpg").shape == GREY.shape
    (tmp_path / "a.jpg").write_bytes(content[:-2] + content[last:-2] * 100 + content[-2:])
    with pytest.raises(ValueError, match=r"a\.jpg: has more than 100 scans"):
        read_image(tmp_path / "a.jpg")


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
    """Phones, for example, put a video behind a photo."""
    path = fresh_jpeg(tmp_path)
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"\xff\xda" * 1000)
    np.testing.assert_array_equal(read_image(path), expected)


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
