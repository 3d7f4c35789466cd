"""Two data sets of one name share nothing."""

import json
import os
import shutil

import pytest

from helpers.commands import VERBS
from helpers.files import tree
from helpers.scans import write_pairs
from lungnb.__main__ import main
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import read_manifest
from lungnb.presets import make_settings

TINY = ("--set", "image_size=32", "--set", "filters=2", "--set", "depth=2", "--set", "models=unet")


def namesakes(folder, name="mychest"):
    return write_pairs(folder / "a" / name), write_pairs(folder / "b" / name, first=100)


def train_by_hand(settings):
    """Leave behind what training does, as far as it matters here."""
    folder = settings.results / "unet"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"plan": {"settings": {"dataset": settings.dataset}}}))
    (folder / "model.keras").write_text("hours of work")
    return folder


@pytest.mark.parametrize("what", ["prepared", "trained", "in training"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_second_folder_of_one_name_gets_no_files_of_the_first_and_says_why(home, capsys, verb, what):
    one, other = namesakes(home)
    settings = make_settings(str(one))
    prepare_dataset(settings, progress=False)
    if what != "prepared":
        run = train_by_hand(settings) / "run.json"
        shutil.rmtree(settings.prepared)
        if what == "in training":
            (run.parent / "training").mkdir()
            plan = json.loads(run.read_text())["plan"]
            run.unlink()
            (run.parent / "training" / "plan.json").write_text(json.dumps(plan))
    (settings.results / "comparison").mkdir(parents=True)
    for name in ("verdict.txt", "scores.png"):
        (settings.results / "comparison" / name).write_text("of the first")
    before = tree(home)
    assert main([verb, str(other), *TINY]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"was made from {one}, not from {other}. Rename one of the two, or remove {settings.prepared}" in said
    assert str(settings.results) in said and "LUNGNB_HOME" in said
    assert tree(home) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_called_as_a_data_set_of_the_catalogue_is_another(home, monkeypatch, capsys, verb):
    monkeypatch.setattr("lungnb.datasets.fetch.PHANTOMS", {"xray": 6})
    assert main(["download", "phantom"]) == main(["prepare", "phantom"]) == 0
    own = write_pairs(home / "phantom", first=100)
    before = tree(home)
    capsys.readouterr()
    assert main([verb, str(own)]) == 2
    assert f"phantom was made from the catalogue's phantom, not from {own}. Rename" in capsys.readouterr().err
    assert tree(home) == before
    shutil.rmtree(home / "data" / "prepared")
    assert main(["prepare", str(own)]) == 0
    capsys.readouterr()
    assert main([verb, "phantom"]) == 2
    assert f"phantom was made from {own}, not from the catalogue's phantom. Rename" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("x", "quick", {"folds": 2}), ("x.fold1of2", "quick", {})),
        (("x", "ct-bmp", {}), ("x.ct-bmp", "quick", {})),
        (("x", "ct-bmp", {"folds": 2}), ("x.ct-bmp", "quick", {"folds": 2})),
    ],
)
def test_names_that_become_equal_with_a_recipe_or_a_fold_are_distinguished(home, first, second):
    (name, profile, changes), (twin, twin_profile, twin_changes) = first, second
    prepare_dataset(make_settings(str(write_pairs(home / name)), profile, **changes), progress=False)
    settings = make_settings(str(write_pairs(home / twin)), twin_profile, **twin_changes)
    for work in (lambda: prepare_dataset(settings, progress=False), lambda: read_manifest(settings)):
        with pytest.raises(ValueError, match=r"was made from .*/x, not from .*/x\."):
            work()


def test_results_of_another_seed_are_distinguished_from_those_of_a_folder_with_that_name(home):
    train_by_hand(make_settings(str(write_pairs(home / "x")), seed=2))
    settings = make_settings(str(write_pairs(home / "x.seed2")))
    with pytest.raises(ValueError, match=r"was made from .*/x, not from .*/x\.seed2"):
        prepare_dataset(settings, progress=False)


def test_batches_are_never_those_of_another_folder(home):
    from lungnb.networks.data import load_batches

    one, other = namesakes(home)
    prepare_dataset(make_settings(str(one)), progress=False)
    with pytest.raises(ValueError, match=f"was made from {one}, not from {other}"):
        load_batches(make_settings(str(other)), "train")


