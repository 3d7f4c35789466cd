import pytest

from lungnb.__main__ import main
from lungnb.page import writing
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
