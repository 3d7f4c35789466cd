"""The exposure of a film turns water into greys."""

import numpy as np

from lungnb.phantoms.exposure import develop


def test_more_water_is_brighter_and_lungs_are_dark():
    """A body of 20 cm with two lungs of 8 cm, before air."""
    water = np.zeros((96, 96), np.float32)
    water[10:, 10:86] = 20
    lungs = np.zeros(water.shape, bool)
    lungs[30:70, 20:40] = lungs[30:70, 56:76] = True
    water[lungs] = 8
    body = (water == 20) & ~lungs
    for index in range(20):
        grey = develop(np.random.default_rng(index), water, lungs, noisy=False)
        assert grey.dtype == np.float32 and 0 <= grey.min() and grey.max() <= 1
        assert grey[body].mean() > grey[lungs].mean() + 0.15
        assert grey[:8, 0].mean() < 0.3  # beside the patient


def test_portable_films_may_be_noisier():
    flat = np.full((64, 64), 10, np.float32)
    flat[:32] = 20
    none = np.zeros(flat.shape, bool)
    noise = [
        np.mean(
            [
                np.abs(np.diff(develop(np.random.default_rng(i), flat, none, noisy)[40:], axis=1)).mean()
                for i in range(40)
            ]
        )
        for noisy in (False, True)
    ]
    assert noise[1] > 1.2 * noise[0]
