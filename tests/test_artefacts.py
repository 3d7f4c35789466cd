"""Where data and results are, and which folders cannot be a data set."""

import json
import os
import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from helpers.commands import VERBS
from helpers.files import tree
from helpers.paths import ROOT
from helpers.scans import write_pairs
from lungnb.__main__ import main
from lungnb.artefacts import ARTEFACTS, given_path, holds_data, raw_folder
from lungnb.artefacts import home as project_folder
from lungnb.datasets.prepare import prepare_dataset
from lungnb.presets import make_settings
from lungnb.report.sections import SECTIONS


@pytest.fixture
def busy_home(home, monkeypatch):
    """A project with a prepared data set, a result and raw data, and a working folder in it."""
    write_pairs(home / "data" / "raw" / "mine")
    prepare_dataset(make_settings("mine"), progress=False)
    (home / "results" / "mine" / "unet").mkdir(parents=True)
    (home / "results" / "mine" / "unet" / "model.keras").write_text("hours of work")
    monkeypatch.chdir(home)
    return home


def test_a_given_path_knows_the_home_folder_and_is_not_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert given_path("~/a.png") == tmp_path / "home" / "a.png"
    (tmp_path / "~").mkdir()
    for name in ("~", "~nobody-at-all/a.png", "a~/b.png"):  # a folder with this name, no user, and no tilde in front
        assert given_path(name) == Path(name)
    for name in ("", " "):
        with pytest.raises(ValueError, match="the folder is empty: name a file or a folder"):
            given_path(name, "the folder")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not remove a working folder")
def test_a_working_folder_that_was_removed_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.delenv("LUNGNB_HOME")
    assert main(["check", "montgomery"]) == 2
    assert "the working folder was removed: change to another one, or set LUNGNB_HOME." in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["LUNGNB_HOME", "LUNGNB_RAW"])
def test_a_folder_of_an_unknown_user_is_not_an_error_of_python(monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "~nobody-at-all/lungs")
    assert main(["check", "montgomery"]) == 2
    assert "montgomery is not there yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place",
    [
        *("/", "//", "/tmp/..", "{home}", "{home}/", "{home}/..", ".", "./", "..", "./data", "data/..", "./results"),
        *("results/x/..", "data/prepared", "data/prepared/mine", "data/prepared/mine/train", "./results/mine/unet"),
        *("./link", "./link/mine", "./to_root", "{home}/data/raw/../prepared", "", " ", "...", ".hidden", "./.hidden"),
        *("published", "./benchmarks", "./Published", "a\0b", "./a\0b", "~"),
    ],
)
def test_a_folder_that_can_be_no_data_set_gives_a_sentence_and_nothing_is_touched(
    busy_home, tmp_path_factory, monkeypatch, capsys, place
):
    monkeypatch.setenv("HOME", str(busy_home))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))  # not in this HOME
    (busy_home / "link").symlink_to(busy_home / "data" / "prepared")
    (busy_home / "to_root").symlink_to("/")
    for name in (".hidden", "benchmarks", "Published"):
        write_pairs(busy_home / name, count=3)
    before = tree(busy_home)
    for verb in VERBS:
        assert main([verb, place.format(home=busy_home)]) == 2
        output = capsys.readouterr().err
        assert output.startswith("lungnb: ") and output.count("\n") == 1, verb
        assert "cannot be a data set: " in output, verb
    assert tree(busy_home) == before


def test_what_lies_elsewhere_can_be_a_data_set(busy_home):
    for place in ("./data/raw/mine", "./data/mine", "/elsewhere/mine", "./mine/", "./data.old/x", "/elsewhere/results"):
        assert make_settings(place).name in ("mine", "x", "results")
    assert raw_folder("mine") == busy_home / "data" / "raw" / "mine"


def test_a_raw_root_within_what_lungnb_writes_is_refused(busy_home, monkeypatch):
    monkeypatch.setenv("LUNGNB_RAW", "data/prepared")
    (busy_home / "data" / "prepared" / "other" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"other cannot be a data set: it is in .*prepared, where lungnb writes"):
        raw_folder("other")


def test_data_and_results_on_another_disk_are_known_behind_their_links(busy_home, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    shutil.move(busy_home / "data" / "prepared", disk / "prepared")
    (busy_home / "data" / "prepared").symlink_to(disk / "prepared")
    for place in (disk, disk / "prepared" / "mine", disk.parent):
        with pytest.raises(ValueError, match="cannot be a data set"):
            make_settings(str(place))
    assert len(prepare_dataset(make_settings("mine"), progress=False)) == 6


def test_folders_lie_in_the_home_of_the_environment(home):
    settings = make_settings("montgomery")
    assert settings.prepared == home / "data" / "prepared" / "montgomery"
    assert settings.results == home / "results" / "montgomery"


def test_home_is_the_project_around_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGNB_HOME")
    deep = tmp_path / "project" / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_folder() == deep
    (deep.parent / "00_start.ipynb").touch()
    assert project_folder() == tmp_path / "project"


@pytest.mark.parametrize("own", ["scans", "a/../scans/", "./scans"])
def test_a_users_folder_is_named_after_its_last_part(home, monkeypatch, own):
    monkeypatch.chdir(home)
    settings = make_settings(f"{home}/{own}")
    assert settings.name == "scans"
    assert settings.prepared == home / "data" / "prepared" / "scans"
    assert raw_folder(settings.dataset) == home / "scans"


def test_raw_data_are_found_under_lungnb_raw_else_in_the_project(home, monkeypatch):
    monkeypatch.setenv("LUNGNB_RAW", "../elsewhere")  # relative to the project, wherever one stands
    monkeypatch.setenv("LUNGNB_HOME", str(home / "project"))
    monkeypatch.chdir(Path("/"))
    own = home / "project" / "data" / "raw" / "montgomery"
    assert raw_folder("montgomery") == own
    (home / "elsewhere" / "montgomery").mkdir(parents=True)
    (home / "project").mkdir()
    assert raw_folder("montgomery") == own  # an empty folder there is no data
    (home / "elsewhere" / "montgomery" / "images").mkdir()
    assert raw_folder("montgomery").resolve() == home / "elsewhere" / "montgomery"


@pytest.mark.parametrize(
    ("name", "counts"),
    [("a.png", True), ("a.dcm", True), ("a.zip", False), ("a.tar.gz", False), ("README.md", False), (".hidden", False)],
)
def test_notes_and_archives_are_not_data(tmp_path, name, counts):
    assert not holds_data(tmp_path / "nothing")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).touch()
    assert holds_data(tmp_path / "set") == counts


NOTEBOOKS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def test_every_result_that_notebooks_save_and_the_report_shows_is_listed():
    sources = ["".join(cell["source"]) for notebook in NOTEBOOKS for cell in notebook["cells"]]
    saved = {name for source in sources for name in re.findall(r'save_artefact\(settings, f?"(\w+)', source)}
    assert len(saved) > 25
    stems = [artefact.pattern.partition(".")[0] for artefact in ARTEFACTS]
    assert all(any(fnmatchcase(name, stem) for stem in stems) for name in saved)
    for section in SECTIONS:
        assert all(any(artefact.pattern.startswith(name) for artefact in ARTEFACTS) for name in section.files)


def test_nothing_with_a_patients_image_may_be_published():
    shown = {artefact.pattern for artefact in ARTEFACTS if not artefact.may_be_published}
    assert {"worst_*.png", "predictions_*.png", "side_by_side.png", "check.csv"} <= shown
