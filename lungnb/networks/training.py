"""Train networks: compile, fit, keep the best weights and the history, and continue an interrupted training."""

import glob
import inspect
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lungnb import __version__, files
from lungnb.artefacts import BACKUP, EARLIER, HISTORY, MODEL, MODEL_FILES, PLAN, RUN, TEMPERATURE
from lungnb.datasets.origin import origin_of, refuse_other_origin
from lungnb.datasets.prepared import Prepared, digest_of, open_prepared
from lungnb.messages import print_lines, run_first
from lungnb.networks import backend, records
from lungnb.networks.backend import keras
from lungnb.networks.callbacks import MONITOR, Backup, Checkpoint, EarlyStopping, Progress, ReduceLROnPlateau
from lungnb.networks.costs import count_multiplications
from lungnb.networks.data import count_steps, load_batches
from lungnb.networks.encoders import phantom_file
from lungnb.networks.losses import OWN_LOSSES, get_loss, training_metrics
from lungnb.networks.machine import processor
from lungnb.networks.models import MODELS, build_model
from lungnb.networks.records import RunRecord, past_epochs, read_epochs
from lungnb.settings import Settings

Callbacks = Sequence[keras.callbacks.Callback]
_PLAN = Path(PLAN).name  # in the folder of an unfinished training
_FROZEN_FACTOR = 10  # the rest learns this many times faster while the encoder is frozen
_PLATEAU_FACTOR = 0.5  # by which the learning rate is multiplied at a plateau
_PACKAGES = ("keras", keras.backend.backend(), "numpy", "pillow", "scikit-image")  # whose versions are recorded


class _Job(NamedTuple):
    """A model to train, and the folder for it."""

    settings: Settings
    prepared: Prepared
    model_name: str
    folder: Path
    progress: bool
    more: Callbacks


def train(
    settings: Settings, model_name: str, progress: bool = True, folder: Path | None = None, more: Callbacks = ()
) -> pd.DataFrame:
    """Train a model on the prepared data set; return its history, one row per epoch.

    Writes `model.keras` (the weights of the epoch with the lowest validation loss), `history.csv` and `run.json` into
    results/<dataset>/<model>, or into `folder`. An interrupted training continues at the interrupted epoch. A training
    that was finished with the same settings on the same data is not repeated. Another run that the folder holds is
    moved to results/<dataset>/earlier/<model>-<number>; training with its settings again moves it back. `more` are
    additional callbacks.

    Raises ValueError for an unknown model, a loss that became NaN, or a folder with a model of another data set of the
    same name; FileNotFoundError if nothing is prepared, or if the initial weights are missing (`fetch_weights`).

    Example: `train(make_settings("phantom", "quick"), "unet")`.
    """
    folder = folder or settings.results / model_name
    refuse_other_origin(settings.dataset, settings.prepared, settings.results, folder)
    prepared = open_prepared(settings)
    plan = {"model": model_name, "settings": settings.training(), "data": prepared.digest}
    plan |= records.weights_digest(settings.weights, settings.encoder) | _own_code(model_name, settings.loss)
    plan = json.loads(json.dumps(plan))  # in JSON's types, to compare with a stored plan
    if not _is_trained(folder, plan) or (folder / "training").exists():
        with files.locked(folder), files.writable(folder), backend.free_graphs():
            files.remove_leftovers(folder)
            job = _Job(settings, prepared, model_name, folder, progress, more)
            if not _is_trained(folder, plan) and files.read_json(folder / PLAN) != plan:
                _set_aside(job, plan)
            if not _is_trained(folder, plan):  # another process may have done it just now, or it was an earlier run
                _train(job, plan)
            files.remove_made(folder / "training", _PLAN)
    elif progress:
        print_lines(f"{model_name} was trained with these settings before; remove {folder.name}/ to train it anew.")
    return read_epochs(folder / HISTORY)


def _own_code(model_name: str, loss: str) -> dict[str, str]:
    """Return a digest of the source of a network and a loss that were added; nothing for those of lungnb."""
    functions = (MODELS.get(model_name), OWN_LOSSES.get(loss))
    own = [each for each in functions if each and not each.__module__.startswith(f"{__package__}.")]
    return {"code": digest_of(map(_source_of, own))} if own else {}


