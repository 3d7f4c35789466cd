"""Compare probabilities near the true border with the ground truth, and choose the temperature that corrects them.

Only pixels near the border are compared. Elsewhere nearly all are surely lung or surely not, and they would make every
network look well calibrated. Each image counts the same, whatever its size.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from lungnb.engines.temperature import TEMPERATURES
from lungnb.masks import Mask, bounding_box

# Of the longer image side: the band on either side of the true border, 1.2 cm on a film of 40 cm
BORDER_SHARE = 8 / 256
BINS = 10  # of probability, in a reliability diagram
_LOGITS = np.arange(-12, 12, 0.02) + 0.01  # middles of fine bins; their width changes a probability by 0.005 at most


def border_bins(truth: Mask, probability: np.ndarray) -> pd.DataFrame:
    """Return the pixels near the border of a true mask by the logit of their probability, both (height, width).

    A row is a bin of `logit`: the numbers of `lung` pixels and of `other` pixels. Without a border, all are 0.
    """
    near = near_border(truth)
    rounded = np.clip(probability[near].astype(float), 1e-6, 1 - 1e-6)
    edges = (_LOGITS[1:] + _LOGITS[:-1]) / 2
    bin_of_pixel, is_lung = np.searchsorted(edges, logit(rounded)), truth[near]
    lung, other = (np.bincount(bin_of_pixel[part], minlength=len(_LOGITS)) for part in (is_lung, ~is_lung))
    return pd.DataFrame({"logit": _LOGITS, "lung": lung, "other": other})


def mean_bins(images: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean over images of their `border_bins`, as shares of each image's pixels, and the sum of `pixels`.

    Images without a border do not count. If there are only such images, all numbers are 0.
    """
    pixels = [image["lung"] + image["other"] for image in images]
    shares = [image[["lung", "other"]] / each.sum() for image, each in zip(images, pixels, strict=True) if each.sum()]
    mean = sum(shares, start=images[0][["lung", "other"]] * 0.0) / max(len(shares), 1)
    return mean.assign(logit=_LOGITS, pixels=sum(pixels))


def reliability_table(border: pd.DataFrame, temperature: float = 1.0) -> pd.DataFrame:
    """Return one row per bin of probability from a table of `mean_bins`, with logits divided by the temperature.

    Columns: mean `probability`, `observed` share of lung, `share` of the pixels near the border, number of `pixels`.
    Probability and observed share of an empty bin are NaN.
    """
    probability, weight = expit(border["logit"] / temperature), border["lung"] + border["other"]
    bin_of_row = np.minimum((probability * BINS).astype(int), BINS - 1)
    columns = {"probability": probability * weight, "observed": border["lung"], "share": weight}
    table = pd.DataFrame(columns | {"pixels": border["pixels"]}).groupby(bin_of_row).sum().reindex(range(BINS))
    table[["share", "pixels"]] = table[["share", "pixels"]].fillna(0)
    means = table[["probability", "observed"]].div(table["share"].where(table["share"] > 0), axis=0)
    return table.assign(**means, pixels=table["pixels"].astype(int)).reset_index(drop=True)


def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error near the border, 0 to 1, from a `reliability_table`.

    It is how far probabilities are from the observed shares, on average over the pixels near the border. After Guo and
    others (2017), https://arxiv.org/abs/1706.04599, with bins of equal width.

    Example:
        >>> bins = pd.DataFrame({"probability": [0.1, 0.9], "observed": [0.1, 0.7], "share": [0.5, 0.5]})
        >>> round(calibration_error(bins), 3)  # pixels of 0.9 are lung in 70 % of cases only
        0.1
    """
    return float(((table["probability"] - table["observed"]).abs() * table["share"]).sum())


def best_temperature(border: pd.DataFrame) -> float:
    """Return the temperature with the highest likelihood of the ground truth near the border of validation images.

    It lies within `TEMPERATURES`. Without a border, it is 1.
    """
    if not border["pixels"].sum():
        return 1.0

    def loss(log_temperature: float) -> float:
        logits = border["logit"] / np.exp(log_temperature)
        return float(np.logaddexp(0, -logits) @ border["lung"] + np.logaddexp(0, logits) @ border["other"])

    return round(float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x)), 3)


def near_border(truth: Mask) -> Mask:
    """Return the pixels within the band of `BORDER_SHARE` on either side of the border of a true mask."""
    near = np.zeros_like(truth)
    if truth.all() or not truth.any():
        return near
    width = BORDER_SHARE * max(truth.shape)
    reach = int(np.ceil(width)) + 1
    box = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in bounding_box(truth))
    inside, outside = (ndimage.distance_transform_edt(part[box]) for part in (truth, ~truth))
    near[box] = (inside <= width) & (outside <= width)
    return near
