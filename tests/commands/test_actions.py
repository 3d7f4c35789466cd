from types import SimpleNamespace

import pandas as pd
import pytest

from lungnb import datasets, engines, evaluation, networks, report, segmentation
from lungnb.__main__ import main
from lungnb.formats.images import write_png
from lungnb.page import writing
from lungnb.phantoms.make import make_phantom
from lungnb.presets import RECIPES


def test_recipes_are_listed_with_what_they_are(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out.split("\n")
    assert [line for line in listed if line and not line.startswith(" ")] == [*RECIPES]
    assert all(any(recipe.about in line for line in listed) for recipe in RECIPES.values())


@pytest.mark.parametrize("seeds", ["abc", "0", "-3", "1.5", "²", "1e9", "1000000"])
def test_an_invalid_number_of_seeds_is_refused(seeds, capsys, monkeypatch):
    for arguments, variable in ((["report", f"--seeds={seeds}"], "1"), (["report"], seeds)):
        monkeypatch.setenv("LUNGNB_SEEDS", variable)
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "must be a whole number from 1 to 999" in error
    assert main(["recipes"]) == 0  # which has nothing to do with seeds


def test_an_unknown_profile_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("LUNGNB_PROFILE", "nonsense")
    assert main(["prepare"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "profile must be one of quick, full" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["phantom", "--dataset", "montgomery"], "takes a data set, not both montgomery and phantom: name one of them"),
        (["--profile", "full", "--recipe", "ct-bmp"], "takes a profile or a recipe, not both ct-bmp and full: name"),
    ],
)
def test_options_that_contradict_each_other(words, sentence, capsys):
    for verb in ("prepare", "check", "train", "evaluate", "report", "runs", "publish"):
        assert main([verb, *words]) == 2
        assert sentence in capsys.readouterr().err


def test_the_profile_of_the_environment_gives_way_to_a_recipe(capsys, monkeypatch):
    monkeypatch.setenv("LUNGNB_PROFILE", "full")
    assert main(["runs", "--recipe", "ct-bmp"]) == 0
    assert "lung-ct-bmp.ct-bmp: no runs yet" in capsys.readouterr().out


def test_a_model_that_is_named_twice_is_trained_once(monkeypatch, capsys):
    trained = []
    history = pd.DataFrame({"val_loss": [0.1], "val_dice": [0.9]})
    monkeypatch.setattr("lungnb.datasets.prepare_dataset", lambda _: None)
    monkeypatch.setattr("lungnb.networks.fetch_weights", lambda _: None)
    monkeypatch.setattr("lungnb.networks.train", lambda _, name: trained.append(name) or history)
    monkeypatch.setattr("lungnb.evaluation.choose_temperature", lambda *_: None)
    assert main(["train", "--model", "unet", "--model", "unet"]) == 0
    assert trained == ["unet"] and capsys.readouterr().out.count("validation Dice") == 1


