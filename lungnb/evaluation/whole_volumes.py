"""Score whole volumes in 3-D, from apex to base; `evaluate` sees the prepared slices of their central half only."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lungnb.artefacts import MODEL, RUN, raw_folder
from lungnb.datasets.prepared import ManifestRow, open_prepared
from lungnb.datasets.reading import read_lung
from lungnb.datasets.sources import find_source
from lungnb.engines.engines import Engine, engine_of, load_model
from lungnb.formats.images import is_volume, read_volume
from lungnb.formats.tables import make_table
from lungnb.masks import Window
from lungnb.messages import progress_bar
from lungnb.metrics import dice, surface_scores
from lungnb.networks.records import trained_window
from lungnb.segmentation.predict import segment
from lungnb.settings import Settings

VOLUME_COLUMNS = ("model", "volume", "patient", "split", "slices", "dice", "hd95", "assd", "nsd")


def volume_scores(settings: Settings, model_names: Sequence[str], progress: bool = True) -> pd.DataFrame:
    """Score trained models on the whole volumes of the test split: a row per model and volume, with `VOLUME_COLUMNS`.

    All slices count, at the resolution of the raw file, and the mask is that of `segment`: the two largest regions of
    the whole volume. The Dice is of all voxels together. Distances are in mm, in three dimensions. If the slices of a
    volume lie at uneven steps, the step in its header counts. Without a test split, take the validation volumes
    instead. A data set without volumes gives a table without rows.

    Raises FileNotFoundError if a model is not trained or a raw volume was removed.
    """
    prepared, raw = open_prepared(settings), raw_folder(settings.dataset)
    mask_values = settings.mask_values or find_source(settings.dataset).mask_values
    sources = {row["source_image"]: row for row in prepared.rows(prepared.scoring_split())}
    volumes = [row for source, row in sources.items() if is_volume(raw / source)]
    table: list[dict[str, object]] = []
    for name in model_names if volumes else ():
        file = settings.results / name / MODEL
        engine, window_hu = engine_of(load_model(file)), trained_window(file.with_name(RUN))
        bar = progress_bar(volumes, f"Scoring volumes by {name}", "volume", progress)
        table += [{"model": name} | _score_volume(raw, row, engine, window_hu, mask_values) for row in bar]
    return make_table(table, VOLUME_COLUMNS)


def _score_volume(
    raw: Path, row: ManifestRow, engine: Engine, window_hu: Window | None, mask_values: tuple[int, ...] | None,
) -> dict[str, object]:  # fmt: skip
    """Return the scores of the volume of a row of the manifest."""
    mask = segment(raw / row["source_image"], engine, window=window_hu).mask
    volume = read_volume(raw / row["source_image"])
    masks = [read_lung(raw / path, volume, mask_values) for path in row["source_mask"].split(";")]
    truth = np.logical_or.reduce(masks)
    facts = {"volume": row["source_image"], "patient": row["patient"], "split": row["split"], "slices": len(truth)}
    return facts | {"dice": dice(truth, mask)} | surface_scores(truth, mask, volume.spacing_mm)
