"""Opening a trained network, and running it with an engine."""

import importlib.metadata
import time
from zipfile import ZipFile

import numpy as np
import pytest

from helpers.networks import bright
from lungnb.engines import engines
from lungnb.engines.engines import engine_of, load_model
from lungnb.networks.backend import keras


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.h5", "is a model in the HDF5 format"),
        ("model.pkl", ""),
        ("model.hdf5", "is a model in the HDF5 format"),
        ("model.weights.h5", "holds only weights"),
        ("saved_model", "is a SavedModel folder"),
    ],
)
def test_formats_that_can_carry_code_are_refused(tmp_path, name, kind):
    file = tmp_path / name / "saved_model.pb" if kind.endswith("folder") else tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"{name}: {kind}.*a model is a \.keras file.* model\.save\('name\.keras'\)"):
        load_model(tmp_path / name)


def test_a_folder_of_networks_is_not_taken_for_one(tmp_path):
    with pytest.raises(
        ValueError, match=r"is a folder without a model\.keras\. Name a \.keras file, or the folder of a"
    ):
        load_model(tmp_path)
    for name in ("unet", "resunet"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
    with pytest.raises(ValueError) as raised:
        load_model(tmp_path)
    assert str(raised.value).endswith(f"Name one of {tmp_path / 'resunet'}, {tmp_path / 'unet'}.")


def test_an_empty_path_does_not_mean_the_shipped_network():
    with pytest.raises(ValueError, match="the path of the network is empty"):
        load_model("")


def test_a_lambda_layer_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(8, 8, 1))(inputs)).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=r"a\.keras: holds code \(a Lambda layer\)"):
        load_model(tmp_path / "a.keras")


def test_a_damaged_model_is_named(tmp_path, model_file):
    content = bytearray(model_file.read_bytes())
    changed = content.copy()
    changed[len(content) // 2] ^= 255
    for damaged in (content[: len(content) // 2], changed):
        (tmp_path / "bad.keras").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.keras: cannot be loaded as a Keras model, because it is damaged"):
            load_model(tmp_path / "bad.keras")


def grey_network(*more, channels=1, outputs=1, activation="sigmoid"):
    image = keras.Input((8, 8, channels))
    features = keras.Sequential([keras.layers.Conv2D(2, 3, padding="same"), *more])(image) if more else image
    return keras.Model(image, keras.layers.Conv2D(outputs, 1, activation=activation)(features))


@keras.saving.register_keras_serializable()
class Attention(keras.layers.Layer):
    """A layer that a user wrote."""

    def call(self, features):
        return features


@keras.saving.register_keras_serializable()
class OwnNetwork(keras.Model):
    """A network whose class a user wrote."""

    def call(self, image):
        return image


def deeply_supervised():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, [keras.layers.Conv2D(1, 1, activation="sigmoid")(image) for _ in range(2)])


def text_file(path):
    path.write_text("not a network")


def zip_of_others(path):
    with ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")


def zip_without_weights(path):
    with ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


def of_another_keras(path):
    """Write a network with a setting that this version of Keras does not know."""
    grey_network().save(path.with_name("good.keras"))
    with ZipFile(path.with_name("good.keras")) as good, ZipFile(path, "w") as archive:
        for name in good.namelist():
            archive.writestr(name, good.read(name).replace(b'"filters": 1', b'"filters": 1, "new": 1'))


def saved(network):
    return lambda path: network().save(path)


INTACT = {  # how files that are whole are written, and what is said of them
    "HDF5": (lambda path: grey_network().save(path.with_suffix(".h5")), "is a model in the HDF5 format.* model.save"),
    "weights": (lambda path: grey_network().save_weights(path.with_suffix(".weights.h5")), "holds only weights.* Save"),
    "text": (text_file, r"it is not a \.keras file, whatever its name\. .* model.save"),
    "zip": (zip_of_others, "it is a zip archive of other files.* model.save"),
    "no weights": (zip_without_weights, "describes a network without its weights.* model.save"),
    "another Keras": (of_another_keras, r"it is not what Keras \d.* writes\. Save the network again"),
    "own layer": (saved(lambda: grey_network(Attention())), "holds 'Attention'.* not a class of Keras.* not run"),
    "own class": (saved(OwnNetwork), "holds 'OwnNetwork'.* not a class of Keras.* not run"),
    "two outputs": (saved(deeply_supervised), r"take one input and one output of it, .*model\.outputs\[0\]"),
    "colours": (saved(lambda: grey_network(channels=3)), "build it for grey images, which have one channel"),
    "two classes": (saved(lambda: grey_network(outputs=2, activation="softmax")), "let it end with one channel"),
}


@pytest.mark.filterwarnings("ignore:You are saving a model")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("name", INTACT)
def test_intact_files_are_refused_with_the_cause(tmp_path, name):
    write, said = INTACT[name]
    write(tmp_path / "net.keras")
    for written in tmp_path.glob("net*.h5"):
        written.rename(tmp_path / "net.keras")
    with pytest.raises(ValueError, match=rf"net\.keras: .*{said}") as raised:
        load_model(tmp_path / "net.keras")
    assert "whole?" not in str(raised.value)


def test_a_network_that_gives_logits_is_refused_and_one_with_a_sigmoid_added_is_not(tmp_path):
    logits = grey_network(activation=None)
    logits.layers[-1].set_weights([np.full((1, 1, 1, 1), 40.0), np.array([-20.0])])
    logits.save(tmp_path / "logits.keras")
    with pytest.raises(ValueError, match=r"gives values from -20 to 1\d, not probabilities.*Activation\('sigmoid'\)"):
        load_model(tmp_path / "logits.keras")
    keras.Sequential([logits, keras.layers.Activation("sigmoid")]).save(tmp_path / "added.keras")
    picture = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    added = load_model(tmp_path / "added.keras").predict_on_batch(picture)
    np.testing.assert_allclose(added, 1 / (1 + np.exp(-logits.predict_on_batch(picture))), atol=1e-6)
    logits.layers[-1].set_weights([np.full((1, 1, 1, 1), np.nan), np.zeros(1)])
    logits.save(tmp_path / "nan.keras")
    with pytest.raises(ValueError, match=r"nan\.keras: has weights that are not numbers \(NaN\)"):
        load_model(tmp_path / "nan.keras")


@pytest.mark.parametrize("activations", [(None, "sigmoid"), ("sigmoid", None), ("relu", "sigmoid")])
def test_each_of_two_outputs_must_be_a_probability(tmp_path, activations):
    constant = keras.initializers.Constant
    steep = {"kernel_initializer": constant(40), "bias_initializer": constant(-20)}
    image = keras.Input((8, 8, 1))
    lung = keras.layers.Conv2D(1, 1, activation=activations[0], **steep)(image)
    average = keras.layers.GlobalAveragePooling2D()(image)
    chest = keras.layers.Dense(1, activation=activations[1], name="chest", **steep)(average)
    keras.Model(image, [lung, chest]).save(tmp_path / "both.keras")
    with pytest.raises(ValueError, match=r"both\.keras: gives values from .*, not probabilities"):
        load_model(tmp_path / "both.keras")


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
    with pytest.raises(ValueError, match=r"\(None, size, size, 1\) is expected|build it for one size"):
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
