"""Show sentences, source code, and tables of text in notebooks."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from IPython.display import Markdown
    from pandas.io.formats.style import Styler


_LINE = 100  # characters that fit into a notebook on a laptop, beside JupyterLab's list of files


def say(sentences: str) -> None:
    r"""Print sentences, with long lines broken between words. JupyterLab breaks them within words.

    The parts of a long line have about the same length, so that the last part is no single word.

    >>> say("One line.\nAnother.")
    One line.
    Another.
    """
    for line in sentences.splitlines():
        fewest = len(_broken(line, _LINE))
        widths = range(_LINE // 2, _LINE + 1)
        print("\n".join(next(parts for width in widths if len(parts := _broken(line, width)) == fewest)))


def _broken(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def signed(change: float, digits: int = 3) -> str:
    """Return a change with its sign, and with `+` if it rounds to 0.

    >>> signed(0.0312), signed(-0.00004, digits=4)
    ('+0.031', '+0.0000')
    """
    return f"{round(change, digits) + 0.0:+.{digits}f}"  # adding 0.0 turns -0.0 into 0.0


def code_of(function: Callable[..., object]) -> Markdown:
    """Return the source code of a function for a notebook, which highlights it in its own theme.

    Of a long docstring, only the first paragraph is shown.
    """
    from IPython.display import Markdown

    text = r'(?:(?!""").)*'  # without the quotes of a docstring
    code = re.sub(rf'(?s)\A({text}"""{text}?)\n\n{text}"""', r'\1"""', inspect.getsource(function))
    return Markdown(f"```python\n{code}```")  # type: ignore[no-untyped-call]  # of IPython


def text_table(table: pd.DataFrame, name: str, precision: int = 3) -> Styler | None:
    """Return a table of text for a notebook: aligned left, with whole sentences, and without row numbers.

    `name` is the identifier in the HTML, so that the HTML is the same in each run. Give each table of a notebook a
    different name. Return None for an empty table, so that the notebook shows nothing.
    """
    if table.empty:
        return None
    styled = table.rename_axis(None).style.set_uuid(name).format(precision=precision, escape="html")
    if isinstance(table.index, pd.RangeIndex):
        styled = styled.hide(axis="index")
    return styled.set_table_styles([{"selector": "th, td", "props": "text-align: left"}])
