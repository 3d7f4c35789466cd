"""Keras callbacks that leave whole files behind, and go on after an interruption as if there had been none."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lungnb.backend import keras

callbacks = keras.callbacks
MONITOR = "val_loss"


class Checkpoint(callbacks.ModelCheckpoint):
    """ModelCheckpoint whose file is whole or the one before, also when the process dies while it writes."""

    def __init__(self, path: Path, best: float | None) -> None:
        self._path, self._part = path, path.with_name(f".{path.stem}.part.keras")
        super().__init__(self._part, monitor=MONITOR, save_best_only=True, initial_value_threshold=best)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save where the validation loss is the lowest yet."""
        super().on_epoch_end(epoch, logs)
        if self._part.exists():
            os.replace(self._part, self._path)


class Backup(callbacks.BackupAndRestore):
    """BackupAndRestore that tells the epoch by the optimizer's count of steps.

    Keras writes weights and epoch into two files; a process killed between the two would train an epoch twice.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder, double_checkpoint=True, delete_checkpoint=False)
        self._steps = steps

    def restore(self, model: keras.Model) -> int:
        """Restore weights and optimizer, if there is a backup, and return the epoch to go on with."""
        self.set_model(model)
        super().on_train_begin()
        model._initial_epoch = int(model.optimizer.iterations) // self._steps
        return model._initial_epoch

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Restore nothing anew: the learning rate may have been changed since."""


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
