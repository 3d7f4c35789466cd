"""The fixtures that tests share: a home folder for each test, a tiny data set, a tiny trained model, real data.

All processes of pytest-xdist share the data set, the trained model and the cache of exports.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from helpers.eager import run_eagerly
from helpers.paths import REAL
from helpers.scans import TINY
from helpers.sharing import make_once
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings


def pytest_collection_modifyitems(items):
    """Mark the tests with real data as slow."""
    for item in items:
        if "real" in item.fixturenames:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A new project folder for each test, so that none writes into the checkout."""
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    for name in ("LUNGNB_RAW", "LUNGNB_DATASET", "LUNGNB_PROFILE", "LUNGNB_SET", "LUNGNB_SEEDS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def eager(request, monkeypatch):
    """Run networks eagerly, except in tests marked `graphs`. Tests that do not need TensorFlow do not load it."""
    if "graphs" not in request.keywords and "lungnb.networks.backend" in sys.modules:
        run_eagerly(monkeypatch)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The folder that all processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def cache(shared):
    """A cache for this run, in which a network that several tests use is exported once, and checked on 4 phantoms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_CACHE", str(shared / "cache"))
        patch.setattr("lungnb.engines.parity._PHANTOMS", {"xray": 1, "ct": 1, "wild": 2})
        yield


@pytest.fixture
def real(monkeypatch):
    """Call with a data set's name: its raw folder, or a skipped test where LUNGNB_RAW does not hold it."""

    def folder(dataset: str) -> Path:
        if not (REAL / dataset).is_dir():
            pytest.skip(f"needs real data: set LUNGNB_RAW to a folder that holds {dataset}")
        monkeypatch.setenv("LUNGNB_RAW", str(REAL))
        return REAL / dataset

    return folder


@pytest.fixture(scope="session")
def project(shared):
    """A project folder with twelve prepared phantoms of 64x64, and its settings; not to be changed."""
    folder = shared / "project"
    settings = Settings(dataset=str(folder / "scans"), **TINY)
    make_once(folder, lambda: _prepare_phantoms(folder, settings))
    return folder, settings


def _prepare_phantoms(folder, settings):
    for index in range(12):
        phantom = make_phantom(index, size=64)
        write_png(folder / "scans" / "images" / f"case_{index:02}.png", phantom.image)
        write_png(folder / "scans" / "masks" / f"case_{index:02}.png", phantom.mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_HOME", str(folder))
        prepare_dataset(settings, progress=False)


@pytest.fixture(scope="session")
def trained_project(project):
    """The same project with a U-Net trained for two epochs; not to be changed."""
    folder, settings = project
    make_once(folder / "results", lambda: _train_unet(folder, settings))
    return folder, settings


def _train_unet(folder, settings):
    from lungnb.networks.training import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_HOME", str(folder))
        run_eagerly(patch)
        train(settings, "unet", progress=False)


@pytest.fixture
def prepared(project, home):
    """The settings of a prepared data set in this test's own project folder."""
    folder, settings = project
    shutil.copytree(folder / "data", home / "data")
    return settings


@pytest.fixture
def trained(trained_project, home):
    """The settings of a data set in this test's own project folder, on which a U-Net was trained."""
    folder, settings = trained_project
    for name in ("data", "results"):
        shutil.copytree(folder / name, home / name)
    return settings


@pytest.fixture
def model_file(trained):
    """The file of the trained U-Net."""
    return trained.results / "unet" / "model.keras"


@pytest.fixture
def stub_encoder(monkeypatch):
    """Put a network of five convolutions in the place of MobileNetV2, which takes 10 s to build and to run."""
    from helpers.networks import five_layers
    from lungnb.networks.backend import keras

    monkeypatch.setattr(keras.applications, "MobileNetV2", five_layers)


@pytest.fixture
def no_fit(monkeypatch):
    """Let a training raise `Begun` where it would begin."""
    from helpers.networks import Begun
    from lungnb.networks import training

    def begin(*_):
        raise Begun

    monkeypatch.setattr(training, "_fit", begin)


@pytest.fixture(scope="session")
def model():
    """A network that takes what is bright for lung; not to be changed."""
    from helpers.networks import bright

    return bright()
