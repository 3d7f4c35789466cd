"""Short names for the arrays that lungnb passes around, for type annotations."""

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]  # an image, (height, width), 0 (black) to 255 (white)
Mask = NDArray[np.bool_]  # as large as its image; True on the lungs
Floats = NDArray[np.floating]  # float32 or float64, such as probabilities and Hounsfield units
Window = tuple[float, float]  # the values shown as black and as white; Hounsfield units for CT
