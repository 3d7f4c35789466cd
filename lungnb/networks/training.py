"""Compile, fit with callbacks, keep the best weights and the history; go on where an interrupted run stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from lungnb.artefacts import HISTORY, MODEL, RUN, SCORES, SUMMARY
from lungnb.datasets.origin import origin_of, refuse_other_origin
from lungnb.datasets.prepared import open_prepared
from lungnb.files import (
    locked,
    need,
    read_json,
    remove,
    remove_leftovers,
    remove_made,
    writable,
    write_json,
    write_table,
)
from lungnb.messages import run_first, say
from lungnb.networks.backend import (
    device_name,
    devices_of,
    dtype_policy,
    fastest_precision,
    fix_seeds,
    keras,
    on_all_gpus,
    worth_compiling,
)
from lungnb.networks.callbacks import MONITOR, Backup, Checkpoint, EarlyStopping, Progress, ReduceLROnPlateau
from lungnb.networks.data import count_steps, load_batches
from lungnb.networks.encoders import phantom_file
from lungnb.networks.losses import get_loss
from lungnb.networks.metrics import training_metrics
from lungnb.networks.models import build_model, count_multiplications
from lungnb.networks.records import Record, read_epochs, read_run_file
from lungnb.networks.tensorflow_speedups import free_graphs, fuse_batch_norm
from lungnb.settings import SHIPPED, Settings

callbacks = keras.callbacks
_PLAN = "plan.json"  # in the folder of a training that goes on: what is trained
_FROZEN_FACTOR = 10  # how much faster the rest learns while the encoder is frozen


def train(
    settings: Settings,
    model_name: str,
    progress: bool = True,
    folder: Path | None = None,
    more: Sequence[callbacks.Callback] = (),
) -> pd.DataFrame:
    """Train a model on the prepared data set; return its history, a row an epoch.

    Writes `model.keras` (the weights of the epoch with the lowest validation loss), `history.csv` and `run.json` into
    results/<dataset>/<model>, or another `folder`. Training that was interrupted goes on at the epoch that was cut off;
    training that was finished with the same settings on the same data is not repeated. Remove the folder to train anew.
    `more` are callbacks besides its own.

    Raises ValueError for an unknown model, a loss that became NaN, or a folder with a model of another data set of the
    same name; FileNotFoundError if nothing is prepared, or if the weights to begin with are missing
    (`pretraining.fetch_weights`).

    Example: `train(make_settings("phantom", "quick"), "unet")`.
    """
    folder = folder or settings.results / model_name
    refuse_other_origin(settings, folder)
    plan = {"model": model_name, "settings": dataclasses.asdict(settings), "data": open_prepared(settings).digest}
    plan = json.loads(json.dumps(plan | _weights_digest(settings)))  # as it will be read back: a tuple is not a list
    if not _is_trained(folder, plan) or (folder / "training").exists():
        with locked(folder), writable(folder), free_graphs():
            remove_leftovers(folder)
            if not _is_trained(folder, plan):  # another run may have done it just now
                _train(settings, model_name, folder, plan, progress, more)
            remove_made(folder / "training", _PLAN)
    elif progress:
        say(f"{model_name} was trained with these settings before; remove {folder.name}/ to train it anew.")
    return read_epochs(folder / HISTORY)


def _is_trained(folder: Path, plan: dict) -> bool:
    return read_json(folder / RUN).get("plan") == plan and (folder / MODEL).exists()


def _train(
    settings: Settings,
    model_name: str,
    folder: Path,
    plan: dict,
    progress: bool,
    more: Sequence[callbacks.Callback],
) -> None:
    """Train from where an interrupted run with the same plan stopped, else from the start, and write what became."""
    commit = _git_commit()  # of the code that trains, whatever is committed meanwhile
    if read_json(folder / "training" / _PLAN) != plan:
        remove_made(folder / "training", _PLAN)
        for name in (RUN, MODEL, HISTORY, SCORES, SUMMARY):
            remove(folder / name)
        write_json(folder / "training" / _PLAN, plan)
    for until in sorted({min(settings.frozen_epochs, settings.epochs) or settings.epochs, settings.epochs}):
        _fit(settings, model_name, folder, progress, until, more)
    history = read_epochs(folder / HISTORY)
    run = {"plan": plan, "origin": origin_of(settings.dataset)} | _describe(settings, model_name, history)
    write_json(folder / RUN, run | {"git_commit": commit})
    remove(folder / "training")


def read_history(settings: Settings, model_name: str) -> pd.DataFrame:
    """Return the training history of a model, a row an epoch: losses, scores, learning rate, seconds.

    Raises FileNotFoundError if it is not trained, ValueError if the file is damaged.
    """
    refuse_other_origin(settings)
    return read_epochs(_needed(settings, model_name, HISTORY))


def read_run(settings: Settings, model_name: str) -> Record:
    """Return what a finished training run recorded of itself, the content of `run.json`.

    Raises FileNotFoundError if there is none, ValueError if the file is damaged.
    """
    refuse_other_origin(settings)
    return read_run_file(_needed(settings, model_name, RUN))


def _needed(settings: Settings, model_name: str, name: str) -> Path:
    """Return a file of a finished training; raise FileNotFoundError, which says how to train, if there is none."""
    return need(settings.results / model_name / name, run_first("trained", settings.dataset, model_name))


def compiled_model(settings: Settings, model_name: str) -> keras.Model:
    """Return a new model with seeded weights, compiled with the settings' loss and optimizer."""
    fix_seeds(settings.seed, settings.deterministic)
    with dtype_policy(_precision(settings)), on_all_gpus():
        model = build_network(settings, model_name)
        fuse_batch_norm(model)
        optimizer = keras.optimizers.get(settings.optimizer)
        optimizer.learning_rate = settings.learning_rate
        model.compile(
            optimizer=optimizer,
            loss=get_loss(settings.loss),
            metrics=training_metrics(),
            jit_compile=worth_compiling(),  # left to "auto", Keras may pick XLA where it is the slower
        )
    return model


