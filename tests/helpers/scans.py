"""Raw folders of images and volumes with masks, and how a test prepares them."""

import numpy as np
from PIL import Image

from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings

TINY = {"image_size": 32, "filters": 2, "depth": 1, "epochs": 2, "batch_size": 4}  # settings of a network
IMAGE = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))  # 30 wide, 20 high
LEFT, RIGHT = np.zeros((2, 20, 30), bool)
LEFT[4:16, 3:9] = True
RIGHT[4:12, 15:27] = True
CHEST = np.full((40, 24, 20), 40.0)  # soft tissue; slices, rows, columns
CHEST[:, :4] = CHEST[:, -4:] = -1000  # air around
LUNGS = np.zeros(CHEST.shape)
LUNGS[5:35, 8:14, 3:8] = 1
LUNGS[5:35, 8:16, 12:17] = 2
CHEST[LUNGS > 0] = -800
CHEST += np.arange(40)[:, None, None]  # so that each slice says which it is


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_scans(raw, names, suffix=".png"):
    """Write pairs in images/ and masks/, each image a little different."""
    for number, name in enumerate(names):
        save(raw / "images" / f"{name}{suffix}", IMAGE + np.uint8(number))
        save(raw / "masks" / f"{name}{suffix}", LEFT * np.uint8(255))


def prepared(raw, **changes):
    """Prepare the folder; return its settings and manifest."""
    settings = make_settings(str(raw), **changes)
    return settings, prepare_dataset(settings, progress=False)


def write_pairs(folder, first=0, count=6):
    """Write phantoms, an image and a mask each; return the folder."""
    for index in range(count):
        phantom = make_phantom(first + index, size=64)
        write_png(folder / "images" / f"case_{index}.png", phantom.image)
        write_png(folder / "masks" / f"case_{index}.png", phantom.mask)
    return folder


def pixels(settings, part):
    return np.asarray(Image.open(settings.prepared / part))
