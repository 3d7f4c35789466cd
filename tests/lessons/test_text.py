"""Code and tables of text in notebooks."""

import pandas as pd

from lungnb.lessons import text
from lungnb.networks import models
from lungnb.networks.blocks import double_convolution


def test_long_lines_are_broken_between_words(capsys):
    text.say("short\n" + "word " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "short" and len(lines) > 2
    assert all(len(line) <= 100 and set(line.split()) <= {"short", "word"} for line in lines)


def test_the_parts_of_a_long_line_have_about_the_same_length(capsys):
    text.say("word " * 21 + "end.")  # 109 characters, so that "word end." would be left alone
    first, second = capsys.readouterr().out.splitlines()
    assert abs(len(first) - len(second)) < 10


def test_only_the_first_paragraph_of_a_docstring_is_shown():
    shown = text.code_of(models.u_shape).data
    assert 'from top to bottom."""' in shown and "replaces `unit`" not in shown and "return x" in shown


def outer():
    """Return outer."""

    def inner():
        """Return inner.

        In more words.
        """

    return inner


def test_the_code_between_two_docstrings_is_shown():
    assert "def inner():" in text.code_of(outer).data


def test_code_is_shown_as_python():
    shown = text.code_of(double_convolution).data
    assert shown.startswith("```python\ndef double_convolution(") and shown.endswith("return x\n```")


def test_a_table_of_text_is_the_same_in_each_run_and_escapes_its_cells():
    table = pd.DataFrame({"what": ["a <b>"]})
    first, second = (text.text_table(table, "name").to_html() for _ in range(2))
    assert first == second and "a &lt;b&gt;" in first and "T_name" in first


def test_an_empty_table_shows_nothing():
    assert text.text_table(pd.DataFrame({"what": []}), "name") is None
