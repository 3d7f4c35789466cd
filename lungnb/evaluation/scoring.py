"""Score the masks of a network on a prepared data set: one row per image.

The scored masks are those of `segment`: a pixel is lung if its probability, resized to the prepared image's size, is
above 0.5; then `clean_mask` keeps the two largest regions and fills their holes. Nothing is chosen on test images.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lungnb.datasets.prepared import Prepared
from lungnb.engines.engines import Network, engine_of
from lungnb.evaluation.regions import costophrenic_share, shows_films, side_scores
from lungnb.evaluation.statistics import first_places, mean_interval, patient_means, pooled_counts
from lungnb.masks import LUNG_THRESHOLD, Mask, clean_mask
from lungnb.messages import progress_bar
from lungnb.metrics import (
    FAILED_DICE,
    OVERLAP_SCORES,
    SURFACE_SCORES,
    count_pixels,
    dice,
    distance_unit,
    scores,
    surface_scores,
)
from lungnb.segmentation.inference import predict
from lungnb.settings import SPLITS, title_of

if TYPE_CHECKING:
    from lungnb.networks.losses import Loss

SIDE_SCORES = ("right_dice", "left_dice")
ANGLES = "costophrenic"  # a column of films only
RAW_SCORES = ("raw_dice", "raw_hd95")  # of masks before they are cleaned
SCORE_COLUMNS = (*OVERLAP_SCORES, *SURFACE_SCORES, *SIDE_SCORES, *RAW_SCORES)  # of every table of scores
UNITS = ("mm", "%")  # of distances; `%` of the longer image side


def score_images(
    model: Network, prepared: Prepared, splits: Sequence[str] = SPLITS, loss: Loss | None = None,
    title: str = "the model", progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Score a network on splits of a prepared data set; return one row per image.

    Columns: `id`, `patient`, `split`, `group` if the manifest has it, the `unit` of distances, all scores of
    `lungnb.metrics`, `right_dice` and `left_dice` (`side_scores`), for films `costophrenic` (`costophrenic_share`),
    `raw_dice` and `raw_hd95` of the mask before it is cleaned, the counts of pixels, and `milliseconds`.

    Distances are in mm if the manifest has the pixel size of every image, otherwise in percent of the longer side.
    With a `loss` from `losses.get_loss`, there is a column `loss` of the probabilities. `milliseconds` is the time for
    one image at a time, with resizing and cleaning, without reading.

    Raises ValueError for splits without an image, and if a probability is not a number.
    """
    engine, rows, are_films = engine_of(model), prepared.rows(*splits), shows_films(prepared)
    predict(engine, prepared.pair(rows[0])[0])  # the first call compiles
    table = []
    for row in progress_bar(rows, f"Scoring {title}", progress=progress):
        image, truth = prepared.pair(row)
        started = time.perf_counter()
        probability = predict(engine, image)
        raw = probability > LUNG_THRESHOLD
        mask = clean_mask(raw)
        milliseconds = 1000 * (time.perf_counter() - started)
        if not np.isfinite(probability).all():
            raise ValueError(f"{title} gives probabilities of {row['id']} that are not numbers; train it again.")
        spacing_mm = (row["pixel_height_mm"], row["pixel_width_mm"]) if prepared.has_pixel_size else None
        scored: dict[str, Any] = {key: row[key] for key in ("id", "patient", "split", "group") if key in row}
        scored |= score_mask(truth, mask, spacing_mm, are_films)
        raw_hd95 = scored["hd95"] if np.array_equal(raw, mask) else surface_scores(truth, raw, spacing_mm)["hd95"]
        scored |= {"raw_dice": dice(truth, raw), "raw_hd95": raw_hd95}
        scored |= {"loss": _loss_of(loss, truth, probability)} if loss else {}
        table.append(scored | count_pixels(truth, mask)._asdict() | {"milliseconds": round(milliseconds, 2)})
    return pd.DataFrame(table)


def score_mask(truth: Mask, mask: Mask, spacing_mm: Sequence[float] | None, is_film: bool) -> dict[str, Any]:
    """Return the unit of distances and all scores of a mask, `(height, width)` or `(slices, height, width)`.

    `spacing_mm` is the pixel spacing along each axis. Without it, distances are in percent of the longest side.
    """
    scored = scores(count_pixels(truth, mask)) | surface_scores(truth, mask, spacing_mm) | side_scores(truth, mask)
    scored |= {ANGLES: costophrenic_share(truth, mask)} if is_film else {}
    return {"unit": distance_unit(spacing_mm)} | scored


