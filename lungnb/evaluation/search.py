"""Search for hyper-parameters with Optuna: learning rate, loss, filters and augmentation, judged on validation images.

Optuna (Akiba and others 2019, https://arxiv.org/abs/1907.10902) is in the extra `search`. Each settings and data have
a study in results/<dataset>/search/<model>.db. `<model>.csv` beside it is the table of the last study.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import warnings
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
from tqdm import tqdm

from lungnb.datasets.prepared import open_prepared
from lungnb.files import need, remove, writable
from lungnb.formats.tables import write_table
from lungnb.messages import run_first
from lungnb.networks.backend import keras
from lungnb.networks.data import SEEDS_PER_RUN
from lungnb.networks.losses import LOSSES
from lungnb.networks.pretraining import fetch_weights
from lungnb.networks.training import build_network, train
from lungnb.settings import LIMITS, Settings

if TYPE_CHECKING:
    import optuna

PARAMETERS = ("learning_rate", "loss", "filters", "augmentation")
MAX_AUGMENTATION = 2.0  # times the strength in the settings
RANDOM_TRIALS = 5  # trials before the sampler learns from earlier trials and before trials are pruned


def search_settings(settings: Settings, model_name: str, trials: int = 20, progress: bool = True) -> pd.DataFrame:
    """Train a model `trials` times, each time with other hyper-parameters; return a table with one row per trial.

    TPE (Bergstra and others 2011) samples learning rates from a tenth to ten times that of the settings; all losses;
    half, the same and twice the filters; and augmentation strengths from 0 to 2, by which rotation, zoom and contrast
    are multiplied. The result of a trial is the mean Dice over the validation images in its best epoch; the test images
    are not read. After a quarter of the epochs, a trial is pruned if it is below the median of the earlier trials.

    The table has `number`, `state` (complete, pruned, or failed if the loss became NaN), the hyper-parameters,
    `validation_dice`, `epochs` and `seconds`. With the same settings and data, an earlier search is continued: the
    trial that was cut off is repeated, and finished ones are not. Only one process at a time may search for a model.

    Raises ValueError for an unknown model and without Optuna, FileNotFoundError if nothing is prepared.
    """
    fetch_weights(settings, progress)
    study = _study(settings, model_name)
    for trial in study.trials:
        if not trial.state.is_finished():  # cut off; the table leaves it out, so that another trial takes its place
            study.tell(trial.number, state=import_optuna().trial.TrialState.FAIL)
            remove(_path(settings.results, model_name, f"_{trial.number}"))
    file = _path(settings.results, model_name, ".csv")
    table = _write_table(study, file)
    title, total = f"{model_name} search", max(trials, len(table))
    with tqdm(total=total, initial=len(table), desc=title, unit="trial", file=sys.stdout, disable=not progress) as bar:
        while len(table) < trials:
            # Each trial has a seed, so that a search that was interrupted tries the same as one that was not.
            seed = (settings.seed * SEEDS_PER_RUN + len(table)) % 2**32  # because NumPy takes no larger seed
            study.sampler = import_optuna().samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
            with writable(_path(settings.results, model_name, ".db")):
                objective = partial(_validation_dice, settings, model_name, bar)
                study.optimize(objective, n_trials=1, catch=FloatingPointError, gc_after_trial=True)
            table = _write_table(study, file)
            best = table.loc[table["state"] == "complete", "validation_dice"].max()
            bar.set_postfix_str(f"best validation Dice {best:.3f}", refresh=False)
            bar.update()
    return table


def best_settings(settings: Settings, model_name: str) -> Settings:
    """Return the settings with the hyper-parameters of the best complete trial of their search, for `train`.

    Raises FileNotFoundError if there was no search, ValueError if none of its trials is complete.
    """
    need(_path(settings.results, model_name, ".db"), run_first("searched"))
    study = _study(settings, model_name)
    try:
        return _changed(settings, **study.best_params)
    except ValueError as error:
        raise ValueError(
            f"{model_name}: no trial with these settings on these data is complete: {run_first('searched')} with them; "
            f"if every trial failed, with a lower learning_rate than {settings.learning_rate}."
        ) from error


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # because Keras has no types
    """Tells Optuna the validation Dice of each epoch, and ends a trial that is pruned or whose loss became NaN."""

    def __init__(self, trial: optuna.Trial, bar: tqdm[NoReturn]) -> None:
        super().__init__()
        self._trial, self._bar = trial, bar
        self.dices: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise FloatingPointError("the loss became NaN")
        self.dices.append(logs["val_dice"])
        self._trial.report(logs["val_dice"], epoch)
        self._bar.set_postfix_str(f"epoch {epoch + 1}, validation Dice {logs['val_dice']:.3f}")
        if self._trial.should_prune():
            raise import_optuna().TrialPruned


def _validation_dice(settings: Settings, model_name: str, bar: tqdm[NoReturn], trial: optuna.Trial) -> float:
    """Train with what Optuna suggests; return the validation Dice of the best epoch."""
    suggest(trial, settings.learning_rate, settings.filters)
    watch, folder = _Watch(trial, bar), _path(settings.results, model_name, f"_{trial.number}")
    try:
        train(_changed(settings, **trial.params), model_name, progress=False, folder=folder, more=[watch])
    except FloatingPointError as error:
        trial.set_user_attr("failure", str(error))  # separates it from a trial that was cut off
        raise
    finally:
        remove(folder)
    return max(watch.dices)


def suggest(trial: optuna.Trial, rate: float, filters: int) -> dict[str, Any]:
    """Return the hyper-parameters that Optuna suggests, with the learning rate and the filters near the given ones."""
    trial.suggest_float("learning_rate", rate / 10, rate * 10, log=True)
    trial.suggest_categorical("loss", [*LOSSES])
    trial.suggest_categorical("filters", sorted({max(filters // 2, 1), filters, filters * 2}))
    trial.suggest_float("augmentation", 0.0, MAX_AUGMENTATION)
    return trial.params


def _changed(settings: Settings, learning_rate: float, loss: str, filters: int, augmentation: float) -> Settings:
    """Return the settings with the hyper-parameters of a trial."""
    augmented = {
        name: min(getattr(settings, name) * augmentation, LIMITS[name][1]) for name in ("rotation", "zoom", "contrast")
    }
    return settings.replace(learning_rate=learning_rate, loss=loss, filters=filters, **augmented)


def _study(settings: Settings, model_name: str) -> optuna.Study:
    """Return the study of these settings on these data; make it if it does not exist."""
    build_network(settings, model_name)  # raises an error for an unknown name before a file is written
    plan = {"settings": settings.training(), "data": open_prepared(settings).digest}
    file = _path(settings.results, model_name, ".db")
    with writable(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        study: optuna.Study = import_optuna().create_study(
            storage=f"sqlite:///{file}", study_name=hashlib.sha256(json.dumps(plan).encode()).hexdigest(),
            pruner=import_optuna().pruners.MedianPruner(RANDOM_TRIALS, n_warmup_steps=settings.epochs // 4),
            direction="maximize", load_if_exists=True,
        )  # fmt: skip
    return study


def _write_table(study: optuna.Study, file: Path) -> pd.DataFrame:
    """Write and return the table of the trials that were not cut off."""
    trials = [trial for trial in study.trials if trial.state.name != "FAIL" or "failure" in trial.user_attrs]
    rows = []
    for number, trial in enumerate(trials, 1):
        state, dices = trial.state.name.lower().replace("fail", "failed"), trial.intermediate_values.values()
        seconds = round(trial.duration.total_seconds(), 1) if trial.duration else math.nan
        chosen = [trial.params[name] for name in PARAMETERS]
        rows.append((number, state, *chosen, max(dices, default=math.nan), len(dices), seconds))
    table = pd.DataFrame(rows, columns=["number", "state", *PARAMETERS, "validation_dice", "epochs", "seconds"])
    write_table(table, file)
    return table


def _path(results: Path, model_name: str, suffix: str) -> Path:
    return results / "search" / f"{model_name}{suffix}"


def import_optuna() -> ModuleType:
    """Import Optuna and silence it, because a progress bar says the same."""
    try:
        with warnings.catch_warnings(action="ignore"):  # because tqdm warns that notebooks could have another bar
            import optuna
    except ImportError as error:
        raise ValueError("searching needs Optuna; pip install 'lungnb[search]'.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
