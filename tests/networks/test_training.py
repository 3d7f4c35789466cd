import gc
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from helpers.eager import run_eagerly
from helpers.networks import Begun
from helpers.processes import exit_code, start_forked
from helpers.scans import TINY, write_pairs
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import load_model
from lungnb.formats.images import read_mask, write_png
from lungnb.networks import backend, losses, models, training
from lungnb.networks.backend import keras
from lungnb.networks.costs import count_multiplications
from lungnb.networks.machine import processor
from lungnb.networks.models import build_model
from lungnb.networks.records import code_digest
from lungnb.networks.training import read_history, read_run, train
from lungnb.presets import make_settings
from lungnb.settings import CHOICES, TITLES, Settings

COLUMNS = {"epoch", "loss", "val_loss", "dice", "val_dice", "iou", "val_iou", "accuracy", "precision", "recall"}
COLUMNS |= {"learning_rate", "seconds"}


def test_the_run_folder_has_all_records(trained):
    folder = trained.results / "unet"
    assert {path.name for path in folder.iterdir()} == {"model.keras", "history.csv", "run.json"}

    history = read_history(trained, "unet")
    assert history["epoch"].tolist() == [0, 1]
    assert set(history) >= COLUMNS
    assert np.isfinite(history.to_numpy()).all()
    assert history["val_dice"].between(0, 1).all()

    run = json.loads((folder / "run.json").read_text())
    assert run == read_run(trained, "unet")
    assert run["plan"]["model"] == "unet"
    assert {name: run["plan"]["settings"][name] for name in ("seed", "epochs", "filters", "image_size")} == {
        "seed": 1,
        "epochs": 2,
        "filters": 2,
        "image_size": 32,
    }
    assert set(run["versions"]) >= {"python", "lungnb", "keras", "tensorflow", "numpy"}
    assert run["versions"]["keras"] == keras.__version__
    assert run["seed"] == 1
    assert run["epochs"] == 2
    assert run["device"]
    assert run["wall_seconds"] == pytest.approx(history["seconds"].sum(), abs=0.06)
    assert run["best_epoch"] == history["val_loss"].idxmin() + 1
    assert run["best_validation_loss"] == pytest.approx(history["val_loss"].min())
    assert run["parameters"] == build_model("unet", size=32, filters=2, depth=1).count_params()
    assert run["multiplications"] == count_multiplications(build_model("unet", size=32, filters=2, depth=1))
    assert run["code_digest"] == code_digest() and run["processor"] == processor()
    assert run["git_commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", run["git_commit"])


@pytest.mark.slow
@pytest.mark.graphs
def test_trainings_leave_no_graphs_behind(prepared):
    def graphs():
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    settings = prepared.replace(epochs=1)
    train(settings, "unet", progress=False)
    before = graphs()
    train(settings.replace(seed=2), "unet", progress=False)
    assert graphs() == before


def test_a_cosine_falls_over_all_epochs(trained):
    settings = trained.replace(schedule="cosine", epochs=4, learning_rate=0.01)
    rates = train(settings, "unet", progress=False)["learning_rate"]
    assert rates.tolist() == pytest.approx([0.01, 0.0085355, 0.005, 0.0014645], rel=1e-3)


def test_a_compiled_model_takes_arguments_of_its_own(trained):
    names = [layer.name for layer in training.compiled_model(trained, "unet", skips=False).layers]
    assert "bridge" in names and "decoder_1_skip" not in names


def test_the_saved_weights_are_those_of_the_best_epoch(trained):
    from lungnb.networks.data import load_batches

    model = training.compiled_model(trained, "unet")
    stored = keras.models.load_model(trained.results / "unet" / "model.keras", compile=False)
    model.set_weights(stored.get_weights())
    found = model.evaluate(load_batches(trained, "validation"), verbose=0, return_dict=True)
    history = read_history(trained, "unet")
    best = history.loc[history["val_loss"].idxmin()]
    assert found["loss"] == pytest.approx(best["val_loss"], abs=1e-4)
    assert found["dice"] == pytest.approx(best["val_dice"], abs=1e-4)