def _precision(settings: Settings) -> str:
    return fastest_precision() if settings.precision == "auto" else settings.precision


def build_network(settings: Settings, model_name: str) -> keras.Model:
    """Return a new model of the settings' size, with the settings' encoder and weights, not compiled."""
    size = {"size": settings.image_size, "filters": settings.filters, "depth": settings.depth}
    encoder = {"encoder": settings.encoder} if settings.encoder else {}
    weights = settings.weights
    if encoder and weights == "phantom":
        file = phantom_file(settings.encoder, settings.depth, settings.image_size, settings.window)
        weights = str(need(file, run_first("encoder", settings.dataset)))
    return build_model(model_name, **size, **encoder, weights=weights)


def _fit(
    settings: Settings,
    model_name: str,
    folder: Path,
    progress: bool,
    until: int,
    more: Sequence[callbacks.Callback],
) -> None:
    """Train from the start, or from the last whole epoch, to the epoch `until` or to early stopping.

    The encoder is frozen if that epoch is the last of those in which it is to be. Weights and optimizer then pass
    through the backup from there to the call that trains the whole, as from an interrupted run to its resumption.
    """
    model = compiled_model(settings, model_name)
    devices = devices_of(model)
    backup = Backup(folder / "training" / "backup" / "latest.weights.h5", count_steps(settings, "train"))
    first = backup.restore(model)
    if first >= until:
        return
    frozen = until <= settings.frozen_epochs
    if frozen:
        with on_all_gpus():
            model.optimizer.build(model.trainable_variables)  # with the encoder's, which are to come
        model.get_layer("encoder").trainable = False

    past = _past(folder / HISTORY, first)
    stop = EarlyStopping(monitor=MONITOR, patience=settings.stop_patience)
    rate = settings.learning_rate * (_FROZEN_FACTOR if frozen else 1)
    schedule = _schedule(settings, rate)
    # How it went with a frozen encoder says nothing of how the whole goes on.
    stop.past = schedule.past = past[(past["epoch"] < settings.frozen_epochs) == frozen]
    stop.set_model(model)
    stop.on_train_begin()
    if not stop.stopped_epoch:
        # The plateau's memory lowers the rate again, from where it began.
        model.optimizer.learning_rate = rate
        model.fit(
            load_batches(settings, "train", training=True, first_epoch=first, devices=devices),
            validation_data=load_batches(settings, "validation", devices=devices),
            initial_epoch=first,
            epochs=until,
            steps_per_epoch=count_steps(settings, "train"),
            shuffle=False,  # load_batches has
            verbose=0,
            callbacks=[
                Progress(model_name, first, until, progress),
                callbacks.TerminateOnNaN(),
                *more,
                stop,
                schedule,
                callbacks.CSVLogger(folder / HISTORY, append=True),
                Checkpoint(folder / MODEL, past[MONITOR].min() if first else None),
                backup,  # last: an epoch is over when all else that belongs to it is written
            ],
        )
    if not math.isfinite(_past(folder / HISTORY, until)[MONITOR].iloc[-1]):
        remove_made(folder / "training", _PLAN)
        raise ValueError(f"{model_name}: the loss became NaN; try a lower learning_rate than {settings.learning_rate}.")


def _schedule(settings: Settings, rate: float) -> callbacks.Callback:
    """Return the callback that lowers the learning rate from `rate` as the settings say."""
    if settings.schedule == "cosine":
        return callbacks.LearningRateScheduler(
            lambda epoch, _: rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        )
    return ReduceLROnPlateau(monitor=MONITOR, factor=0.5, patience=settings.plateau_patience)


def _past(file: Path, epochs: int) -> pd.DataFrame:
    """Return the history of the first `epochs` epochs, and drop from the file what came after them."""
    if not epochs or not file.exists():  # of a first epoch that was cut off, even the header may be half there
        remove(file)
        return pd.DataFrame({"epoch": [], MONITOR: []})
    history = read_epochs(file, finished=False)
    past = history[history["epoch"] < epochs].drop_duplicates("epoch")
    write_table(past, file)
    return past


def _describe(settings: Settings, model_name: str, history: pd.DataFrame) -> dict:
    """Return what there is to know of a finished run."""
    packages = ("lungnb", "keras", "tensorflow", "numpy", "pillow", "scikit-image")
    best = history.loc[history[MONITOR].idxmin()]
    model = build_network(settings, model_name)
    return {
        "parameters": model.count_params(),
        "multiplications": count_multiplications(model),
        "epochs": len(history),
        "best_epoch": int(best["epoch"]) + 1,
        "best_validation_loss": float(best[MONITOR]),
        "wall_seconds": round(float(history["seconds"].sum()), 1),
        "device": device_name(),
        "precision": _precision(settings),
        "seed": settings.seed,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }


def _git_commit() -> str | None:
    """Return the commit of the project's checkout, if it is one, with `-dirty` where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _weights_digest(settings: Settings) -> dict[str, str]:
    """Return what file of weights training begins with, by its content; nothing where it begins with none.

    An encoder's from phantoms are trained here, always alike.
    """
    if not settings.weights or settings.weights == "imagenet" or (settings.encoder and settings.weights == "phantom"):
        return {}
    file = SHIPPED if settings.weights == "phantom" else Path(settings.weights)
    return {"weights": hashlib.sha256(file.read_bytes()).hexdigest()} if file.is_file() else {}
