"""Make a trained network the one that lungnb ships: the last step of `make weights`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipFile

import numpy as np

from lungnb.engines.engines import compute_in_float32
from lungnb.engines.export import export_model
from lungnb.files import need, written
from lungnb.networks.backend import keras
from lungnb.networks.chest_output import probability_part
from lungnb.networks.model_files import read_network
from lungnb.settings import SHIPPED
from train_chest import add_chest


def ship(run: Path, folder: Path = SHIPPED.parent, extend: Callable[[keras.Model], keras.Model] = add_chest) -> None:
    """Copy the model of a finished training into `folder`, with its history, its `run.json` and its ONNX export.

    Set it to compute in float32. Leave out the optimizer, which takes two thirds of the file. Round the weights to half
    precision, a change of at most one in 2,000, and compress the archive. Train the output `chest` on the rounded
    network; `extend` is the function that adds it.
    """
    model = probability_part(read_network(need(run / "model.keras", "train it")))
    compute_in_float32(model)
    round_weights(model)
    model = extend(model)
    round_weights(model)
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


def round_weights(model: keras.Model) -> None:
    """Round the weights of a network to half precision, in place."""
    model.set_weights([weight.astype(np.float16).astype(np.float32) for weight in model.get_weights()])


if __name__ == "__main__":
    drawings = Path(sys.argv[2]) if len(sys.argv) > 2 else None  # a folder that keeps them, for another training
    ship(Path(sys.argv[1]), extend=lambda model: add_chest(model, drawings))
