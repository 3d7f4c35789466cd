"""The drawings for the shipped network: whole files of blocks, in their order."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import drawings
from lungnb.phantoms.make import make_phantom


@pytest.fixture(autouse=True)
def few(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "_FOLDER", tmp_path / "drawings")
    monkeypatch.setattr(drawings, "BLOCK", 2)
    monkeypatch.setattr(drawings, "BLOCKS", {"mixed": 2, "wild": 1})


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_processes_draw_the_numbers_in_their_order():
    with drawings.drawing_pool() as pool:
        images = [phantom.image for phantom in drawings.draw(pool, 4, 6, "other", 31, 64)]
    np.testing.assert_array_equal(images, [make_phantom(number, 31, "other", 64).image for number in (4, 5, 6)])


def test_each_part_is_drawn_once(pool, monkeypatch):
    parts, (wider, _) = drawings.draw_all(pool)
    images, masks = parts["mixed"]
    assert images.shape == (4, 128, 128) and images.dtype == np.uint8 and masks.dtype == bool
    assert len(parts["wild"][0]) == 2 and not np.array_equal(wider, images[:2])
    monkeypatch.setattr(drawings, "make_phantom", None)  # what is drawn is read
    np.testing.assert_array_equal(drawings.draw_all(pool)[0]["mixed"][0], images)


def test_a_mask_is_made_small_by_the_pixel_nearest_to_each_centre(pool):
    drawings._FOLDER.mkdir()
    masks = np.load(drawings.draw_block(pool, "mixed", 1))["masks"]
    drawn = make_phantom(3, 1, "mixed", 256).mask  # the first of block 1, as numbers begin with 1
    np.testing.assert_array_equal(masks[0], drawn[1::2, 1::2])


def test_a_block_that_is_interrupted_leaves_no_file(pool, monkeypatch):
    drawings._FOLDER.mkdir()
    monkeypatch.setattr(np, "savez_compressed", lambda stream, **_: stream.write(b"part") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawings.draw_block(pool, "mixed", 0)
    assert not [*drawings._FOLDER.glob("mixed*")]