def test_paths_with_a_home_folder_that_the_shell_did_not_write(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir((tmp_path / "elsewhere").mkdir() or tmp_path / "elsewhere")
    write_png(tmp_path / "films" / "a.png", make_phantom(1, size=64).image)
    assert main(["segment", "~/films", "--out=~/masks"]) == 0
    assert (tmp_path / "masks" / "segmentation.csv").is_file() and not [*(tmp_path / "elsewhere").iterdir()]
    assert main(["segment", "~/films", "--out=~/masks", "--model=~/none.keras"]) == 2
    assert f"{tmp_path / 'none.keras'} is not there yet" in capsys.readouterr().err
    for words in (["score", "~nobody-at-all/truth", "masks"], ["check", "~nobody-at-all/scans"]):
        assert main(words) == 2
        assert "unexpected" not in capsys.readouterr().err


def test_the_notebooks_are_copied_and_the_next_command_is_named(tmp_path, capsys):
    assert main(["notebooks", str(tmp_path / "my lungs")]) == 0
    said = capsys.readouterr().out
    assert f"Next: `jupyter lab '{tmp_path / 'my lungs'}'`, and open notebooks/00_start.ipynb there." in said
    assert main(["notebooks", str(tmp_path / "my lungs")]) == 2


def test_the_page_for_browsers_is_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "bundle.html").write_text("{{DIGEST}}")
    monkeypatch.setattr(writing, "BUNDLE", tmp_path / "bundle.html")
    page = tmp_path / "lungs.html"
    assert main(["page", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: 0.0 MB. Open it in a browser; nothing leaves the computer.\n"
    assert main(["page", str(page.with_suffix(".png"))]) == 2
    assert "the page needs a name that ends in .html" in capsys.readouterr().err
    (tmp_path / "bundle.html").unlink()
    assert main(["page", str(page)]) == 2
    assert "Run `make page` in the project's folder first" in capsys.readouterr().err


def stub(monkeypatch, module, name, function):
    """Replace a function of a package. `setattr` would look the old one up, and so load TensorFlow."""
    monkeypatch.setitem(vars(module), name, function)


FINE, DOUBTED = ("ok", "", None), ("ok", "no chest", None)
FAILED, INCOMPLETE = ("failed", "", "b.png: no image."), ("ok", "", "c.png: no DICOM.")


@pytest.mark.parametrize(
    ("rows", "status", "says"),
    [
        ([FINE, FINE], 0, ["2 of 2 images"]),
        ([FINE, DOUBTED, DOUBTED], 0, ["3 of 3 images", "2 of them should be looked at"]),
        ([FINE, FAILED], 1, ["1 of 2 images"]),
        ([FINE, INCOMPLETE], 1, ["2 of 2 images", "1 of them lack an output"]),
        ([FAILED, INCOMPLETE, DOUBTED], 1, ["2 of 3 images", "1 of them lack an output", "1 of them should"]),
    ],
)
def test_segment_counts_files_and_returns_whether_all_are_whole(rows, status, says, capsys, monkeypatch):
    table = pd.DataFrame(rows, columns=["status", "review", "error"]).assign(mask=None)
    stub(monkeypatch, segmentation, "segment_files", lambda *_, **__: table)
    assert main(["segment", "films", "--out", "masks"]) == status
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == len(says) and all(line.startswith(words) for line, words in zip(lines, says, strict=True))
    assert printed.err.splitlines() == [f"lungnb: {error}" for *_, error in rows if error]


def stub_score(monkeypatch, *coverage):
    """Put a report on programs, with their numbers of masks, in the place of `score_report`; return its options."""
    options = []

    def score_report(_truth, _masks, chosen, _out):
        options.append(chosen)
        table = pd.DataFrame(coverage, columns=["scored", "unusable"])
        return SimpleNamespace(
            scoring=SimpleNamespace(coverage=table, problem_lines=lambda: []), verdict="equal", page="report.html"
        )

    stub(monkeypatch, report, "score_report", score_report)
    return options


@pytest.mark.parametrize(
    ("coverage", "status"),
    [
        ([(3, 0), (2, 0)], 0),
        ([(3, 0)], 1),  # one of the two folders could not be used
        ([(3, 0), (0, 0)], 1),  # and here no mask of one
        ([(3, 0), (2, 1)], 1),
    ],
)
def test_score_returns_whether_all_masks_were_scored(coverage, status, monkeypatch):
    stub_score(monkeypatch, *coverage)
    assert main(["score", "truth", "a", "b"]) == status


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([], None), (["1, 2"], [1, 2]), (["a=1", "b=2,3"], {"a": [1], "b": [2, 3]}),
        (["a=1", "2"], "--labels 2 is for all folders"), (["²"], "must be whole numbers"), (["1.5"], "not '1.5'"),
        (["a="], "not ''"),
    ],
)  # fmt: skip
def test_labels_are_for_all_folders_or_for_named_ones(given, labels, capsys, monkeypatch):
    options = stub_score(monkeypatch, (3, 0))
    status = main(["score", "truth", "a", *(part for text in given for part in ("--labels", text))])
    if isinstance(labels, str):
        assert status == 2 and labels in capsys.readouterr().err
    else:
        assert status == 0 and options[0].labels == labels


