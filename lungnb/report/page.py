"""Write the report as one HTML file: the comparison, the part for reviewers, and the executed notebooks."""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat

from lungnb.artefacts import CHECK, COMPARISON, SIDE_BY_SIDE, UNTRAINED, VERDICT
from lungnb.evaluation.runs import say_runs
from lungnb.evaluation.transfer import untrained_sentence
from lungnb.files import need, read_table
from lungnb.presets import RECIPES, changes_of
from lungnb.report.parts import lighter, picture, write_page
from lungnb.report.sections import review_sections
from lungnb.settings import Settings, counted


def write_report(settings: Settings, notebooks: list[Path]) -> Path:
    """Write `report.html` from executed notebooks: one file that opens from disk; return its path."""
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    sections, links = [], []
    for path in notebooks:
        notebook = nbformat.read(need(path, "run the series (`lungnb report`)"), as_version=4)
        title = html.escape(_title(notebook))
        body, _ = exporter.from_notebook_node(_with_light_images(_without_preamble(notebook)))
        links.append(f'<li><a href="#{path.stem}">{title}</a></li>')
        sections.append(f'<section id="{path.stem}">{body}</section>')
    body = _linked("\n".join(sections), {path.stem for path in notebooks})
    style = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    filled = {"TITLE": html.escape(f"Lung segmentation: {settings.name}"), "SUMMARY": _summary(settings)}
    filled |= {"HIGHLIGHTS": style, "LINKS": "\n".join(links), "BODY": body, "REVIEW": review_sections(settings)}
    return write_page(settings.results / "report.html", "report.html", filled)


def _with_light_images(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with each PNG turned into a JPEG if that is shorter."""
    # Before there is HTML, because in HTML the text of a table could pass for an image.
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                kind, image = lighter(data.pop("image/png"))
                data[kind] = image
    return notebook


def _linked(body: str, sections: set[str]) -> str:
    """Return the HTML with links to notebooks turned into links to sections, or into text if there is no section."""
    for tag, name, text in set(re.findall(r'(<a href="(\d\d_\w+)\.ipynb">(.*?)</a>)', body)):
        body = body.replace(tag, f'<a href="#{name}">{text}</a>' if name in sections else text)
    return body


def _summary(settings: Settings) -> str:
    """Return the head of the report as HTML: the verdict and the table of the comparison, if it was made."""
    folder = settings.comparison
    kind = "recipe" if settings.profile in RECIPES else "profile"
    changes = "".join(f", {html.escape(change)}" for change in changes_of(settings))
    facts = f"<p>Data set <b>{html.escape(settings.name)}</b>, {kind} <b>{settings.profile}</b>{changes}.</p>"
    if (folder / CHECK).exists() and (errors := (read_table(folder / CHECK)["severity"] == "error").sum()):
        where = '<a href="#02_prepare">notebook 02</a> names them'
        facts += f'<p class="verdict">{counted(errors, "error")} in the data: {where}.</p>'
    if not (folder / VERDICT).exists():
        return facts
    table = read_table(folder / COMPARISON, index_col=0).rename_axis(None)
    if "hd95_median" not in table:
        raise ValueError(f"{folder / COMPARISON}: was made by an earlier lungnb; run notebook 06 again.")
    # The columns that fit the page; the section Scores has all.
    columns = ["dice", "dice_low", "dice_high", "first", "iou", "hd95_median", "failed"]
    columns += ["parameters", "training_minutes", "milliseconds_per_image"]
    titles = {"hd95_median": f"median HD95 ({table['unit'].iloc[0]})", "first": "comes first", "failed": "failed masks"}
    titles |= {"training_minutes": "training (min)", "milliseconds_per_image": "an image (ms)"}
    table = table[columns].rename(columns=titles).rename(columns=lambda name: name.replace("_", " "))
    table["parameters"] = table["parameters"].map("{:,}".format)
    verdict = html.escape((folder / VERDICT).read_text(encoding="utf-8"))
    shown = table.to_html(float_format=lambda value: f"{value:.{3 if value < 2 else 1}f}", border=0, na_rep="")
    summary = f'{facts}<p class="verdict">{verdict}</p><div class="table">{shown}</div>{_untrained(folder / UNTRAINED)}'
    summary += f"<p>{html.escape(say_runs(settings))}</p>"
    return summary + (picture(folder / SIDE_BY_SIDE) if (folder / SIDE_BY_SIDE).exists() else "")


def _untrained(file: Path) -> str:
    """Return how the shipped network does beside the trained ones, as HTML; nothing if it was not scored."""
    if not file.exists():
        return ""
    return f"<p>{html.escape(untrained_sentence(read_table(file, index_col=0)))}</p>"


def _without_preamble(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook without its imports and parameters, which a reader of the report does not need."""
    preamble = {"parameters", "injected-parameters"}
    tagged = [number for number, cell in enumerate(notebook.cells) if preamble & {*cell.metadata.get("tags", [])}]
    notebook.cells[1 : max(tagged, default=0) + 1] = []
    return notebook


def _title(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook's title: its first heading."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    return first.splitlines()[0].lstrip("# ") if first else "untitled"
