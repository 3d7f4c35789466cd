import h5py
import numpy as np
import pandas as pd
import pytest

from lungnb.networks.backend import keras
from lungnb.networks.callbacks import Backup, Checkpoint, EarlyStopping, ReduceLROnPlateau
from lungnb.networks.models import build_model

LOSSES = [1.0, 0.9, 0.95, 0.94, 0.93, 0.92, 0.91, 0.905]


def remembering(cut):
    """Feed the losses to both callbacks, with an interruption after `cut` epochs; return rates and where they stop."""
    model = build_model("unet", size=8, filters=1, depth=1)
    model.compile(keras.optimizers.Adam(0.8), "mse")
    rates, stopped = [], None
    for first, last in ((0, cut), (cut, len(LOSSES))):
        stop, plateau = EarlyStopping(monitor="val_loss", patience=5), ReduceLROnPlateau("val_loss", 0.5, 2)
        past = pd.DataFrame({"epoch": range(first), "val_loss": LOSSES[:first]})
        model.optimizer.learning_rate = 0.8
        for callback in (stop, plateau):
            callback.past = past
            callback.set_model(model)
            callback.on_train_begin()
        for epoch in range(first, last):
            for callback in (stop, plateau):
                callback.on_epoch_end(epoch, {"val_loss": LOSSES[epoch]})
            rates.append(round(float(model.optimizer.learning_rate), 4))
            if stop.stopped_epoch and stopped is None:
                stopped = stop.stopped_epoch
    return rates, stopped


@pytest.mark.parametrize("cut", range(len(LOSSES)))
def test_early_stopping_and_plateaus_remember(cut):
    rates, stopped = remembering(cut)
    assert rates == [0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1]  # halved after each two epochs without a better one
    assert stopped == 6  # the fifth after epoch 1


def test_random_layers_draw_the_same_in_a_resumed_epoch(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    model.compile("sgd", "mse")
    backup = Backup(tmp_path / "latest.weights.h5", 1)
    backup.set_model(model)

    def drawn(epoch):
        backup.on_epoch_begin(epoch)
        return keras.ops.convert_to_numpy(model(np.ones((64, 4)), training=True))

    first, second = drawn(0), drawn(1)
    assert (drawn(1) == second).all() and (first != second).any() and (drawn(0) == first).all()


def test_a_worse_epoch_after_an_interruption_replaces_no_better_network(tmp_path):
    model, file = build_model("unet", size=8, filters=1, depth=1), tmp_path / "model.keras"
    checkpoint = Checkpoint(file, best=0.5)
    checkpoint.set_model(model)
    for epoch, (loss, is_saved) in enumerate([(0.6, False), (0.4, True)]):
        checkpoint.on_epoch_end(epoch, {"val_loss": loss})
        assert [*tmp_path.iterdir()] == [file] * is_saved


def test_a_damaged_backup_is_named(tmp_path):
    model = build_model("unet", size=8, filters=1, depth=1)
    (tmp_path / "unet" / "training").mkdir(parents=True)
    (tmp_path / "unet" / "training" / "latest.weights.h5").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"latest\.weights\.h5: cannot be read; remove .* to train from the start"):
        Backup(tmp_path / "unet" / "training" / "latest.weights.h5", 1).restore(model)


def test_a_backup_that_reads_another_file_is_refused(tmp_path):
    model = build_model("unet", size=8, filters=1, depth=1)
    model.compile("sgd", "mse")
    backup, file = Backup(tmp_path / "unet" / "training" / "latest.weights.h5", 1), tmp_path / "other.bin"
    backup.set_model(model)
    backup.on_epoch_end(0)
    assert backup.restore(model) == 0
    with h5py.File(backup._file, "r+") as stored:
        names: list[str] = []
        stored.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        values = stored[names[0]][()]
        file.write_bytes(values.tobytes())
        del stored[names[0]]
        stored.create_dataset(names[0], values.shape, values.dtype, external=[(str(file), 0, values.nbytes)])
    with pytest.raises(ValueError, match=r"latest\.weights\.h5: cannot be read"):
        backup.restore(model)
