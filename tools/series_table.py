"""Write the table of the series into notebook 00, with the question and the minutes that each notebook states.

Run it after the title or the time of a notebook has changed: `python tools/series_table.py`.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
START = ROOT / "notebooks" / "00_start.ipynb"
HEAD = "| notebook | question | computing | with reading |\n|---|---|---|---|\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\|\n?)*")
_TIME = re.compile(r"\*\*Time\.\*\* (?P<computing>.+?) of computing.*?; (?P<reading>\d+ minutes) with reading", re.S)


def make_row(path: Path) -> str:
    """Return the table row of a notebook: a link, the question, the minutes of computing, and the minutes with reading.

    Both times are empty if its first cell does not say "**Time.** A minute of computing ...; 20 minutes with reading".
    """
    text = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    question, time = text.splitlines()[0].removeprefix(f"# {path.name[:2]} "), _TIME.search(text)
    computing, reading = (time["computing"], time["reading"]) if time else ("", "")
    return f"| [{path.stem.replace('_', ' ')}]({path.name}) | {question} | {computing.lower()} | {reading} |\n"


def with_table(text: str, rows: list[str]) -> str:
    """Return the text of a cell, with the rows of its table replaced by `rows`."""
    return TABLE.sub(lambda _: HEAD + "".join(rows), text)


def series_rows() -> list[str]:
    """Return the rows of all notebooks, in their order."""
    return [make_row(path) for path in sorted(START.parent.glob("[0-9][0-9]_*.ipynb"))]


def main() -> None:
    """Write the table into notebook 00."""
    notebook = json.loads(START.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = with_table("".join(cell["source"]), series_rows()).splitlines(keepends=True)
    START.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
