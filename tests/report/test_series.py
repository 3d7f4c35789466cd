import json
import os
import sys

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.files import tree
from helpers.paths import ROOT
from helpers.scans import TINY
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from lungnb.report import series


def notebook(path, title, source):
    cells = [
        new_markdown_cell(f"# {title}\nSee [next](01_next.ipynb)."),
        new_code_cell("DATASET = None\nPROFILE = None", metadata={"tags": ["parameters"]}),
        new_markdown_cell("Told before."),
        new_code_cell(source),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_the_series_runs_in_order_with_parameters_and_is_reported(home, monkeypatch):
    print_them = "print('<b>' + DATASET + '</b>', PROFILE)"
    paths = [
        notebook(home / "00_first.ipynb", "First <x>", print_them),
        notebook(home / "01_next.ipynb", "Next", "1 + 1"),
    ]
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: paths)
    path = series.run_series("phantom", "quick")
    assert path == home / "results" / "phantom" / "report.html"
    page = path.read_text()
    assert page.index('id="00_first"') < page.index('id="01_next"')
    assert "&lt;b&gt;phantom&lt;/b&gt; quick" in page and "First &lt;x&gt;" in page
    assert 'href="#01_next"' in page and ".ipynb" not in page
    assert 'src="http' not in page and "<link" not in page and "{{" not in page  # opens from disk, whole


def test_an_error_names_the_notebook_and_is_kept(home, monkeypatch):
    paths = [notebook(home / "00_first.ipynb", "First", "raise ValueError('no lungs')")]
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: paths)
    with pytest.raises(RuntimeError, match=r"00_first\.ipynb: ValueError: no lungs"):
        series.run_series()
    assert (home / "results" / "phantom" / "notebooks" / "00_first.ipynb").exists()


def test_a_series_replaces_the_results_completely_or_not_at_all(home, monkeypatch):
    results = home / "results" / "phantom"
    write = "from lungnb import make_settings, save_artefact\nsave_artefact(make_settings(), 'card_unet', '{}')"
    good = notebook(home / "00_first.ipynb", "First", write.format("old"))
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: [good])
    (results / "comparison").mkdir(parents=True)
    for name in ("mine.txt", "worst_r2unet.png"):
        (results / "comparison" / name).touch()
    series.run_series()
    before = tree(results / "comparison"), (results / "report.html").read_bytes()
    assert {path.name for path in (results / "comparison").iterdir()} == {"card_unet.txt", "mine.txt"}

    bad = notebook(home / "01_bad.ipynb", "Bad", write.format("new") + "\nraise ValueError('no lungs')")
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: [good, bad])
    with pytest.raises(RuntimeError, match="no lungs"):
        series.run_series()
    assert (tree(results / "comparison"), (results / "report.html").read_bytes()) == before
    assert {path.name for path in results.iterdir()} == {"comparison", "notebooks", "report.html"}
    assert "LUNGNB_COMPARISON" not in os.environ


def test_the_bar_counts_epochs_and_says_what_is_left(home, monkeypatch, capsys):
    cells = [
        new_code_cell("history = train(settings, 'unet')"),
        new_code_cell("1"),
        new_markdown_cell("train(settings"),
    ]
    settings = make_settings(epochs=7)
    assert [series._steps(cell, settings.epochs) for cell in cells] == [7, 1, 0]
    folder = settings.results / "unet" / "training"
    folder.mkdir(parents=True)
    (folder.parent / "history.csv").write_text("epoch\n0\n1\n")
    assert series._epoch(settings.results, settings.epochs) == (2, "unet: epoch 3 of 7")
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: [notebook(home / "00_a.ipynb", "A", "1")])
    series.run_series()
    shown = capsys.readouterr().out
    assert "2/2 steps [" in shown and "left]" in shown


def test_series_without_later_notebooks():
    numbers = [int(path.name[:2]) for path in series.list_notebooks()]
    assert numbers == list(range(series.LAST_CORE_NOTEBOOK + 1))
    assert len(series.list_notebooks(everything=True)) >= len(numbers)


def test_a_series_has_the_notebooks_of_the_networks_that_are_to_be_trained():
    names = [path.stem for path in series.list_notebooks(models=("unet", "attention_unet"))]
    assert "03_unet" in names and "06_compare" in names and "02_prepare" in names
    assert not {"04_resunet", "05_r2unet"} & set(names)


def test_a_recipe_reaches_the_notebooks_by_its_name(home, monkeypatch):
    paths, asked = [notebook(home / "00_first.ipynb", "First", "print(DATASET, PROFILE)")], []
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: asked.append(models) or paths)
    path = series.run_series(profile="simple-unet")
    assert path == home / "results" / "montgomery.simple-unet" / "report.html"
    assert asked == [("unet",)]
    assert "montgomery simple-unet" in path.read_text()
    assert "recipe <b>simple-unet</b>" in path.read_text()
    assert ".ipynb" not in path.read_text() and ">next" not in path.read_text()  # no link to what is not there
    assert "See next." in path.read_text()


def test_notebooks_read_and_write_where_the_report_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGNB_HOME")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    source = "from lungnb.artefacts import home\nprint('at', home())"
    paths = [notebook(tmp_path / "elsewhere" / "00_first.ipynb", "First", source)]
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: paths)
    old = tmp_path / "results" / "phantom" / "comparison" / "worst_r2unet.png"
    old.parent.mkdir(parents=True)
    old.touch()
    assert f"at {tmp_path}\n" in series.run_series().read_text()
    assert "LUNGNB_HOME" not in os.environ and not old.exists()


@pytest.mark.parametrize("interpreter", ["/usr/bin/false", "/opt/old-env/bin/python"])
def test_notebooks_run_on_this_interpreter_whatever_kernels_are_installed(home, monkeypatch, interpreter):
    argv = [interpreter, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    for folder in ("before", "user"):
        kernel = home / folder / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(home / "before"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home / "user"))
    paths = [notebook(home / "00_first.ipynb", "First", "import sys\nprint('on', sys.executable)")]
    monkeypatch.setattr(series, "list_notebooks", lambda everything, models: paths)
    assert f"on {sys.executable}\n" in series.run_series().read_text()


def run_notebook(number, settings, **parameters):
    """Run a notebook of the series on a data set; return what its cells printed, in one line."""
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    changes = TINY | {"models": list(settings.models)}
    parameters |= {"DATASET": settings.dataset, "CHANGES": changes}
    done = papermill.execute_notebook(path, None, parameters, cwd=path.parent, **series.PAPERMILL)
    printed = "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", []))
    return " ".join(printed.split())


@pytest.mark.slow
def test_the_comparison_trains_a_network_without_a_notebook_also_if_the_data_changed(prepared, home):
    settings = prepared.replace(models=("compact_unet",))
    printed = run_notebook("06", settings)
    assert ", loss " in printed and "Runs compared: Compact U-Net of 20" in printed  # the loss of a training's bar
    assert "Trained on these data: Compact U-Net 0." in printed and "One network alone has no pair" in printed
    manifest = settings.prepared / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("case_00.png", "case_0.png"))
    printed = run_notebook("06", settings)
    assert (
        "compact_unet: 100%" in printed
        and "not compared, with their validation Dice: earlier/compact_unet-1" in printed
    )


@pytest.mark.slow
def test_films_of_another_kind_are_segmented_with_the_network_that_comes_with_lungnb(trained, home):
    write_png(home / "films" / "a.png", make_phantom(50, size=64).image)
    assert "The network is the one that comes with lungnb" in run_notebook("07", trained, IMAGES=[str(home / "films")])
    assert "The network is results/scans/unet/model.keras" in run_notebook("07", trained)