def test_a_folder_that_was_moved_is_the_same_data_set(home):
    one = write_pairs(home / "a" / "mychest")
    settings = make_settings(str(one))
    prepare_dataset(settings, progress=False)
    train_by_hand(settings)
    before = {file: file.stat().st_mtime_ns for file in settings.prepared.rglob("*.png")}
    (home / "c").mkdir()
    os.rename(one, home / "c" / "mychest")
    moved = make_settings(str(home / "c" / "mychest"))
    assert len(prepare_dataset(moved, progress=False)) == 6
    assert {file: file.stat().st_mtime_ns for file in moved.prepared.rglob("*.png")} == before
    write_pairs(one, first=100)  # from now on, the other one is the namesake
    with pytest.raises(ValueError, match=f"{moved.prepared} was made from {home}/c/mychest, not from {one}"):
        prepare_dataset(settings, progress=False)


def test_a_project_that_was_moved_or_copied_goes_on(home, tmp_path_factory, monkeypatch):
    write_pairs(home / "data" / "raw" / "mine")
    monkeypatch.chdir(home)
    for name in ("mine", "./data/raw/mine"):  # one folder
        prepare_dataset(make_settings(name), progress=False)
    (home / "results" / "mine" / "unet").mkdir(parents=True)
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(home, copy, copy_function=shutil.copy2)
    monkeypatch.setenv("LUNGNB_HOME", str(copy))
    monkeypatch.chdir(copy)
    before = {file: file.stat().st_mtime_ns for file in (copy / "data" / "prepared").rglob("*.*") if file.is_file()}
    for name in ("mine", "./data/raw/mine"):
        assert len(prepare_dataset(make_settings(name), progress=False)) == 6
    (copy / "results" / "mine" / "unet" / "run.json").write_text('{"origin": "./data/raw/mine"}')
    read_manifest(make_settings("mine"))
    after = {file: file.stat().st_mtime_ns for file in (copy / "data" / "prepared").rglob("*.*") if file.is_file()}
    assert before == after


def test_one_folder_by_several_paths_is_one_data_set(home, monkeypatch):
    write_pairs(home / "data" / "raw" / "mine")
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "mine").symlink_to(home / "data" / "raw" / "mine")
    prepare_dataset(make_settings("mine"), progress=False)
    prepare_dataset(make_settings(str(home / "elsewhere" / "mine")), progress=False)
    monkeypatch.setenv("LUNGNB_RAW", "elsewhere")
    assert len(prepare_dataset(make_settings("mine"), progress=False)) == 6


def test_a_data_set_of_the_catalogue_is_the_same_wherever_its_files_lie(home, monkeypatch):
    write_pairs(home / "data" / "raw" / "montgomery")
    write_pairs(home / "disk" / "montgomery")
    prepare_dataset(make_settings("montgomery"), progress=False)
    monkeypatch.setenv("LUNGNB_RAW", "disk")
    assert len(prepare_dataset(make_settings("montgomery"), progress=False)) == 6
    prepare_dataset(make_settings(str(home / "disk" / "montgomery")), progress=False)  # the same by its path


def test_data_of_an_earlier_version_stay_valid_and_get_their_origin(home):
    settings = make_settings(str(write_pairs(home / "mine")))
    prepare_dataset(settings, progress=False)
    record = settings.prepared / "prepared.json"
    content = json.loads(record.read_text())
    assert content.pop("origin") == "./mine"
    record.write_text(json.dumps(content))
    before = {file: file.stat().st_mtime_ns for file in settings.prepared.rglob("*.png")}
    assert len(read_manifest(settings)) == len(prepare_dataset(settings, progress=False)) == 6
    assert {file: file.stat().st_mtime_ns for file in settings.prepared.rglob("*.png")} == before
    assert json.loads(record.read_text())["origin"] == "./mine"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"origin": 3}', b'{"origin": ""}', b'{"origin": "\\u0000"}', b'{"plan": []}', b"\xff"]
    + [json.dumps({"plan": {"settings": {"dataset": name}}}).encode() for name in (3, "/", "\0", "", "x" * 5000, "..")],
)
def test_a_damaged_record_is_ignored(home, content):
    settings = make_settings(str(write_pairs(home / "mine")))
    prepare_dataset(settings, progress=False)
    (settings.prepared / "prepared.json").write_bytes(content)
    (settings.results / "unet").mkdir(parents=True)
    (settings.results / "unet" / "run.json").write_bytes(content)
    assert len(prepare_dataset(settings, progress=False)) == 6
    assert json.loads((settings.prepared / "prepared.json").read_text())["origin"] == "./mine"
