"""Score the shipped network on images that are inverted, photographed or otherwise changed."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.exposure import equalize_adapthist
from skimage.transform import ProjectiveTransform, warp
from skimage.util import img_as_ubyte

from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of
from lungnb.masks import LUNG_THRESHOLD
from lungnb.messages import progress_bar
from lungnb.metrics import dice
from lungnb.segmentation.predict import load_pretrained, segment
from lungnb.settings import SPLITS, Settings

_CLIP_LIMIT = 0.01  # of CLAHE; scikit-image has the same default


def _photograph(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a film as a phone takes it from a light box (askew, unevenly lit, blurred, JPEG), and its moved mask."""
    height, width = image.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    seen = corners + rng.uniform(-0.06, 0.1, (4, 2)) * (width, height) * np.sign((width, height) - 2 * corners)
    askew = ProjectiveTransform.from_estimate(corners, seen)
    grey = warp(image / 255.0, askew.inverse, cval=0.95, output_shape=image.shape)
    lamp = np.hypot(*(np.indices(image.shape) - (rng.uniform(0.2, 0.8, 2) * image.shape)[:, None, None]))
    grey = gaussian_filter(grey ** rng.uniform(0.7, 1.4), width / 500) * (1 - 0.4 * lamp / lamp.max())
    jpeg = io.BytesIO()
    Image.fromarray(np.rint(255 * (0.08 + 0.85 * grey)).astype(np.uint8)).save(jpeg, "JPEG", quality=40)
    askew_mask = warp(mask.astype(float), askew.inverse, order=0, output_shape=mask.shape) > LUNG_THRESHOLD
    return np.asarray(Image.open(jpeg)), askew_mask


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "as it is": lambda image, mask, _: (image, mask),
    "inverted": lambda image, mask, _: (255 - image, mask),
    "photographed": _photograph,
    "CLAHE": lambda image, mask, _: (img_as_ubyte(equalize_adapthist(image, clip_limit=_CLIP_LIMIT)), mask),
}


def score_changed(settings: Settings, progress: bool = True, splits: Sequence[str] = SPLITS) -> pd.DataFrame:
    """Return the Dice of the network that lungnb ships on changed images of a prepared data set: one row per image.

    Columns: `id`, `split`, and for each change of image and mask (`CHANGES`) the Dice, with masks cleaned up.
    """
    engine, prepared, table = engine_of(load_pretrained()), open_prepared(settings), []
    for row in progress_bar(prepared.rows(*splits), f"Changing {settings.name}", progress=progress):
        rng = np.random.default_rng(int.from_bytes(str(row["id"]).encode(), "big"))
        dice_of, pair = {"id": row["id"], "split": row["split"]}, prepared.pair(row)
        for name, change in CHANGES.items():
            image, truth = change(*pair, rng)
            dice_of[name] = dice(truth, segment(image, engine).mask)
        table.append(dice_of)
    return pd.DataFrame(table)
