"""When to trust a mask: are probabilities true, which threshold is best, and which images should a person look at?

A network predicts each image as it is, mirrored, brighter and darker (test-time augmentation). If these predictions
disagree, or the mask does not look like the ground truth of other images, the prediction is uncertain.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import nhypergeom
from tqdm import tqdm

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import LUNG_THRESHOLD, Engine, engine_of, load_model
from lungnb.masks import count_regions
from lungnb.metrics import dice
from lungnb.segmentation.predict import predict
from lungnb.settings import Settings, title_of

BINS = 10  # of probability, in a reliability diagram
THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
_MIN_USUAL_SHARE = 0.05  # of the validation images; a number of lungs that is rarer is unusual
_USUAL_AREA = 0.8, 1.25  # times the smallest and the largest area in the ground truth


def _change_tone(grey: np.ndarray, gamma: float) -> np.ndarray:
    return np.take(np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8), grey)


# A change of the uint8 image, and the change that turns its probabilities back.
AUGMENTATIONS = (
    (np.asarray, np.asarray),
    (np.fliplr, np.fliplr),
    (partial(_change_tone, gamma=0.8), np.asarray),
    (partial(_change_tone, gamma=1.25), np.asarray),
)


class Examination(NamedTuple):
    """A model's probabilities of the images of a split, compared with the ground truth.

    Attributes:
        images: a row an image: `id`, `split`, `dice` at a threshold of 0.5, `augmented_dice` of the mean prediction,
            `disagreement` (see there), `regions` and `area` (share of the image) of the mask, and `true_regions` and
            `true_area` of the ground truth.
        thresholds: a row a threshold: `threshold` and the mean `dice` over images.
        reliability: a row a bin of probability: mean `probability`, `observed` share of lung, number of `pixels`.
    """

    images: pd.DataFrame
    thresholds: pd.DataFrame
    reliability: pd.DataFrame


def examine(settings: Settings, model_name: str, split: str, progress: bool = True) -> Examination:
    """Let a trained model predict each image of a split, as it is and augmented; compare with the ground truth.

    Without a test split, take the validation images instead. Raises FileNotFoundError if the model is not trained,
    ValueError for another split without images.
    """
    engine, prepared = engine_of(load_model(settings.results / model_name / MODEL)), open_prepared(settings)
    split = prepared.scoring_split(split)
    images, by_threshold, bins = [], [], np.zeros((3, BINS))
    rows, title = prepared.rows(split), f"Examining {model_name}"
    for row in tqdm(rows, title, unit="image", file=sys.stdout, disable=not progress):
        grey, truth = prepared.pair(row)
        predictions = predict_augmented(engine, grey)
        images.append({"id": row["id"], "split": split} | _compare_with_truth(truth, predictions))
        by_threshold.append([dice(truth, predictions[0] > threshold) for threshold in THRESHOLDS])
        probability = predictions[0].ravel()
        bin_of_pixel = np.minimum((probability * BINS).astype(int), BINS - 1)
        for total, weights in zip(bins, (None, probability, truth.ravel()), strict=True):
            total += np.bincount(bin_of_pixel, weights, BINS)
    pixels, sums, lung = bins
    with np.errstate(invalid="ignore"):
        reliability = pd.DataFrame({"probability": sums / pixels, "observed": lung / pixels, "pixels": pixels})
    thresholds = pd.DataFrame({"threshold": THRESHOLDS, "dice": np.mean(by_threshold, axis=0)})
    return Examination(pd.DataFrame(images), thresholds, reliability)


def predict_augmented(engine: Engine, grey: np.ndarray, times: int | None = None) -> list[np.ndarray]:
    """Return the probabilities of lung of a uint8 image, `(height, width)`: first as it is, then changed.

    `times` limits their number, which is four.
    """
    return [undo(predict(engine, change(grey))) for change, undo in AUGMENTATIONS[:times]]


def disagreement(predictions: Sequence[np.ndarray], threshold: float = LUNG_THRESHOLD) -> float:
    """Return the mean of 1 - Dice between the mask of the first prediction and that of each other prediction.

    Example:
        >>> sure, other = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
        >>> disagreement([sure, sure]), disagreement([sure, other])
        (0.0, 1.0)
    """
    mask, *others = (probability > threshold for probability in predictions)
    return 1 - float(np.mean([dice(mask, other) for other in others]))


def _compare_with_truth(truth: np.ndarray, predictions: list[np.ndarray]) -> dict[str, float]:
    """Return the row of one image in `Examination.images`, without its id and split."""
    mask, mean_mask = predictions[0] > LUNG_THRESHOLD, np.mean(predictions, axis=0) > LUNG_THRESHOLD
    return {
        "dice": dice(truth, mask), "augmented_dice": dice(truth, mean_mask), "disagreement": disagreement(predictions),
        "regions": count_regions(mask), "area": mask.mean(),
        "true_regions": count_regions(truth), "true_area": truth.mean(),
    }  # fmt: skip


def best_threshold(validation: Examination) -> float:
    """Return the threshold with the highest mean Dice on the validation images; of several, the nearest to 0.5."""
    table = validation.thresholds
    best = table.loc[table["dice"] >= table["dice"].max() - 1e-9, "threshold"]
    return float(best.iloc[(best - 0.5).abs().argmin()])


def calibration_error(reliability: pd.DataFrame) -> float:
    """Return the expected calibration error, 0 to 1: how far probabilities are from the truth, on average over pixels.

    After Guo and others (2017), https://arxiv.org/abs/1706.04599, with bins of equal width.

    Example:
        >>> bins = pd.DataFrame({"probability": [0.1, 0.9], "observed": [0.1, 0.7], "pixels": [500, 500]})
        >>> round(calibration_error(bins), 3)  # pixels of 0.9 are lung in 70 % of cases only
        0.1
    """
    gaps = (reliability["probability"] - reliability["observed"]).abs() * reliability["pixels"]
    return float(gaps.sum() / reliability["pixels"].sum())


def calibration_table(validation: dict[str, Examination], test: dict[str, Examination]) -> pd.DataFrame:
    """Return, from examinations by model, a row a model: how true its probabilities of the test images are.

    Further columns are the best threshold on the validation images, the mean Dice of the test images at 0.5 and at that
    threshold, and the mean Dice of the mean over the augmented predictions.
    """
    rows = {}
    for name, examination in test.items():
        threshold = best_threshold(validation[name])
        dice_at = examination.thresholds.set_index("threshold")["dice"]
        rows[title_of(name)] = {
            "calibration_error": calibration_error(examination.reliability), "dice": dice_at[LUNG_THRESHOLD],
            "best_threshold": threshold, "dice_at_best": dice_at[threshold],
            "augmented_dice": examination.images["augmented_dice"].mean(),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def review_reasons(images: pd.DataFrame, validation: pd.DataFrame, share: float = 0.1) -> pd.DataFrame:
    """Return the images, the most uncertain first, with a column `doubt`: why a person should look at each, or nothing.

    Compare each image with the validation images, and never with its own ground truth. Its number of lungs or its area
    may be unusual, or its predictions may disagree more than those of all but a `share` of the validation images.
    """
    counts = validation["true_regions"].value_counts(normalize=True)
    usual_counts = counts[counts >= _MIN_USUAL_SHARE].index
    smallest, largest = _USUAL_AREA[0] * validation["true_area"].min(), _USUAL_AREA[1] * validation["true_area"].max()
    max_disagreement = validation["disagreement"].quantile(1 - share)
    reasons = {
        "number of lungs": ~images["regions"].isin(usual_counts),
        "area": (images["area"] < smallest) | (images["area"] > largest),
        "answers disagree": images["disagreement"] > max_disagreement,
    }
    texts = [", ".join(name for name, applies in reasons.items() if applies[index]) for index in images.index]
    unusual = reasons["number of lungs"].astype(int) + reasons["area"]
    return images.assign(doubt=texts).iloc[np.lexsort((-images["disagreement"], -unusual))]


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
