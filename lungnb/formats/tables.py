"""Write tables as CSV with safe cells, and read them with the same text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast  # Any: pandas' options
from urllib.parse import unquote

from lungnb.files import written

if TYPE_CHECKING:
    import pandas as pd

# Columns that hold text, even if a name in them looks like a number or like a missing value.
_TEXT_COLUMNS = (
    *("id", "patient", "split", "group", "sex", "file", "image", "mask", "source_image", "source_mask", "model"),
    *("status", "review", "note", "network", "error", "reason", "worst", "trained_on", "tested_on"),
)
# Characters to encode: a percent sign that would be decoded, and a leading space, which readers of CSV may drop.
_AMBIGUOUS = re.compile("%(?=[0-9a-fA-F]{2})|^ ")
# The start of a formula: at the start of a cell, or after a semicolon, because some spreadsheets split lines there.
_FORMULA = re.compile("""((?:^|;)[\\s"']*)([=+@\uff1d\uff0b\uff0d\uff20-])""")  # four characters also full-width


def write_table(table: pd.DataFrame, path: str | Path, index: bool = False) -> None:
    """Write a table as CSV, so that `read_table` returns the same text and no cell can do harm.

    Some characters are percent-encoded as in URLs: those that cannot be printed (line breaks, escape sequences, bytes
    of a file name that are not UTF-8), the first character of a spreadsheet's formula, a leading space, and a percent
    sign before two hexadecimal digits. Raises NotWritten as `writable` does.
    """
    with written(path) as temporary:
        map_text(table, escape).to_csv(temporary, index=index)


def make_table(rows: Iterable[object], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of rows; file names in them may have bytes that are not UTF-8."""
    return cast("pd.DataFrame", _pandas().DataFrame(rows, columns=columns))


def read_table(path: str | Path, **options: Any) -> pd.DataFrame:  # noqa: ANN401  # pandas says what they may be
    """Read a table that `write_table` wrote, and decode its text; `options` are those of `pandas.read_csv`.

    Columns of names, such as `file`, `id` and `patient`, hold text, even if it is empty, `NA` or `001`. In other
    columns an empty cell is a missing value. Raises ValueError, naming `path`, if it is no CSV file, and OSError if it
    is unreadable.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path}: not a file.")  # because reading a pipe would wait for ever
    as_written = {"dtype": dict.fromkeys(_TEXT_COLUMNS, str), "keep_default_na": False, "na_values": [""]}
    errors = _pandas().errors
    try:
        table = _pandas().read_csv(path, **as_written | options)
    except (errors.EmptyDataError, errors.ParserError, UnicodeDecodeError) as error:  # which repeat parts of the file
        raise ValueError(f"{path}: is damaged, or no CSV file. Restore it, or remove it and make it again.") from error
    for name in table.columns.intersection(_TEXT_COLUMNS):
        table[name] = table[name].fillna("")
    return map_text(table, unescape)


def escape(text: str) -> str:
    """Return text as `write_table` writes it into a cell.

    Example:
        >>> escape("=1+2"), escape("case 1.png"), escape("50 % of it")
        ('%3D1+2', 'case 1.png', '50 % of it')
    """
    text = _AMBIGUOUS.sub(lambda match: _percent(match[0]), text)
    text = _FORMULA.sub(lambda match: match[1] + _percent(match[2]), text)
    return text if text.isprintable() else "".join(c if c.isprintable() else _percent(c) for c in text)


def unescape(cell: str) -> str:
    """Return the text of a cell that `escape` made.

    Example:
        >>> unescape("%3D1+2")
        '=1+2'
    """
    return unquote(cell, errors="surrogateescape") if "%" in cell else cell


def _percent(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"  # Python's code for a byte of a file name that is not UTF-8
    encoded = character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in encoded)


def map_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a table with a function applied to its text and its labels."""
    pd = _pandas()

    def changed(value: object) -> object:
        return change(value) if isinstance(value, str) else value

    table = table.rename(index=changed, columns=changed).rename_axis(index=changed, columns=changed)
    for column in range(table.shape[1]):
        before = [*table.iloc[:, column]]
        after = [changed(value) for value in before]
        if after != before:
            table.isetitem(column, pd.Series(after, table.index))
    return table


def _pandas() -> ModuleType:
    """Return pandas, set to store text as Python does, because Arrow accepts no bytes that are not UTF-8."""
    import pandas  # takes half a second, which `segment` need not wait

    pandas.set_option("mode.string_storage", "python")
    return pandas
