"""Keras callbacks that leave whole files behind, and go on after an interruption as if there had been none."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lungnb.networks.backend import keras, on_all_gpus

callbacks = keras.callbacks
MONITOR = "val_loss"


class Checkpoint(callbacks.ModelCheckpoint):
    """ModelCheckpoint whose file is whole or the one before, also when the process dies while it writes."""

    def __init__(self, path: Path, best: float | None) -> None:
        self._path, self._part = path, path.with_name(f".{path.stem}.part.keras")
        self._part.unlink(missing_ok=True)  # of a run that was killed while it wrote
        super().__init__(self._part, monitor=MONITOR, save_best_only=True, initial_value_threshold=best)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save where the validation loss is the lowest yet."""
        super().on_epoch_end(epoch, logs)
        if self._part.exists():
            os.replace(self._part, self._path)


class Backup(callbacks.Callback):
    """Weights and optimizer after the last whole epoch, in a file that is whole or the one before.

    Keras's BackupAndRestore writes over the file it may need, so that a full disk leaves neither, and it keeps the
    epoch in a second file; here the optimizer's count of steps tells the epoch.
    """

    def __init__(self, file: Path, steps: int) -> None:
        super().__init__()
        self._file, self._part, self._steps = file, file.with_name(f".part.{file.name}"), steps

    def restore(self, model: keras.Model) -> int:
        """Restore weights and optimizer, if there is a backup, and return the epoch to go on with."""
        if self._file.exists():
            with on_all_gpus():
                model.optimizer.build(model.trainable_variables)
            try:
                model.load_weights(self._file)
            except Exception as error:  # HDF5 raises many kinds
                folder = self._file.parents[2]
                raise ValueError(f"{self._file}: cannot be read; remove {folder} to train from the start.") from error
        return int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // self._steps

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Let what draws at random, as dropout does, draw the same in an epoch that is gone on with."""
        for variable in self.model.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign([int(variable[0]), epoch << 20])

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save, and only then let go of the backup before."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(self._part)
        os.replace(self._part, self._file)


class _Resuming(callbacks.Callback):
    """Mixin for callbacks with a memory: shows them the epochs before the interruption when training begins."""

    past: pd.DataFrame

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        for epoch, row in enumerate(self.past.to_dict("records")):
            self.on_epoch_end(epoch, row)


class EarlyStopping(_Resuming, callbacks.EarlyStopping):
    """EarlyStopping that remembers the epochs before an interruption."""


class ReduceLROnPlateau(_Resuming, callbacks.ReduceLROnPlateau):
    """ReduceLROnPlateau that remembers the epochs before an interruption."""


class Progress(callbacks.Callback):
    """A progress bar over epochs on standard output; adds the seconds of each epoch to the history."""

    def __init__(self, title: str, first: int, epochs: int, show: bool) -> None:
        super().__init__()
        self._bar = tqdm(total=epochs, initial=first, desc=title, unit="epoch", file=sys.stdout, disable=not show)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the epoch's clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stop the clock, move the bar."""
        logs["seconds"] = round(time.perf_counter() - self._started, 3)
        self._bar.set_postfix_str(f"validation Dice {logs['val_dice']:.3f}, loss {logs['val_loss']:.3f}", refresh=False)
        self._bar.update()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the bar."""
        self._bar.close()
