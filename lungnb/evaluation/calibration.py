"""Examine a network: are its probabilities right, which threshold is best, how much do augmented predictions disagree?

A network predicts each image unchanged, mirrored, brighter and darker (test-time augmentation).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from skimage.exposure import adjust_gamma

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import Engine, engine_of, load_model
from lungnb.evaluation.probabilities import (
    best_temperature,
    border_bins,
    calibration_error,
    mean_bins,
    reliability_table,
)
from lungnb.evaluation.scaling import store_temperature
from lungnb.masks import LUNG_THRESHOLD, clean_mask, count_regions
from lungnb.messages import progress_bar
from lungnb.metrics import ROUNDING, dice
from lungnb.segmentation.inference import predict
from lungnb.settings import Settings, title_of

THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
Change = Callable[[np.ndarray], np.ndarray]
# For each name: the change of the uint8 image, and the function that maps its probabilities back.
AUGMENTATIONS: dict[str, tuple[Change, Change]] = {
    "as it is": (np.asarray, np.asarray),
    "mirrored": (np.fliplr, np.fliplr),
    "brighter": (partial(adjust_gamma, gamma=0.8), np.asarray),
    "darker": (partial(adjust_gamma, gamma=1.25), np.asarray),
}


class Examination(NamedTuple):
    """A model's probabilities of the images of a split, compared with the ground truth.

    Attributes:
        images: one row per image: `id`, `patient`, `split`, `dice` at a threshold of 0.5, `augmented_dice` of the mean
            prediction, `disagreement` (see the function), `regions` and `area` (share of the image) of the mask, and
            `true_regions` and `true_area` of the ground truth. Masks are cleaned, as `segment` gives them.
        thresholds: one row per threshold: `threshold` and the mean `dice` over images.
        border: one row per bin of logits near the true border, see `border_bins`.
    """

    images: pd.DataFrame
    thresholds: pd.DataFrame
    border: pd.DataFrame


def examine(settings: Settings, model_name: str, split: str, progress: bool = True) -> Examination:
    """Let a trained model predict each image of a split, unchanged and augmented; compare with the ground truth.

    Probabilities are those of the network, before any temperature. Without a test split, take the validation images
    instead. Raises FileNotFoundError if the model is not trained, ValueError for another split without images.
    """
    engine, prepared = engine_of(load_model(settings.results / model_name / MODEL)), open_prepared(settings)
    split = prepared.scoring_split(split)
    images, by_threshold, bins = [], [], []
    for row in progress_bar(prepared.rows(split), f"Examining {model_name}", progress=progress):
        grey, truth = prepared.pair(row)
        predictions = predict_augmented(engine, grey)
        entry = {"id": row["id"], "patient": row["patient"], "split": split}
        images.append(entry | compare_with_truth(truth, predictions))
        by_threshold.append([dice(truth, clean_mask(predictions[0] > threshold)) for threshold in THRESHOLDS])
        bins.append(border_bins(truth, predictions[0]))
    thresholds = pd.DataFrame({"threshold": THRESHOLDS, "dice": np.mean(by_threshold, axis=0)})
    return Examination(pd.DataFrame(images), thresholds, mean_bins(bins))


def predict_augmented(engine: Engine, grey: np.ndarray, times: int | None = None) -> list[np.ndarray]:
    """Return the four probabilities of a uint8 image, `(height, width)`, or `times` of them; the first is unchanged."""
    return [undo(predict(engine, change(grey))) for change, undo in [*AUGMENTATIONS.values()][:times]]


def disagreement(predictions: Sequence[np.ndarray], threshold: float = LUNG_THRESHOLD) -> float:
    """Return the mean of 1 - Dice between the mask of the first prediction and that of each other prediction.

    Example:
        >>> sure, other = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
        >>> disagreement([sure, sure]), disagreement([sure, other])
        (0.0, 1.0)
    """
    mask, *others = (probability > threshold for probability in predictions)
    return 1 - float(np.mean([dice(mask, other) for other in others]))


def compare_with_truth(truth: np.ndarray, predictions: list[np.ndarray]) -> dict[str, float]:
    """Return the row of one image in `Examination.images`, without its id and split, from `predict_augmented`."""
    mask, mean_mask = (clean_mask(each > LUNG_THRESHOLD) for each in (predictions[0], np.mean(predictions, axis=0)))
    return {
        "dice": dice(truth, mask), "augmented_dice": dice(truth, mean_mask), "disagreement": disagreement(predictions),
        "regions": count_regions(mask), "area": mask.mean(),
        "true_regions": count_regions(truth), "true_area": truth.mean(),
    }  # fmt: skip


def best_threshold(validation: Examination) -> float:
    """Return the threshold with the highest mean Dice on the validation images; of equal ones, the nearest to 0.5."""
    table = validation.thresholds
    best = table.loc[table["dice"] >= table["dice"].max() - ROUNDING, "threshold"]
    return float(best.iloc[(best - LUNG_THRESHOLD).abs().argmin()])


def save_temperature(settings: Settings, model_name: str, validation: Examination) -> float:
    """Choose the temperature of a model on validation images, write it beside the model, and return it.

    `choose_temperature` chooses the same one. An earlier one is replaced. Raises ValueError for another split.
    """
    if not (validation.images["split"] == "validation").all():
        raise ValueError("the temperature is chosen on validation images: examine the split `validation`.")
    return store_temperature(settings.results / model_name / MODEL, validation.border, len(validation.images))


def calibration_table(validation: dict[str, Examination], test: dict[str, Examination]) -> pd.DataFrame:
    """Return how well the probabilities of each model fit the test images, one row per model, from its examinations.

    `calibration_error` is the error near the border, and `corrected_error` that after correction by the `temperature`.
    The validation images choose the temperature and the threshold `best_threshold`. Of the test images, `dice` is the
    mean Dice at 0.5, `dice_at_best` that at the best threshold, `augmented_dice` that of the mean augmented prediction.
    """
    rows = {}
    for name, examination in test.items():
        threshold, temperature = best_threshold(validation[name]), best_temperature(validation[name].border)
        dice_at = examination.thresholds.set_index("threshold")["dice"]
        rows[title_of(name)] = {
            "calibration_error": calibration_error(reliability_table(examination.border)), "temperature": temperature,
            "corrected_error": calibration_error(reliability_table(examination.border, temperature)),
            "dice": dice_at[LUNG_THRESHOLD], "best_threshold": threshold, "dice_at_best": dice_at[threshold],
            "augmented_dice": examination.images["augmented_dice"].mean(),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
