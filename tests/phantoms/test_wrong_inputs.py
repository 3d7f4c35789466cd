"""Pictures that do not show a whole chest: turned and half films, photographs, slices of other parts."""

import numpy as np
import pytest

from lungnb.phantoms import wrong_inputs
from lungnb.phantoms.radiograph import film_phantom
from lungnb.phantoms.wrong_inputs import FILM_PARTS, SCENES

SIZE = 96


@pytest.mark.parametrize("kind", FILM_PARTS | SCENES)
def test_each_kind_gives_varied_greys(kind):
    pictures = [(FILM_PARTS | SCENES)[kind](np.random.default_rng(i), SIZE) for i in range(8)]
    assert all((picture.shape, picture.dtype) == ((SIZE, SIZE), np.float32) for picture in pictures)
    assert all(0 <= picture.min() < picture.max() <= 1 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 8


def test_films_are_turned_by_all_right_angles(monkeypatch):
    film = film_phantom(np.random.default_rng(9), SIZE)
    monkeypatch.setattr(wrong_inputs, "film_phantom", lambda *_: film)
    turned = [np.rint(255 * wrong_inputs.turned_film(np.random.default_rng(i), SIZE)) for i in range(20)]
    turns = {next(k for k in range(4) if np.array_equal(picture, np.rot90(film.image, k))) for picture in turned}
    assert turns == {1, 2, 3}


def test_half_a_film_shows_about_half_of_its_width(monkeypatch):
    """The half lies within black borders, or a square part of it is enlarged."""
    film = film_phantom(np.random.default_rng(9), SIZE)
    bright = film._replace(image=np.maximum(film.image, 1))
    monkeypatch.setattr(wrong_inputs, "film_phantom", lambda *_: bright)
    halves = [wrong_inputs.half_film(np.random.default_rng(i), SIZE) for i in range(30)]
    widths = np.array([(half > 0).any(axis=0).sum() for half in halves])
    framed = widths[widths < SIZE]
    assert len(framed) > 10 and 0.4 * SIZE < framed.min() and framed.max() < 0.58 * SIZE
    assert (widths == SIZE).any()
