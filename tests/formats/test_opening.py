import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.files import make_pipe
from helpers.pictures import GREY, saved
from lungnb.formats import images
from lungnb.formats.images import read_image
from lungnb.formats.nifti import read_nifti
from lungnb.formats.opening import other_contents


def test_too_many_pixels_are_refused_and_the_sentence_names_the_setting(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", GREY)
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.0001")
    assert read_image(path).shape == GREY.shape
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.00001")
    with pytest.raises(ValueError, match=r"a\.png: .* pixels would need .* the limit is 1e-05 GB.*LUNGNB_MAX_GB=1"):
        read_image(path)


@pytest.mark.parametrize("value", ["many", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_not_a_number_of_gigabytes_is_named(tmp_path, monkeypatch, value):
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


def test_what_a_library_says_of_a_file_is_dropped_and_kept_in_the_log_as_a_place(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_LOG", str(tmp_path / "log.txt"))

    def fail(*_, **__):
        warnings.warn("DOE^JANE", stacklevel=1)
        raise KeyError("DOE^JANE")

    monkeypatch.setattr(images, "show_grey", fail)
    with warnings.catch_warnings(record=True) as shown, pytest.raises(ValueError, match="KeyError") as raised:
        read_image(saved(tmp_path / "a.png", GREY))
    log = (tmp_path / "log.txt").read_text()
    assert "KeyError" in log and " in fail" in log
    assert "DOE" not in log + str(raised.value) + "".join(str(warning.message) for warning in shown)
    assert raised.value.__suppress_context__  # so that a notebook does not show it either


def test_a_file_far_larger_than_the_memory_limit_is_not_opened(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**11)  # a hole, which takes no room
    with pytest.raises(ValueError, match=r"a\.png: a file of 100\.0 GB would need"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_picture_is_not_said_to_be_misnamed(tmp_path, name, kind):
    """Pictures are read under each other's names, so the name is not why they cannot be read."""
    saved(tmp_path / f"whole.{kind.lower()}", GREY)
    start = (tmp_path / f"whole.{kind.lower()}").read_bytes()[:60]
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ValueError, match=name) as caught:
        read_image(tmp_path / name)
    assert "holds a" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(5000), "holds zeros instead of a picture. Copy it again."),
        (b"version https://git-lfs.github.com/spec/v1", "holds a pointer of Git LFS. Get the file itself"),
        (b"\x1f\x8b" + bytes(99), "so it is not named after its format. Unpack it."),
    ],
)
def test_only_files_of_another_format_are_misnamed(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    assert words in other_contents(tmp_path / "a.png")
