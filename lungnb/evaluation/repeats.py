"""Repeat trainings with other random seeds and on other folds: what is due to chance, and what to patients.

`paired_tests` and `verdict` take the table of all trainings, so that their conclusions hold for other trainings too.
"""

from collections.abc import Sequence

import pandas as pd

from lungnb.datasets.prepare import prepare_dataset
from lungnb.evaluation.evaluation import compare, evaluate
from lungnb.evaluation.statistics import mean_interval, patient_means
from lungnb.networks.pretraining import fetch_weights
from lungnb.networks.records import settings_of
from lungnb.networks.training import read_run, train
from lungnb.presets import repetitions
from lungnb.settings import Settings, title_of


def train_repeatedly(
    settings: Settings, model_names: list[str], seeds: int = 1, progress: bool = True,
    scored: pd.DataFrame | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Train and score every model with each seed on each fold; return all scores, with `model`, `seed` and `fold`.

    A model that was trained with the same settings before is only scored. If the scores of the given seed and fold are
    known, pass them as `scored`, with a column `model`. They are then not computed again, and each model is trained
    with its own settings, except for the seed and the fold.
    """
    tables = []
    for run in repetitions(settings, seeds):
        if scored is not None and run == settings:
            tables.append(scored.assign(seed=run.seed, fold=run.fold))
            continue
        prepare_dataset(run, progress)
        for name in model_names:
            again = run
            if scored is not None:  # repeat how the model was trained, which may be fine-tuning
                trained = settings_of(read_run(settings, name))
                again = trained.replace(dataset=run.dataset, profile=run.profile, seed=run.seed, fold=run.fold)
            fetch_weights(again, progress)
            train(again, name, progress)
            scores = evaluate(run, name, progress=progress)
            tables.append(scores.assign(model=name, seed=run.seed, fold=run.fold))
    return pd.concat(tables, ignore_index=True)


def variation(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model of a table of `train_repeatedly`: its mean Dice, and how the Dice varies.

    `dice` is the mean over patients, and `low` and `high` bound its 95 % interval. The standard deviations are over
    the means of patients (`patients_sd`), of seeds (`seeds_sd`) and of folds (`folds_sd`), and of one image over seeds
    (`image_sd`; means over images hide it). With one seed or one fold, these are missing.
    """
    rows = {}
    for name, scores in table.groupby("model", sort=False):
        patients, (low, high) = patient_means(scores), mean_interval(scores, "dice")
        rows[title_of(str(name))] = {
            "images": scores["id"].nunique(), "patients": len(patients), "seeds": scores["seed"].nunique(),
            "folds": scores["fold"].nunique(), "dice": patients.mean(), "low": low, "high": high,
            "patients_sd": patients.std(), "seeds_sd": _spread(scores, "seed"),
            "image_sd": scores.groupby("id")["dice"].std().mean(), "folds_sd": _spread(scores, "fold"),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _spread(scores: pd.DataFrame, training: str) -> float:
    """Return the standard deviation of the mean Dice over patients between seeds or folds."""
    return scores.groupby([training, "patient"])["dice"].mean().groupby(training).mean().std()


def compare_seeds(settings: Settings, model_names: list[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Return the row of `compare` of each model and seed, with the columns `model` (its name) and `seed`.

    The models must have been trained and scored with each of the seeds and otherwise the same settings.
    """
    tables = [compare(settings.replace(seed=seed), model_names).assign(model=model_names, seed=seed) for seed in seeds]
    return pd.concat(tables, ignore_index=True)


def seed_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model of a table of `compare_seeds`: mean Dice and IoU, how far seeds differ, the cost.

    `dice_sd` is the standard deviation of the mean Dice over seeds: what another seed would change. The interval of
    `compare` is what other patients would change. `dice_low` and `dice_high` are the lowest and highest mean of a seed.
    """
    costs = ("parameters", "multiplications", "training_minutes", "milliseconds_per_image")
    summary = table.groupby("model", sort=False).agg(
        seeds=("seed", "size"), dice=("dice", "mean"), dice_sd=("dice", "std"), dice_low=("dice", "min"),
        dice_high=("dice", "max"), iou=("iou", "mean"), **{cost: (cost, "median") for cost in costs},
    )  # fmt: skip
    return summary.rename(index=title_of)
