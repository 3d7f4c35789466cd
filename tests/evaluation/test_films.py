"""Which images with masks a network is adapted to, and whose patient each is."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.volumes import write_nifti
from lungnb.browser.corrections import Corrections
from lungnb.datasets.reading import SLICE_NAME, ReadOptions
from lungnb.evaluation.films import digest_of_films, read_films
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

OPTIONS = ReadOptions()


@pytest.fixture
def corrected(tmp_path):
    """A folder with three films and their masks."""
    for index in range(3):
        phantom = make_phantom(index, size=64)
        write_png(tmp_path / "corrected" / "images" / f"film_{index}.png", phantom.image)
        write_png(tmp_path / "corrected" / "masks" / f"film_{index}.png", phantom.mask)
    return tmp_path / "corrected"


@pytest.fixture
def volume(tmp_path):
    """A folder with a volume of 40 slices, of which the first 20 have a mask."""
    rng = np.random.default_rng(1)
    hounsfield = rng.integers(-1000, 300, (40, 32, 32)).astype(np.float32)
    mask = np.zeros(hounsfield.shape, np.uint8)
    mask[:20, 8:20, 8:20] = 1
    write_nifti(tmp_path / "ct" / "images" / "scan.nii.gz", hounsfield)
    write_nifti(tmp_path / "ct" / "masks" / "scan.nii.gz", mask, dtype=np.uint8)
    return tmp_path / "ct"


def test_slices_with_lung_of_a_volume_are_one_patient(volume):
    films, left_out = read_films(volume, OPTIONS, None)
    assert len(films) == 16 and left_out == [] and {film.patient for film in films} == {"scan"}
    numbers = [int(film.id.removeprefix("scan_")) for film in films]
    assert all(film.mask.any() for film in films) and min(numbers) == 0 and max(numbers) == 19


def test_an_empty_mask_of_a_volume_gives_one_sentence(volume, corrected):
    write_nifti(volume / "masks" / "scan.nii.gz", np.zeros((40, 32, 32)), dtype=np.uint8)
    shutil.copytree(corrected, volume, dirs_exist_ok=True)
    films, left_out = read_films(volume, OPTIONS, None)
    reason = f"the mask {Path('masks/scan.nii.gz')} is empty. Draw the lungs, or remove this volume"
    assert len(films) == 3 and left_out == [("images/scan.nii.gz", reason)]


def test_slices_that_the_browser_saved_are_one_patient(tmp_path):
    corrections, mask = Corrections(tmp_path), np.eye(32, dtype=bool)
    rng = np.random.default_rng(1)
    for number in (3, 4, 4):  # the last is of another volume of that name
        grey = rng.integers(0, 256, (32, 32), dtype=np.uint8)
        corrections.save(SLICE_NAME.format("scan", number), grey, mask)
    corrections.save("film", rng.integers(0, 256, (32, 32), dtype=np.uint8), mask)
    films, _ = read_films(tmp_path, OPTIONS, None)
    assert sorted(film.patient for film in films) == ["film", "scan", "scan", "scan"]
    films, _ = read_films(tmp_path, OPTIONS, "(.+)")
    assert len({film.patient for film in films}) == 4


def test_of_two_files_of_one_image_the_one_with_a_mask_is_used(corrected):
    shutil.copy(corrected / "images" / "film_0.png", corrected / "images" / "same.png")
    shutil.copy(corrected / "masks" / "film_0.png", corrected / "masks" / "same.png")
    write_png(corrected / "masks" / "film_0.png", np.zeros((64, 64), bool))
    films, left_out = read_films(corrected, OPTIONS, None)
    assert [film.id for film in films] == ["film_1", "film_2", "same"]
    assert left_out == [("film_0", "its mask is empty. Draw the lungs, or remove the image.")]


def test_a_digest_depends_on_images_masks_and_patients_alone(corrected):
    films, _ = read_films(corrected, OPTIONS, None)
    digest = digest_of_films(films)
    assert digest_of_films([film._replace(id="x") for film in films[::-1]]) == digest
    for change in ({"patient": "x"}, {"image": films[1].image}, {"mask": ~films[0].mask}):
        assert digest_of_films([films[0]._replace(**change), *films[1:]]) != digest
