"""Small pictures of random greys and colours, and a mask."""

import numpy as np
from PIL import Image

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), np.uint8)
MASK = np.zeros((20, 30), bool)
MASK[3:15, 4:9] = True


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path
