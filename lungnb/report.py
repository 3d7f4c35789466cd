"""Run the series in order, gather what it made, and write the report."""

from __future__ import annotations

import html
import re
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from lungnb.files import need, written
from lungnb.settings import Settings, make_settings
from lungnb.sources import find_source

PAPERMILL = {
    "kernel_name": "python3",
    "progress_bar": False,
    "coalesce_streams": True,  # a progress bar is kept as its last state
    "extra_arguments": ["--IPKernelApp.log_level=ERROR"],  # or each kernel warns of its unencrypted local sockets
}
CORE_SERIES = 7  # the number of the last notebook that a report needs; later ones run on request


def run_series(dataset: str = "phantom", profile: str = "quick", everything: bool = False) -> Path:
    """Run the notebooks in order on a data set and write the report; return the path of `report.html`.

    The executed notebooks are kept in results/<dataset>/notebooks, also the one in which an error stopped the series.

    Args:
        dataset: as in `settings.make_settings`.
        profile: `quick` or `full`.
        everything: run the notebooks after 07 too.

    Raises RuntimeError that names the notebook and repeats the error, when a cell fails.
    """
    import papermill

    settings = make_settings(dataset, profile)
    find_source(settings.dataset)  # a name misspelt is told at once, not by the second notebook
    notebooks = series(everything)
    with _progress_bar(notebooks, settings) as starts_cell:
        for notebook in notebooks:
            done = settings.results / "notebooks" / notebook.name
            done.parent.mkdir(parents=True, exist_ok=True)
            try:
                papermill.execute_notebook(
                    notebook,
                    done,
                    parameters={"DATASET": settings.dataset, "PROFILE": profile},
                    cwd=notebook.parent,
                    on_cell_execute=starts_cell(notebook),
                    **PAPERMILL,
                )
            except papermill.PapermillExecutionError as error:
                raise RuntimeError(f"{notebook.name}: {error.ename}: {error.evalue} (See {done}.)") from error
    return write_report(settings, [settings.results / "notebooks" / notebook.name for notebook in notebooks])


def series(everything: bool = False) -> list[Path]:
    """Return the notebooks in their order, those up to 07 or `everything`."""
    folder = need(Path(__file__).parents[1] / "notebooks", "install lungnb from a checkout (`pip install -e .`)")
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    return [path for path in found if everything or int(path.name[:2]) <= CORE_SERIES]


def keep(settings: Settings, name: str, item: Figure | pd.DataFrame | str) -> Figure | pd.DataFrame | str:
    """Save a figure as PNG, a table as CSV or a text in results/<dataset>/comparison, and return it to be shown."""
    folder = settings.results / "comparison"
    if isinstance(item, Figure):
        with written(folder / f"{name}.png") as temporary:
            item.savefig(temporary)
    elif isinstance(item, pd.DataFrame):
        with written(folder / f"{name}.csv") as temporary:
            item.to_csv(temporary)
    else:
        with written(folder / f"{name}.txt") as temporary:
            temporary.write_text(item, encoding="utf-8")
    return item


def write_report(settings: Settings, notebooks: list[Path]) -> Path:
    """Write `report.html` from executed notebooks: one file that opens from disk; return its path."""
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    sections, links = [], []
    for path in notebooks:
        notebook = nbformat.read(need(path, "run the series (`lungnb report`)"), as_version=4)
        title = html.escape(_title(notebook))
        body, _ = exporter.from_notebook_node(_without_preamble(notebook))
        links.append(f'<li><a href="#{path.stem}">{title}</a></li>')
        sections.append(f'<section id="{path.stem}">{body}</section>')
    # Within the report, the notebooks link to one another's sections.
    body = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="#\1"', "\n".join(sections))
    page = (Path(__file__).parent / "report.html").read_text(encoding="utf-8")
    style = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    filled = {"TITLE": html.escape(f"Lung segmentation: {settings.name}"), "SUMMARY": _summary(settings)}
    filled |= {"STYLE": style, "LINKS": "\n".join(links), "BODY": body}
    with written(settings.results / "report.html") as temporary:
        temporary.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], page), encoding="utf-8")
    return settings.results / "report.html"


