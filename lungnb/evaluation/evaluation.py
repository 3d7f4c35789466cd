"""Score a model on a split, a row an image, and compare the scores and costs of several models.

A mask is where the probability, resized to the prepared image's size, is above 0.5. Masks are not cleaned up unless
asked for. No choice is made on the test images.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb.artefacts import MODEL, SCORES, SUMMARY
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.engines.engines import LUNG_THRESHOLD, Engine, engine_of, load_model
from lungnb.evaluation.statistics import first_places, mean_interval, paired, patient_means, pooled_counts
from lungnb.files import need, read_table, write_json, write_table
from lungnb.masks import clean_mask
from lungnb.messages import printable, run_first
from lungnb.metrics import OVERLAP_SCORES, SURFACE_SCORES, count_pixels, scores, surface_scores
from lungnb.networks.backend import keras
from lungnb.networks.losses import Loss, get_loss
from lungnb.networks.records import settings_of
from lungnb.networks.training import read_run
from lungnb.segmentation.predict import predict
from lungnb.settings import PROFILES, RECIPES, SPLITS, Settings, title_of


def evaluate(settings: Settings, model_name: str, split: str = "test", progress: bool = True) -> pd.DataFrame:
    """Score a trained model on a split: a row an image with the counts of pixels, every score, loss, and milliseconds.

    Distances (`hd95`, `assd`, the tolerance of `nsd`) are in the row's `unit`: mm if the manifest has the pixel size of
    every image, else px of the prepared image. `loss` is the training's loss, at the prepared image's size.
    `milliseconds` is the time for one image at a time, with resizing, without reading and writing.

    For the test split, or validation if there is no test split, write `scores.csv` and `summary.json` beside the model.

    Raises ValueError if the data set was prepared again after training, because its training images may now be in the
    test split. Raises ValueError that names the image if a probability is not a number.
    """
    run, prepared = read_run(settings, model_name), open_prepared(settings)
    if run["plan"]["data"] != prepared.digest:
        raise ValueError(f"{model_name} was trained on another preparation of {settings.name}; train it again first.")
    split = prepared.scoring_split(split)
    model, loss = load_model(settings.results / model_name / MODEL), get_loss(settings_of(run).loss)
    table = score_images(model, prepared, [split], loss, title=model_name, progress=progress)
    if split == prepared.scoring_split():
        write_table(table, settings.results / model_name / SCORES)
        summarise(settings, model_name)
    return table


def score_images(
    model: keras.Model | Engine, prepared: Prepared, splits: Sequence[str] = SPLITS, loss: Loss | None = None,
    clean: bool = False, title: str = "the model", progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Score a network on splits of a prepared data set: a row an image, as `evaluate` says.

    With `clean`, masks are cleaned up as by `segment`. With a `loss` from `losses.get_loss`, there is a column `loss`.
    Raises ValueError for splits without an image, and if a probability is not a number.
    """
    engine, rows = engine_of(model), prepared.rows(*splits)
    predict(engine, prepared.pair(rows[0])[0])  # the first call compiles
    table = []
    for row in tqdm(rows, printable(f"Scoring {title}"), unit="image", file=sys.stdout, disable=not progress):
        image, truth = prepared.pair(row)
        started = time.perf_counter()
        probability = predict(engine, image)
        prediction = clean_mask(probability > LUNG_THRESHOLD) if clean else probability > LUNG_THRESHOLD
        milliseconds = 1000 * (time.perf_counter() - started)
        if not np.isfinite(probability).all():
            raise ValueError(f"{title} gives probabilities of {row['id']} that are no numbers; train it again.")
        counts = count_pixels(truth, prediction)
        spacing_mm = (row["pixel_height_mm"], row["pixel_width_mm"]) if prepared.has_pixel_size else None
        image_facts = {key: row[key] for key in ("id", "patient", "split")} | {"unit": "mm" if spacing_mm else "px"}
        image_scores = scores(counts) | surface_scores(truth, prediction, spacing_mm)
        if loss:
            pair = (keras.ops.convert_to_tensor(array[None, :, :, None], "float32") for array in (truth, probability))
            image_scores["loss"] = float(loss(*pair)[0])
        table.append(image_facts | image_scores | counts._asdict() | {"milliseconds": round(milliseconds, 2)})
    return pd.DataFrame(table)


def trained_settings(settings: Settings, model_name: str) -> Settings:
    """Return the settings that a model was trained with, from its `run.json`."""
    return settings_of(read_run(settings, model_name))


