import subprocess
import sys

import pytest

import lungnb
from lungnb import artefacts
from lungnb.artefacts import home
from lungnb.files import NotWritten
from lungnb.report.copying import copy_notebooks


def test_the_series_is_copied_and_is_a_project_folder(tmp_path, monkeypatch):
    first = copy_notebooks(tmp_path / "lungs")
    assert first == tmp_path / "lungs" / "notebooks" / "00_start.ipynb" and first.exists()
    assert len([*first.parent.iterdir()]) == 14
    assert (tmp_path / "lungs" / "results" / "published" / "adapt" / "curve.csv").exists()
    assert not [*(tmp_path / "lungs").rglob("*.png")]
    monkeypatch.delenv("LUNGNB_HOME", raising=False)
    monkeypatch.chdir(first.parent)
    assert home() == tmp_path / "lungs"


def test_existing_notebooks_are_never_replaced(tmp_path):
    first = lungnb.copy_notebooks(tmp_path)
    first.write_text("my own")
    with pytest.raises(NotWritten, match="notebooks: holds files that lungnb did not write"):
        copy_notebooks(tmp_path)
    assert first.read_text() == "my own"


def test_an_installed_package_has_the_series(tmp_path, monkeypatch):
    folders = ("egg_info", "--egg-base", tmp_path, "build", "--build-base", tmp_path)
    subprocess.run([sys.executable, "setup.py", "-q", *folders], check=True, cwd=artefacts.series_folder())
    series = tmp_path / "lib" / "lungnb" / "series"
    monkeypatch.setattr(artefacts, "_INSTALLED", series)
    assert artefacts.series_folder() == series
    assert copy_notebooks(tmp_path / "mine").read_bytes() == (series / "notebooks" / "00_start.ipynb").read_bytes()
    assert len([*(tmp_path / "mine" / "notebooks").iterdir()]) == 14
