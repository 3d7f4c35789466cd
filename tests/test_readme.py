"""Every command of the README runs, and its example in Python prints what it shows.

The installation and `make` are left out. The quick tests parse all commands and run those that take seconds. A slow
test runs all of them in their order, with tiny networks.
"""

import os
import re
import shlex
import subprocess
import sys

import pytest

from helpers.paths import REAL, ROOT
from helpers.scans import write_pairs
from lungnb.__main__ import main
from lungnb.commands.parser import make_parser
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLATION = ("python3 -m venv", "source ", "python -m pip install", "conda ")
LINES = [line.strip() for line in re.findall(r"(?m)^    (\S.*)$", README)]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("lungnb ")]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
TINY = "image_size=32;filters=2;depth=2;epochs=1;models=unet"
MAX_LINES = 180  # of a front page


def films(folder):
    """Write what the README's commands read: films, a data set, corrected pairs, and a ground truth."""
    for number in range(3):
        phantom = make_phantom(number, size=64)
        write_png(folder / "films" / f"film_{number}.png", phantom.image)
        write_png(folder / "truth" / f"film_{number}.png", phantom.mask)
        if number < 2:  # from three on, `adapt` estimates the benefit
            write_png(folder / "corrected" / "images" / f"film_{number}.png", phantom.image)
            write_png(folder / "corrected" / "masks" / f"film_{number}.png", phantom.mask)
    write_pairs(folder / "mychest", count=24)


def test_the_readme_is_a_front_page():
    assert len(README.splitlines()) <= MAX_LINES
    assert len(COMMANDS) >= 8
    others = [line for line in LINES if not line.startswith(("lungnb ", *INSTALLATION))]
    assert not others, "lines of code that no test runs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_parsed(page):
    """The commands of the other pages can be parsed, too."""
    for line in re.findall(r"(?m)^    (lungnb \S.*)$", page.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        if "--help" not in words:
            make_parser().parse_args(words)


def test_the_example_prints_what_it_shows():
    code, shown = re.search(r"(?s)```python\n(.*?)```\s+```text\n(.*?)```", README).groups()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == shown


def test_quick_commands_run(home, monkeypatch):
    monkeypatch.chdir(home)
    films(home)
    quick = [words for words in COMMANDS if words[0] in ("segment", "check", "download") and "--model" not in words]
    for words in quick:
        assert main(words) == 0, words
    assert len(quick) >= 4 and (home / "masks" / "film_2_overlay.png").exists()


@pytest.mark.slow
def test_all_commands_run_one_after_another(tmp_path):
    films(tmp_path)
    environment = os.environ | {"LUNGNB_HOME": str(tmp_path), "LUNGNB_SET": TINY, "LUNGNB_RAW": str(REAL)}
    for words in COMMANDS:
        if "montgomery" in words and not (REAL / "montgomery").is_dir():
            continue
        command = [sys.executable, "-m", "lungnb", *words]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, f"{words}: {result.stderr[-2000:]}"
    assert (tmp_path / "results" / "mychest" / "report.html").exists()
