"""Write the report as one HTML file: the comparison, its details, and the executed notebooks."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd

from lungnb.artefacts import CHECK, COMPARISON, DIFFERENCES, FAILURES, SIDE_BY_SIDE, TESTS_AGAIN, UNTRAINED, VERDICT
from lungnb.evaluation.readable_tables import MAIN_COLUMNS
from lungnb.evaluation.runs import say_runs
from lungnb.evaluation.transfer import untrained_sentence
from lungnb.files import need
from lungnb.formats.tables import read_table
from lungnb.messages import run_first
from lungnb.metrics import FAILED_DICE
from lungnb.presets import RECIPES, changes_of
from lungnb.report.parts import captioned_picture, folded, html_table, lighter, verdict_html, write_html
from lungnb.report.sections import review_sections
from lungnb.settings import Settings, counted

_COMPARISON_NOTEBOOK = "06_compare"  # left out, because the report shows its results already


def write_report(settings: Settings, notebooks: list[Path]) -> Path:
    """Write `report.html` from executed notebooks: one file that opens from disk; return its path."""
    from pygments.formatters import HtmlFormatter

    paths = [need(path, "run the series (`lungnb report`)") for path in notebooks]
    steps = {path.stem: _step(path) for path in paths if path.stem != _COMPARISON_NOTEBOOK}
    anchors = {name: name for name in steps} | {_COMPARISON_NOTEBOOK: "summary"}
    filled = {
        "TITLE": html.escape(f"Lung segmentation: {settings.name}"), "SUMMARY": _summary(settings),
        "HIGHLIGHTS": HtmlFormatter(style="friendly").get_style_defs(".highlight"),
        "LINKS": "\n".join(f'<li><a href="#{name}">{title}</a></li>' for name, (title, _) in steps.items()),
        "BODY": _linked("\n".join(folded(title, body, name) for name, (title, body) in steps.items()), anchors),
        "REVIEW": review_sections(settings, {name[:2] for name in steps}),
    }  # fmt: skip
    return write_html(settings.results / "report.html", "report.html", filled)


def _step(path: Path) -> tuple[str, str]:
    """Return the title and the body of an executed notebook as HTML."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    notebook = _without_preamble(nbformat.read(path, as_version=4))
    title = _take_title(notebook)
    body, _ = exporter.from_notebook_node(_with_light_images(notebook))
    return html.escape(title), body


def _with_light_images(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with each PNG turned into a JPEG if that is shorter."""
    # Before there is HTML, because in HTML the text of a table could pass for an image.
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                kind, image = lighter(data.pop("image/png"))
                data[kind] = image
                output.metadata[kind] = output.metadata.pop("image/png", {})  # the alternative text
    return notebook


def _linked(body: str, anchors: dict[str, str]) -> str:
    """Return the HTML with links to anchors instead of links to notebooks; without an anchor, keep the text only."""
    for tag, name, text in set(re.findall(r'(<a href="(\d\d_\w+)\.ipynb">(.*?)</a>)', body)):
        body = body.replace(tag, f'<a href="#{anchors[name]}">{text}</a>' if name in anchors else text)
    return body


def _summary(settings: Settings) -> str:
    """Return the head of the report as HTML: facts, and, if the comparison was made, the verdict and its evidence."""
    folder = settings.comparison
    kind = "recipe" if settings.profile in RECIPES else "profile"
    changes = "".join(f", {html.escape(change)}" for change in changes_of(settings))
    facts = f"<p>Data set <b>{html.escape(settings.name)}</b>, {kind} <b>{settings.profile}</b>{changes}.</p>"
    if (folder / CHECK).exists() and (errors := (read_table(folder / CHECK)["severity"] == "error").sum()):
        where = '<a href="#02_prepare">notebook 02</a> names them'
        facts += f'<p class="verdict">{counted(errors, "error")} in the data: {where}.</p>'
    if not (folder / VERDICT).exists():
        return facts
    table = read_table(folder / COMPARISON, index_col=0)
    if "hd95_median" not in table:
        raise ValueError(f"{folder / COMPARISON}: was made by an earlier lungnb: {run_first('compared')} again.")
    verdict = verdict_html((folder / VERDICT).read_text(encoding="utf-8"))
    runs = f"<p><small>{html.escape(say_runs(settings))}</small></p>"
    return "\n".join([facts, verdict, *_evidence(folder, table), runs])


def _evidence(folder: Path, table: pd.DataFrame) -> Iterator[str]:
    """Yield the table, the chart and the pictures behind the verdict, and the network that needs no training."""
    yield "<h2>Scores and cost</h2>"
    yield (
        "<p>Dice and IoU are means over patients; 1 is perfect. HD95 is the distance between the borders, without the "
        f"largest 5 % of distances; 0 is perfect. A mask with a Dice below {FAILED_DICE:g} failed.</p>"
    )
    if (folder / TESTS_AGAIN).exists():
        yield (
            "<p>This table is of one training of each network. The verdict is about all trainings: their means are "
            "below, under Other patients, seeds and folds.</p>"
        )
    yield html_table(table, MAIN_COLUMNS)
    if (folder / DIFFERENCES).exists() and len(table) > 1:
        yield "<h2>Differences</h2>"
        yield captioned_picture(
            folder / DIFFERENCES,
            "Difference of mean Dice for each pair of networks, with intervals. A true difference within the grey "
            "band is too small to matter. If an interval contains 0, the difference may be chance.",
        )
    if (folder / SIDE_BY_SIDE).exists():
        yield "<h2>Where they fail</h2>"
        if (folder / FAILURES).exists():
            yield f"<p>{html.escape((folder / FAILURES).read_text(encoding='utf-8'))}</p>"
        yield captioned_picture(folder / SIDE_BY_SIDE, "The images with the lowest mean Dice, a row each.")
    if (folder / UNTRAINED).exists():
        yield "<h2>Without training</h2>"
        yield f"<p>{html.escape(untrained_sentence(read_table(folder / UNTRAINED, index_col=0)))}</p>"


def _without_preamble(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without its imports and parameters, which a reader of the report does not need."""
    preamble = {"parameters", "injected-parameters"}
    tagged = [number for number, cell in enumerate(notebook.cells) if preamble & {*cell.metadata.get("tags", [])}]
    notebook.cells[1 : max(tagged, default=0) + 1] = []
    return notebook


def _take_title(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook's title, its first heading, and remove it from the notebook."""
    first = next((cell for cell in notebook.cells if cell.cell_type == "markdown"), None)
    if first is None or not first.source:
        return "untitled"
    title, _, first.source = str(first.source).partition("\n")
    return title.lstrip("# ")
