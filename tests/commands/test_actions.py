import pandas as pd
import pytest

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


@pytest.mark.parametrize("seeds", ["abc", "0", "-3", "1.5", "²", "1e9"])
def test_an_invalid_number_of_seeds_is_refused(seeds, capsys, monkeypatch):
    for arguments, variable in ((["report", f"--seeds={seeds}"], "1"), (["report"], seeds)):
        monkeypatch.setenv("LUNGNB_SEEDS", variable)
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "must be a whole number of at least 1" in error
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
