"""Weights that a network begins with: those lungnb ships, of a U-Net that has seen phantoms alone, or a file's."""

from __future__ import annotations

from pathlib import Path

from lungnb.backend import keras
from lungnb.files import need


def take_weights(network: keras.Model, file: Path, part: str | None = None) -> None:
    """Copy weights into a network from a `.keras` model, opened in safe mode, or from a `.weights.h5` file.

    A model may be of another input size. `part` names the layer of the model that is like the network; a `.weights.h5`
    file holds the network's own. Raises FileNotFoundError for a file that is not there, ValueError for other weights.
    """
    need(file, "train it, or name another file,")
    try:
        if file.name.endswith(".weights.h5"):
            network.load_weights(file)
        else:
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
            network.set_weights((model.get_layer(part) if part else model).get_weights())
    except (ValueError, OSError) as error:
        what = f"this {part} at this" if part else f"{network.name} at this width and"
        raise ValueError(f"{file}: not weights for {what} depth ({error}).") from error
