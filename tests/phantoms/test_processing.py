"""Digital processing of drawn films."""

import numpy as np
import pytest
from skimage.exposure import equalize_adapthist

from lungnb.phantoms.processing import PROCESSED_SHARE, clahe, multiscale, process, s_curve, unsharp
from lungnb.phantoms.radiograph import film_phantom

SIZE = 256


@pytest.fixture(scope="module")
def film():
    image = film_phantom(np.random.default_rng(3), SIZE, without=["processing", "labels"]).image
    return (image / 255).astype(np.float32)


def test_half_of_the_films_are_processed(film):
    changed = [not np.array_equal(process(np.random.default_rng(i), film), film) for i in range(200)]
    assert abs(np.mean(changed) - PROCESSED_SHARE) < 0.14


@pytest.mark.parametrize("index", range(12))
def test_processed_films_stay_films(film, index):
    shown = process(np.random.default_rng(index), film)
    assert shown.shape == film.shape and np.isfinite(shown).all()
    assert -1e-4 <= shown.min() and shown.max() <= 1 + 1e-4 and np.ptp(shown) > 0.3


def test_clahe_is_that_of_scikit_image(film):
    """Both implementations agree, except for the handling of borders and bins."""
    ours, theirs = clahe(film, 8, 2.56), equalize_adapthist(film, clip_limit=0.01)
    assert np.corrcoef((ours - film).ravel(), (theirs - film).ravel())[0, 1] > 0.8


def test_clahe_without_contrast_to_gain_changes_little():
    """If no level may count for more than another, the curve is straight."""
    ramp = np.tile(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, 1))
    assert np.abs(clahe(ramp, 1, 1.0) - ramp).max() < 0.02


def test_detail_is_stronger_after_processing(film):
    def detail(image):
        return np.abs(np.diff(image, axis=0)).mean() / np.ptp(image)

    assert detail(multiscale(film, 0.6, 0.5)) > 1.3 * detail(film)
    assert detail(unsharp(film, 0.03, 1.0)) > 1.1 * detail(film)


def test_an_s_curve_is_steepest_in_its_middle():
    curve = s_curve(np.linspace(0, 1, 101, dtype=np.float32), 0.4, 8)
    assert np.argmax(np.diff(curve)) in (39, 40)
    assert (np.diff(curve) > 0).all()
