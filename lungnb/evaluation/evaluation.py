"""A model on a split to a table with one row an image; what models come to and cost, from such tables.

Masks are the probabilities, resized to the prepared image's size, above 0.5; nothing is cleaned up unless asked for,
and nothing is chosen on the test images.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb import artefacts
from lungnb.artefacts import MODEL, SUMMARY
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.engines.engines import THRESHOLD, Engine, engine_of, load_model
from lungnb.evaluation.statistics import FEW, FEWEST, first_places, mean_interval, paired, paired_tests, pooled_counts
from lungnb.files import need, read_table, write_json, write_table
from lungnb.masks import clean_mask
from lungnb.messages import printable, run_first
from lungnb.metrics import SCORES, SURFACE_SCORES, count_pixels, scores, surface_scores
from lungnb.networks.backend import keras
from lungnb.networks.losses import Loss, get_loss
from lungnb.networks.records import settings_of
from lungnb.networks.training import read_run
from lungnb.segmentation.predict import predict
from lungnb.settings import PROFILES, RECIPES, SPLITS, Settings, counted, title_of


def evaluate(settings: Settings, model_name: str, split: str = "test", progress: bool = True) -> pd.DataFrame:
    """Score a trained model on a split: a row an image with the counts of pixels, every score, loss, and milliseconds.

    Distances (`hd95`, `assd`, the tolerance of `nsd`) are in the row's `unit`: mm where the manifest knows every
    image's size of a pixel, else px of the prepared image. The loss is the one that the model was trained with, of the
    probabilities at the prepared image's size against its mask; training takes it at the network's size. The
    milliseconds are those of one image at a time, resizing included, reading and writing left out. For the test split,
    `scores.csv` and `summary.json` are written beside the model. A data set prepared without a test split is scored on
    validation.

    Raises ValueError when the data set was prepared anew after training, since its training images may stand in the
    test split now, and when the model gives something else than numbers, naming the image.
    """
    run, prepared = read_run(settings, model_name), open_prepared(settings)
    if run["plan"]["data"] != prepared.digest:
        raise ValueError(f"{model_name} was trained on another preparation of {settings.name}; train it again first.")
    split = prepared.scoring_split(split)
    loss = get_loss(trained_settings(settings, model_name).loss)
    model = load_model(settings.results / model_name / MODEL)
    table = score_images(model, prepared, [split], loss, title=model_name, progress=progress)
    if split == prepared.scoring_split():
        write_table(table, settings.results / model_name / artefacts.SCORES)
        summarise(settings, model_name)
    return table


def score_images(
    model: keras.Model | Engine,
    prepared: Prepared,
    splits: Sequence[str] = SPLITS,
    loss: Loss | None = None,
    clean: bool = False,
    title: str = "the model",
    progress: bool = True,
) -> pd.DataFrame:
    """Score a network on splits of a prepared data set: a row an image, as `evaluate` says.

    `clean` cleans the masks up as `segment` does. The column `loss` needs a `loss`, from `losses.get_loss`. Raises
    ValueError for splits without an image, and for a model that gives something else than numbers.
    """
    engine, rows, in_mm = engine_of(model), prepared.rows(*splits), prepared.has_pixel_size
    predict(engine, prepared.pair(rows[0])[0])  # the first call compiles
    table = []
    for row in tqdm(rows, printable(f"Scoring {title}"), unit="image", file=sys.stdout, disable=not progress):
        image, truth = prepared.pair(row)
        started = time.perf_counter()
        probability = predict(engine, image)
        prediction = probability > THRESHOLD
        prediction = clean_mask(prediction) if clean else prediction
        milliseconds = 1000 * (time.perf_counter() - started)
        if not np.isfinite(probability).all():
            raise ValueError(f"{title} gives probabilities of {row['id']} that are no numbers; train it again.")
        counts = count_pixels(truth, prediction)
        spacing = (row["pixel_height_mm"], row["pixel_width_mm"]) if in_mm else None
        known = {key: row[key] for key in ("id", "patient", "split")} | {"unit": "mm" if spacing else "px"}
        scored = scores(counts) | surface_scores(truth, prediction, spacing)
        if loss:
            scored["loss"] = _loss_of_image(loss, truth, probability)
        table.append(known | scored | counts._asdict() | {"milliseconds": round(milliseconds, 2)})
    return pd.DataFrame(table)


def _loss_of_image(loss: Loss, truth: np.ndarray, probability: np.ndarray) -> float:
    """Return a training loss of one image from its mask and its probabilities, `(height, width)`."""
    as_batch = (keras.ops.convert_to_tensor(array[None, :, :, None], "float32") for array in (truth, probability))
    return float(loss(*as_batch)[0])


def trained_settings(settings: Settings, model_name: str) -> Settings:
    """Return the settings that a model was trained with, as its `run.json` has them."""
    return settings_of(read_run(settings, model_name))


def summarise(settings: Settings, model_name: str, command: str = "") -> dict:
    """Return what a scored model came to, and write it as `summary.json` beside it.

    `metrics` holds the mean of each score and of the loss over the `n` images of `split`, with the 95 % interval of
    `mean_interval` (null where a single patient leaves it undefined), distances in `unit`; `command` is by default that
    of `command_of`; `device` and `wall_seconds` are those of training, `milliseconds_per_image` is the median.
    """
    own, run = read_scores(settings, [model_name]), read_run(settings, model_name)
    trained = trained_settings(settings, model_name)
    metrics = {}
    for name in (*SCORES, *SURFACE_SCORES, "loss"):
        low, high = (None if np.isnan(bound) else bound for bound in mean_interval(own, name))
        metrics[name] = {"mean": float(own[name].mean()), "low": low, "high": high}
    summary = {
        "recipe": trained.profile if trained.profile in RECIPES else None,
        "dataset": settings.name,
        "model": model_name,
        "split": own["split"].iloc[0],
        "n": len(own),
        "metrics": metrics,
        "command": command or command_of(trained, model_name),
        "device": run["device"],
        "wall_seconds": run["wall_seconds"],
        "milliseconds_per_image": float(own["milliseconds"].median()),
        "unit": own["unit"].iloc[0],
    }
    write_json(settings.results / model_name / SUMMARY, summary)
    return summary


def command_of(settings: Settings, model_name: str) -> str:
    """Return the terminal's command that downloads, prepares, trains and scores with these settings.

    What differs from the profile or the recipe is given as `--set NAME=VALUE`; LUNGNB_SET is not to be set besides.

    Example: `command_of(make_settings(profile="simple-unet", seed=2), "unet")` ends in
    `lungnb evaluate montgomery --recipe simple-unet --set seed=2 --model unet`.
    """
    words = [settings.dataset, "--recipe" if settings.profile in RECIPES else "--profile", settings.profile]
    for change in changes_of(settings):
        words += ["--set", change]
    options, model = shlex.join(words), f"--model {model_name}"
    steps = [f"download {shlex.quote(settings.dataset)}", f"prepare {options}", f"train {options} {model}"]
    return " && ".join(f"lungnb {step}" for step in [*steps, f"evaluate {options} {model}"])


def changes_of(settings: Settings) -> list[str]:
    """Return in what settings differ from their profile or recipe, each as `NAME=VALUE`."""
    recipe = settings.profile in RECIPES
    base = RECIPES[settings.profile].settings if recipe else Settings(**PROFILES[settings.profile])
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

    Raises FileNotFoundError for a model not scored, ValueError that names an image not scored for all of them alike.
    """
    step = run_first("scored")
    files = {name: need(settings.results / name / artefacts.SCORES, step) for name in model_names}
    tables = {name: read_table(file) for name, file in files.items()}
    for name, own in tables.items():
        if not {*SCORES, *SURFACE_SCORES, "unit"} <= {*own}:
            raise ValueError(f"{name} was scored by an earlier lungnb, which lacked some scores; {step} again.")
    table = pd.concat(tables, names=["model"]).reset_index(level=0).reset_index(drop=True)
    paired(table, "dice")
    return table


