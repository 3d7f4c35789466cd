"""When to trust a mask: are probabilities true, which threshold is best, and which images should a person look at?

A network is asked again about each image mirrored, brighter and darker (test-time augmentation). Where its answers
disagree, or the mask does not look like those it learned from, there is reason for doubt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import THRESHOLD, Engine, engine_of, load_model
from lungnb.masks import count_regions
from lungnb.metrics import dice
from lungnb.segmentation.predict import predict
from lungnb.settings import Settings, title_of

BINS = 10  # of probability, in a reliability diagram
THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
_RARE = 0.05  # of the images; a number of lungs rarer than this among true masks is unusual


class Examination(NamedTuple):
    """What a model's probabilities of the images of a split come to.

    Attributes:
        images: a row an image: `id`, `split`, `dice` at a threshold of 0.5, `augmented_dice` of the mean answer,
            `disagreement` (mean of 1 - Dice between the mask and that of each other answer), `regions` and `area`
            (share of the picture) of the mask, `true_regions` and `true_area`.
        thresholds: a row a threshold: `threshold` and the mean `dice` over images.
        reliability: a row a bin of probability: mean `probability`, `observed` share of lung, number of `pixels`.
    """

    images: pd.DataFrame
    thresholds: pd.DataFrame
    reliability: pd.DataFrame


def examine(settings: Settings, model_name: str, split: str, progress: bool = True) -> Examination:
    """Ask a trained model about each image of a split, as it is and augmented, and compare with the true masks.

    A data set without a test split is examined on validation. Raises FileNotFoundError where the model is not trained,
    ValueError for another split without images.
    """
    engine = engine_of(load_model(settings.results / model_name / MODEL))
    prepared = open_prepared(settings)
    split = prepared.scoring_split(split)
    rows = prepared.rows(split)
    images, by_threshold, bins = [], [], np.zeros((3, BINS))
    for row in tqdm(rows, f"Examining {model_name}", unit="image", file=sys.stdout, disable=not progress):
        grey, truth = prepared.pair(row)
        answers = predict_augmented(engine, grey)
        images.append({"id": row["id"], "split": split} | _findings(truth, answers))
        by_threshold.append([dice(truth, answers[0] > threshold) for threshold in THRESHOLDS])
        places = np.minimum((answers[0].ravel() * BINS).astype(int), BINS - 1)
        for total, weights in zip(bins, (None, answers[0].ravel(), truth.ravel()), strict=True):
            total += np.bincount(places, weights, BINS)
    pixels, probability, lung = bins
    with np.errstate(invalid="ignore"):
        reliability = pd.DataFrame({"probability": probability / pixels, "observed": lung / pixels, "pixels": pixels})
    thresholds = pd.DataFrame({"threshold": THRESHOLDS, "dice": np.mean(by_threshold, axis=0)})
    return Examination(pd.DataFrame(images), thresholds, reliability)


def predict_augmented(engine: Engine, grey: np.ndarray, times: int | None = None) -> list[np.ndarray]:
    """Return a network's probabilities of lung for a uint8 image, `(height, width)`: as it is, then augmented.

    `times` is the number of answers wanted, of the four there are by default.
    """
    return [undo(predict(engine, change(grey))) for change, undo in AUGMENTATIONS[:times]]


def disagreement(answers: list[np.ndarray], threshold: float = THRESHOLD) -> float:
    """Return the mean of 1 - Dice between the mask of the first of some answers and that of each other one.

    Example:
        >>> sure, other = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
        >>> disagreement([sure, sure]), disagreement([sure, other])
        (0.0, 1.0)
    """
    mask, *others = (answer > threshold for answer in answers)
    return 1 - float(np.mean([dice(mask, other) for other in others]))


def _findings(truth: np.ndarray, answers: list[np.ndarray]) -> dict[str, float]:
    """Return what the probabilities of one image, as it is and augmented, come to beside its true mask."""
    mask = answers[0] > THRESHOLD
    return {
        "dice": dice(truth, mask),
        "augmented_dice": dice(truth, np.mean(answers, axis=0) > THRESHOLD),
        "disagreement": disagreement(answers),
        "regions": count_regions(mask),
        "area": mask.mean(),
        "true_regions": count_regions(truth),
        "true_area": truth.mean(),
    }


def best_threshold(validation: Examination) -> float:
    """Return the threshold with the highest mean Dice on the validation images; of several, the nearest to 0.5."""
    table = validation.thresholds
    best = table.loc[table["dice"] >= table["dice"].max() - 1e-9, "threshold"]
    return float(best.iloc[(best - 0.5).abs().argmin()])


def calibration_error(reliability: pd.DataFrame) -> float:
    """Return the expected calibration error, 0 to 1: how far probabilities are from the truth, on average over pixels.

    As Guo and others (2017), https://arxiv.org/abs/1706.04599, with bins of one width.

    Example:
        >>> bins = pd.DataFrame({"probability": [0.1, 0.9], "observed": [0.1, 0.7], "pixels": [500, 500]})
        >>> round(calibration_error(bins), 3)  # pixels of 0.9 are lung in 70 % of cases only
        0.1
    """
    gaps = (reliability["probability"] - reliability["observed"]).abs() * reliability["pixels"]
    return float(gaps.sum() / reliability["pixels"].sum())


def calibration_table(validation: dict[str, Examination], test: dict[str, Examination]) -> pd.DataFrame:
    """Return, from examinations by model, a row a model: how true its probabilities of the test images are.

    Also the threshold that is best on the validation images, the mean Dice of the test images at 0.5 and at that
    threshold, and that of the mean over the augmented answers.
    """
    rows = {}
    for name, found in test.items():
        threshold, dice = best_threshold(validation[name]), found.thresholds.set_index("threshold")["dice"]
        rows[title_of(name)] = {
            "calibration_error": calibration_error(found.reliability), "dice": dice[0.5],
            "best_threshold": threshold, "dice_at_best": dice[threshold],
            "augmented_dice": found.images["augmented_dice"].mean(),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def review_reasons(images: pd.DataFrame, validation: pd.DataFrame, share: float = 0.1) -> pd.DataFrame:
    """Return the images with a column `doubt`: why a person should look at each, or nothing; the most doubtful first.

    Judged by what the validation images were like, and never by the image's own true mask: an unusual number of lungs,
    an unusual area, or answers that disagree more than all but a `share` of the validation images' do.
    """
    counts = validation["true_regions"].value_counts(normalize=True)
    usual = set(counts[counts >= _RARE].index)
    smallest, largest = 0.8 * validation["true_area"].min(), 1.25 * validation["true_area"].max()
    limit = validation["disagreement"].quantile(1 - share)
    reasons = {
        "number of lungs": ~images["regions"].isin(usual),
        "area": (images["area"] < smallest) | (images["area"] > largest),
        "answers disagree": images["disagreement"] > limit,
    }
    texts = [", ".join(name for name, of in reasons.items() if of[index]) for index in images.index]
    strange = reasons["number of lungs"].astype(int) + reasons["area"]
    order = pd.DataFrame({"strange": strange, "disagreement": images["disagreement"]})
    order = order.sort_values(["strange", "disagreement"], ascending=False).index
    return images.assign(doubt=texts).loc[order]


def review_gain(doubted: pd.DataFrame, share: float = 0.1) -> dict[str, float]:
    """Return what it brings to have a person look at the `share` of images that are most doubtful (see `doubts`).

    `worst` and `mean` are the Dice of all images, `worst_left` and `mean_left` of those not looked at, `worst_ideal`
    that of the others if the worst ones had been picked, `worst_by_chance` if any had (the mean over all ways to).
    Raises ValueError for fewer than two images.

    Example:
        >>> images = pd.DataFrame({"dice": [0.6, 0.9, 0.95, 0.97]})  # the most doubtful first
        >>> gain = review_gain(images, share=0.25)
        >>> float(gain["worst"]), float(gain["worst_left"])  # the worst mask was the one looked at
        (0.6, 0.9)
    """
    if len(doubted) < 2:
        raise ValueError("two images at least are needed, one to look at and one to leave.")
    count = min(max(round(share * len(doubted)), 1), len(doubted) - 1)
    ranked = np.sort(doubted["dice"].to_numpy())
    left = doubted["dice"].iloc[count:]
    # Picking `count` of n at random leaves rank k as the worst one left if the k below it are picked and it is not.
    n, chance, picked = len(ranked), 0.0, 1.0
    for k in range(min(count, n - 1) + 1):
        chance += picked * (1 - (count - k) / (n - k)) * ranked[k]
        picked *= (count - k) / (n - k)
    return {
        "images": n, "looked_at": count, "worst": ranked[0], "worst_left": left.min(), "worst_ideal": ranked[count],
        "worst_by_chance": chance, "mean": ranked.mean(), "mean_left": left.mean(),
    }  # fmt: skip


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _mirrored(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array[:, ::-1])


def _toned(gamma: float) -> Callable[[np.ndarray], np.ndarray]:
    curve = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return lambda grey: curve[grey]


# What is done to an image, uint8, and undone to its probabilities.
AUGMENTATIONS = ((_same, _same), (_mirrored, _mirrored), (_toned(0.8), _same), (_toned(1.25), _same))
