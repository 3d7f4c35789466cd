"""The same again with other random seeds and on other folds: what is due to chance, and what to patients.

A difference between two networks that another seed or another fold turns round is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lungnb.datasets.prepare import prepare_dataset
from lungnb.evaluation.evaluation import compare, evaluate
from lungnb.evaluation.statistics import mean_interval
from lungnb.networks.pretraining import fetch_weights
from lungnb.networks.training import train
from lungnb.settings import Settings, title_of


def repetitions(settings: Settings, seeds: int = 1) -> list[Settings]:
    """Return the settings of each fold, if there are folds, with `seeds` random seeds, from the settings' own on."""
    folds = range(1, settings.folds + 1) if settings.folds else [settings.fold]
    return [settings.replace(seed=settings.seed + n, fold=fold) for n in range(seeds) for fold in folds]


def train_repeatedly(
    settings: Settings,
    model_names: list[str],
    seeds: int = 1,
    progress: bool = True,
    scored: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Train and score every model with each seed on each fold; return all scores, with `model`, `seed` and `fold`.

    What was trained before with the same settings is scored again, not trained again. `scored` holds the scores of the
    settings' own seed and fold, with `model`, where they are known: those are then taken as they are.
    """
    tables = []
    for run in repetitions(settings, seeds):
        if scored is not None and run == settings:
            tables.append(scored.assign(seed=run.seed, fold=run.fold))
            continue
        prepare_dataset(run, progress)
        fetch_weights(run, progress)
        for name in model_names:
            train(run, name, progress)
            scores = evaluate(run, name, progress=progress)
            tables.append(scores.assign(model=name, seed=run.seed, fold=run.fold))
    return pd.concat(tables, ignore_index=True)


def image_means(table: pd.DataFrame) -> pd.DataFrame:
    """Return, from a table of `repeat`, a row an image and model: its mean scores over seeds, the images of all folds.

    For `statistics.paired_tests`, to which one image with several seeds is one image.
    """
    return table.groupby(["model", "id", "patient"], sort=False).mean(numeric_only=True).reset_index()


def variation(table: pd.DataFrame, score: str = "dice") -> pd.DataFrame:
    """Return, from a table of `repeat`, a row a model: a score's mean, and how it varies.

    Of the mean over seeds of each image, `low` and `high` bound the 95 % interval over patients, and `patients_sd` is
    the standard deviation over images: what other patients would change. `seeds_sd` is that of a seed's mean over all
    images: what another run of the same would. `image_sd` is that of one image over seeds, on average: what seeds
    change and means hide. `folds_sd` is that of a fold's mean. With one seed, or one fold, these are missing.
    """
    rows = {}
    for name, own in table.groupby("model", sort=False):
        images = own.groupby("id").agg({score: "mean", "patient": "first"})
        low, high = mean_interval(images, score)
        rows[title_of(name)] = {
            "images": len(images), "seeds": own["seed"].nunique(), "folds": own["fold"].nunique(),
            score: images[score].mean(), "low": low, "high": high, "patients_sd": images[score].std(),
            "seeds_sd": own.groupby("seed")[score].mean().std(),
            "image_sd": own.groupby("id")[score].std().mean(),
            "folds_sd": own.groupby("fold")[score].mean().std(),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def compare_seeds(settings: Settings, model_names: list[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Return the row of `compare` of each model and seed, with the columns `model` (its name) and `seed`.

    The models must have been trained and scored with each of the seeds, all else as `settings` says.
    """
    tables = [compare(settings.replace(seed=seed), model_names).assign(model=model_names, seed=seed) for seed in seeds]
    return pd.concat(tables, ignore_index=True)


def seed_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return, from a table of `compare_seeds`, a row a model: mean Dice and IoU, how far seeds differ, and the cost.

    `dice_sd` is the standard deviation of a seed's mean Dice over seeds: what another run of the same would change,
    where the interval of `compare` is what other patients would. `dice_low` and `dice_high` are the lowest and the
    highest seed's.
    """
    groups = table.groupby("model", sort=False)
    columns = {
        "seeds": groups.size(),
        "dice": groups["dice"].mean(),
        "dice_sd": groups["dice"].std(),
        "dice_low": groups["dice"].min(),
        "dice_high": groups["dice"].max(),
        "iou": groups["iou"].mean(),
    }
    costs = ["parameters", "multiplications", "training_minutes", "milliseconds_per_image"]
    return pd.DataFrame(columns).join(groups[costs].median()).rename(index=title_of)
