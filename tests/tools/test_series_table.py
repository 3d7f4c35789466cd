import json

import series_table
from series_table import HEAD, START, make_row, series_rows, with_table


def test_notebook_00_has_the_questions_and_minutes_of_all_notebooks():
    cells = json.loads(START.read_text(encoding="utf-8"))["cells"]
    (text,) = [text for cell in cells if HEAD in (text := "".join(cell["source"]))]
    assert with_table(text, series_rows()) == text, "run `python tools/series_table.py`"
    assert text.count("\n| [") == len([*START.parent.glob("[0-9][0-9]_*.ipynb")])


def test_a_row_has_question_and_times(tmp_path):
    path = tmp_path / "14_topic.ipynb"
    first = "# 14 Is it so?\n\n**Time.** A minute of computing on 2 cores (more elsewhere); 20 minutes with reading\n"
    path.write_text(json.dumps({"cells": [{"source": [first]}]}))
    assert make_row(path) == "| [14 topic](14_topic.ipynb) | Is it so? | a minute | 20 minutes |\n"
    path.write_text(json.dumps({"cells": [{"source": ["# 14 Is it so?\n"]}]}))
    assert make_row(path) == "| [14 topic](14_topic.ipynb) | Is it so? |  |  |\n"


def test_only_the_rows_of_the_table_are_replaced(tmp_path, monkeypatch):
    text = f"before\n\n{HEAD}| old |\n| rows |\n\nafter | not |\n"
    assert with_table(text, ["| new |\n"]) == f"before\n\n{HEAD}| new |\n\nafter | not |\n"
    notebook = {"cells": [{"cell_type": "markdown", "source": [HEAD]}, {"cell_type": "code", "source": [HEAD]}]}
    start = tmp_path / "00_start.ipynb"
    start.write_text(json.dumps(notebook))
    monkeypatch.setattr(series_table, "START", start)
    monkeypatch.setattr(series_table, "series_rows", lambda: ["| a row |\n"])
    series_table.main()
    markdown, code = json.loads(start.read_text())["cells"]
    assert "".join(markdown["source"]) == f"{HEAD}| a row |\n" and code["source"] == [HEAD]
