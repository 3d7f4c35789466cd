"""Temperature scaling: correct over-confident or under-confident probabilities without changing any mask.

The logit of each probability is divided by one number, the temperature (Guo and others 2017,
https://arxiv.org/abs/1706.04599). A temperature above 1 moves probabilities towards 0.5. It is chosen on validation
images (`lungnb.evaluation.scaling`), stored beside the network, and applied to what any engine returns.
"""

from pathlib import Path
from typing import Any

import numpy as np

from lungnb.artefacts import TEMPERATURE
from lungnb.files import read_json
from lungnb.formats.opening import digest_of_file
from lungnb.masks import LUNG_THRESHOLD

TEMPERATURES = (0.1, 10.0)  # lowest and highest; beyond them, a network is so wrong that scaling does not help
_HALF = np.float32(LUNG_THRESHOLD)


def with_temperature(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities, float32 of the same shape, with their logits divided by the temperature.

    A temperature of 1 changes nothing. No probability crosses 0.5, not even by rounding, so the mask stays the same.

    Example:
        >>> with_temperature(np.array([0.0, 0.1, 0.5, 0.9], np.float32), 2.0).round(2).tolist()
        [0.0, 0.25, 0.5, 0.75]
    """
    if temperature == 1:
        return probability
    power = 1 / temperature
    lung, other = probability.astype(float) ** power, (1 - probability.astype(float)) ** power
    scaled = (lung / (lung + other)).astype(np.float32)
    above, below = np.maximum(scaled, np.nextafter(_HALF, np.float32(1))), np.minimum(scaled, _HALF)
    return np.where(probability > _HALF, above, below)


def read_temperature(model: Path) -> float:
    """Return the temperature stored beside a `.keras` file; 1 if there is none, or if it is that of another network.

    Raises ValueError if the file is damaged.
    """
    file = model.with_name(TEMPERATURE)
    if not file.exists():
        return 1.0
    stored, (low, high) = read_json(file), TEMPERATURES
    value: Any = stored.get("temperature")
    if type(value) not in (int, float) or not low <= value <= high:
        raise ValueError(
            f"{file}: must hold a temperature from {low:g} to {high:g}. Remove it, and run `lungnb evaluate` to choose "
            "one."
        )
    return float(value) if has_temperature(model) else 1.0


def has_temperature(model: Path) -> bool:
    """Return whether the temperature stored beside a `.keras` file was chosen for this network."""
    stored = read_json(model.with_name(TEMPERATURE))
    return "model" in stored and stored["model"] == digest_of_file(model)
