"""Turn cm of water along each ray into the greys of a film: absorption, scatter, window, tone, blur and noise."""

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats, Mask
from lungnb.phantoms.drawing import blur
from lungnb.phantoms.frame import clouds

_ABSORPTION = 0.18  # of water, per cm, at about 70 keV (NIST XCOM gives 0.19)
_SCATTER = (0.15, 0.9)  # scattered radiation, as a share of what comes straight; a grid removes most of it
_BODY = 0.25  # of the thickest ray: where there is more water, the patient is
_FOG_SIZE = 9  # the blur of scatter, as a fraction of the side: 1 / 9


def develop(rng: Generator, water: Floats, lungs: Mask, noisy: bool) -> Floats:
    """Return the film, `(size, size)` float32, 0 to 1 with white bones. Each ray crosses `water` cm of water.

    The darkest part of the `lungs` is nearly black, and the densest part of the body nearly white: the window that
    radiographers set.
    """
    size = len(water)
    straight = np.exp(np.float32(-_ABSORPTION) * (water + rng.uniform(0, 0.3) * clouds(rng, size, 3)))
    body = np.minimum(straight, np.float32(0.6))  # what passes beside the patient is stopped by the collimator
    shown = straight + np.float32(rng.uniform(*_SCATTER)) * blur(body, size / _FOG_SIZE) * np.float32(0.3)
    dense = -np.log(shown)
    inside = dense[::2, ::2][water[::2, ::2] >= _BODY * water.max()]
    low = np.quantile(dense[lungs] if lungs.any() else inside, rng.uniform(0.0, 0.15))
    high = np.quantile(inside, rng.uniform(0.85, 0.998))
    span = max(float(high - low), 0.3)
    low -= span * rng.uniform(0.0, 0.6)
    grey = np.clip((dense - np.float32(low)) / np.float32(high - low), 0, 1)
    grey = grey ** np.float32(np.exp(rng.uniform(-0.4, 0.45)))
    grey += rng.uniform(0, 0.8) * grey * (1 - grey) * (2 * grey - 1)  # a film's S-shaped response
    grey = blur(grey, rng.uniform(0.3, 0.9) * size / 256)
    noise = rng.standard_normal(grey.shape, dtype=np.float32)
    loud = np.float32(rng.uniform(0.002, 0.022 if noisy else 0.012))
    grey += loud * (noise if rng.random() < 0.5 else 1.5 * blur(noise, 0.6))
    return np.asarray(np.clip(grey * rng.uniform(0.88, 1) + rng.uniform(0, 0.05), 0, 1), np.float32)
