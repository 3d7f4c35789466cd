"""Properties that hold for any input, as hypothesis finds it; `tests/fuzz.py` goes on where this stops."""

import io
import zipfile
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from PIL import Image

from lungnb.datasets.archives import unpack
from lungnb.datasets.file_names import is_mask
from lungnb.datasets.pairing import find_pairs
from lungnb.datasets.sources import Source
from lungnb.formats.folders import image_files
from lungnb.formats.images import read_image, read_mask, write_png
from lungnb.formats.pixels import fit_square, to_grey, unfit_square

OWN = Source("scans", "A folder", "own", "own", "own")
NUMBERS = (
    arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes() | arrays.boolean_dtypes()
)


def sample(suffix):
    """A small whole file of a kind, as bytes."""
    grey = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16))
    if suffix == ".dcm":
        return pytest.importorskip("pydicom").examples.get_path("ct").read_bytes()[:6000]
    held = io.BytesIO()
    grey.save(held, {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF"}[suffix])
    return held.getvalue()


@some.composite
def damaged(draw):
    """A file with some of its bytes changed, put in, or cut off; with its suffix or another's."""
    suffixes = some.sampled_from([".png", ".jpg", ".bmp", ".tif", ".dcm"])
    content = bytearray(sample(draw(suffixes)))
    for _ in range(draw(some.integers(0, 8))):
        place = draw(some.integers(0, len(content) - 1))
        content[place : place + draw(some.integers(0, 4))] = draw(some.binary(max_size=4))
    return draw(suffixes), bytes(content[: draw(some.integers(1, len(content) + 1))])


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_any_bytes_are_an_image_or_a_sentence(case):
    suffix, content = case
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(content)
        for read, kind in ((read_image, np.uint8), (read_mask, np.bool_)):
            try:
                found = read(path)
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
            else:
                assert found.ndim == 2 and found.size and found.dtype == kind


@settings(max_examples=300, deadline=None)
@given(arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)))
def test_any_array_gives_grey_or_an_error_of_one_sentence(array):
    try:
        grey = to_grey(array)
    except ValueError as error:
        assert "the array: " in str(error)
    else:
        assert grey.shape == array.shape[:2] and grey.dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(np.uint8, some.tuples(some.integers(1, 40), some.integers(1, 40))))
def test_png_gives_back_what_was_written(grey):
    with TemporaryDirectory() as folder:
        write_png(Path(folder, "a.png"), grey)
        np.testing.assert_array_equal(read_image(Path(folder, "a.png")), grey)


@settings(max_examples=200, deadline=None)
@given(some.integers(1, 300), some.integers(1, 300), some.sampled_from([8, 32, 128]), some.integers(0, 255))
def test_a_square_gives_the_picture_its_size_back(height, width, size, level):
    square = fit_square(np.full((height, width), level, np.uint8), size)
    assert square.array.shape == (size, size)
    back = unfit_square(square.array.astype(np.float32), square, height, width)
    assert back.shape == (height, width)
    np.testing.assert_allclose(back, level, atol=1)


FOLDERS = some.sampled_from(["", "images", "masks", "a/images", "b/images", "a/masks", "Masks", "scans"])
STEMS = some.text("aAbü肺 ._-%<>'", min_size=1, max_size=6).filter(lambda text: text.strip(". ") == text)
FILES = some.tuples(
    FOLDERS, STEMS, some.sampled_from(["", "_mask"]), some.sampled_from([".png", ".JPG", ".nii.gz", ".txt"])
)


@settings(max_examples=200, deadline=None)
@given(some.lists(FILES, min_size=1, max_size=12))
def test_pairing_loses_no_file_and_uses_none_twice(files):
    with TemporaryDirectory() as folder:
        raw = Path(folder)
        for place, stem, mark, suffix in files:
            (raw / place).mkdir(parents=True, exist_ok=True)
            (raw / place / f"{stem}{mark}{suffix}").touch()
        try:
            pairs, excluded = find_pairs(raw, OWN)
        except ValueError as error:
            assert "no image with a mask found" in str(error)
            return
        assert pairs and len({pair.id.lower() for pair in pairs}) == len(pairs)
        told = Counter([str(pair.image) for pair in pairs] + [file for file, _ in excluded])
        assert max(told.values()) == 1
        assert {str(file) for file in image_files(raw) if not is_mask(file)} <= set(told)
        assert all(is_mask(mask) and str(mask) not in told for pair in pairs for mask in pair.masks)


@settings(max_examples=200, deadline=None)
@given(some.binary(max_size=400), some.integers(0, 400))
def test_any_archive_stays_in_its_folder(junk, place):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("images/a.png", b"image" * 20)
        archive.writestr("masks/a.png", b"mask" * 20)
    content = bytearray(held.getvalue())
    content[place : place + len(junk)] = junk
    with TemporaryDirectory() as folder:
        Path(folder, "a.zip").write_bytes(content)
        Path(folder, "in").mkdir()
        try:
            unpack(Path(folder, "a.zip"), Path(folder, "in"), progress=False)
        except Exception as error:  # which `download` turns into a sentence
            assert not isinstance(error, (SystemExit, MemoryError))
        assert sorted(path.name for path in Path(folder).iterdir()) == ["a.zip", "in"]
