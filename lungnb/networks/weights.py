"""Copy weights from a file into a network."""

from pathlib import Path

from lungnb.files import need
from lungnb.networks.backend import keras
from lungnb.networks.model_files import check_weights, read_network


def take_weights(network: keras.Model, file: Path, part: str | None = None) -> None:
    """Copy weights into a network from a `.keras` model or from a `.weights.h5` file.

    The model's input size may differ. `part` is the name of the model's layer that has the network's structure; a
    `.weights.h5` file holds the network itself. Raises FileNotFoundError or ValueError for another file.
    """
    need(file, "train it, or name another file,")
    origin = ""
    try:
        if file.name.endswith(".weights.h5"):
            check_weights(file)
            network.load_weights(file)
        else:
            model = read_network(file)
            origin = f", but of a {model.name}, whose filters and depth must be used too"
            network.set_weights((model.get_layer(part) if part else model).get_weights())
    except (ValueError, OSError) as error:
        target = f"this {part} at this" if part else f"{network.name} at this width and"
        raise ValueError(f"{file}: not weights for {target} depth{origin} ({error}).") from error