def _loss_of(loss: Loss, truth: Mask, probability: np.ndarray) -> float:
    from lungnb.networks.backend import keras

    pair = (keras.ops.convert_to_tensor(array[None, :, :, None], "float32") for array in (truth, probability))
    return float(loss(*pair)[0])


def has_all_scores(table: pd.DataFrame) -> bool:
    """Return whether a table of scores has the columns and the units of this version of lungnb."""
    return {*SCORE_COLUMNS, "unit"} <= {*table} and bool(table["unit"].isin(UNITS).all())


def mean_columns(table: pd.DataFrame) -> list[str]:
    """Return the scores of a table that are averaged over images: all shares, but no distances."""
    return [name for name in (*OVERLAP_SCORES, *SIDE_SCORES, ANGLES, "raw_dice") if name in table]


def distance_summary(table: pd.DataFrame) -> dict[str, float]:
    """Return the median and the quartiles of each distance score over images, and how many masks failed.

    A mean would say little, because the distance of one empty mask is the image diagonal. `empty` counts empty masks of
    images with lung. `failed` counts masks with a Dice below `FAILED_DICE`, including the empty ones.

    Example:
        >>> images = dict.fromkeys(["hd95", "assd", "nsd", "raw_hd95"], [1.0, 2.0, 9.0])
        >>> images |= {"dice": [0.9, 0.8, 0], "tp": [9, 8, 0], "fp": [1, 2, 0], "fn": [1, 2, 10]}
        >>> summary = distance_summary(pd.DataFrame(images))
        >>> summary["hd95_q1"], summary["hd95_median"], summary["hd95_q3"], summary["empty"], summary["failed"]
        (1.5, 2.0, 5.5, 1, 1)
    """
    levels = {"median": 0.5, "q1": 0.25, "q3": 0.75}
    summary = {
        f"{name}_{level}": float(table[name].quantile(share))
        for name in SURFACE_SCORES
        for level, share in levels.items()
    }
    is_empty = (table["tp"] + table["fp"] == 0) & (table["fn"] > 0)
    raw = {"raw_hd95_median": float(table["raw_hd95"].median())} if "raw_hd95" in table else {}
    return summary | raw | {"empty": int(is_empty.sum()), "failed": int((table["dice"] < FAILED_DICE).sum())}


def comparison_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model of a table of scores: the scores and their intervals, in the columns of `compare`.

    Raises ValueError as `paired` does if the models were not scored on the same images.
    """
    first, rows = first_places(table), []
    for name, images in table.groupby("model", sort=False):
        low, high = mean_interval(images, "dice")
        pooled = scores(pooled_counts(images))
        rows.append({
            "model": title_of(str(name)), "images": len(images), "patients": images["patient"].nunique(),
            "unit": images["unit"].iloc[0],
            **{score: patient_means(images, score).mean() for score in mean_columns(images)},
            **distance_summary(images), "dice_low": low, "dice_high": high,
            "first": first[name], "pooled_dice": pooled["dice"], "pooled_iou": pooled["iou"],
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("model")


def group_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice of each group of patients, such as normal and tuberculosis, one row per model and group.

    `table` holds rows of `evaluate` with the column `model`. Columns: `images`, `patients`, the mean `dice` over
    patients with its 95 % interval (`dice_low`, `dice_high`), and a `note` if a group is too small for an interval.
    The table has no row if the manifest has no groups.

    Example:
        >>> table = pd.DataFrame({"model": "unet", "patient": ["a", "b", "c"], "dice": [0.98, 0.96, 0.9]})
        >>> group_scores(table.assign(group=["normal", "normal", "ill"])).loc["unet", ["patients", "note"]].to_dict()
        {'patients': {'normal': 2, 'ill': 1}, 'note': {'normal': '', 'ill': 'one patient: no interval'}}
    """
    rows = []
    groups = table["group"].fillna("") if "group" in table else pd.Series("", table.index)
    if (groups == "").all():
        table = table.head(0)
    named = table.assign(group=groups.replace("", "not stated"))
    for (model, group), images in named.groupby(["model", "group"], sort=False):
        means, (low, high) = patient_means(images), mean_interval(images, "dice")
        note = "one patient: no interval" if len(means) == 1 else ""
        rows.append((model, group, len(images), len(means), means.mean(), low, high, note))
    columns = ["model", "group", "images", "patients", "dice", "dice_low", "dice_high", "note"]
    return pd.DataFrame(rows, columns=columns).set_index(["model", "group"])
