"""How large, how fast and how true the exported forms of a network are."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb.engines.conversion import FORMATS
from lungnb.engines.engines import engine_of, installed, load_model, model_file, open_exported
from lungnb.engines.export import READERS, ExportError, export_model, parities


def milliseconds(run: Callable[[np.ndarray], object], size: int, rounds: int = 30) -> float:
    """Return the median time (ms) of an answer to one image, `(1, size, size, 1)`; the first two do not count."""
    batch = np.random.default_rng(0).random((1, size, size, 1), np.float32)
    return 1000 * median_seconds(lambda: run(batch), rounds)


def median_seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call; the first two, which compile and allocate, do not count."""
    times = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def compare_exports(model: str | Path | None = None, folder: str | Path = ".", rounds: int = 30) -> pd.DataFrame:
    """Export a model to every format and return a row an engine: `megabytes`, `milliseconds` an image, and parity.

    `mean_dice` and `worst_dice` are of the engine's masks with those of Keras, `said` why a format cannot be had, or
    nothing. Keras stands there twice: as `model.predict` and as a compiled call. Times are of one image at a time.
    """
    path = model_file(model)
    network = load_model(path)
    size, megabytes = network.input_shape[1], path.stat().st_size / 1e6
    keras = {"model.predict": lambda batch: network.predict(batch, verbose=0), "compiled": engine_of(network)}
    rows = [
        {"form": "keras", "engine": f"keras, {name}", "megabytes": megabytes, "mean_dice": 1.0, "worst_dice": 1.0}
        | {"milliseconds": milliseconds(run, size, rounds)}
        for name, run in keras.items()
    ]
    for form in tqdm(FORMATS, "Exporting", file=sys.stdout):
        try:
            file = export_model(path, form, Path(folder) / form)
        except ExportError as error:
            rows.append({"form": form, "engine": form, "said": str(error).partition(": ")[2]})
            continue
        found = parities(file)
        megabytes = sum(part.stat().st_size for part in (file, file.with_suffix(".bin")) if part.exists()) / 1e6
        for engine in filter(installed, READERS[form]):
            opened = open_exported(engine, file)
            row = {"form": form, "engine": opened.name, "megabytes": megabytes}
            rows.append(row | {"milliseconds": milliseconds(opened, size, rounds)} | found[opened.name]._asdict())
    columns = ["form", "engine", "megabytes", "milliseconds", "mean_dice", "worst_dice", "said"]
    return pd.DataFrame(rows).reindex(columns=columns).fillna({"said": ""})
