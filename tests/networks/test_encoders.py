import subprocess
import sys

import numpy as np
import pytest

from lungnb.datasets.sources import PHANTOMS
from lungnb.files import remove
from lungnb.networks import encoders, pretraining, training
from lungnb.networks.backend import keras
from lungnb.networks.encoders import BACKBONES, phantom_file
from lungnb.networks.models import build_model, unet
from lungnb.networks.training import read_history, train
from lungnb.presets import make_settings

MODULES = {
    "mobilenetv2": "mobilenet_v2",
    "efficientnetv2b0": "efficientnet_v2",
    "vgg16": "vgg16",
    "resnet50": "resnet",
    "densenet121": "densenet",
}
SMALL = {"size": 32, "filters": 2, "depth": 2, "encoder": "mobilenetv2"}
stubbed = pytest.mark.usefixtures("stub_encoder")


@pytest.fixture(params=["stub", *(pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES)])
def network(request):
    """The name of an encoder and a U-Net with it; a stub in the place of the first."""
    name = request.param
    if name == "stub":
        request.getfixturevalue("stub_encoder")
        name = "mobilenetv2"
    return name, unet(64, 4, 3, encoder=name)


def test_levels_have_the_sizes_of_a_unet(network):
    _, model = network
    for level, size in ((1, 64), (2, 32), (3, 16)):
        assert model.get_layer(f"encoder_{level}").output.shape[1:3] == (size, size)
        assert model.get_layer(f"decoder_{level}").output.shape[1:] == (size, size, 4 * 2 ** (level - 1))
    assert model.get_layer("bridge").output.shape[1:] == (8, 8, 32)
    assert model.output_shape == (None, 64, 64, 1)


def test_grey_is_preprocessed_as_the_networks_own_does_it(network):
    name, model = network
    grey = np.random.default_rng(0).random((2, 64, 64, 1), "float32")
    colours = np.repeat(grey * 255, 3, axis=-1)
    expected = getattr(keras.applications, MODULES[name]).preprocess_input(colours)
    found = keras.Model(model.input, model.get_layer("preprocessing").output).predict_on_batch(grey)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@stubbed
def test_weights_of_a_file_are_taken(tmp_path):
    first, other = unet(**SMALL), unet(**SMALL)
    first.save(tmp_path / "first.keras")
    first.get_layer("encoder").save_weights(tmp_path / "first.weights.h5")
    expected = first.get_layer("encoder").get_weights()
    assert not np.array_equal(other.get_layer("encoder").get_weights()[0], expected[0])
    for name in ("first.keras", "first.weights.h5"):
        found = unet(**SMALL, weights=str(tmp_path / name)).get_layer("encoder").get_weights()
        assert all(map(np.array_equal, found, expected))


@stubbed
def test_pretrained_statistics_stay_as_they_are_while_training(tmp_path):
    unet(**SMALL).save(tmp_path / "first.keras")
    picture = np.random.default_rng(0).random((4, 32, 32, 1), "float32")
    for weights, moves in ((None, True), (str(tmp_path / "first.keras"), False)):
        model = unet(**SMALL, weights=weights)
        moving = next(w for w in model.get_layer("encoder").weights if "moving_mean" in w.path)
        before = np.array(moving)
        model(picture, training=True)
        assert np.array_equal(before, moving) != moves