def test_score_passes_its_options_on(monkeypatch):
    given = ["--truth-labels=7", "--images=films", "--patients=p.csv", "--patient-pattern=(x)", "--pixel-mm=0.5"]
    options = stub_score(monkeypatch, (3, 0))
    assert main(["score", "truth", "a", *given]) == 0
    assert options == [evaluation.ScoreOptions(None, [7], "films", "p.csv", "(x)", 0.5)]


def test_train_names_the_dice_of_the_weights_that_are_saved(capsys, monkeypatch):
    history = pd.DataFrame({"val_loss": [0.3, 0.1, 0.2], "val_dice": [0.5, 0.7, 0.9]})
    stub(monkeypatch, datasets, "prepare_dataset", lambda _: None)
    stub(monkeypatch, networks, "fetch_weights", lambda _: None)
    stub(monkeypatch, networks, "train", lambda *_: history)
    stub(monkeypatch, evaluation, "choose_temperature", lambda *_: None)
    assert main(["train", "phantom", "--model", "unet"]) == 0
    assert capsys.readouterr().out.startswith("unet: validation Dice 0.7000 after 3 epochs; ")


def test_check_names_a_file_with_an_error_once_and_no_notes(capsys, monkeypatch):
    columns = ["file", "severity", "what", "advice"]
    findings = [("a.png", "error", "no image", "mend it"), ("b.png", "note", "16-bit", "none")]
    mismatches = [("a.png", "warning", "shifted?", "look", 0.3), ("c.png", "warning", "odd", "look", 0.4)]
    stub(monkeypatch, datasets, "check_dataset", lambda _: pd.DataFrame(findings, columns=columns))
    stub(monkeypatch, evaluation, "find_mismatches", lambda _: pd.DataFrame(mismatches, columns=[*columns, "dice"]))
    sizes = pd.DataFrame({"split": ["train"]})
    stub(monkeypatch, datasets, "open_prepared", lambda _: SimpleNamespace(sizes=lambda: sizes))
    assert main(["check", "phantom"]) == 1
    assert capsys.readouterr().out.splitlines()[2:5] == [
        "error: a.png: no image; mend it.", "warning: c.png: odd; look.", "1 error, 1 warning, 1 note"
    ]  # fmt: skip


def test_ctrl_c_while_a_verb_runs(capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    stub(monkeypatch, datasets, "download", stop)
    assert main(["download", "montgomery"]) == 130
    assert "lungnb: stopped. Run the same command again" in capsys.readouterr().err


def arguments_of(monkeypatch, module, name, result):
    """Put a function that returns `result` in the place of another one; return the list of its arguments."""
    taken = []

    def take(*arguments):
        taken.extend(arguments)
        return result

    stub(monkeypatch, module, name, take)
    return taken


@pytest.mark.parametrize(("options", "estimate"), [([], True), (["--no-estimate"], False)])
def test_adapt_estimates_the_benefit_unless_told_not_to(tmp_path, options, estimate, monkeypatch):
    adaptation = SimpleNamespace(file=tmp_path / "model.keras", estimate=None)
    taken = arguments_of(monkeypatch, report, "adapt", adaptation)
    assert main(["adapt", "corrected", "--out", "mine", "--labels", "1,2", *options]) == 0
    assert taken == ["corrected", "mine", None, [1, 2], None, estimate]


def test_export_writes_whole_onnx_here_unless_told_otherwise(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").touch()
    taken = arguments_of(monkeypatch, engines, "export_model", tmp_path / "a.onnx")
    stub(monkeypatch, engines, "parities", lambda _: {})
    assert main(["export"]) == 0 and main(["export", "m.keras", "--format=openvino", "--out=x", "--half"]) == 0
    assert taken == [None, "onnx", ".", False, "m.keras", "openvino", "x", True]


def test_report_runs_the_core_with_one_seed_unless_told_otherwise(monkeypatch):
    taken = arguments_of(monkeypatch, report, "run_series", "done")
    assert main(["report"]) == 0 and taken == ["phantom", "quick", False, {}, 1]
    taken.clear()
    assert main(["report", "--series=all", "--seeds=3", "--set", "epochs=2", "--profile=full"]) == 0
    assert taken == ["phantom", "full", True, {"epochs": 2}, 3]
