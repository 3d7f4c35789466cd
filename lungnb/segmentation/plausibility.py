"""Say why a person should look at a mask, by its area, its volume and the sizes of the two lungs."""

import numpy as np

from lungnb.masks import LUNG_SHARE

USUAL_VOLUME_ML = (1000, 9000)  # of both lungs together
MAX_SIZE_RATIO = 3.0  # of the larger lung to the smaller


def why_implausible(mask: np.ndarray, right_px: float, left_px: float, volume_ml: float | None = None) -> str:
    """Return why a person should look at a mask, or nothing.

    Judge the sizes of the right and the left lung, the share of the image that is lung, and the volume if it is known.

    >>> mask = np.zeros((100, 100), bool)
    >>> mask[20:80, 10:40] = True
    >>> why_implausible(mask, 1800, 0), why_implausible(mask, 900, 900)
    ('one lung only', '')
    """
    reasons, (low, high) = [], LUNG_SHARE
    if not right_px + left_px:
        return "no lung"
    if max(right_px, left_px) > MAX_SIZE_RATIO * min(right_px, left_px):
        reasons.append("one lung far larger" if min(right_px, left_px) else "one lung only")
    if volume_ml is not None and not USUAL_VOLUME_ML[0] <= volume_ml <= USUAL_VOLUME_ML[1]:
        reasons.append(f"{volume_ml:.0f} mL")
    if mask.ndim == 2 and not low <= mask.mean() <= high:
        reasons.append(f"{mask.mean():.0%} of the picture")
    return ", ".join(reasons)
