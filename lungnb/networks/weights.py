"""Copy weights from a file into a network."""

from __future__ import annotations

from pathlib import Path

from lungnb.files import need
from lungnb.networks.backend import keras
from lungnb.networks.model_files import check_weights, read_network


def take_weights(network: keras.Model, file: Path, part: str | None = None) -> None:
    """Copy weights into a network from a `.keras` model or from a `.weights.h5` file.

    A model may be of another input size. `part` names the layer of the model that is like the network; a `.weights.h5`
    file holds the network's own. Raises FileNotFoundError for a file that is not there, ValueError for other weights.
    """
    need(file, "train it, or name another file,")
    held = ""
    try:
        if file.name.endswith(".weights.h5"):
            check_weights(file)
            network.load_weights(file)
        else:
            model = read_network(file)
            held = f", but of a {model.name}, with which its filters and depth must be taken too"
            network.set_weights((model.get_layer(part) if part else model).get_weights())
    except (ValueError, OSError) as error:
        what = f"this {part} at this" if part else f"{network.name} at this width and"
        raise ValueError(f"{file}: not weights for {what} depth{held} ({error}).") from error
