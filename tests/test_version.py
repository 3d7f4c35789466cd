"""The version is written in `lungnb/__init__.py`; the wheel, the command line and the citation have the same one."""

import shutil
import subprocess
import sys
import tomllib
from email.parser import Parser

import pytest

import lungnb
from helpers.paths import ROOT
from lungnb.__main__ import main


def test_pyproject_takes_the_version_from_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project and project["dynamic"] == ["version"]


def test_the_command_line_prints_the_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == lungnb.__version__


def test_the_citation_has_the_version():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {lungnb.__version__}" in lines


def test_the_changelog_has_the_version():
    assert f"## [{lungnb.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_wheel_has_the_version(tmp_path):
    """Only the files that decide the version are copied, because setuptools writes beside what it reads."""
    pytest.importorskip("setuptools", minversion="77")
    (tmp_path / "lungnb").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "lungnb/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    code = "from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel('out'))"
    (tmp_path / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metadata = tmp_path / "out" / done.stdout.splitlines()[-1] / "METADATA"
    assert Parser().parsestr(metadata.read_text(encoding="utf-8"))["Version"] == lungnb.__version__
