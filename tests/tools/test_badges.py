"""The badges and the first cell of notebook 00, which fetches the project where there is only the notebook."""

import copy
import os
import shutil
import subprocess
import sys

import pytest

from badges import MARK, ROOT, START, badges, read, with_address

HERE = "https://github.com/someone/lungnb"


def first_cell(notebook):
    return "".join(next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["source"])


def test_badges_and_address_are_those_of_pyproject():
    readme, notebook, address = read()
    assert with_address(readme, copy.deepcopy(notebook), address) == (readme, notebook), "run: make badges"
    assert readme.count(MARK) == 1 and "".join(notebook["cells"][0]["source"]).count(MARK) == 1


def test_badges_open_the_first_notebook():
    readme, notebook = with_address(*read()[:2], HERE)
    for text in (readme, "".join(notebook["cells"][0]["source"])):
        assert f"(https://colab.research.google.com/github/someone/lungnb/blob/HEAD/{START})" in text
        assert f"(https://mybinder.org/v2/gh/someone/lungnb/HEAD?urlpath=lab/tree/{START})" in text
    assert (ROOT / START).exists() and f'"{HERE}"' in first_cell(notebook)
    assert badges("") == ""
    assert with_address(readme, notebook, "")[0].count("mybinder") == 0


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_first_cell_fetches_what_is_missing_and_is_quiet_elsewhere(tmp_path):
    """In an environment without lungnb the cell clones and installs; pip is replaced, or it would take minutes."""
    source, work = tmp_path / "source", tmp_path / "work"
    (source / "lungnb").mkdir(parents=True), work.mkdir()
    cell = first_cell(read()[1]).partition("from lungnb import")[0]
    (source / "lungnb" / "__init__.py").write_text("fetched = True\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=source, check=True)
    pip = tmp_path / "modules" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").write_text("")
    (pip / "__main__.py").write_text("import sys; open('pip.txt', 'w').write(' '.join(sys.argv[1:]))\n")
    script = f"{cell}\n"
    own = os.environ | {"LUNGNB_REPOSITORY": source.as_uri(), "PYTHONPATH": str(pip.parent)}

    def run(code):
        command = [sys.executable, "-S", "-c", code]  # without the packages that are installed
        result = subprocess.run(command, cwd=work, env=own, capture_output=True, text=True, check=True)
        return result.stdout + result.stderr

    assert run(script + "import lungnb; print(lungnb.fetched, os.listdir())").startswith("True ['")
    assert (work / "pip.txt").read_text() == "install --quiet --editable lungnb"
    shutil.rmtree(work / "lungnb"), (work / "pip.txt").unlink()
    (work / "lungnb.py").write_text("fetched = False\n")
    assert run(script + "import lungnb; print(lungnb.fetched, find_spec('lungnb') is None)") == "False False\n"
    assert not (work / "pip.txt").exists()
