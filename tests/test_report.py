import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lungnb import plots, report
from lungnb.metrics import Counts
from lungnb.settings import make_settings


def notebook(path, title, source):
    cells = [
        new_markdown_cell(f"# {title}\nSee [next](01_next.ipynb)."),
        new_code_cell("DATASET = PROFILE = None", metadata={"tags": ["parameters"]}),
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
    monkeypatch.setattr(report, "series", lambda everything: paths)
    path = report.run_series("phantom", "quick")
    assert path == home / "results" / "phantom" / "report.html"
    page = path.read_text()
    assert page.index('id="00_first"') < page.index('id="01_next"')
    assert "&lt;b&gt;phantom&lt;/b&gt; quick" in page and "First &lt;x&gt;" in page
    assert 'href="#01_next"' in page and ".ipynb" not in page
    assert 'src="http' not in page and "<link" not in page and "{{" not in page  # opens from disk, whole


def test_an_error_names_the_notebook_and_is_kept(home, monkeypatch):
    paths = [notebook(home / "00_first.ipynb", "First", "raise ValueError('no lungs')")]
    monkeypatch.setattr(report, "series", lambda everything: paths)
    with pytest.raises(RuntimeError, match=r"00_first\.ipynb: ValueError: no lungs"):
        report.run_series()
    assert (home / "results" / "phantom" / "notebooks" / "00_first.ipynb").exists()


def test_series_without_later_notebooks():
    numbers = [int(path.name[:2]) for path in report.series()]
    assert numbers == list(range(report.CORE_SERIES + 1))
    assert len(report.series(everything=True)) >= len(numbers)


def test_keep_writes_figures_tables_and_texts(home):
    settings = make_settings()
    figure = plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)})
    assert report.keep(settings, "curves", figure) is figure
    table = report.keep(settings, "table", pd.DataFrame({"a": [1.5]}))
    assert report.keep(settings, "verdict", "fine") == "fine"
    folder = settings.results / "comparison"
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "table.csv", "verdict.txt"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "table.csv", index_col=0), table)
