"""Say why a person should look at a mask, by its area, its volume and the sizes of the two lungs."""

from __future__ import annotations

import numpy as np

from lungnb.masks import LUNG_SHARE

USUAL_ML = (1000, 9000)  # of both lungs together, by CT
MAX_RATIO = 3.0  # of the larger lung to the smaller


def why_implausible(mask: np.ndarray, right: float, left: float, millilitres: float | None = None) -> str:
    """Return why a person should look at a mask, or nothing: by the sizes of the lungs, px, and of volumes mL.

    Example:
        >>> mask = np.zeros((100, 100), bool)
        >>> mask[20:80, 10:40] = True
        >>> why_implausible(mask, right=1800, left=0)
        'one lung only'
        >>> why_implausible(mask, right=900, left=900)
        ''
    """
    reasons, (low, high) = [], LUNG_SHARE
    if not right + left:
        return "no lung"
    if max(right, left) > MAX_RATIO * min(right, left):
        reasons.append("one lung far larger" if min(right, left) else "one lung only")
    if millilitres is not None and not USUAL_ML[0] <= millilitres <= USUAL_ML[1]:
        reasons.append(f"{millilitres:.0f} mL")
    if mask.ndim == 2 and not low <= mask.mean() <= high:
        reasons.append(f"{mask.mean():.0%} of the picture")
    return ", ".join(reasons)