def _summary(settings: Settings) -> str:
    """Return the head of the report as HTML: the verdict and the table of the comparison, if it was made."""
    folder = settings.results / "comparison"
    facts = f"<p>Data set <b>{html.escape(settings.name)}</b>, profile <b>{settings.profile}</b>.</p>"
    if not (folder / "verdict.txt").exists():
        return facts
    table = pd.read_csv(folder / "comparison.csv", index_col=0).rename_axis(None)
    columns = ["dice", "dice_low", "dice_high", "iou", "precision", "recall", "specificity", "parameters"]
    columns += ["training_minutes", "milliseconds_per_image"]
    table = table[columns].rename(columns=lambda name: name.replace("_", " "))
    table["parameters"] = table["parameters"].map("{:,}".format)
    verdict = html.escape((folder / "verdict.txt").read_text(encoding="utf-8"))
    shown = table.to_html(float_format=lambda value: f"{value:.3f}" if value < 2 else f"{value:.1f}", border=0)
    pictures = "".join(_picture(folder / f"{name}.png") for name in ("side_by_side", "scores"))
    return f'{facts}<p class="verdict">{verdict}</p><div class="table">{shown}</div>{pictures}'


def _picture(file: Path) -> str:
    """Return a PNG as an HTML image that holds its bytes."""
    if not file.exists():
        return ""
    data = b64encode(file.read_bytes()).decode()
    return f'<p><img alt="{file.stem.replace("_", " ")}" src="data:image/png;base64,{data}"></p>'


def _without_preamble(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without its imports and parameters, which tell a reader of the report nothing."""
    preamble = {"parameters", "injected-parameters"}
    last = max((i for i, cell in enumerate(notebook.cells) if preamble & set(cell.metadata.get("tags", []))), default=0)
    notebook.cells[1 : last + 1] = []
    return notebook


def _title(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook's title, the first heading."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    return first.splitlines()[0].lstrip("# ") if first else "untitled"


@contextmanager
def _progress_bar(notebooks: list[Path], settings: Settings) -> Iterator:
    """Show a bar over the cells of all notebooks that names the one running; give a maker of hooks for papermill."""
    cells = {path: nbformat.read(path, as_version=4).cells for path in notebooks}
    total = sum(cell.cell_type == "code" for one in cells.values() for cell in one)
    done = threading.Event()
    layout = "{l_bar}{bar}| {n}/{total} cells [{elapsed}]{postfix}"
    with tqdm(total=total, file=sys.stdout, bar_format=layout, dynamic_ncols=True) as bar:

        def tick() -> None:
            # Training is one long cell: say which epoch it is in, and let the clock run.
            while not done.wait(2):
                bar.set_postfix_str(_epoch(settings))

        def starts_cell(notebook: Path) -> object:
            step = 0

            def hook(cell: nbformat.NotebookNode, cell_index: int) -> None:
                nonlocal step
                if "injected-parameters" not in cell.metadata.get("tags", []):
                    step += 1
                    bar.update(1 if bar.n < total - 1 else 0)
                bar.set_description_str(f"{notebook.stem}, cell {step}")

            return hook

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield starts_cell
            bar.n = total
            bar.set_description_str("all notebooks")
        finally:
            done.set()
            ticker.join()


def _epoch(settings: Settings) -> str:
    """Return the epoch that a model being trained is in, or nothing."""
    for folder in settings.results.glob("*/training"):
        history = folder.parent / "history.csv"
        finished = len(history.read_text(encoding="utf-8").splitlines()) - 1 if history.exists() else 0
        return f"{folder.parent.name}: epoch {min(max(finished, 0) + 1, settings.epochs)} of {settings.epochs}"
    return ""
