"""Choose the temperature of a trained network on its validation images, and store it beside the network."""

from pathlib import Path

import numpy as np
import pandas as pd

from lungnb.artefacts import MODEL, TEMPERATURE
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.engines.temperature import has_temperature, read_temperature
from lungnb.evaluation.probabilities import best_temperature, border_bins, mean_bins
from lungnb.files import need, write_json
from lungnb.formats.opening import digest_of_file
from lungnb.messages import progress_bar, run_first
from lungnb.segmentation.inference import predict
from lungnb.settings import Settings


def choose_temperature(settings: Settings, model_name: str, progress: bool = True) -> float:
    """Choose the temperature of a trained model on the validation images, store it beside the model, and return it.

    From then on, `segment` corrects this network's probabilities by it, with all engines. Masks do not change. A
    network that has a temperature keeps it. Raises FileNotFoundError if the model is not trained, or if nothing is
    prepared. Raises ValueError if there are no validation images, or if a probability is not a number.
    """
    model = need(settings.results / model_name / MODEL, run_first("trained", settings.dataset, model_name))
    if has_temperature(model):
        return read_temperature(model)
    prepared, engine, bins = open_prepared(settings), engine_of(load_model(model)), []
    for row in progress_bar(prepared.rows("validation"), f"Calibrating {model_name}", progress=progress):
        image, truth = prepared.pair(row)
        probability = predict(engine, image)
        if not np.isfinite(probability).all():
            raise ValueError(f"{model_name} gives probabilities of {row['id']} that are not numbers; train it again.")
        bins.append(border_bins(truth, probability))
    return store_temperature(model, mean_bins(bins), len(bins))


def store_temperature(model: Path, border: pd.DataFrame, images: int) -> float:
    """Write the best temperature for a table of `mean_bins` over `images` beside a `.keras` file, and return it."""
    temperature = best_temperature(border)
    record = {"temperature": temperature, "model": digest_of_file(model), "images": images}
    write_json(model.with_name(TEMPERATURE), record)
    return temperature
