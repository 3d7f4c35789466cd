"""Train the network that lungnb ships, on drawn images alone: the main step of `make weights`.

Other processes draw while the network trains: from epoch to epoch, it learns from more drawings. What is kept is a
running average of the weights, of the epoch in which it is best on drawings from wider ranges. No patient's image has
a part in this. An interrupted run keeps its drawings and continues after the last whole epoch.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from drawings import BLOCK, BLOCKS, KINDS, SIZE, Drawings
from lungnb.artefacts import HISTORY, MODEL, RUN
from lungnb.files import locked, write_json
from lungnb.networks import backend
from lungnb.networks.backend import keras, tf
from lungnb.networks.callbacks import MONITOR, Backup, Checkpoint, Progress
from lungnb.networks.costs import count_multiplications
from lungnb.networks.data import Batch, augment
from lungnb.networks.losses import get_loss, training_metrics
from lungnb.networks.records import git_commit, past_epochs, read_epochs
from lungnb.networks.training import compiled_model, describe_training
from lungnb.presets import make_settings
from lungnb.settings import SHIPPED_STRUCTURE
from ship_weights import ship

OUT = Path("results/shipped")
SETTINGS = make_settings(
    "phantom-wild", "full", **SHIPPED_STRUCTURE, epochs=24, batch_size=16, learning_rate=3e-3, schedule="cosine",
    precision="auto",
)  # fmt: skip
SHOWN = 20_000  # drawings in an epoch; at first, some of them twice
FIRST_BLOCKS = 7  # before the first epoch; each later one has one more
AVERAGE_MOMENTUM = 0.999  # a step; the average reaches back about 1,000 steps
_STEPS = SHOWN // SETTINGS.batch_size


class Batches(keras.utils.PyDataset):
    """The training batches. Those of an epoch depend on its number only, so a continued training sees the same ones."""

    def __init__(self, drawings: Drawings, epoch: int) -> None:
        super().__init__()
        self._drawings, self._epoch = drawings, epoch - 1
        self.on_epoch_end()

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return _STEPS

    def __getitem__(self, step: int) -> Batch:
        """Return a batch, augmented."""
        chosen = self._order[step * SETTINGS.batch_size : (step + 1) * SETTINGS.batch_size]
        images, masks = to_unit(self._images[chosen], self._masks[chosen])
        return augment(images, masks, SETTINGS, (SETTINGS.seed, self._epoch * _STEPS + step))

    def on_epoch_end(self) -> None:
        """Choose the drawings of the next epoch; wait for its block."""
        self._epoch += 1
        blocks = min(FIRST_BLOCKS + self._epoch, BLOCKS)
        self._images, self._masks = self._drawings.first(blocks)
        rng, count = np.random.default_rng([SETTINGS.seed, self._epoch]), blocks * BLOCK
        self._order = np.concatenate([rng.permutation(count) for _ in range(-(-SHOWN // count))])[:SHOWN]


def to_unit(images: np.ndarray, masks: np.ndarray) -> Batch:
    """Return images and masks as float32 tensors `(count, size, size, 1)` from 0 to 1."""
    return tf.constant(images[..., None], tf.float32) / 255, tf.constant(masks[..., None], tf.float32)


def train(drawings: Drawings) -> None:
    """Train, or continue an interrupted training; write `model.keras`, `history.csv` and `run.json`."""
    commit, model = git_commit(), compiled_model(SETTINGS, SETTINGS.models[0])
    rate = keras.optimizers.schedules.CosineDecay(SETTINGS.learning_rate, SETTINGS.epochs * _STEPS)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=AVERAGE_MOMENTUM)
    model.compile(optimizer, get_loss(SETTINGS.loss), metrics=training_metrics(), jit_compile=backend.USE_XLA)
    optimizer.build(model.trainable_variables)
    backup = Backup(OUT / "training" / "backup" / "latest.weights.h5", _STEPS)
    first = backup.restore(model)
    past = past_epochs(OUT / HISTORY, first)
    if first < SETTINGS.epochs:
        batches = Batches(drawings, first)
        wider = tf.data.Dataset.from_tensor_slices(to_unit(*drawings.for_validation())).batch(64)
        with closing(Progress("shipped network", first, SETTINGS.epochs, show=True)) as bar:
            model.fit(
                batches, validation_data=wider, initial_epoch=first, epochs=SETTINGS.epochs, verbose=0, shuffle=False,
                callbacks=[
                    bar, keras.callbacks.TerminateOnNaN(),
                    backup,  # before the averaged weights are swapped into the network
                    keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                    keras.callbacks.CSVLogger(OUT / HISTORY, append=True),
                    Checkpoint(OUT / MODEL, past[MONITOR].min() if first else None),
                ],
            )  # fmt: skip
    plan = {"model": SETTINGS.models[0], "settings": SETTINGS.training(), "drawings": KINDS, "count": BLOCKS * BLOCK}
    costs = {"parameters": model.count_params(), "multiplications": count_multiplications(model)}
    run = {"plan": plan} | costs | describe_training(read_epochs(OUT / HISTORY))
    run |= {"precision": model.dtype_policy.name, "seed": SETTINGS.seed, "git_commit": commit}
    write_json(OUT / RUN, run)


def main() -> None:
    """Draw and train at once, and ship the result."""
    assert SETTINGS.image_size == SIZE
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT), ProcessPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(10,)) as pool:
        train(Drawings(pool))
    ship(OUT)


if __name__ == "__main__":
    main()
