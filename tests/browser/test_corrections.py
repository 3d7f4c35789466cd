import os
import threading

import numpy as np
import pytest
from PIL import Image

from helpers.processes import start_forked
from lungnb.browser.corrections import Corrections
from lungnb.datasets.pairing import find_pairs
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.sources import find_source
from lungnb.files import NotWritten, locked
from lungnb.formats.images import read_image, read_mask
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (60, 50), dtype=np.uint8)
MASK = GREY > 100
KILLS = 6
NAMES = (
    "film", "case_mask", "Left Lung Seg", "x-ground_truth", "gt", "001", "CHNCXR_0001_0", "ü 1", "..", "", ".hidden",
    "a/b\\c", "=1+2", "e\u202ef", "\x1b[31m", "a\r", os.fsdecode(b"\xff"), "n" * 300, "ä" * 150, "chest_0000",
)  # fmt: skip


@pytest.fixture
def corrections(home):
    return Corrections(home / "data" / "corrected")


def files(corrections):
    return sorted(str(path.relative_to(corrections.folder)) for path in corrections.folder.rglob("*.png"))


def test_a_pair_is_saved_at_full_size_and_loaded_again(corrections):
    assert len(corrections) == 0 and corrections.load("film", GREY) is None
    corrections.save("film", GREY, MASK)
    assert files(corrections) == ["images/film.png", "masks/film.png"] and len(corrections) == 1
    image, mask = (Image.open(corrections.folder / kind / "film.png") for kind in ("images", "masks"))
    assert image.mode == mask.mode == "L"
    assert np.array_equal(np.asarray(image), GREY) and np.array_equal(np.asarray(mask), MASK * 255)
    assert np.array_equal(Corrections(corrections.folder).load("film", GREY), MASK)


def test_a_second_correction_replaces_the_first(corrections):
    corrections.save("film", GREY, MASK)
    before = (corrections.folder / "images" / "film.png").stat().st_mtime_ns
    corrections.save("film", GREY, ~MASK)
    assert np.array_equal(corrections.load("film", GREY), ~MASK) and len(corrections) == 1
    assert (corrections.folder / "images" / "film.png").stat().st_mtime_ns == before