def test_what_was_trained_is_not_trained_again(trained, no_fit, capsys):
    before = {path: path.stat().st_mtime_ns for path in (trained.results / "unet").iterdir()}
    assert train(trained, "unet").equals(read_history(trained, "unet"))
    assert "unet was trained with these settings before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (trained.results / "unet").iterdir()} == before


@pytest.mark.parametrize("change", ["settings", "model", "data", "no weights"])
def test_what_changed_is_trained_anew(trained, no_fit, change):
    settings, manifest = trained, trained.prepared / "manifest.csv"
    if change == "settings":
        settings = trained.replace(learning_rate=0.002)
    elif change == "data":
        manifest.write_text(manifest.read_text().replace("train", "validation", 1))
    elif change == "no weights":
        (trained.results / "unet" / "model.keras").unlink()
    with pytest.raises(Begun):
        train(settings, "resunet" if change == "model" else "unet", progress=False)


def test_other_settings_keep_the_earlier_run_and_its_settings_bring_it_back(trained, capsys):
    folder, earlier = trained.results / "unet", trained.results / "earlier"
    (folder / "scores.csv").touch()
    first = contents(folder)
    other = trained.replace(learning_rate=0.002, epochs=1)
    train(other, "unet")
    assert "is now earlier/unet-1" in capsys.readouterr().out
    assert contents(earlier / "unet-1") == first
    assert read_run(trained, "unet")["plan"]["settings"]["learning_rate"] == 0.002
    second = contents(folder)
    train(trained, "unet", progress=False)
    assert contents(folder) == first and [run.name for run in earlier.iterdir()] == ["unet-2"]
    assert contents(earlier / "unet-2") == second


def test_an_interrupted_training_is_kept_too_and_goes_on(trained, monkeypatch, capsys):
    settings = trained.replace(epochs=3)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: epoch == 2 and _interrupt())
    with pytest.raises(KeyboardInterrupt):
        train(settings, "unet", more=[stop])
    assert not tqdm._instances  # the bar is closed
    assert (trained.results / "earlier" / "unet-1" / "run.json").exists()
    train(trained, "unet", progress=False)  # the finished one comes back, the interrupted one is kept
    capsys.readouterr()
    train(settings, "unet")
    assert "67%" in capsys.readouterr().out  # two of three epochs were done before
    assert len(read_history(settings, "unet")) == 3


@pytest.mark.parametrize("changes", [{"learning_rate": 0.002}, {"weights": "/nowhere.keras"}])
def test_no_network_is_lost_if_a_training_is_killed_or_fails(trained, monkeypatch, changes):
    model = (trained.results / "unet" / "model.keras").read_bytes()

    def fail(*_):
        raise SystemExit

    monkeypatch.setattr(training, "_fit", fail)
    with pytest.raises((SystemExit, ValueError, FileNotFoundError)) as raised:
        train(trained.replace(**changes), "unet", progress=False)
    kept = [file.parent.name for file in trained.results.glob("**/model.keras") if file.read_bytes() == model]
    assert kept == (["unet-1"] if raised.type is SystemExit else ["unet"])  # a mistake moves nothing


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _interrupt():
    raise KeyboardInterrupt


def test_progress_is_one_bar_on_standard_output(prepared, capsys):
    train(prepared.replace(epochs=1), "resunet")
    shown = capsys.readouterr()
    assert "resunet: 100%" in shown.out
    assert "validation Dice 0." in shown.out
    assert "1/1 [" in shown.out
    assert shown.err == ""


def test_a_loss_that_is_not_a_number_gives_a_sentence(prepared):
    settings = prepared.replace(learning_rate=1e30)
    with pytest.raises(ValueError, match=r"unet: the loss became NaN; try a lower learning_rate than 1e\+30\."):
        train(settings, "unet", progress=False)
    assert not (settings.results / "unet" / "run.json").exists()
    assert not (settings.results / "unet" / "training").exists()  # or it would go on with weights that are not numbers


