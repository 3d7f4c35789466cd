"""Score a trained model, keep its scores beside it, and compare the scores and costs of several models."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lungnb.artefacts import MODEL, SCORES, SUMMARY
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import load_model
from lungnb.evaluation.scaling import choose_temperature
from lungnb.evaluation.scoring import comparison_table, distance_summary, has_all_scores, mean_columns, score_images
from lungnb.evaluation.statistics import mean_interval, paired, patient_means
from lungnb.files import need, write_json
from lungnb.formats.tables import read_table, write_table
from lungnb.messages import run_first
from lungnb.networks.losses import get_loss
from lungnb.networks.machine import processor
from lungnb.networks.records import RunRecord, code_digest, git_commit, settings_of
from lungnb.networks.training import read_run
from lungnb.presets import RECIPES, command_of
from lungnb.settings import Settings


def evaluate(settings: Settings, model_name: str, split: str = "test", progress: bool = True) -> pd.DataFrame:
    """Score a trained model on a split: one row per image, with the columns of `score_images`.

    Scores are of cleaned masks, as `segment` gives them. `loss` is the training's loss of the probabilities, at the
    prepared image's size. For the test split, or validation if there is no test split, write `scores.csv` and
    `summary.json` beside the model, and choose the model's temperature (`choose_temperature`).

    Raises ValueError if the data set was prepared again after training, because its training images may now be in the
    test split. Raises ValueError that names the image if a probability is not a number.
    """
    run, prepared, folder = read_run(settings, model_name), open_prepared(settings), settings.results / model_name
    if run["plan"]["data"] != prepared.digest:
        raise ValueError(f"{model_name} was trained on another preparation of {settings.name}; train it again first.")
    split = prepared.scoring_split(split)
    model, loss = load_model(folder / MODEL), get_loss(settings_of(run).loss)
    table = score_images(model, prepared, [split], loss, title=model_name, progress=progress)
    if split == prepared.scoring_split():
        write_table(table, folder / SCORES)
        write_json(folder / SUMMARY, summarise(run, table, settings.name))
        choose_temperature(settings, model_name, progress)  # after the scores, which do not depend on it
    return table


def summarise(run: RunRecord, table: pd.DataFrame, dataset: str) -> dict[str, object]:
    """Return what `summary.json` says of a trained model and its table of scores on a data set.

    `metrics` holds the mean of each score and of the loss over the patients of `split`, which has `n` images, and its
    95 % interval from `mean_interval` (null for a single patient). `distances` holds the `distance_summary` in `unit`.
    `device` and `wall_seconds` are those of the training, and `milliseconds_per_image` is the median. `processor`,
    `git_commit` and `code_digest` are those of the scoring; `run.json` has those of the training.
    """
    trained, model_name, metrics = settings_of(run), run["plan"]["model"], {}
    for name in (*mean_columns(table), "loss"):
        low, high = (None if np.isnan(bound) else bound for bound in mean_interval(table, name))
        metrics[name] = {"mean": float(patient_means(table, name).mean()), "low": low, "high": high}
    return {
        "recipe": trained.profile if trained.profile in RECIPES else None, "dataset": dataset,
        "model": model_name, "split": table["split"].iloc[0], "n": len(table), "metrics": metrics,
        "distances": distance_summary(table), "unit": table["unit"].iloc[0],
        "command": command_of(trained, model_name), "device": run["device"], "wall_seconds": run["wall_seconds"],
        "milliseconds_per_image": float(table["milliseconds"].median()), "processor": processor(),
        "git_commit": git_commit(), "code_digest": code_digest(),
    }  # fmt: skip


def read_scores(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return the `scores.csv` of several models as one tidy table, with a column `model`.

    Raises FileNotFoundError if a model is not scored, ValueError that names an image that only some models scored.
    """
    step = run_first("scored")
    tables = {name: read_table(need(settings.results / name / SCORES, step)) for name in model_names}
    for name, scored in tables.items():
        if not has_all_scores(scored):
            raise ValueError(
                f"{name} was scored by an earlier lungnb, which scored masks that were not cleaned up, with distances "
                f"in pixels: {step} again."
            )
    table = pd.concat(tables, names=["model"]).reset_index(level=0).reset_index(drop=True)
    paired(table)  # raises an error if the models were scored on different images
    return table


def compare(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return one row per model: its scores, how sure they are, and what the model costs.

    Scores are means over patients, and a patient's score is the mean over their images. But `pooled_dice` and
    `pooled_iou` are of all pixels together, and distances, in `unit`, are medians and quartiles over images
    (`distance_summary`). `dice_low` and `dice_high` bound the 95 % interval of the mean. `first` is how often the model
    has the best mean Dice when patients are resampled (`first_places`).
    """
    return compare_runs(read_scores(settings, model_names), [read_run(settings, name) for name in model_names])


def compare_runs(scores: pd.DataFrame, runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Return the table of `compare` from a table of `read_scores` and the records of its models, in their order."""
    times = scores.groupby("model", sort=False)["milliseconds"].median()
    return comparison_table(scores).assign(
        parameters=[run["parameters"] for run in runs],
        multiplications=pd.Series([run.get("multiplications") for run in runs]).to_numpy(),
        epochs=[run["epochs"] for run in runs],
        training_minutes=[run["wall_seconds"] / 60 for run in runs],
        milliseconds_per_image=times.to_numpy(),
    )
