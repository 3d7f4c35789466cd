"""Let a network predict one image: the probability of lung, whether it shows a chest, and whether it is changed first.

An image whose lungs are bright is inverted before. If asked for, a film that is not upright is turned before.
"""

from typing import NamedTuple

import numpy as np

from lungnb.engines.engines import Engine, Prediction
from lungnb.engines.temperature import with_temperature
from lungnb.formats.dicom_header import NO_TURN, Turn
from lungnb.formats.pixels import Square, fit_square, unfit_square
from lungnb.masks import CHEST_THRESHOLD, CLEAR_CHEST, LUNG_SHARE, LUNG_THRESHOLD, Mask, bounding_box

NOT_A_CHEST = "does not look like an upright chest film or axial CT slice"
# By as many grey levels, 0 to 255, the lungs of a negative are brighter than what lies between and around them. On 819
# real films and slices, lungs are darker by 21 or more, and in their negatives brighter by 20 or more.
_NEGATIVE_LEVELS = 10
# By degrees counter-clockwise
TURNS = {0: NO_TURN, 90: Turn(True, (0,)), 180: Turn(False, (0, 1)), 270: Turn(True, (1,))}


class ImagePrediction(NamedTuple):
    """The prediction of a network for one image."""

    probability: np.ndarray  # (height, width), float32, of lung, 0 to 1
    chest: float | None = None  # 0 to 1, near 1 for a chest; None for a network without this output
    turned_degrees: int = 0  # by which the image was turned counter-clockwise to predict it
    is_negative: bool = False  # whether the image was inverted to predict it, because its lungs are bright


def predict(engine: Engine, grey: np.ndarray) -> np.ndarray:
    """Return the probability of lung, float32, of a uint8 image `(height, width)`, at its own size.

    It is corrected by the temperature of the engine, which is 1 unless `open_model` found one beside the network.
    If all pixels have the same grey, the probability is 0, whatever the network predicts.
    """
    return predict_image(engine, grey).probability


def predict_image(engine: Engine, grey: np.ndarray) -> ImagePrediction:
    """Return all that the network predicts for an image; arguments and rules as in `predict`.

    If all pixels have the same grey, `chest` is 0. It is None if the network does not have this output. A network that
    has it learned from images with dark lungs. So if the lungs that it finds are bright, the image is inverted, and the
    prediction is that of the inverted image.
    """
    square, predicted = _predict_square(engine, grey)
    found = predicted.probability[0, :, :, 0]
    is_inverted = predicted.chest is not None and is_negative(square.array, found > LUNG_THRESHOLD)
    if is_inverted:
        square, predicted = _predict_square(engine, 255 - grey)
    chest = None if predicted.chest is None else float(predicted.chest[0, 0])
    if grey.min() == grey.max():
        return ImagePrediction(np.zeros(grey.shape, np.float32), None if chest is None else 0.0)
    # The temperature is applied after resizing, so that it changes no mask.
    probability = unfit_square(predicted.probability[0, :, :, 0], square, *grey.shape)
    return ImagePrediction(with_temperature(probability, engine.temperature), chest, is_negative=is_inverted)


def _predict_square(engine: Engine, grey: np.ndarray) -> tuple[Square, Prediction]:
    """Return an image in the square that the network sees, and the outputs of the network."""
    square = fit_square(grey, engine.size)
    return square, engine.predict(square.array[None, :, :, None].astype(np.float32) / 255.0)


def is_negative(grey: np.ndarray, mask: Mask) -> bool:
    """Return whether an image is a negative: its lungs are brighter than the other pixels of the box around them.

    `grey` is uint8, and it and `mask` are `(height, width)`. A mask that is implausibly small does not tell.

    >>> lungs = np.pad(np.eye(2, dtype=bool).repeat(8, 0).repeat(8, 1), 4)
    >>> is_negative(np.uint8(255 * lungs), lungs), is_negative(np.uint8(255 * ~lungs), lungs)
    (True, False)
    """
    if mask.mean() < LUNG_SHARE[0]:
        return False
    box = bounding_box(mask)
    inside, lung = grey[box], mask[box]
    if lung.all():
        return False
    return bool(inside[lung].mean() - inside[~lung].mean() > _NEGATIVE_LEVELS)


def predict_upright(engine: Engine, grey: np.ndarray) -> ImagePrediction:
    """Return the prediction for an image that may lie on its side or upside down, in the image's own orientation.

    If the image does not look like a chest, turn it by 90, 180 and 270 degrees. If exactly one of these clearly looks
    like one, return its prediction, turned back.
    """
    as_it_is = predict_image(engine, grey)
    if not is_doubtful(as_it_is.chest):
        return as_it_is
    turned = {degrees: predict_image(engine, TURNS[degrees].upright(grey)) for degrees in (90, 180, 270)}
    clear = [degrees for degrees, each in turned.items() if each.chest is not None and each.chest > CLEAR_CHEST]
    if len(clear) != 1:
        return as_it_is
    (degrees,) = clear
    probability = TURNS[degrees].stored(turned[degrees].probability)
    return turned[degrees]._replace(probability=probability, turned_degrees=degrees)


def is_doubtful(chest: float | None) -> bool:
    """Return whether the output `chest` of a network says that an image is not a chest film or CT slice.

    >>> is_doubtful(0.2), is_doubtful(0.98), is_doubtful(None)
    (True, False, False)
    """
    return chest is not None and chest < CHEST_THRESHOLD


def chest_of_volume(chest: list[float | None], mask: np.ndarray) -> float | None:
    """Return the median of `chest` over the slices of a volume that have lung, or over all if none has.

    The median is used, because a few slices of neck or abdomen do not make a volume wrong. `mask` is `(slices, height,
    width)`.

    >>> chest_of_volume([0.1, 0.9, 0.8, 0.95], np.array([0, 1, 1, 1])[:, None, None])
    0.9
    """
    has_lung = np.any(mask, axis=(1, 2))
    values = np.array([np.nan if value is None else value for value in chest])
    if np.isnan(values).any():
        return None
    return float(np.median(values[has_lung] if has_lung.any() else values))
