"""Parts of reports in HTML: tables, pictures, and the page that holds them."""

import html
import io
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from lungnb.evaluation.readable_tables import readable
from lungnb.figures.described import alternative_text
from lungnb.files import written
from lungnb.messages import printable

# Characters that a page hides, that turn the direction of the text after them, or that are bytes of no UTF-8.
_UNSEEN = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
_MAX_COLUMNS = 8  # a table with more is transposed
_NOTEBOOK_DPI = 75  # of a folded chart: as wide as a notebook's page
_LONGEST_NUMBER = 60  # characters; longer cells are prose


def write_html(path: Path, template: str, filled: Mapping[str, str]) -> Path:
    """Write a template of this folder, with HTML in the place of each `{{NAME}}`, and return the path.

    All templates share `style.html`, which is in the place of `{{STYLE}}`.
    """
    folder = Path(__file__).parent
    page, style = ((folder / name).read_text(encoding="utf-8") for name in (template, "style.html"))
    values = {"STYLE": style, **filled}
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], page)
    with written(path) as temporary:
        temporary.write_text(_UNSEEN.sub(lambda match: printable(match[0]), text), encoding="utf-8")
    return path


def html_section(title: str, text: str, table: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """Return a heading, a text and a table as HTML. `title` and `text` are HTML."""
    return f"<h2>{title}</h2><p>{text}</p>{html_table(table, columns)}"


def folded(title: str, body: str, anchor: str = "") -> str:
    """Return a part of a page that is folded until the reader opens it. All arguments are HTML.

    A link to the anchor opens the part, because the anchor is inside. The default is the title with "_" for spaces.
    """
    anchor = anchor or re.sub(r"\W+", "_", title.lower())
    return f'<details><summary>{title}</summary><div id="{anchor}">{body}</div></details>'


def verdict_html(verdict: str) -> str:
    """Return the lines of a `verdict` as HTML: the answer in bold, and its reasons as a list.

    Example:
        >>> verdict_html("A is better than B.")
        '<div class="verdict"><p><b>A is better than B.</b></p></div>'
    """
    answer, *reasons = (html.escape(line) for line in verdict.strip().split("\n"))
    listed = "".join(f"<li>{reason}</li>" for reason in reasons)
    return f'<div class="verdict"><p><b>{answer}</b></p>{f"<ul>{listed}</ul>" if listed else ""}</div>'


def html_table(table: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """Return a table as escaped HTML with `readable` names; transpose a wide table. `columns` chooses some columns."""
    cells = readable(table, columns)
    is_prose = max(map(len, cells.to_numpy().ravel()), default=0) > _LONGEST_NUMBER  # to be aligned left
    if len(cells.columns) > _MAX_COLUMNS:
        cells = cells.T.rename_axis(index=None)
    with pd.option_context("display.max_colwidth", None):
        return f'<div class="table">{cells.to_html(border=0, classes="prose" if is_prose else None)}</div>'


def captioned_picture(file: Path, caption: str) -> str:
    """Return a PNG file as an HTML figure with its caption, which is HTML and also describes the picture."""
    return f"<figure>{picture(file, caption)}<figcaption>{caption}</figcaption></figure>"


def picture(file: Path, description: str = "") -> str:
    """Return a PNG file as an HTML image that holds the bytes, as JPEG if that is shorter.

    By default, the description for readers who cannot see the picture is the name of the file in words.
    """
    name = re.sub(r"<[^>]*>", "", description) or html.escape(file.stem.replace("_", " "))
    kind, image = lighter(b64encode(file.read_bytes()).decode())
    return f'<p><img alt="{name}" src="data:{kind};base64,{image}"></p>'


def html_figure(figure: Figure) -> str:
    """Return a figure as an HTML image for a notebook, small enough to be stored, with its alternative text."""
    content = io.BytesIO()
    figure.savefig(content, dpi=_NOTEBOOK_DPI)
    kind, image = lighter(b64encode(content.getvalue()).decode())
    return f'<p><img alt="{html.escape(alternative_text(figure))}" src="data:{kind};base64,{image}"></p>'


def lighter(png: str) -> tuple[str, str]:
    """Return the media type and the base64 of a PNG, or of a JPEG of it if that is shorter, as for X-rays."""
    jpeg = io.BytesIO()
    try:
        Image.open(io.BytesIO(b64decode(png)), formats=["PNG"]).convert("RGB").save(jpeg, "JPEG", quality=85)
    except Exception:  # Pillow's decoders raise many kinds for a PNG that cannot be read
        return "image/png", png
    short = b64encode(jpeg.getvalue()).decode()
    return ("image/jpeg", short) if len(short) < len(png) else ("image/png", png)