def compare(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return a row a model: scores, how sure they are, and what the model costs.

    Scores are means over images, but for `pooled_dice` and `pooled_iou`, which are of all pixels together. `dice_low`
    and `dice_high` bound the 95 % interval of the mean; `first` is how often the model comes first among these when
    patients are resampled (`first_places`). Distances are in `unit`.
    """
    table = read_scores(settings, model_names)
    first = first_places(table)
    rows = []
    for name in model_names:
        own, run = table[table["model"] == name], read_run(settings, name)
        low, high = mean_interval(own, "dice")
        pooled = scores(pooled_counts(own))
        rows.append(
            {"model": title_of(name), "images": len(own), "unit": own["unit"].iloc[0]}
            | own[[*SCORES, *SURFACE_SCORES]].mean().to_dict()
            | {"dice_low": low, "dice_high": high, "first": first[name]}
            | {f"pooled_{score}": pooled[score] for score in ("dice", "iou")}
            | {"parameters": run["parameters"], "multiplications": run.get("multiplications")}
            | {"epochs": run["epochs"], "training_minutes": run["wall_seconds"] / 60}
            | {"milliseconds_per_image": own["milliseconds"].median()}
        )
    return pd.DataFrame(rows).set_index("model")


def verdict(settings: Settings, model_names: list[str]) -> str:
    """Return, computed from the tables, which model is better, how sure that is, and at what cost."""
    scored, table = read_scores(settings, model_names), compare(settings, model_names)
    ranking = table["dice"].sort_values(ascending=False)
    best, count = ranking.index[0], int(table["images"].iloc[0])
    low, high = table.loc[best, ["dice_low", "dice_high"]]
    interval = "" if np.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    where = f"on {counted(count, scored['split'].iloc[0] + ' image')} of {settings.name}."
    if len(ranking) > 1:
        text = [f"{best} has the highest mean Dice, {ranking.iloc[0]:.3f}{interval}, {where}"]
    else:
        text = [f"{best} has a mean Dice of {ranking.iloc[0]:.3f}{interval} {where}"]
    names = {title_of(name): name for name in model_names}
    tests = paired_tests(scored)
    for other in ranking.index[1:]:
        pair = {names[best], names[other]}
        test = next(row for row in tests.itertuples() if {row.first, row.second} == pair)
        text.append(_behind(other, ranking.iloc[0] - ranking[other], test))
    text += [_cost(table), _unlike(settings, model_names)]
    if count < FEW:
        text.append(
            f"With {counted(count, 'image')}, fewer than {FEW}, none of this should be taken for more than a hint."
        )
    return " ".join(filter(None, text))


def _behind(other: str, gap: float, test: Any) -> str:  # noqa: ANN401
    """Return how far a model is behind the best, and how sure that is by a row of `paired_tests`."""
    behind = f"{other} is {gap:.3f} behind" if gap >= 0.0005 else f"{other} is less than 0.001 behind"
    if test.patients < FEWEST:
        return f"{behind}, on too few patients to tell that from chance."
    by = f"(paired Wilcoxon, Holm-corrected p = {test.p_holm:.2g})"
    if test.p_holm >= 0.05:
        return f"{behind}, which chance alone could explain {by}."
    if test.difference * test.effect < 0:  # the mean is of a few images that went wrong
        return f"{behind} in the mean and yet ahead on most images, which is unlikely to be chance {by}."
    return f"{behind}, a difference that is unlikely to be chance {by}."


def _cost(table: pd.DataFrame) -> str:
    """Return which model of a table of `compare` is the quickest, and which the smallest."""
    times, small = table["milliseconds_per_image"], table["parameters"].idxmin()
    quick, size = times.idxmin(), f"{table['parameters'].min():,} parameters"
    speed = f"{times.min():.0f} ms an image on this machine"
    if len(table) == 1:
        return f"It takes {speed} and has {size}."
    if times.max() <= 1.2 * times.min():  # no more than what timing it again may change
        return f"All are about as quick, at {speed} or little more; {small} is the smallest with {size}."
    return f"{quick} is the quickest at {speed}, {small if small != quick else 'and'} the smallest with {size}."


def _unlike(settings: Settings, model_names: list[str]) -> str:
    """Return in what the models' trainings differ besides the model, as a sentence, or nothing."""
    trained = [dataclasses.asdict(trained_settings(settings, name)) for name in model_names]
    values = {name: [each[name] for each in trained] for name in trained[0] if name not in ("models", "profile")}
    unlike = [f"{name} {', '.join(map(str, of))}" for name, of in values.items() if any(of[0] != each for each in of)]
    return f"They were not trained alike, so that this may be no matter of the networks: {'; '.join(unlike)}." * bool(
        unlike
    )