@stubbed
def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="encoder must be one of mobilenetv2, efficientnetv2b0"):
        unet(encoder="vgg99")
    with pytest.raises(ValueError, match="an encoder needs the model unet, not resunet"):
        build_model("resunet", encoder="vgg16")
    with pytest.raises(ValueError, match="needs images of 32 px at least and a depth of 5 at most"):
        unet(16, 2, 2, encoder="vgg16")
    with pytest.raises(FileNotFoundError, match=r"phantom_mobilenetv2_2_32px\.keras is not there yet: train it"):
        unet(**SMALL, weights="phantom")
    with pytest.raises(FileNotFoundError, match="or name another file, first"):
        unet(**SMALL, weights=str(tmp_path / "none.keras"))
    build_model("unet", size=32, filters=2, depth=2).save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"plain\.keras: not weights for this encoder at this depth"):
        unet(**SMALL, weights=str(tmp_path / "plain.keras"))
    (tmp_path / "broken.weights.h5").write_text("no weights")
    with pytest.raises(ValueError, match=r"broken\.weights\.h5: not weights"):
        unet(**SMALL, weights=str(tmp_path / "broken.weights.h5"))

    def offline(**arguments):
        raise Exception(f"URL fetch failure on https://example.org/{arguments['weights']}.h5")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded \(URL fetch failure on .*use weights=phantom"):
        unet(**SMALL, weights="imagenet")


@pytest.mark.slow
def test_it_opens_in_a_fresh_process_without_lungnb(tmp_path):
    model, picture = unet(**SMALL), np.random.default_rng(0).random((2, 32, 32, 1), "float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "picture.npy", picture)
    script = """
import sys
import keras, numpy as np
model = keras.models.load_model(f"{sys.argv[1]}/model.keras", compile=False, safe_mode=True)
np.save(f"{sys.argv[1]}/found.npy", model.predict_on_batch(np.load(f"{sys.argv[1]}/picture.npy")))
assert "lungnb" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), model.predict_on_batch(picture), atol=1e-6)


@pytest.fixture
def encoded(stub_encoder, prepared, tmp_path):
    """Settings of a U-Net whose encoder comes from a file and is frozen for two of four epochs."""
    unet(**SMALL).save(tmp_path / "first.keras")
    weights = str(tmp_path / "first.keras")
    return prepared.replace(
        depth=2, encoder="mobilenetv2", weights=weights, frozen_epochs=2, epochs=4, learning_rate=1e-3
    )


def encoder_weights(settings):
    model = keras.models.load_model(settings.results / "unet" / "model.keras", compile=False)
    return model.get_layer("encoder").get_weights()


@pytest.mark.slow
def test_a_frozen_encoder_stays_as_it_was_then_learns(encoded, monkeypatch):
    before = keras.models.load_model(encoded.weights, compile=False).get_layer("encoder").get_weights()
    kept = []

    class EveryEpoch(training.Checkpoint):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_layer("encoder").get_weights())
            super().on_epoch_end(epoch, logs)

    monkeypatch.setattr(training, "Checkpoint", EveryEpoch)
    train(encoded, "unet", progress=False)
    same = [all(map(np.array_equal, weights, before)) for weights in kept]
    assert same == [True, True, False, False]
    history = read_history(encoded, "unet")
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert history["learning_rate"].tolist() == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])


@pytest.mark.slow
def test_an_interruption_changes_nothing(encoded, monkeypatch):
    train(encoded, "unet", progress=False)
    expected, weights = read_history(encoded, "unet").drop(columns="seconds"), encoder_weights(encoded)
    remove(encoded.results)

    class Killed(BaseException):
        pass

    class Deadly(training.Progress):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise Killed
            super().on_epoch_begin(epoch, logs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "Progress", Deadly)
        train(encoded, "unet", progress=False)
    train(encoded, "unet", progress=False)
    assert read_history(encoded, "unet").drop(columns="seconds").equals(expected)
    assert all(map(np.array_equal, encoder_weights(encoded), weights))


@pytest.mark.slow
@stubbed
def test_an_encoder_is_trained_on_phantoms_once(prepared, monkeypatch):
    monkeypatch.setitem(PHANTOMS, "ct", 8)
    monkeypatch.setattr(pretraining, "EPOCHS", 1)
    settings = prepared.replace(depth=2, encoder="mobilenetv2", weights="phantom", epochs=1)
    with pytest.raises(FileNotFoundError, match=r"fetch_weights\(settings\)"):
        train(settings, "unet", progress=False)
    pretraining.fetch_weights(settings, progress=False)
    train(settings, "unet", progress=False)
    file = phantom_file("mobilenetv2", 2, 32)
    assert file.exists()
    before = file.stat().st_mtime_ns
    trained = keras.models.load_model(file, compile=False).get_layer("encoder").get_weights()
    found = unet(**SMALL, weights="phantom").get_layer("encoder").get_weights()
    assert all(map(np.array_equal, found, trained))
    pretraining.fetch_weights(settings.replace(seed=2), progress=False)
    assert file.stat().st_mtime_ns == before
    others = (phantom_file("mobilenetv2", 2, 64), phantom_file("mobilenetv2", 2, 32, (-125, 275)))
    assert file not in others  # which saw other pictures


def test_the_encoder_trained_on_phantoms_is_the_same_whoever_asks_first(home, monkeypatch):
    asked = []

    def train_nothing(settings, *_):
        asked.append(settings)
        (settings.results / "unet").mkdir(parents=True, exist_ok=True)
        (settings.results / "unet" / "model.keras").touch()

    for name in ("download", "prepare_dataset"):
        monkeypatch.setattr(pretraining, name, lambda *_: None)
    monkeypatch.setattr(pretraining, "train", train_nothing)
    settings = make_settings(profile="ct-hu-pretrained")
    for changes in ({}, {"train_images": 5, "folds": 3, "batch_size": 2, "filters": 4, "rotation": 90, "seed": 7}):
        pretraining.fetch_weights(settings.replace(**changes), progress=False)
        phantom_file(settings.encoder, settings.depth, settings.image_size, settings.window).unlink()
    assert asked[0] == asked[1]


def test_frozen_epochs_need_an_encoder():
    with pytest.raises(ValueError, match="frozen_epochs needs an encoder"):
        make_settings(frozen_epochs=3)
    assert encoders.BACKBONES[make_settings(profile="ct-hu-pretrained").encoder]