def _source_of(function: Callable[..., Any]) -> str:
    """Return the source of a function, or its compiled code if the source is not known, as in some terminals."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(code and (code.co_code, code.co_consts, code.co_names))


def _is_trained(folder: Path, plan: dict[str, Any]) -> bool:
    return files.read_json(folder / RUN).get("plan") == plan and (folder / MODEL).exists()


def _set_aside(job: _Job, plan: dict[str, Any]) -> None:
    """Move the folder's run to the earlier runs, and an earlier run with this plan back.

    Each move is one rename, so that a process that is killed loses no network.
    """
    folder, earlier = job.folder, job.folder.parent / EARLIER
    files.refuse_foreign(folder / "training", _PLAN)
    if (folder / MODEL).exists():
        build_network(job.settings, job.model_name)  # raises its errors while the run is still in its place
        place = files.move_aside(folder, earlier)
        if job.progress:
            print_lines(f"The run of {folder.name} with other settings or data is now {EARLIER}/{place.name}.")
    else:
        files.remove_made(folder / "training", _PLAN)
        for name in (*MODEL_FILES, TEMPERATURE):
            files.remove(folder / name)
    same = [run for run in earlier.glob(f"{glob.escape(folder.name)}-*") if records.plan_of(run) == plan]
    if same and not folder.exists():
        os.replace(same[0], folder)


def _train(job: _Job, plan: dict[str, Any]) -> None:
    """Train, or continue an interrupted training with the same plan, and write `run.json`."""
    settings, folder = job.settings, job.folder
    # Now, because files may change during training.
    code = {"git_commit": records.git_commit(), "code_digest": records.code_digest()}
    files.write_json(folder / PLAN, plan)
    for last in sorted({min(settings.frozen_epochs, settings.epochs) or settings.epochs, settings.epochs}):
        costs = _fit(job, last)
    run: dict[str, Any] = {"plan": plan, "origin": origin_of(settings.dataset)} | costs
    run |= describe_training(read_epochs(folder / HISTORY))
    run |= {"processor": processor(), "precision": _precision(settings.precision), "seed": settings.seed} | code
    files.write_json(folder / RUN, run)
    files.remove(folder / "training")


def read_history(settings: Settings, model_name: str) -> pd.DataFrame:
    """Return the training history of a model, one row per epoch: losses, scores, learning rate, seconds.

    Raises FileNotFoundError if the model is not trained, ValueError if the file is damaged.
    """
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    step = run_first("trained", settings.dataset, model_name)
    return read_epochs(files.need(settings.results / model_name / HISTORY, step))


def read_run(settings: Settings, model_name: str) -> RunRecord:
    """Return the record of a finished training, the content of `run.json`; raise the errors of `read_history`."""
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    step = run_first("trained", settings.dataset, model_name)
    return records.read_run_file(files.need(settings.results / model_name / RUN, step))


def compiled_model(settings: Settings, model_name: str, **arguments: int) -> keras.Model:
    """Return a new model with seeded weights, compiled with the settings' loss and optimizer.

    `arguments` are more arguments of the network, such as `skips=False` of the U-Net.
    """
    backend.fix_seeds(settings.seed, settings.deterministic)
    with _dtype_policy(_precision(settings.precision)), backend.on_all_gpus():
        model = build_network(settings, model_name, **arguments)
        backend.fuse_batch_norm(model)
        optimizer = keras.optimizers.get(settings.optimizer)
        optimizer.learning_rate = settings.learning_rate
        model.compile(optimizer, get_loss(settings.loss), metrics=training_metrics(), jit_compile=backend.USE_XLA)
        # Now, because an encoder that is frozen at first would be left out later.
        model.optimizer.build(model.trainable_variables)
    return model


def _precision(name: str) -> str:
    return backend.fastest_precision() if name == "auto" else name


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Build layers in the block in a precision such as `mixed_bfloat16`; restore Keras's policy afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_network(settings: Settings, model_name: str, **more: int) -> keras.Model:
    """Return a new model with the settings' size, encoder and weights, not compiled; `more` are other arguments."""
    arguments = more | {"size": settings.image_size, "filters": settings.filters, "depth": settings.depth}
    if not settings.encoder:
        return build_model(model_name, **arguments, weights=settings.weights)
    weights = settings.weights
    if weights == "phantom":
        file = phantom_file(settings.encoder, settings.depth, settings.image_size, settings.window)
        weights = str(files.need(file, run_first("encoder", settings.dataset)))
    return build_model(model_name, **arguments, encoder=settings.encoder, weights=weights)


