"""Make a trained network the one that lungnb ships: the last step of `make weights`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from zipfile import ZIP_BZIP2, ZipFile

import numpy as np

from lungnb.engines.engines import compute_in_float32
from lungnb.engines.export import export_model
from lungnb.files import need, written
from lungnb.networks.model_files import read_network
from lungnb.settings import SHIPPED


def ship(run: Path, folder: Path = SHIPPED.parent) -> None:
    """Copy the model of a finished training into `folder`, with its history, its `run.json` and its ONNX export.

    Set it to compute in float32. Leave out the optimizer, which takes two thirds of the file. Round the weights to half
    precision, a change of at most one in 2,000, and compress the archive.
    """
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
