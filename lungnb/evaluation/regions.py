"""Scores of parts of the image: the right and the left lung, and the costophrenic angles of films."""

import numpy as np

from lungnb.artefacts import PREPARED_RECORD
from lungnb.datasets.prepared import Prepared
from lungnb.datasets.sources import CATALOGUE
from lungnb.files import read_json
from lungnb.masks import Mask
from lungnb.metrics import dice
from lungnb.segmentation.lungs import split_sides

ANGLE_SHARE = 0.1  # of a lung's height; fluid shows first in about this part of the recess between ribs and diaphragm


def side_scores(truth: Mask, prediction: Mask) -> dict[str, float]:
    """Return `right_dice` and `left_dice`, 0 to 1: the Dice of each of the patient's lungs, of masks (height, width).

    `split_sides` separates the lungs of each mask: lungs that touch are cut at their thinnest column, and a single
    region is the lung of that half of the image where it lies. The other lung is then empty. If one of two masks is
    empty, the Dice is 0. If both are empty, it is 1.

    Example:
        >>> truth = np.array([[1, 1, 0, 0, 1, 1]], bool)
        >>> side_scores(truth, np.array([[1, 1, 0, 0, 0, 0]], bool))  # the left lung is missing
        {'right_dice': 1.0, 'left_dice': 0.0}
    """
    (right, left), (predicted_right, predicted_left) = split_sides(truth), split_sides(prediction)
    return {"right_dice": dice(right, predicted_right), "left_dice": dice(left, predicted_left)}


def costophrenic_share(truth: Mask, prediction: Mask) -> float:
    """Return the share of the costophrenic angles that is predicted, 0 to 1, the mean over both lungs of a film.

    The angle of a true lung is the lowest part of its lateral half, `ANGLE_SHARE` of the lung's height. Networks often
    leave it out, and the Dice hardly shows it, because both angles are about 2 % of the lungs. Without a true lung,
    there is nothing to find, and the share is 1.

    Example:
        >>> truth = np.zeros((40, 40), bool)
        >>> truth[10:30, 5:15] = truth[10:30, 25:35] = True
        >>> prediction = truth.copy()
        >>> prediction[28:, :20] = False  # the lowest tenth of the right lung is missing
        >>> costophrenic_share(truth, prediction)
        0.5
    """
    shares = [prediction[angle].mean() for angle in costophrenic_angles(truth)]
    return float(np.mean(shares)) if shares else 1.0


def costophrenic_angles(truth: Mask) -> list[Mask]:
    """Return a mask of the costophrenic angle of each lung in a true mask (height, width) of a film."""
    angles = []
    for lung, is_right in zip(split_sides(truth), (True, False), strict=True):
        rows, columns = (np.flatnonzero(lung.any(axis)) for axis in (1, 0))
        if not len(rows):
            continue
        is_left_half = np.arange(lung.shape[1]) <= (columns[0] + columns[-1]) / 2
        lateral = lung & (is_left_half if is_right else ~is_left_half)  # the patient's right is on the left
        if not lateral.any():  # the lung is one column wide
            lateral = lung
        height = max(round(ANGLE_SHARE * (rows[-1] - rows[0] + 1)), 1)
        lateral[: np.flatnonzero(lateral.any(1))[-1] + 1 - height] = False
        angles.append(lateral)
    return angles


def shows_films(prepared: Prepared) -> bool:
    """Return whether a data set has costophrenic angles to score, that is, whether it shows chest X-rays.

    The catalogue says so of its data sets. Other folders count as films unless they hold volumes, or images in
    Hounsfield units, which were prepared with a `window`.
    """
    source = CATALOGUE.get(prepared.name)
    if source:
        return source.kind == "xray"
    has_volumes = prepared.manifest["source_image"].duplicated().any()  # several slices of one file or folder
    return not has_volumes and not read_json(prepared.folder / PREPARED_RECORD).get("window")
