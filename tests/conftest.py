"""What the tests share: a home folder of their own, a tiny data set, a tiny trained model, and real data."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.metrics import SCORES, SURFACE_SCORES
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings

ROOT = Path(__file__).parents[1]
# Read before the tests set their own: where real data sets lie, if anywhere.
REAL = (ROOT / Path(os.environ.get("LUNGNB_RAW") or "nowhere").expanduser()).resolve()
TINY = {"image_size": 32, "filters": 2, "depth": 2, "epochs": 2, "batch_size": 4}


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


def make_pipe(path: Path) -> None:
    """Make a named pipe; skip the test if the system has none."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


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


def table_of(**models):
    """A tidy table of the Dice of several models on the same images; all other scores are the same numbers."""
    rows = [
        {"model": name, "id": f"{n:03}", "patient": f"{n:03}", "split": "test", "unit": "px", "milliseconds": 10 + n}
        | dict.fromkeys((*SCORES, *SURFACE_SCORES), value)
        | {"tp": 100 * n, "fp": n, "fn": 0, "tn": 1000}
        for name, values in models.items()
        for n, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def drawn(figure):
    """Render a figure; return its axes that show something."""
    assert isinstance(figure, Figure) and not plt.get_fignums()  # or a notebook would show it twice
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.has_data()]


def start(script, home, *arguments):
    """Start a Python script in a process of its own, in the project folder `home`."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = {**os.environ, "LUNGNB_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process):
    """Wait for a process; return its exit status and what it printed."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output
