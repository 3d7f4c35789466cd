"""Train the shipped network further, on drawn images alone. This is the main step of `make weights`.

The training starts with the shipped weights. Half of each batch are drawings of the kind "mixed": films and slices as
hospitals have them. The other half are of the kind "wild". A running average of the weights is validated after each
epoch on drawings from wider ranges, and the best average is saved. No image of a patient is used. An interrupted run
keeps the drawings and continues after the last complete epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from drawings import KINDS, SIZE, Arrays, draw_all, drawing_pool
from lungnb.artefacts import HISTORY, MODEL, RUN
from lungnb.engines.parity import digest_of_file
from lungnb.files import locked, write_json
from lungnb.networks import backend
from lungnb.networks.backend import keras, tf
from lungnb.networks.callbacks import MONITOR, Backup, Checkpoint, Progress
from lungnb.networks.chest import probability_part
from lungnb.networks.costs import count_multiplications
from lungnb.networks.data import Batch, augment
from lungnb.networks.losses import get_loss, training_metrics
from lungnb.networks.model_files import read_network
from lungnb.networks.records import git_commit, past_epochs, read_epochs
from lungnb.networks.training import compiled_model, describe_training
from lungnb.presets import make_settings
from lungnb.settings import SHIPPED, SHIPPED_STRUCTURE
from ship_weights import ship

OUT = Path("results/shipped")
SETTINGS = make_settings(
    "phantom-wild", "full", **SHIPPED_STRUCTURE, epochs=6, batch_size=16, learning_rate=1e-3, schedule="cosine",
    precision="auto",
)  # fmt: skip
SHOWN = 20_000  # drawings in an epoch
AVERAGE_MOMENTUM = 0.999  # a step; the average reaches back about 1,000 steps
_STEPS = SHOWN // SETTINGS.batch_size


class Batches(keras.utils.PyDataset):
    """The training batches, with equally many drawings of each part.

    The batches of an epoch depend only on its number, so a continued training sees the same batches.
    """

    def __init__(self, parts: Sequence[Arrays], epoch: int) -> None:
        super().__init__()
        self._parts, self._epoch = parts, epoch - 1
        self.on_epoch_end()

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return _STEPS

    def __getitem__(self, step: int) -> Batch:
        """Return a batch, augmented."""
        count = SETTINGS.batch_size // len(self._parts)
        chosen = [order[step * count : (step + 1) * count] for order in self._orders]
        images, masks = (
            np.concatenate([part[kind][rows] for part, rows in zip(self._parts, chosen, strict=True)])
            for kind in (0, 1)
        )
        return augment(*to_unit(images, masks), SETTINGS, (SETTINGS.seed, self._epoch * _STEPS + step))

    def on_epoch_end(self) -> None:
        """Choose the drawings of the next epoch. Show all drawings of a part before any is shown again."""
        self._epoch += 1
        shown = SHOWN // len(self._parts)
        self._orders = [_shown(len(images), self._epoch * shown, shown) for images, _ in self._parts]


def _shown(count: int, first: int, shown: int) -> np.ndarray:
    """Return the numbers of the next `shown` of `count` drawings, after `first` drawings were shown."""
    rounds = range(first // count, -(-(first + shown) // count))
    orders = [np.random.default_rng([SETTINGS.seed, number]).permutation(count) for number in rounds]
    return np.concatenate(orders)[first - rounds[0] * count :][:shown]


def to_unit(images: np.ndarray, masks: np.ndarray) -> Batch:
    """Return images and masks as float32 tensors `(count, size, size, 1)` from 0 to 1."""
    return tf.constant(images[..., None], tf.float32) / 255, tf.constant(masks[..., None], tf.float32)


def train(parts: dict[str, Arrays], wider: Arrays) -> None:
    """Train, or continue an interrupted training; write `model.keras`, `history.csv` and `run.json`."""
    commit, start = git_commit(), probability_part(read_network(SHIPPED))
    model = compiled_model(SETTINGS, SETTINGS.models[0])
    model.set_weights(start.get_weights())
    rate = keras.optimizers.schedules.CosineDecay(SETTINGS.learning_rate, SETTINGS.epochs * _STEPS)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=AVERAGE_MOMENTUM)
    model.compile(optimizer, get_loss(SETTINGS.loss), metrics=training_metrics(), jit_compile=backend.USE_XLA)
    optimizer.build(model.trainable_variables)
    backup = Backup(OUT / "training" / "backup" / "latest.weights.h5", _STEPS)
    first = backup.restore(model)
    past = past_epochs(OUT / HISTORY, first)
    if first < SETTINGS.epochs:
        batches = Batches([*parts.values()], first)
        validation = tf.data.Dataset.from_tensor_slices(to_unit(*wider)).batch(64)
        with closing(Progress("shipped network", first, SETTINGS.epochs, show=True)) as bar:
            model.fit(
                batches, validation_data=validation, initial_epoch=first, epochs=SETTINGS.epochs, verbose=0,
                shuffle=False,
                callbacks=[
                    bar, keras.callbacks.TerminateOnNaN(),
                    backup,  # before the averaged weights are swapped into the network
                    keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                    keras.callbacks.CSVLogger(OUT / HISTORY, append=True),
                    Checkpoint(OUT / MODEL, past[MONITOR].min() if first else None),
                ],
            )  # fmt: skip
    counts = {part: len(images) for part, (images, _) in parts.items()}
    plan = {"model": SETTINGS.models[0], "settings": SETTINGS.training(), "drawings": KINDS, "counts": counts}
    plan |= {"started_with": digest_of_file(SHIPPED)}
    costs = {"parameters": model.count_params(), "multiplications": count_multiplications(model)}
    run = {"plan": plan} | costs | describe_training(read_epochs(OUT / HISTORY))
    run |= {"precision": model.dtype_policy.name, "seed": SETTINGS.seed, "git_commit": commit}
    write_json(OUT / RUN, run)


def main() -> None:
    """Draw, train, and ship the result."""
    assert SETTINGS.image_size == SIZE
    OUT.mkdir(parents=True, exist_ok=True)
    with locked(OUT), drawing_pool() as pool:
        parts, wider = draw_all(pool)
        train(parts, wider)
    ship(OUT)


if __name__ == "__main__":
    main()
