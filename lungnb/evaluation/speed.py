"""Measure how large and how fast the exported forms of a network are, and how well they agree with Keras."""

import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lungnb.engines.engines import Engine, ExportError, engine_of, installed, load_model, model_file, open_exported
from lungnb.engines.export import FORMATS, READERS, export_model
from lungnb.engines.parity import parities
from lungnb.messages import progress_bar


def milliseconds(engine: Engine, rounds: int = 30) -> list[float]:
    """Return the times (ms) in which an engine predicts one image, without the first two."""
    batch = np.random.default_rng(0).random((1, engine.size, engine.size, 1), np.float32)
    return [1000 * seconds for seconds in _seconds(lambda: engine(batch), rounds)]


def median_seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call, without the first two."""
    return float(np.median(_seconds(run, rounds)))


def _seconds(run: Callable[[], object], rounds: int) -> list[float]:
    """Return the times of calls, without the first two, which compile and allocate."""
    return timeit.repeat(run, number=1, repeat=rounds + 2)[2:]


def compare_exports(model: str | Path | None = None, folder: str | Path = ".", rounds: int = 30) -> pd.DataFrame:
    """Export a model to every format and return one row per engine: `megabytes`, `milliseconds` an image, and parity.

    `mean_dice` and `worst_dice` compare the engine's masks with those of Keras. `said` is the reason if a format cannot
    be exported. Keras has two rows, for `model.predict` and for a compiled call. Times are of one image at a time, the
    shortest of `rounds`, because other programs on the computer lengthen it least.
    """
    path = model_file(model)
    network, megabytes = load_model(path), path.stat().st_size / 1e6
    predict = Engine("model.predict", network.input_shape[1], lambda batch: network.predict(batch, verbose=0))
    rows: list[dict[str, Any]] = [
        {"form": "keras", "engine": f"keras, {name}", "megabytes": megabytes, "mean_dice": 1.0, "worst_dice": 1.0}
        | {"milliseconds": min(milliseconds(engine, rounds))}
        for name, engine in (("model.predict", predict), ("compiled", engine_of(network)))
    ]
    for form in progress_bar(FORMATS, "Exporting", "it"):
        try:
            file = export_model(path, form, Path(folder) / form)
        except ExportError as error:
            rows.append({"form": form, "engine": form, "said": str(error).partition(": ")[2]})
            continue
        parity_of = parities(file)
        megabytes = sum(part.stat().st_size for part in (file, file.with_suffix(".bin")) if part.exists()) / 1e6
        for reader in filter(installed, READERS[form]):
            opened = open_exported(reader, file)
            row = {"form": form, "engine": opened.name, "megabytes": megabytes}
            rows.append(row | {"milliseconds": min(milliseconds(opened, rounds))} | parity_of[opened.name]._asdict())
    columns = ["form", "engine", "megabytes", "milliseconds", "mean_dice", "worst_dice", "said"]
    return pd.DataFrame(rows).reindex(columns=columns).fillna({"said": ""})
