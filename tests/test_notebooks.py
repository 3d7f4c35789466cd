"""The notebooks' structure; and that a changed output does make the nbval check fail."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import nbformat
import pytest

from helpers.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_NOTEBOOK_BYTES = 1_000_000
NBVAL = ["--nbval-lax", "--nbval-current-env", "--nbval-sanitize-with", str(ROOT / "tests/nbval.cfg")]


def codes(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_series_is_complete():
    numbers = [path.name.split("_")[0] for path in NOTEBOOKS]  # some are yet to come, so that there may be gaps
    assert numbers[:8] == [f"{number:02}" for number in range(8)]
    assert all(re.fullmatch(r"\d\d", number) for number in numbers) and numbers == sorted(set(numbers))


def test_outputs_are_of_one_run_from_the_top(notebook):
    assert [cell.execution_count for cell in codes(notebook)] == list(range(1, len(codes(notebook)) + 1))


def test_a_checked_cell_has_output(notebook):
    checked = [cell for cell in codes(notebook) if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert checked and all(cell.outputs for cell in checked)


def test_no_errors_stderr_or_paths_of_a_machine(notebook):
    outputs = [output for cell in codes(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = "".join(cell.source for cell in notebook.cells) + "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"(?<![\w.:/])/(home|root|tmp|work|Users|private|var)/", text)


def test_cells_are_short_and_told_before(notebook):
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown"
            assert len(cell.source.splitlines()) <= 15
            assert not re.search(r"%cd|!pip|sys\.path|^def ", cell.source)


def test_parameters_come_from_the_environment(notebook):
    tagged = [index for index, cell in enumerate(codes(notebook)) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == [1]
    assert 'get("LUNGNB_DATASET"' in codes(notebook)[1].source and 'get("LUNGNB_PROFILE"' in codes(notebook)[1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small(path):
    assert path.stat().st_size <= MAX_NOTEBOOK_BYTES


ANSWER = re.compile(r"<summary>Answer</summary>.*?```python\n(.*?)```.*?```text\n(.*?)```.*?</details>", re.DOTALL)


def answers(path):
    return ANSWER.findall("\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("number", [0, 1])
def test_an_answer_gives_what_it_shows(path, number, capsys):
    imports = codes(nbformat.read(path, as_version=4))[0].source
    code, output = answers(path)[number]
    exec(compile(f"{imports}\n{code}", f"{path.stem}, answer {number + 1}", "exec"), {})
    assert capsys.readouterr().out == output


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_has_its_parts(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    assert re.match(r"# \d\d .*\?\n", text)  # the title is a question
    parts = ["**Objectives.**", "**Time.**", "\n## ", "## Exercises", "## What we learned", "\nNext: ["]
    assert [text.find(part) for part in parts] == sorted(text.find(part) for part in parts) and parts[0] in text
    assert len(answers(path)) == 2


def test_notebook_00_shows_the_lines_that_let_gpu_memory_grow():
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells)
    (shown,) = re.findall(r"```python\n(for device .*?)```", text, re.DOTALL)
    backend = (ROOT / "lungnb/networks/backend.py").read_text(encoding="utf-8")
    assert textwrap.indent(shown, "        ") in backend


def test_lessons_share_no_cell_but_the_parameters():
    sources = [
        cell.source
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if "parameters" not in cell.metadata.get("tags", [])
    ]
    assert [source for source in sources if sources.count(source) > 1] == []


@pytest.mark.slow
def test_a_changed_output_fails(tmp_path):
    changed = nbformat.read(NOTEBOOKS[0], as_version=4)
    checked = next(cell for cell in codes(changed) if "nbval-check-output" in cell.metadata.get("tags", []))
    changed.cells = changed.cells[: changed.cells.index(checked) + 1]  # those after it take 10 s
    nbformat.write(changed, tmp_path / "unchanged.ipynb")
    assert checked.outputs[0].text == "every Dice above 0.9: True\n"
    checked.outputs[0].text = checked.outputs[0].text.replace("True", "False")
    nbformat.write(changed, tmp_path / "changed.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", *NBVAL, "-p", "no:cacheprovider", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failed" in result.stdout and "changed.ipynb" in result.stdout, result.stdout