def summarise(settings: Settings, model_name: str) -> None:
    """Write the summary of a scored model as `summary.json` beside the model.

    `metrics` holds the mean of each score and of the loss over the patients of `split`, which has `n` images, with the
    95 % interval of `mean_interval`, which is null for a single patient. Distances are in `unit`. `device` and
    `wall_seconds` are those of the training, and `milliseconds_per_image` is the median.
    """
    table, run = read_scores(settings, [model_name]), read_run(settings, model_name)
    trained = settings_of(run)
    metrics = {}
    for name in (*OVERLAP_SCORES, *SURFACE_SCORES, "loss"):
        low, high = (None if np.isnan(bound) else bound for bound in mean_interval(table, name))
        metrics[name] = {"mean": float(patient_means(table, name).mean()), "low": low, "high": high}
    summary = {
        "recipe": trained.profile if trained.profile in RECIPES else None, "dataset": settings.name,
        "model": model_name, "split": table["split"].iloc[0], "n": len(table), "metrics": metrics,
        "command": command_of(trained, model_name), "device": run["device"], "wall_seconds": run["wall_seconds"],
        "milliseconds_per_image": float(table["milliseconds"].median()), "unit": table["unit"].iloc[0],
    }  # fmt: skip
    write_json(settings.results / model_name / SUMMARY, summary)


def command_of(settings: Settings, model_name: str) -> str:
    """Return the terminal's command that downloads, prepares, trains and scores with these settings.

    It gives settings that differ from the profile or the recipe, such as `--set seed=2`. Run it without LUNGNB_SET.
    """
    words = [settings.dataset, "--recipe" if settings.profile in RECIPES else "--profile", settings.profile]
    for change in changes_of(settings):
        words += ["--set", change]
    options, model = shlex.join(words), f"--model {model_name}"
    steps = f"prepare {options}", f"train {options} {model}", f"evaluate {options} {model}"
    return " && ".join(f"lungnb {step}" for step in (f"download {shlex.quote(settings.dataset)}", *steps))


def changes_of(settings: Settings) -> list[str]:
    """Return the settings that differ from their profile or recipe, each as `NAME=VALUE`."""
    is_recipe = settings.profile in RECIPES
    base = RECIPES[settings.profile].settings if is_recipe else Settings().replace(**PROFILES[settings.profile])
    if settings.dataset != base.dataset:
        base = base.replace(split_file=None)  # as make_settings does
    changes = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("dataset", "profile") and value != getattr(base, field.name):
            changes.append(f"{field.name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return changes


def read_scores(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return the `scores.csv` of several models as one tidy table, with a column `model`.

    Raises FileNotFoundError if a model is not scored, ValueError that names an image that only some models scored.
    """
    step = run_first("scored")
    tables = {name: read_table(need(settings.results / name / SCORES, step)) for name in model_names}
    for name, scored in tables.items():
        if not {*OVERLAP_SCORES, *SURFACE_SCORES, "unit"} <= {*scored}:
            raise ValueError(f"{name} was scored by an earlier lungnb, which lacked some scores; {step} again.")
    table = pd.concat(tables, names=["model"]).reset_index(level=0).reset_index(drop=True)
    paired(table)  # raises an error if the models were scored on different images
    return table


def compare(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return a row a model: its scores, how sure they are, and what the model costs.

    Scores are means over patients, each patient's score being the mean over their images, except `pooled_dice` and
    `pooled_iou`, which are of all pixels together. `dice_low` and `dice_high` bound the 95 % interval of the mean.
    `first` is how often the model has the best mean Dice when patients are resampled (`first_places`). Distances are in
    `unit`.
    """
    table = read_scores(settings, model_names)
    first = first_places(table)
    rows = []
    for name in model_names:
        images, run = table[table["model"] == name], read_run(settings, name)
        low, high = mean_interval(images, "dice")
        pooled = scores(pooled_counts(images))
        rows.append({
            "model": title_of(name), "images": len(images), "patients": images["patient"].nunique(),
            "unit": images["unit"].iloc[0],
            **{score: patient_means(images, score).mean() for score in (*OVERLAP_SCORES, *SURFACE_SCORES)},
            "dice_low": low, "dice_high": high,
            "first": first[name], "pooled_dice": pooled["dice"], "pooled_iou": pooled["iou"],
            "parameters": run["parameters"], "multiplications": run.get("multiplications"),
            "epochs": run["epochs"], "training_minutes": run["wall_seconds"] / 60,
            "milliseconds_per_image": images["milliseconds"].median(),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("model")
