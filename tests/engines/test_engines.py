"""Opening a trained network, and running it with an engine."""

import importlib.metadata
import time

import numpy as np
import pytest

from helpers.networks import bright
from lungnb.engines import engines
from lungnb.engines.engines import engine_of, load_model
from lungnb.networks.backend import keras


@pytest.mark.parametrize("name", ["model.h5", "model.pkl", "model.hdf5", "saved_model"])
def test_formats_that_can_carry_code_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a model is a \.keras file"):
        load_model(tmp_path / name)


def test_a_lambda_layer_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 1))(inputs)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"a\.keras: holds code \(a Lambda layer\)"):
        load_model(tmp_path / "a.keras")


def test_a_damaged_model_is_named(tmp_path, model_file):
    content = model_file.read_bytes()
    for damaged in (b"no zip", content[: len(content) // 2]):
        (tmp_path / "bad.keras").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.keras: cannot be loaded as a Keras model; is the file whole\?"):
            load_model(tmp_path / "bad.keras")


def test_an_empty_model_is_named(tmp_path):
    (tmp_path / "bad.keras").touch()
    with pytest.raises(ValueError, match=r"bad\.keras: the file is empty"):
        load_model(tmp_path / "bad.keras")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.keras is not there yet: train a model"):
        load_model(tmp_path / "gone.keras")


@pytest.mark.parametrize("shape", [(8, 16, 1), (8, 8, 3), (None, None, 1)])
def test_models_of_another_form_are_refused(tmp_path, shape):
    inputs = keras.Input(shape)
    keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"\(None, size, size, 1\) is expected"):
        load_model(tmp_path / "a.keras")


def test_a_model_is_loaded_once_and_anew_when_its_file_changes(tmp_path):
    bright(8).save(tmp_path / "a.keras")
    first = load_model(tmp_path / "a.keras")
    assert load_model(str(tmp_path / "a.keras")) is first
    time.sleep(0.01)
    bright(16).save(tmp_path / "a.keras")
    assert load_model(tmp_path / "a.keras").input_shape == (None, 16, 16, 1)


def test_a_package_of_another_name_may_bring_an_engine(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")

    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert engines.engine_name("onnx") == f"onnx {onnxruntime.__version__} f32"


def test_a_keras_model_is_run_as_it_is(model_file):
    network = load_model(model_file)
    opened = engine_of(network)
    picture = np.random.default_rng(0).random((3, *network.input_shape[1:]), np.float32)
    np.testing.assert_array_equal(opened(picture), network.predict_on_batch(picture))
    assert opened.size == network.input_shape[1] and engine_of(opened) is opened
    assert keras.__version__ in opened.name