def test_films_of_one_name_get_two_pairs(corrections):
    for name, grey, mask in (("film", GREY, MASK), ("film", 255 - GREY, ~MASK), ("FILM", GREY // 2, MASK)):
        corrections.save(name, grey, mask)
    assert len(corrections) == 3 and len({name.lower() for name in files(corrections)}) == 6
    assert np.array_equal(corrections.load("film", GREY), MASK)
    assert np.array_equal(corrections.load("film", 255 - GREY), ~MASK)
    assert corrections.load("film", GREY // 3) is None
    corrections.save("film", 255 - GREY, MASK)
    assert len(corrections) == 3 and np.array_equal(corrections.load("film", 255 - GREY), MASK)


def test_every_name_becomes_a_pair_that_is_found(corrections):
    pictures = {name: rng.integers(0, 256, (40, 40), dtype=np.uint8) for name in NAMES}
    for name, grey in pictures.items():
        corrections.save(name, grey, grey > 100)
    pairs, excluded = find_pairs(corrections.folder, find_source(str(corrections.folder)))
    assert len(pairs) == len(NAMES) == len(corrections) and not excluded
    for pair in pairs:
        image, mask = read_image(corrections.folder / pair.image), read_mask(corrections.folder / pair.masks[0])
        assert len(pair.masks) == 1 and np.array_equal(mask, image > 100)
    for name, grey in pictures.items():
        assert np.array_equal(corrections.load(name, grey), grey > 100)


def test_the_folder_is_a_data_set(corrections):
    for number in range(6):
        phantom = make_phantom(number, size=64)
        corrections.save(f"film_{number}", phantom.image, phantom.mask)
    manifest = prepare_dataset(Settings(dataset=str(corrections.folder)), progress=False)
    assert sorted(manifest["id"]) == [f"film_{number}" for number in range(6)]


def test_files_of_somebody_else_stay(corrections):
    for kind in ("images", "masks"):
        (corrections.folder / kind).mkdir(parents=True)
    other = corrections.folder / "masks" / "film.png"
    Image.fromarray(GREY).save(other)
    (corrections.folder / "images" / "scan.png").write_bytes(b"no image")
    before = other.read_bytes()
    corrections.save("film", GREY, MASK)
    corrections.save("scan", GREY, MASK)
    assert other.read_bytes() == before and (corrections.folder / "images" / "scan.png").read_bytes() == b"no image"
    assert np.array_equal(corrections.load("film", GREY), MASK) and np.array_equal(corrections.load("scan", GREY), MASK)


def test_a_damaged_mask_is_said_and_can_be_replaced(corrections):
    file = corrections.save("film", GREY, MASK)
    Image.fromarray(GREY[:10]).save(file)
    with pytest.raises(ValueError, match=r"film\.png: has another size than its image"):
        corrections.load("film", GREY)
    file.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"film\.png"):
        corrections.load("film", GREY)
    corrections.save("film", GREY, MASK)
    assert np.array_equal(corrections.load("film", GREY), MASK)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_on_a_full_disk_nothing_changes(corrections, monkeypatch, kind):
    corrections.save("film", GREY, MASK)
    before = {name: (corrections.folder / name).read_bytes() for name in files(corrections)}
    save = Image.Image.save

    def fail(image, file, *arguments, **options):
        save(image, file, *arguments, **options)
        if file.parent.name == kind:
            raise OSError(28, "No space left on device", str(file))

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        with pytest.raises(NotWritten, match=rf"{kind}.other\.png: cannot be written: the disk is full; make room"):
            corrections.save("other", 255 - GREY, ~MASK)
        if kind == "masks":
            with pytest.raises(NotWritten):
                corrections.save("film", GREY, ~MASK)
    assert {name: (corrections.folder / name).read_bytes() for name in files(corrections)} == before
    assert not [*corrections.folder.rglob(".*")]


def test_two_browsers_that_save_at_once_do_not_mix(corrections):
    with locked(corrections.folder):
        errors = []

        def save():
            try:
                corrections.save("film", GREY, MASK)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=save)
        thread.start()
        thread.join()
    assert "another run is at work there" in errors[0] and len(corrections) == 0


def save_for_ever(folder):
    """Save two pairs again and again with other masks, and a new one each time."""
    corrections, number = Corrections(folder), 0
    while True:
        number += 1
        corrections.save(f"new_{number}", np.full((400, 300), number % 256, np.uint8), np.eye(400, 300, number) > 0)
        corrections.save("film", np.arange(120_000).astype(np.uint8).reshape(400, 300), np.eye(400, 300, number) > 0)


@pytest.mark.slow
def test_killed_while_saving_each_pair_is_whole(corrections):
    """A mask without its image would be half a pair."""
    for hit in range(KILLS):
        process, before = start_forked(save_for_ever, corrections.folder), len(corrections)
        while len(corrections) < before + 1:
            assert process.is_alive()
        process.join(0.005 * hit)
        process.kill()
        process.join()
        assert process.exitcode == -9
        process.close()
        images = {file.name for file in (corrections.folder / "images").glob("[!.]*.png")}
        masks = {file.name for file in (corrections.folder / "masks").glob("[!.]*.png")}
        assert masks <= images and len(images - masks) <= 1
        for name in masks:
            image, mask = (np.asarray(Image.open(corrections.folder / kind / name)) for kind in ("images", "masks"))
            assert image.shape == mask.shape == (400, 300) and set(np.unique(mask)) <= {0, 255}
    corrections.save("last", GREY, MASK)
    assert not [*corrections.folder.rglob(".*.part*")]
