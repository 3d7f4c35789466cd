"""What is said about films and masks before a network learns them."""

import io

import numpy as np
import pytest
from PIL import Image

from lungnb.datasets.reading import ReadOptions
from lungnb.evaluation.film_doubts import doubts_of
from lungnb.evaluation.films import Film, read_films
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

SIZE = 128  # px


@pytest.fixture
def films():
    """Four films of four patients, with their right masks."""
    phantoms = [make_phantom(index, size=SIZE) for index in range(4)]
    return [Film(f"film_{i}", f"film_{i}", each.image, each.mask) for i, each in enumerate(phantoms)]


def said(films, truths):
    """Return what is said if the network draws the masks of `truths`."""
    return [*doubts_of(films, [film.mask for film in truths])]


def test_right_masks_are_not_named_also_if_they_follow_other_rules(films):
    smaller = [film._replace(mask=film.mask & (np.arange(SIZE) < 0.7 * SIZE)[:, None]) for film in films]
    assert said(films, films) == [] and said(smaller, films) == []


def test_masks_that_were_swapped_are_named(films):
    swapped = [films[0]._replace(mask=films[1].mask), films[1]._replace(mask=films[0].mask), *films[2:]]
    first, second = said(swapped, films)
    assert first.startswith("film_0: the mask of film_1 would fit this image better: Dice 1.00 with the network's mask")
    assert second.startswith("film_1: the mask of film_0 would fit") and second.endswith(". Check its mask.")


def test_slices_of_one_patient_are_not_taken_for_swapped(films):
    swapped = [films[0]._replace(mask=films[1].mask), films[1]._replace(mask=films[0].mask), *films[2:]]
    assert said([film._replace(patient="x") for film in swapped], films) == []


def test_a_mask_that_was_used_twice_is_named(films):
    twice = [films[0], films[1]._replace(mask=films[0].mask), *films[2:]]
    assert "film_1: has the same mask as film_0. Give each image its own mask." in said(twice, films)


@pytest.mark.parametrize(("move", "name"), [(np.s_[::-1], "upside down"), (np.s_[:, ::-1], "mirrored")])
def test_a_mask_that_was_moved_is_named(films, move, name):
    uneven = films[0].mask.copy()
    uneven[: SIZE // 2, : SIZE // 2] = False
    film = films[0]._replace(mask=uneven)
    (sentence,) = said([film._replace(mask=uneven[move])], [film])
    assert sentence.startswith(f"film_0: its mask, {name}, would fit this image better: Dice 1.00")


def test_a_mask_that_is_far_from_that_of_the_network_is_named(films):
    inverted = [films[0]._replace(mask=~films[0].mask)]
    (sentence,) = said(inverted, films[:1])
    assert (
        sentence == "film_0: its mask is far from that of the network (Dice 0.00). Check that it belongs to this image."
    )


def test_a_film_that_was_saved_again_is_named_unless_the_patient_is_the_same(films):
    jpeg = io.BytesIO()
    Image.fromarray(films[0].image).save(jpeg, "JPEG", quality=85)
    changed = np.asarray(Image.open(jpeg))
    again = [*films, Film("again", "again", changed, films[0].mask)]
    expected = "again: shows nearly the same image as film_0. Remove one of the two, or say"
    (sentence,) = said(again, again)
    assert sentence.startswith(expected)
    assert said([*films, again[-1]._replace(patient="film_0")], again) == []


def test_what_was_doubtful_when_a_film_was_read_is_said(tmp_path):
    film = make_phantom(0, size=SIZE)
    write_png(tmp_path / "images" / "film.png", film.image)
    write_png(tmp_path / "masks" / "film.png", film.mask)
    Image.fromarray(np.roll(film.mask, 3, 0)).save(tmp_path / "masks" / "film.bmp")
    films, _ = read_films(tmp_path, ReadOptions(), None)
    assert [len(film.notes) for film in films] == [1]
    (sentence,) = said(films, films)
    assert sentence.startswith("film: joined with a mask that shows nearly the same") and sentence.endswith(
        "leave one."
    )