def test_mistakes_are_named_before_training(prepared):
    with pytest.raises(ValueError, match="model must be one of unet, resunet"):
        train(prepared, "vnet")
    with pytest.raises(ValueError, match="loss must be one of"):
        train(prepared.replace(loss="focal"), "unet")
    with pytest.raises(FileNotFoundError, match=r"or `lungnb train .* --model r2unet`"):
        read_history(prepared, "r2unet")
    shutil.rmtree(prepared.prepared)
    with pytest.raises(FileNotFoundError, match="run notebook 02"):
        train(prepared, "unet")


def train_to_death(folder, dataset, where, epoch, eagerly):
    """Train in a process that dies at once, as by kill -9, at a place in an epoch, or nowhere."""
    os.environ["LUNGNB_HOME"] = str(folder)
    if eagerly:
        run_eagerly(pytest.MonkeyPatch())
    settings = Settings(
        dataset=dataset, **TINY | {"epochs": 5}, deterministic=True, learning_rate=0.1, plateau_patience=1
    )
    # No epoch is taken for better than the first, so that the rate falls whatever the machine computes.
    training.ReduceLROnPlateau = partial(training.ReduceLROnPlateau, min_delta=10)
    if where == "begin":
        training.Progress.on_epoch_begin = deadly(training.Progress.on_epoch_begin, epoch)
    elif where == "backup":  # history and best weights are written, the backup is not
        training.Backup.on_epoch_end = deadly(training.Backup.on_epoch_end, epoch)
    elif where == "batch":
        training.Progress.on_train_batch_end = deadly(lambda *_: None, 1)
    train(settings, "unet", progress=False)


def deadly(method, epoch):
    """Return a callback's method that ends its process in an epoch."""

    def die_or_go_on(self, now, logs=None):
        if now == epoch:
            os._exit(9)
        return method(self, now, logs)

    return die_or_go_on


