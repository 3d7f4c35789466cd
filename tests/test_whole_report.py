"""The report's own notebooks, from raw files to `report.html`, on images that somebody hostile has named.

They run without network and in an empty home folder, and send and leave nothing there.

With LUNGNB_KILLS above 3 (`make robust`), the series is also killed at random moments and ends as if it had not been.
"""

import html
import os
import random
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import watching
from PIL import Image

from lungnb import report
from lungnb.images import write_png
from lungnb.phantom import make_phantom

KILLS = int(os.environ.get("LUNGNB_KILLS", 3))
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)<&script>",
    '"><svg onload=alert(3)>',
    "[click](javascript:alert(4))",
    r"$\frac$ {{BODY}} %s \1",  # mathematics that is none, and what templates replace
    "=1+cmd|' &C calc'!A0",
    "‮gnp.lung",
    "a\nb",
)
TINY = "image_size=32;filters=2;depth=2;epochs=2;models=unet;deterministic=true"


def elements(page):
    """Return a page's elements with their attributes."""
    found, parser = [], HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    return found


@pytest.fixture
def films(tmp_path):
    """A folder of 24 pairs of which some have hostile names, and one is damaged under such a name."""
    folder = tmp_path / "films"
    for index in range(24):
        name = f"{HOSTILE[index % len(HOSTILE)]} {index:02}"
        phantom = make_phantom(index, size=64)
        write_png(folder / "images" / f"{name}.png", phantom.image)
        write_png(folder / "masks" / f"{name}.png", phantom.mask)
    (folder / "images" / f"{HOSTILE[0]} broken.png").write_bytes(b"no picture")
    Image.new("L", (64, 64)).save(folder / "masks" / f"{HOSTILE[0]} broken.png")
    return folder


def begin(films, home):
    watch = home.parent / "watch"
    environment = watching.environment(watch) | {"LUNGNB_HOME": str(home), "LUNGNB_SET": TINY}
    command = watching.without_network(watch, [sys.executable, "-m", "lungnb", "report", str(films)])
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def whole_report(films, home):
    process = begin(films, home)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    watching.assert_silent(home.parent / "watch")
    return (home / "results" / "films" / "report.html").read_text(encoding="utf-8")


def kill(process, delay):
    """Kill the command with all it has started after some seconds; return whether it was still at work."""
    time.sleep(delay)
    at_work = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return at_work


def scores(home):
    times = ["milliseconds", "training_minutes", "milliseconds_per_image"]
    files = sorted((home / "results" / "films").glob("*/*.csv"))
    tables = {str(file.relative_to(home)): pd.read_csv(file).drop(columns=times, errors="ignore") for file in files}
    assert len(tables) > 6
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in tables.items()}


def test_no_name_of_a_file_gets_into_the_report_as_html(films, tmp_path):
    page = whole_report(films, tmp_path / "home")
    assert "onerror=alert(1)" in html.unescape(page)  # the names are told
    ours = [
        each for each in elements((Path(report.__file__).parent / "report.html").read_text()) if "onchange" in each[1]
    ]
    for tag, attributes in elements(page):
        assert tag not in ("script", "svg", "iframe", "object"), attributes
        for name, value in attributes.items():
            assert not name.startswith("on") or (tag, attributes) in ours, (tag, attributes)
            assert not re.match(r"\s*javascript:", value or ""), (tag, attributes)
            assert name != "src" or value.startswith("data:image/"), (tag, value)
    assert page.count("<h1") == 1 + page.count("<section")  # nothing was put in twice, nothing left out


@pytest.mark.skipif(KILLS <= 3, reason="takes minutes: set LUNGNB_KILLS to more than 3, as `make robust` does")
def test_a_series_that_was_killed_ends_as_one_that_was_not(films, tmp_path):
    started = time.monotonic()
    whole_report(films, tmp_path / "whole")
    seconds, rng = time.monotonic() - started, random.Random(KILLS)
    killed = sum(kill(begin(films, tmp_path / "home"), rng.uniform(0, seconds)) for _ in range(KILLS // 6))
    assert killed
    page = whole_report(films, tmp_path / "home")
    assert page.rstrip().endswith("</html>")
    broken, whole = scores(tmp_path / "home"), scores(tmp_path / "whole")
    assert broken.keys() == whole.keys()
    for name, table in whole.items():
        pd.testing.assert_frame_equal(table, broken[name], obj=name)
