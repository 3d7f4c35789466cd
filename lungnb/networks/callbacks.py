"""Keras callbacks that write whole files, and that continue after an interruption as if there had been none."""

import os
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lungnb.networks.backend import keras
from lungnb.networks.model_files import check_weights

MONITOR = "val_loss"
Logs = dict[str, float]


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """ModelCheckpoint that replaces its file at once, so that the file is whole even if the process dies."""

    def __init__(self, path: Path, best: float | None) -> None:
        self._path, self._part = path, path.with_name(f".{path.stem}.part.keras")
        self._part.unlink(missing_ok=True)  # left by a run that was killed while writing
        super().__init__(self._part, monitor=MONITOR, save_best_only=True, initial_value_threshold=best)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save the model if the validation loss is the lowest yet."""
        super().on_epoch_end(epoch, logs)
        if self._part.exists():
            os.replace(self._part, self._path)


class Backup(keras.callbacks.Callback):
    """Save weights and optimizer after each epoch, in a file that is replaced at once.

    Keras's BackupAndRestore overwrites the file that it may need, so that nothing is left if the disk is full. It also
    stores the epoch in a second file; here the optimizer's number of steps gives the epoch.
    """

    def __init__(self, file: Path, steps: int) -> None:
        super().__init__()
        self._file, self._part, self._steps = file, file.with_name(f".part.{file.name}"), steps

    def restore(self, model: keras.Model) -> int:
        """Restore weights and a built optimizer if there is a backup, and return the epoch to continue with."""
        if self._file.exists():
            try:
                check_weights(self._file)
                model.load_weights(self._file)
            except Exception as error:  # HDF5 raises many kinds
                folder = self._file.parents[2]
                raise ValueError(f"{self._file}: cannot be read; remove {folder} to train from the start.") from error
        return int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // self._steps

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Seed random layers, such as dropout, so that a resumed training draws the same numbers in this epoch."""
        for variable in self.model.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign([int(variable[0]), epoch << 20])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save the weights to a temporary file, then replace the previous backup with it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(self._part)
        os.replace(self._part, self._file)


class _Resuming(keras.callbacks.Callback):
    """Mixin for callbacks with a memory: when training begins, it replays the epochs before the interruption."""

    past: pd.DataFrame

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        for epoch, row in enumerate(self.past.to_dict("records")):
            self.on_epoch_end(epoch, row)


class EarlyStopping(_Resuming, keras.callbacks.EarlyStopping):
    """EarlyStopping that remembers the epochs before an interruption."""


class ReduceLROnPlateau(_Resuming, keras.callbacks.ReduceLROnPlateau):
    """ReduceLROnPlateau that remembers the epochs before an interruption."""


class _WithBar(keras.callbacks.Callback):
    """A callback with a progress bar on standard output."""

    unit = "epoch"

    def __init__(self, title: str, first: int, total: int, show: bool) -> None:
        super().__init__()
        self._bar = tqdm(total=total, initial=first, desc=title, unit=self.unit, file=sys.stdout, disable=not show)

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()


class Progress(_WithBar):
    """Show a progress bar over epochs, and add the seconds of each epoch to the history."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start the epoch's clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Stop the clock of the epoch and advance the progress bar."""
        logs["seconds"] = round(time.perf_counter() - self._started, 3)
        dice, loss = logs["val_dice"], logs["val_loss"]
        self._bar.set_postfix_str(f"validation Dice {dice:.3f}, loss {loss:.3f}", refresh=False)
        self._bar.update()


class StepProgress(_WithBar):
    """Show a progress bar over steps, with the loss and the remaining time."""

    unit = "step"

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the progress bar by one step."""
        self._bar.update()
        if logs:
            self._bar.set_postfix_str(f"loss {logs['loss']:.3f}", refresh=False)