@pytest.mark.slow
@pytest.mark.parametrize("eagerly", [True, False], ids=["eager", "graphs"])
def test_interrupted_training_ends_where_the_uninterrupted_run_does(prepared, home, tmp_path, eagerly):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        shutil.copytree(home / "data", folder / "data")
    uninterrupted = start_forked(train_to_death, whole, prepared.dataset, "nowhere", -1, eagerly)
    result = broken / "results" / "scans" / "unet"
    for where, epoch, epochs in (("batch", -1, 0), ("backup", 1, 2), ("begin", 3, 3)):
        assert exit_code(start_forked(train_to_death, broken, prepared.dataset, where, epoch, eagerly)) == 9
        assert (len(pd.read_csv(result / "history.csv")) if epochs else 0) == epochs
        assert not (result / "run.json").exists()
    for process in (start_forked(train_to_death, broken, prepared.dataset, "nowhere", -1, eagerly), uninterrupted):
        assert exit_code(process) == 0

    expected = whole / "results" / "scans" / "unet"
    histories = [pd.read_csv(folder / "history.csv").drop(columns="seconds") for folder in (expected, result)]
    assert histories[0]["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert histories[0]["learning_rate"].nunique() > 1  # the plateau's memory was put to the test
    pd.testing.assert_frame_equal(*histories, rtol=0, atol=1e-6)
    weights = [
        keras.models.load_model(folder / "model.keras", compile=False).get_weights() for folder in (expected, result)
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert {path.name for path in result.iterdir()} == {"model.keras", "history.csv", "run.json"}
    runs = [json.loads((folder / "run.json").read_text()) for folder in (expected, result)]
    for name in ("plan", "epochs", "best_epoch", "seed", "parameters"):
        assert runs[0][name] == runs[1][name]


def test_training_that_stopped_early_stays_stopped(prepared, monkeypatch):
    settings = prepared.replace(epochs=30, stop_patience=1, learning_rate=0.1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "describe_training", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(settings, "unet", progress=False)
    before = read_history(settings, "unet")
    assert 1 < len(before) < 30
    assert before["val_loss"].iloc[-1] > before["val_loss"].min()
    assert train(settings, "unet", progress=False).equals(before)
    assert read_run(settings, "unet")["epochs"] == len(before)


TWO_DEVICES = """
import sys
import tensorflow as tf
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half, half])

from lungnb.networks import backend, training
from lungnb.presets import make_settings
backend.gpus = lambda: ["CPU:0", "CPU:1"]
small = {"image_size": 32, "filters": 2, "depth": 2, "epochs": 3, "train_images": 7}
settings = make_settings(sys.argv[1], batch_size=int(sys.argv[2]), **small)
assert backend.devices_of(training.compiled_model(settings, "unet")) == 2
if sys.argv[3] == "killed":
    from lungnb.networks.backend import keras
    die = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epoch == 2 and sys.exit(9))
    training.train(settings, "unet", progress=False, more=[die])
training.train(settings, "unet", progress=False)
"""


def on_two_devices(settings, batch_size, how):
    command = [sys.executable, "-c", TWO_DEVICES, settings.dataset, str(batch_size), how]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_two_devices_train_one_network(prepared):
    """The last batch has one image, too few for two devices, and the process is killed between epochs."""
    assert on_two_devices(prepared, 2, "killed").returncode == 9
    assert (prepared.results / "unet" / "training").exists()
    done = on_two_devices(prepared, 2, "whole")
    assert done.returncode == 0, done.stderr
    history = read_history(prepared, "unet")
    assert history["epoch"].tolist() == [0, 1, 2] and np.isfinite(history.to_numpy()).all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    # What two devices trained, one computes.
    model = keras.models.load_model(prepared.results / "unet" / "model.keras", compile=False)
    assert np.isfinite(model.predict(np.ones((1, 32, 32, 1)), verbose=0)).all()


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_out_is_refused(prepared):
    assert (
        "batch_size must be a multiple of 2, the devices to train on, not 3."
        in on_two_devices(prepared, 3, "whole").stderr
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an operation of TensorFlow's")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_normalising_at_once_trains_to_the_same_numbers(precision):
    rng = np.random.default_rng(0)
    images = rng.random((3, 4, 32, 32, 1), np.float32)
    keras.config.set_dtype_policy(precision)
    try:
        found = []
        for change in (lambda model: None, backend.fuse_batch_norm):
            keras.utils.set_random_seed(1)
            model = build_model("unet", size=32, filters=4, depth=2)
            model.get_layer("encoder_2_norm_1").trainable = False  # as those of a frozen encoder
            change(model)
            model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", jit_compile=False)
            losses = [model.train_on_batch(batch, batch > 0.5) for batch in images]
            found.append((losses, model.get_weights(), model.predict(images[0], verbose=0), model.get_config()))
    finally:
        keras.config.set_dtype_policy("float32")
    (losses, weights, answers, config), (own_losses, own_weights, own_answers, own_config) = found
    near = 1e-4 if precision == "float32" else 0.02
    np.testing.assert_allclose(own_losses, losses, rtol=near)
    for one, other in zip(own_weights, weights, strict=True):
        np.testing.assert_allclose(one, other, atol=near)
    np.testing.assert_allclose(own_answers, answers, atol=near)
    assert own_config == config  # saved as Keras's own layers


def test_normalising_at_once_reaches_layers_of_models_within_models(stub_encoder):
    model = build_model("unet", size=32, depth=4, encoder="mobilenetv2", weights=None)
    backend.fuse_batch_norm(model)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 10 and all(isinstance(layer.call, partial) for layer in norms)


@pytest.mark.slow
def test_corrected_masks_are_learned_anew(tmp_path):
    settings = make_settings(str(write_pairs(tmp_path / "scans")), **TINY | {"epochs": 1})
    prepare_dataset(settings, progress=False)
    train(settings, "unet", progress=False)
    mask = next((settings.prepared / "train" / "masks").iterdir())
    before, raw = open_prepared(settings).digest, tmp_path / "scans" / "masks" / mask.name
    os.utime(raw)  # another time, the same content
    prepare_dataset(settings, progress=False)
    assert open_prepared(settings).digest == before
    write_png(raw, ~read_mask(raw))
    prepare_dataset(settings, progress=False)
    assert open_prepared(settings).digest != before
    evaluation = settings.results / "unet" / "scores.csv"
    evaluation.touch()
    train(settings, "unet", progress=False)
    assert not evaluation.exists()  # which were the other network's


def test_other_weights_to_begin_with_are_learned_from_anew(trained, monkeypatch):
    file = trained.results / "unet" / "model.keras"
    shutil.copy(file, trained.results / "weights.keras")
    settings = trained.replace(weights=str(trained.results / "weights.keras"), epochs=1)
    train(settings, "unet", progress=False)
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained again"))
    train(settings, "unet", progress=False)
    network = load_model(file)
    network.set_weights([0.9 * weight for weight in network.get_weights()])
    network.save(trained.results / "weights.keras")
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        train(settings, "unet", progress=False)


@pytest.fixture
def as_shipped():
    """Forget the networks and losses that a test adds."""
    tables = (models.MODELS, losses.OWN_LOSSES, TITLES, CHOICES)
    before = [{**table} for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


def test_a_network_and_a_loss_of_my_own_are_trained_again_if_their_code_changes(prepared, as_shipped, monkeypatch):
    def plain(size, filters, depth):
        image = keras.Input((size, size, 1))
        return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(image))

    def squares(truth, probability):
        return keras.ops.mean((keras.ops.cast(truth, "float32") - probability) ** 2, axis=(1, 2, 3))

    assert models.add_network(plain) is plain and losses.add_loss(squares) is squares
    assert "squares" not in losses.LOSSES  # all of which a search tries
    losses.add_loss(squares)  # as when a cell of a notebook is run again
    settings = prepared.replace(models=("plain",), loss="squares", epochs=1)
    train(settings, "plain", progress=False)
    train(settings, "plain", progress=False)
    assert not (settings.results / "earlier").exists() and CHOICES["loss"].count("squares") == 1
    assert load_model(settings.results / "plain" / "model.keras").count_params() == 2
    with monkeypatch.context() as patch:
        patch.setattr(training.inspect, "getsource", lambda function: f"another {function.__name__}")
        train(settings, "plain", progress=False)
    assert [run.name for run in (settings.results / "earlier").iterdir()] == ["plain-1"]


def test_functions_that_cannot_be_added_are_refused(as_shipped):
    def unet(size, filters, depth):
        raise NotImplementedError

    def halved(size, filters, depth):
        image = keras.Input((size, size, 1))
        return keras.Model(image, keras.layers.MaxPooling2D()(image))

    with pytest.raises(ValueError, match="unet: give the function another name"):
        models.add_network(unet)
    with pytest.raises(ValueError, match=r"functools.partial.*: give the function another name"):
        models.add_network(partial(unet))
    with pytest.raises(ValueError, match="<lambda>: give the function another name"):
        losses.add_loss(lambda truth, probability: 0)

    def coded(size, filters, depth):
        image = keras.Input((size, size, 1))
        return keras.Model(image, keras.layers.Lambda(lambda x: x)(image))

    models.add_network(coded)
    with pytest.raises(ValueError, match=r"coded: holds code \(a Lambda layer\), which is not run"):
        build_model("coded", size=8, filters=1, depth=1)

    def nothing(size, filters, depth):
        """Build a network, and forget to return it."""

    models.add_network(nothing)
    with pytest.raises(ValueError, match=r"nothing: must return keras.Model\(inputs, outputs\)"):
        build_model("nothing", size=8, filters=1, depth=1)
    models.add_network(halved)
    with pytest.raises(ValueError, match=r"halved: must map \(size, size, 1\) to the same shape"):
        build_model("halved", size=8, filters=1, depth=1)

    def logits(size, filters, depth):
        image = keras.Input((size, size, 1))
        return keras.Model(image, keras.layers.Conv2D(1, 1, bias_initializer=keras.initializers.Constant(-3))(image))

    models.add_network(logits)
    with pytest.raises(ValueError, match=r"logits: gives values from .*, not probabilities from 0 to 1"):
        build_model("logits", size=8, filters=1, depth=1)
