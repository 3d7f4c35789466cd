"""Read the tables that users write, of patients or of splits, as spreadsheets save them."""

import codecs
import io
import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lungnb.datasets.pixel_sizes import HEIGHT, PIXEL_SIZE, WIDTH
from lungnb.files import need
from lungnb.formats.opening import Refused, open_file

MAX_TABLE_BYTES = 50_000_000  # larger tables of patients or splits are refused; a million images need about 30 MB
# What spreadsheets write in English and German if a formula fails; the images of such rows would become one patient
_FORMULA_ERRORS = (
    *("#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!"),
    *("#NV", "#BEZUG!", "#WERT!", "#ZAHL!"),
)
_NO_NAMES = (  # what programs and people write for no name
    "nan", "na", "<na>", "none", "null", "n/a", "unknown", "unbekannt", "?", "-",
)  # fmt: skip
SAVE_AS_CSV = "Save it as CSV in UTF-8."
# What does not tell one patient from another: leading zeros, a hyphen, underscore or blank before a number, and a
# decimal of spreadsheets
_ALIKE = re.compile(r"(?<=[^\W\d_])[-_ ](?=\d)|(?<![\d.])0+(?=\d)|(?<=\d)\.0+$")
TRAITS = ("group", "sex", "age")  # columns that a table of patients may have too


def read_user_table(file: Path, field: str) -> pd.DataFrame:
    """Return a CSV with the columns `id` and `field` as text; "NA" is a name like any other.

    Commas, semicolons or tabs separate the cells. The text is UTF-8, or UTF-16 that says so in its first bytes. Raises
    FileNotFoundError without the file, ValueError if it has another form, or a cell of `field` is empty or no name.
    """
    need(file, f"put the {field} file there")
    table = _parsed(file, _text_of(file), field)
    table = table[(table[["id", field]] != "").any(axis="columns")]  # spreadsheets save empty rows, too
    is_manifest = "source_image" in table
    if not is_manifest:  # in a manifest, spaces belong to names
        for name in table.columns.intersection([field, *TRAITS]):
            table[name] = table[name].map(_without_blanks)
    if (table[field] == "").any():
        raise ValueError(f"{file}: {field} is empty for {table['id'][table[field] == ''].iloc[0]}. Fill it in.")
    if (wrong := table[table[field].isin(_FORMULA_ERRORS)]).size:
        raise ValueError(
            f"{file}: {field} of {wrong['id'].iloc[0]} is {wrong[field].iloc[0]}, the error of a formula. Mend the "
            "formula, and save the table again."
        )
    if field == "patient" and not is_manifest:
        _refuse_no_names(file, table[field])
        _refuse_alike(file, table[field])
    return table


def read_small(file: Path) -> bytes:
    """Return the content of a user's table; raise Refused if it is too large, or a device."""
    with open_file(file) as opened:
        content = opened.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise Refused(f"{file}: has more than {MAX_TABLE_BYTES:,} bytes. Leave in it only the columns that are needed.")
    return content


def _parsed(file: Path, text: str, field: str) -> pd.DataFrame:
    """Return the table in a text; raise ValueError if it is no table, or a heading is missing or there twice."""
    separator = max(",;\t", key=text.partition("\n")[0].count)
    # Empty cells at the end of a row do not count, because many programs write them.
    trimmed = "\n".join(line.rstrip(f"{separator}\r") for line in text.split("\n"))
    try:
        with warnings.catch_warnings(record=True) as caught:  # pandas warns of cells beyond those of the first line
            warnings.simplefilter("always", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.StringIO(trimmed), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True,
                index_col=False,
            )  # fmt: skip
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{file}: cannot be read as a table ({str(error).strip()}). {SAVE_AS_CSV}") from error
    headings = [name if name in ("id", field) else name.strip().casefold() for name in table.columns]
    twice = [name for name in (*TRAITS, PIXEL_SIZE, HEIGHT, WIDTH) if headings.count(name) > 1]
    if twice and field == "patient":
        raise ValueError(f"{file}: has the column {twice[0]} more than once; keep one of them only.")
    if headings.count("id") != 1 or headings.count(field) != 1:
        columns = ", ".join(table.columns)
        raise ValueError(f"{file}: needs the columns id and {field}, separated by a comma; it has {columns}.")
    if any(issubclass(each.category, pd.errors.ParserWarning) for each in caught):
        raise ValueError(
            f"{file}: a row has more cells than the first line. Write a cell that contains {separator!r} in quotation "
            f"marks. {SAVE_AS_CSV}"
        )
    return table.set_axis(headings, axis="columns")


def _without_blanks(text: str) -> str:
    """Return a cell without blanks at its ends, double blanks and invisible characters, which nobody sees."""
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(visible.split())


def _refuse_no_names(file: Path, patients: pd.Series) -> None:
    """Raise ValueError if several rows have a patient such as `nan` or `unknown`, and would count as one patient."""
    nameless = patients[patients.str.casefold().isin(_NO_NAMES)]
    if len(nameless) > 1:
        raise ValueError(
            f"{file}: {len(nameless)} rows have the patient {nameless.iloc[0]}, and would count as one patient. Write "
            "who they are; if nobody knows, give each row a patient of its own."
        )


def _refuse_alike(file: Path, patients: Iterable[str]) -> None:
    """Raise ValueError for a patient with two names, because two splits could then share the patient."""
    names: dict[str, str] = {}
    for name in patients:
        other = names.setdefault(_ALIKE.sub("", name.casefold()), name)
        if other != name:
            raise ValueError(
                f"{file}: the patients {other} and {name} differ only in capitals, hyphens, underscores, blanks, "
                "leading zeros or a decimal. If they are one patient, write both alike; otherwise add a letter to one."
            )


def _text_of(file: Path) -> str:
    """Return the text of a table; raise ValueError for a spreadsheet's own format and for an unknown encoding."""
    content = read_small(file)
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):  # xlsx and ods; xls
        raise ValueError(f"{file}: is a spreadsheet's own format, not a CSV. {SAVE_AS_CSV}")
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not in UTF-8, so its letters may be read wrongly. {SAVE_AS_CSV}") from error
    if "\0" in text:
        raise ValueError(f"{file}: is not a text in UTF-8. {SAVE_AS_CSV}")
    # macOS writes an umlaut as two characters. Excel writes a first line such as `sep=;`, which is not a row.
    return re.sub(r"^sep=.\r?\n", "", unicodedata.normalize("NFC", text))
