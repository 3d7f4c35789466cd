"""Train the network that lungnb ships, on drawn images alone. This is the main step of `make weights`.

The training starts with random weights, or with those of a network: `train_shipped.py FILE`. Half of each batch are
drawings of the kind "mixed": films and slices as hospitals have them. The other half are of the kind "wild". A running
average of the weights is validated after each epoch on drawings from wider ranges, and the best average is saved. Then
this network learns from its own predictions, see `self_teaching.py`, and the last network is shipped. No image of a
patient is used. An interrupted run keeps the drawings and continues after the last complete epoch or round.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

import self_teaching
from drawings import KINDS, SIZE, Arrays, draw_all, drawing_pool
from lungnb.artefacts import BACKUP, HISTORY, MODEL, RUN
from lungnb.files import locked, remove, write_json
from lungnb.formats.opening import digest_of_file
from lungnb.networks import backend
from lungnb.networks.backend import keras
from lungnb.networks.callbacks import MONITOR, Backup, Checkpoint, Progress
from lungnb.networks.chest_output import probability_part
from lungnb.networks.costs import count_multiplications
from lungnb.networks.data import MemoryBatches
from lungnb.networks.examples import Examples
from lungnb.networks.losses import get_loss, training_metrics
from lungnb.networks.model_files import read_network
from lungnb.networks.records import git_commit, past_epochs, read_epochs
from lungnb.networks.training import compiled_model, describe_training
from lungnb.presets import make_settings
from lungnb.settings import SHIPPED_STRUCTURE
from ship_weights import ship

OUT = Path("results/shipped")
SETTINGS = make_settings(
    "phantom-wild", "full", **SHIPPED_STRUCTURE, epochs=3, batch_size=16, learning_rate=1e-3, schedule="cosine",
    precision="auto",
)  # fmt: skip
SHOWN = 20_000  # drawings in an epoch
AVERAGE_MOMENTUM = 0.999  # a step; the average reaches back about 1,000 steps
_FIRST = "training/masks.keras"  # the best network that learned from masks alone
_ROUNDS = "training/rounds"  # the networks that learned from themselves
_STEPS = SHOWN // SETTINGS.batch_size


class Batches(MemoryBatches):
    """The training batches, with equally many drawings of each part."""

    def __init__(self, parts: Sequence[Arrays], epoch: int) -> None:
        self._counts = [len(images) for images, _ in parts]
        images, masks = (np.concatenate([part[kind] for part in parts])[..., None] for kind in (0, 1))
        super().__init__(Examples(images, masks), SETTINGS, epoch)

    def order_of(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """Return the number of each step and its drawings: all of a part are shown before any is shown again."""
        shown, ends = SHOWN // len(self._counts), np.cumsum(self._counts)
        orders = [
            end - count + _shown(count, epoch * shown, shown) for count, end in zip(self._counts, ends, strict=True)
        ]
        batches = np.hstack([order.reshape(_STEPS, -1) for order in orders])
        return [(epoch * _STEPS + step, batch) for step, batch in enumerate(batches)]


def _shown(count: int, first: int, shown: int) -> np.ndarray:
    """Return the numbers of the next `shown` of `count` drawings, after `first` drawings were shown."""
    rounds = range(first // count, -(-(first + shown) // count))
    orders = [np.random.default_rng([SETTINGS.seed, number]).permutation(count) for number in rounds]
    return np.concatenate(orders)[first - rounds[0] * count :][:shown]


def train(parts: dict[str, Arrays], wider: Arrays, start: Path | None = None) -> None:
    """Train, or continue an interrupted training; write `model.keras`, `history.csv` and `run.json`.

    The first weights are random ones, or those of the network `start`.
    """
    commit = git_commit()
    learn_masks(parts, wider, start)

    def drawings_of(number: int) -> list[Arrays]:
        each, place = SHOWN // len(parts), SETTINGS.epochs + number
        shown = [_shown(len(images), place * each, each) for images, _ in parts.values()]
        return [(part[0][chosen], part[1][chosen]) for part, chosen in zip(parts.values(), shown, strict=True)]

    def fit(network: keras.Model, targets: list[Arrays], number: int) -> keras.Model:
        epoch = SETTINGS.epochs + number
        past_epochs(OUT / HISTORY, epoch)  # removes the row of an earlier try that was not saved
        rate = keras.optimizers.schedules.CosineDecay(self_teaching.LEARNING_RATE, _STEPS)
        _compile(network, rate, self_teaching.AVERAGE_MOMENTUM)
        _fit(network, Batches(targets, 0), wider, range(epoch, epoch + 1))
        if not np.isfinite(read_epochs(OUT / HISTORY, finished=False)[MONITOR].iloc[-1]):
            sys.exit(f"Round {number + 1} diverged, so it is not kept. Earlier rounds are in {OUT / _ROUNDS}.")
        return network

    last = self_teaching.learn_from_itself(OUT / _FIRST, OUT / _ROUNDS, drawings_of, fit)
    shutil.copyfile(last, OUT / MODEL)
    model, counts = read_network(last), {part: len(images) for part, (images, _) in parts.items()}
    plan = {"model": SETTINGS.models[0], "settings": SETTINGS.training(), "drawings": KINDS, "counts": counts}
    plan |= {"rounds": self_teaching.ROUNDS} | ({"started_with": digest_of_file(start)} if start else {})
    costs = {"parameters": model.count_params(), "multiplications": count_multiplications(model)}
    run = {"plan": plan} | costs | describe_training(read_epochs(OUT / HISTORY))
    run |= {"precision": model.layers[1].dtype_policy.name, "seed": SETTINGS.seed, "git_commit": commit}
    write_json(OUT / RUN, run)


def learn_masks(parts: dict[str, Arrays], wider: Arrays, start: Path | None) -> None:
    """Train a network on drawings and their masks; save the best average of its weights as `_FIRST`."""
    model = compiled_model(SETTINGS, SETTINGS.models[0])
    if start:
        model.set_weights(probability_part(read_network(start)).get_weights())
    rate = keras.optimizers.schedules.CosineDecay(SETTINGS.learning_rate, SETTINGS.epochs * _STEPS)
    _compile(model, rate, AVERAGE_MOMENTUM)
    backup = Backup(OUT / "training" / "backup" / BACKUP, _STEPS)
    first = backup.restore(model)
    if first < SETTINGS.epochs:
        past = past_epochs(OUT / HISTORY, first)
        best = Checkpoint(OUT / _FIRST, past[MONITOR].min() if first else None)
        _fit(model, Batches([*parts.values()], first), wider, range(first, SETTINGS.epochs), backup, best)


def _compile(model: keras.Model, rate: object, momentum: float) -> None:
    """Compile a network so that it keeps a running average of its weights."""
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=momentum)
    model.compile(optimizer, get_loss(SETTINGS.loss), metrics=training_metrics(), jit_compile=backend.USE_XLA)
    optimizer.build(model.trainable_variables)


def _fit(
    model: keras.Model, batches: Batches, wider: Arrays, epochs: range,
    backup: Backup | None = None, best: Checkpoint | None = None,
) -> None:  # fmt: skip
    """Train a network for `epochs`; validate its averaged weights after each epoch, and leave them in it."""
    validation = MemoryBatches(Examples(*(part[..., None] for part in wider)), SETTINGS)
    with closing(Progress("shipped network", epochs.start, epochs.stop, show=True)) as bar:
        # The backup comes before the averaged weights are swapped into the network, all others come after it.
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        log = keras.callbacks.CSVLogger(OUT / HISTORY, append=True)
        callbacks = [bar, keras.callbacks.TerminateOnNaN(), backup, swap, log, best]
        model.fit(
            batches, validation_data=validation, initial_epoch=epochs.start, epochs=epochs.stop,
            steps_per_epoch=_STEPS, verbose=0, shuffle=False, callbacks=[each for each in callbacks if each],
        )  # fmt: skip


def main() -> None:
    """Draw, train, and ship the result."""
    assert SETTINGS.image_size == SIZE
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT), drawing_pool() as pool:
        parts, wider = draw_all(pool)
        train(parts, wider, Path(sys.argv[1]) if sys.argv[1:] else None)
    ship(OUT)
    remove(OUT / "training")  # or the next `make weights` would take this training for its own


if __name__ == "__main__":
    main()
