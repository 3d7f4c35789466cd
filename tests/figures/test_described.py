"""Alternative texts, as IPython stores them and as nbconvert and the report write them."""

import importlib
import inspect
import pkgutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import v4

import lungnb.figures
import lungnb.lessons
from helpers.figures import drawn
from lungnb.figures import charts, pictures, plots
from lungnb.figures.described import DescribedFigure, alternative_text, first_sentence
from lungnb.figures.theme import subplots, themed
from lungnb.lessons import diagrams
from lungnb.metrics import Counts
from lungnb.report.page import _step

SCORES = ("loss", "accuracy", "dice")


def drawing_functions():
    """Return the public functions of `lungnb.figures` and `lungnb.lessons` that return figures, by module and name."""
    packages = (lungnb.figures, lungnb.lessons)
    names = [f"{p.__name__}.{module.name}" for p in packages for module in pkgutil.iter_modules(p.__path__)]
    return {
        f"{name}.{function.__name__}": function
        for name in names
        for function in vars(importlib.import_module(name)).values()
        if inspect.isfunction(function)
        and function.__module__ == name
        and not function.__name__.startswith("_")
        and "Figure" in str(function.__annotations__.get("return"))
        and name != "lungnb.figures.theme"  # its figures are still empty
    }


@pytest.mark.parametrize("name", drawing_functions())
def test_every_drawing_function_describes_its_figures(name):
    function = drawing_functions()[name]
    sentence = first_sentence(function)
    assert hasattr(function, "__wrapped__"), "decorate it with @themed"
    assert function.__doc__.startswith("Draw ") and "`" not in sentence, "its first sentence is read to blind readers"
    assert 20 < len(sentence) < 160


def test_there_are_drawing_functions_to_check():
    assert len(drawing_functions()) > 45 and "lungnb.figures.plots.single_panels" in drawing_functions()


def test_a_text_has_titles_axes_and_legend():
    history = pd.DataFrame(
        {"epoch": [0, 1]} | {f"{part}{name}": [0.4, 0.2] for part in ("", "val_") for name in SCORES}
    )
    figure = plots.learning_curves({"unet": history})
    drawn(figure)
    assert alternative_text(figure) == (
        "Loss, accuracy and Dice over the epochs. Loss (dot: the epoch that is kept): mean over images against epoch; "
        "Accuracy: mean over images against epoch; Dice: mean over images against epoch. "
        "Legend: U-Net, validation; U-Net, training."
    )


def test_a_text_has_the_numbers_of_a_matrix_and_its_rows():
    text = alternative_text(plots.confusion_matrices({"unet": Counts(tp=1, fp=1, fn=0, tn=3)}))
    assert "rows not lung, lung, columns not lung, lung, values 75.00%, 25.00%, 0.00%, 100.00%" in text


def test_a_text_has_the_words_of_a_diagram_and_no_hidden_axes():
    text = alternative_text(diagrams.gate_diagram())
    assert "Attention gate: out = α · skip: skip, conv 2×2, +, ReLU" in text and "0.0" not in text


def test_a_function_that_calls_another_gives_its_own_sentence():
    @themed
    def draw_worst():
        """Draw the worst mask. The rest is for programmers."""
        return pictures.outline_grid([pictures.Cell("a.png, Dice 0.1", np.zeros((8, 8), np.uint8))], title="Program A")

    assert alternative_text(draw_worst()) == "The worst mask. Program A. a.png, Dice 0.1."


def test_ticks_that_are_numbers_and_colour_bars_are_left_out():
    rows = [("A", "A", 0.9), ("A", "B", 0.8), ("B", "A", 0.7), ("B", "B", 0.9)]
    table = pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"]).assign(dice_low=np.nan, dice_high=np.nan)
    text = alternative_text(charts.generalisation_chart(table))
    assert "trained on against tested on, rows A, B, columns A, B, values 0.900, 0.800, 0.700, 0.900." in text
    figure, axis = subplots()
    axis.plot([1e-3, 1e6], [-2, 2])
    axis.set(xscale="log", xlabel="x", ylabel="y")
    figure.canvas.draw()
    assert alternative_text(figure) == "y against x."


def test_the_metadata_stay_beside_the_png_of_ipython():
    figure, axis = subplots()
    axis.set_title("a < b")
    formatter = DisplayFormatter()
    formatter.formatters["image/png"].for_type(Figure, lambda shown: print_figure(shown, "png", base64=True))
    data, metadata = formatter.format(figure)
    assert isinstance(figure, DescribedFigure)
    assert data["image/png"] and metadata["image/png"] == {"alt": "a < b."}


@pytest.mark.slow
def test_a_notebook_stores_the_text_and_its_html_and_the_report_have_it(tmp_path):
    cell = "from lungnb.lessons import diagrams\n\ndisplay(diagrams.gate_diagram())\ndiagrams.residual_diagram()"
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# Title"), v4.new_code_cell(cell)])
    NotebookClient(notebook, kernel_name="python3").execute()
    texts = [output.metadata["image/png"]["alt"] for output in notebook.cells[1].outputs if "data" in output]
    assert [text.split(" of ")[0] for text in texts] == [
        "An attention gate: the coarse level decides how much",
        "The two convolutions",
    ]
    nbformat.write(notebook, tmp_path / "00_start.ipynb")
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    _, part = _step(tmp_path / "00_start.ipynb")
    for html in (page, part):
        assert html.count('alt="An attention gate: ') == html.count('alt="The two convolutions of a U-Net') == 1
