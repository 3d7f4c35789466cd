"""Weights that a network begins with: those lungnb ships, of a network that has seen phantoms alone, or a file's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipFile

import numpy as np

from lungnb.files import need, written
from lungnb.networks.backend import keras
from lungnb.networks.model_files import check_weights, read_network
from lungnb.settings import SHIPPED


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


def ship(run: Path, folder: Path = SHIPPED.parent) -> None:
    """Make the model of a finished training, with its history and `run.json`, the one that lungnb ships.

    It computes in float32. The optimizer, two thirds of the file, is left out, weights are rounded to half precision (a
    change of one in 2,000 at most), and what that frees is pressed out of the archive. Its form for other engines is
    written beside it, so that whoever has one of them waits for no TensorFlow. `make weights` ends with this.
    """
    from lungnb.engines.engines import compute_in_float32
    from lungnb.engines.export import export_model  # both stand on what begins with these weights

    model = read_network(need(run / "model.keras", "train it"))
    compute_in_float32(model)
    model.set_weights([weight.astype(np.float16).astype(np.float32) for weight in model.get_weights()])
    with written(folder / SHIPPED.name) as temporary:
        model.save(temporary)
        with ZipFile(temporary) as archive:
            parts = {part: archive.read(part) for part in archive.namelist()}
        with ZipFile(temporary, "w", ZIP_BZIP2) as archive:
            for part, content in parts.items():
                archive.writestr(part, content)
    for name in ("history.csv", "run.json"):
        shutil.copyfile(run / name, folder / name)
    export_model(folder / SHIPPED.name, "onnx", folder, half=True)


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
