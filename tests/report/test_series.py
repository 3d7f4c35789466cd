import json
import os
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

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
