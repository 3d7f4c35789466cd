"""Records beside a model that are damaged: one sentence, or the work is done anew; never a traceback."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.files import DAMAGED
from helpers.networks import Begun
from lungnb.__main__ import main
from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.networks import records
from lungnb.networks.records import code_digest
from lungnb.networks.training import read_history, train
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.predict import best_model, open_model
from lungnb.settings import SHIPPED

WRONG = {
    "nothing": {}, "plan": {"plan": 3}, "no settings": {"plan": {}}, "settings": {"plan": {"settings": [1]}},
    "unknown setting": {"plan": {"settings": {"x": 1}}}, "window": {"plan": {"settings": {"window": "ab"}}},
    "models": {"plan": {"settings": {"models": [[1]]}}}, "text for a number": {"parameters": "many"},
    "list for a time": {"wall_seconds": [1]}, "list of versions": {"versions": []}, "text for a seed": {"seed": "x"},
}  # fmt: skip
HISTORIES = ["", "x\n", "epoch,val_loss\n1,2\n", "epoch,val_loss,val_dice,seconds\n", "a,b\n1,2,3\n1\n",
             "epoch,val_loss,val_dice,seconds\n0,x,y,z\n",
             "epoch,val_loss,val_dice,seconds\n0,,,\n", "\0" * 99]  # fmt: skip


def damage(file, name):
    """Damage a `run.json` in one of the ways above."""
    content = json.loads(file.read_text()) | WRONG[name] if WRONG.get(name) else {}
    file.write_bytes(DAMAGED[name] if name in DAMAGED else json.dumps(content).encode())


@pytest.mark.parametrize("name", [*DAMAGED, *WRONG])
def test_a_damaged_run_is_reported_in_one_sentence(trained, tmp_path, name, capsys):
    folder = trained.results / "unet"
    damage(folder / "run.json", name)
    options = [trained.dataset, "--set", "models=unet"]
    assert main(["evaluate", *options, "--model", "unet"]) != 0
    error = capsys.readouterr().err
    assert f"{folder}/run.json" in error and "damaged" in error and "Traceback" not in error
    write_png(tmp_path / "film.png", make_phantom(1, size=64).image)
    segment = ["segment", tmp_path / "film.png", "--out", tmp_path / "masks", "--model", folder / "model.keras"]
    status = main([*map(str, segment), "--engine", "keras"])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert status == 0 or (f"{folder}/run.json" in error and ("is damaged" in error or "window must be" in error))
    assert (status == 0) == (name in WRONG and name not in ("nothing", "window"))


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_data_are_prepared_anew(trained, no_fit, name):
    prepared, run = trained.prepared / "prepared.json", trained.results / "unet" / "run.json"
    content = prepared.read_text()
    prepared.write_bytes(DAMAGED[name])
    prepare_dataset(trained, progress=False)
    assert set(json.loads(prepared.read_text())) == set(json.loads(content))
    run.write_bytes(DAMAGED[name])
    with pytest.raises(Begun):
        train(trained, "unet", progress=False)


def test_a_damaged_run_is_replaced(trained):
    run = trained.results / "unet" / "run.json"
    content = run.read_text()
    run.write_text("{")
    assert len(train(trained, "unet", progress=False)) == trained.epochs
    assert set(json.loads(run.read_text())) == set(json.loads(content))


@pytest.mark.parametrize("content", HISTORIES)
def test_a_damaged_history_is_reported(trained, content):
    file = trained.results / "unet" / "history.csv"
    file.write_text(content)
    for read in (lambda: read_history(trained, "unet"), lambda: best_model(trained), lambda: train(trained, "unet")):
        with pytest.raises(ValueError, match=rf"^{file}: is damaged"):
            read()


@pytest.mark.parametrize("window", [[1], [1, 2, 3], [2, 1], [1, 1], ["1", "2"], [None, 1], 3, "ab", {}, [True, 2],
                                    [float("nan"), 1], [0, float("inf")]])  # fmt: skip
def test_a_window_must_be_two_rising_numbers(tmp_path, window):
    shutil.copy(SHIPPED, tmp_path / "model.keras")
    (tmp_path / "run.json").write_text(json.dumps({"plan": {"settings": {"window": window}}}))
    with pytest.raises(ValueError, match=r"run\.json: the window must be two rising numbers"):
        open_model(tmp_path / "model.keras", None, "keras")
    assert open_model(tmp_path / "model.keras", (-125, 275), "keras")[1] == (-125, 275)


def test_runs_of_earlier_versions_may_have_a_fold_without_folds_and_a_model_twice():
    settings = {"fold": 2, "folds": 0, "models": ["unet", "unet", "resunet"], "epochs": 3}
    run = records.RunRecord(Path("run.json"), {"plan": {"settings": settings}})
    read = records.settings_of(run)
    assert (read.fold, read.models, read.epochs) == (1, ("unet", "resunet"), 3)
    settings |= {"folds": 5}
    assert records.settings_of(run).fold == 2


def test_the_digest_of_the_code_changes_with_the_code_alone(tmp_path):
    package, bench, notebook = tmp_path / "lungnb", tmp_path / "bench.py", tmp_path / "09.ipynb"
    (package / "networks").mkdir(parents=True)
    (package / "weights").mkdir()
    (package / "networks" / "one.py").write_bytes(b"x = 1\n")
    (package / "weights" / "phantom.keras").write_bytes(b"1")
    bench.write_text("y = 1\n")

    def write_notebook(source, output):
        cells = [
            {"cell_type": "code", "source": source, "outputs": [output]},
            {"cell_type": "markdown", "source": output},
        ]
        notebook.write_text(json.dumps({"cells": cells}))

    write_notebook("z = 1", "old")
    seen = [code_digest(bench, notebook, package=package)]

    def is_new():
        seen.append(code_digest(bench, notebook, package=package))
        return seen[-1] not in seen[:-1]

    (package / "page.html").write_text("changed")
    (tmp_path / "README.md").write_text("changed")
    (package / "networks" / "one.py").write_bytes(b'"""One."""\r\nx = 1  # as git checks it out on Windows\r\n')
    write_notebook("z = 1", "new")
    assert not is_new()
    (package / "networks" / "one.py").write_text("x = 2\n")
    assert is_new()
    (package / "networks" / "one.py").rename(package / "networks" / "two.py")
    assert is_new()
    (package / "weights" / "phantom.keras").write_bytes(b"2")
    assert is_new()
    bench.write_text("y = 2\n")
    assert is_new()
    write_notebook("z = 2", "new")
    assert is_new()


def test_the_commit_is_dirty_unless_only_published_results_changed(tmp_path, monkeypatch):
    package, published = tmp_path / "lungnb", tmp_path / "results" / "published"
    for file in (package / "one.py", published / "a.csv"):
        file.parent.mkdir(parents=True)
        file.write_text("1")
    monkeypatch.setattr(records, "PACKAGE", package)
    assert records.git_commit() is None
    options = "-c", "user.name=x", "-c", "user.email=x@example.org"
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *options, *words], cwd=tmp_path, check=True)
    commit = records.git_commit()
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (published / "a.csv").write_text("2")
    assert records.git_commit() == commit
    (package / "one.py").write_text("2")
    assert records.git_commit() == f"{commit}-dirty"
