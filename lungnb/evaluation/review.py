"""Which masks should a person look at, and how much does it help?

A prediction is uncertain if augmented ones disagree, or if it does not look like the ground truth of other images.
"""

import numpy as np
import pandas as pd
from scipy.stats import nhypergeom

_MIN_USUAL_SHARE = 0.1  # of the validation images; a number of lungs that is rarer is unusual
_MIN_USUAL_IMAGES = 2  # because a single odd image among few would make its number of lungs usual
_USUAL_AREA = 0.8, 1.25  # times the smallest and the largest area in the ground truth


def review_reasons(images: pd.DataFrame, validation: pd.DataFrame, share: float = 0.1) -> pd.DataFrame:
    """Return the images, the most uncertain first. The column `reasons` says why a person should look; it may be empty.

    Compare each image with the validation images, never with the ground truth of the image. Its number of lungs or its
    area may be unusual, or its predictions may disagree more than those of all but a `share` of the validation images.
    """
    counts = validation["true_regions"].value_counts()
    is_usual = (counts >= max(_MIN_USUAL_SHARE * len(validation), _MIN_USUAL_IMAGES)) | (counts == counts.max())
    usual_counts = counts[is_usual].index
    smallest, largest = _USUAL_AREA[0] * validation["true_area"].min(), _USUAL_AREA[1] * validation["true_area"].max()
    max_disagreement = validation["disagreement"].quantile(1 - share)
    reasons = {
        "number of lungs": ~images["regions"].isin(usual_counts),
        "area": (images["area"] < smallest) | (images["area"] > largest),
        "predictions disagree": images["disagreement"] > max_disagreement,
    }
    texts = [", ".join(name for name, applies in reasons.items() if applies[index]) for index in images.index]
    unusual = reasons["number of lungs"].astype(int) + reasons["area"]
    return images.assign(reasons=texts).iloc[np.lexsort((-images["disagreement"], -unusual))]


def review_gain(reviewed: pd.DataFrame, share: float = 0.1) -> dict[str, float]:
    """Return the gain if a person looks at the most uncertain `share` of images, from a table of `review_reasons`.

    `worst` and `mean` are the Dice of all images; `worst_left` and `mean_left` are those of the images that nobody
    looks at. Of these, `worst_ideal` is the worst if the worst images had been picked, and `worst_by_chance` if images
    had been picked at random (the expected value). Raises ValueError for fewer than two images.

    Example:
        >>> images = pd.DataFrame({"dice": [0.6, 0.9, 0.95, 0.97]})  # the most uncertain first
        >>> gain = review_gain(images, share=0.25)
        >>> float(gain["worst"]), float(gain["worst_left"])  # the worst mask was the one looked at
        (0.6, 0.9)
    """
    if len(reviewed) < 2:
        raise ValueError("two images at least are needed, one to look at and one to leave.")
    n = len(reviewed)
    count = min(max(round(share * n), 1), n - 1)
    ranked, left = np.sort(reviewed["dice"]), reviewed["dice"].iloc[count:]
    # The worst left has rank k if `count` of n, picked at random, include the k worst and not the next one.
    chances = nhypergeom(n, count, 1).pmf(np.arange(count + 1))
    return {
        "images": n, "looked_at": count, "worst": ranked[0], "worst_left": left.min(), "worst_ideal": ranked[count],
        "worst_by_chance": chances @ ranked[: count + 1], "mean": ranked.mean(), "mean_left": left.mean(),
    }  # fmt: skip
