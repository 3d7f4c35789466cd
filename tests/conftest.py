"""The fixtures that tests share: a home folder for each test, a tiny data set, a tiny trained model, real data."""

import shutil
from pathlib import Path

import pytest

from helpers.paths import REAL
from helpers.scans import TINY
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A new project folder for each test, so that none writes into the checkout."""
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    for name in ("LUNGNB_RAW", "LUNGNB_DATASET", "LUNGNB_PROFILE", "LUNGNB_SET", "LUNGNB_SEEDS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of their own, in which a network that several tests use is exported once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_CACHE", str(tmp_path_factory.mktemp("cache")))
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
def project(tmp_path_factory):
    """A project folder with twelve prepared phantoms of 64x64, and its settings; not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    raw = folder / "scans"
    for index in range(12):
        phantom = make_phantom(index, size=64)
        write_png(raw / "images" / f"case_{index:02}.png", phantom.image)
        write_png(raw / "masks" / f"case_{index:02}.png", phantom.mask)
    settings = Settings(dataset=str(raw), **TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_HOME", str(folder))
        prepare_dataset(settings, progress=False)
    return folder, settings


@pytest.fixture(scope="session")
def trained_project(project):
    """The same project with a U-Net trained for two epochs; not to be changed."""
    from lungnb.networks.training import train

    folder, settings = project
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGNB_HOME", str(folder))
        train(settings, "unet", progress=False)
    return folder, settings


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


@pytest.fixture(scope="session")
def model():
    """A network that takes what is bright for lung; not to be changed."""
    from helpers.networks import bright

    return bright()