def _fit(job: _Job, last: int) -> dict[str, int]:
    """Train up to the epoch `last` or to early stopping, from the start or the last whole epoch; return the costs.

    The encoder is frozen if `last` is one of the frozen epochs. The backup then passes weights and optimizer to the
    next call, which trains the whole network, just as it does after an interruption.
    """
    settings, folder, prepared = job.settings, job.folder, job.prepared
    model = compiled_model(settings, job.model_name)
    costs = {"parameters": model.count_params(), "multiplications": count_multiplications(model)}
    devices, steps = backend.devices_of(model), count_steps(settings, "train", prepared)
    backup = Backup(folder / "training" / "backup" / BACKUP, steps)
    first = backup.restore(model)
    if first >= last:
        return costs
    is_frozen = last <= settings.frozen_epochs
    if is_frozen:
        model.get_layer("encoder").trainable = False
    past = past_epochs(folder / HISTORY, first)
    rate = settings.learning_rate * (_FROZEN_FACTOR if is_frozen else 1)
    stop, schedule = EarlyStopping(monitor=MONITOR, patience=settings.stop_patience), _schedule(settings, rate)
    # Epochs with a frozen encoder do not count towards patience.
    stop.past = schedule.past = past[(past["epoch"] < settings.frozen_epochs) == is_frozen]
    stop.set_model(model)
    stop.on_train_begin()
    if not stop.stopped_epoch:
        model.optimizer.learning_rate = rate  # the schedule replays the past epochs, from the first rate
        with closing(Progress(job.model_name, first, last, job.progress)) as bar:  # also if it is interrupted
            model.fit(
                load_batches(settings, "train", training=True, first_epoch=first, devices=devices, prepared=prepared),
                validation_data=load_batches(settings, "validation", devices=devices, prepared=prepared),
                initial_epoch=first, epochs=last, steps_per_epoch=steps, verbose=0,
                shuffle=False,  # because load_batches shuffles
                callbacks=[
                    bar, keras.callbacks.TerminateOnNaN(), *job.more, stop, schedule,
                    keras.callbacks.CSVLogger(folder / HISTORY, append=True),
                    Checkpoint(folder / MODEL, past[MONITOR].min() if first else None),
                    backup,  # last, because an epoch is complete when all its other files are written
                ],
            )  # fmt: skip
    _refuse_nan(job, last)
    return costs


def _refuse_nan(job: _Job, last: int) -> None:
    """Raise ValueError and remove the model if the loss of the latest epoch up to `last` is not a number."""
    if not math.isfinite(past_epochs(job.folder / HISTORY, last)[MONITOR].iloc[-1]):
        files.remove(job.folder / MODEL)
        files.remove_made(job.folder / "training", _PLAN)
        hint = f"try a lower learning_rate than {job.settings.learning_rate}"
        raise ValueError(f"{job.model_name}: the loss became NaN; {hint}.")


def _schedule(settings: Settings, rate: float) -> keras.callbacks.Callback:
    """Return the callback that lowers the learning rate from `rate`, according to the settings."""
    if settings.schedule == "cosine":
        return keras.callbacks.LearningRateScheduler(
            lambda epoch, _: rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        )
    return ReduceLROnPlateau(monitor=MONITOR, factor=_PLATEAU_FACTOR, patience=settings.plateau_patience)


def describe_training(history: pd.DataFrame) -> dict[str, object]:
    """Return what `run.json` says of a finished training: its epochs, its machine and its packages."""
    best = history.iloc[int(history[MONITOR].argmin())]
    return {
        "epochs": len(history), "best_epoch": int(best["epoch"]) + 1, "best_validation_loss": float(best[MONITOR]),
        "wall_seconds": round(float(history["seconds"].sum()), 1),
        "device": backend.device_name(),
        "versions": {"python": platform.python_version(), "lungnb": __version__}  # of a checkout, too
        | {name: version(name) for name in _PACKAGES},
    }  # fmt: skip
