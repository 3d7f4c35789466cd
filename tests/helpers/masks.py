"""An empty, a full and a half mask."""

import numpy as np

EMPTY, FULL = np.zeros((8, 8), bool), np.ones((8, 8), bool)
HALF = np.arange(8) < 4 * np.ones((8, 1))
