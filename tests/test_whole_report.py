"""The report's own notebooks, from raw files to `report.html`, on images that somebody hostile has named.

They run without network and in an empty home folder, and send and leave nothing there.

With LUNGNB_KILLS above 3 (`make robust`), the series is also killed while notebooks run and while it writes the page,
a kill of the page for three of notebooks, and ends as if it had not been.
"""

import html
import math
import os
import random
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from helpers import watching
from lungnb import report
from lungnb.engines.engines import load_model
from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

pytestmark = pytest.mark.slow
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
AT_WORK = ("02_prepare", "03_unet", "03_unet", "06_compare", "06_compare", "07_segment")  # where the series is killed
PAGE = """
import sys
from pathlib import Path
from lungnb.report import write_report
from lungnb.presets import make_settings

write_report(make_settings(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
"""
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


def begin_page(films, home):
    """Start to write report.html again from the notebooks that were run."""
    notebooks = sorted(map(str, (home / "results" / "films" / "notebooks").glob("*.ipynb")))
    environment = os.environ | {"LUNGNB_HOME": str(home), "LUNGNB_SET": TINY}
    command = [sys.executable, "-c", PAGE, str(films), *notebooks]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def whole_report(films, home):
    process = begin(films, home)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    watching.assert_silent(home.parent / "watch")
    return (home / "results" / "films" / "report.html").read_text(encoding="utf-8")


def at_notebook(home, name):
    """Return a function that says whether the series has come to a notebook."""
    file = home / "results" / "films" / "notebooks" / f"{name}.ipynb"
    before = file.stat().st_mtime_ns if file.exists() else 0
    return lambda: file.exists() and file.stat().st_mtime_ns > before


def at_page(home):
    """Return a function that says whether report.html is being written."""
    return lambda: any((home / "results" / "films").glob(".report.*.part.html"))


def kill(process, is_there, delay, kernel=True):
    """Kill the command, and the notebook's kernel too or not, some seconds after it is where it is to be.

    Return whether it was still at work. A kernel that loses its command ends by itself.
    """
    limit = time.monotonic() + 900
    while process.poll() is None and not is_there():
        assert time.monotonic() < limit, "the series did not come to where it is to be killed"
        time.sleep(0.001)
    time.sleep(delay)
    at_work = process.poll() is None
    children = psutil.Process(process.pid).children(recursive=True) if at_work else []
    for each in [process, *children]:  # the command has a shell around it, in which it has no network
        if each is process or kernel or "ipykernel_launcher" not in each.cmdline():
            each.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    return at_work


def files(home):
    """Return the names of all files except locks and the files that Jupyter and Python keep."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.suffix != ".lock")


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
    assert page.count("<h1") == 1 + page.count("<section") == 3  # nothing was put in twice, nothing left out
    text = html.unescape(re.sub(r"<style>.*?</style>|<section id=.steps.*|<[^>]*>", " ", page, flags=re.DOTALL))
    assert not re.search(r"\b(raw|dice|hd95|p)_[a-z]+\b", text)  # no short name of a column before the notebooks
    for title in ("Scores and cost", "Where they fail", "Model cards", "Training, validation, test"):
        assert page.count(f">{title}<") == 1


def test_slices_in_hounsfield_units_have_a_report(tmp_path, monkeypatch):
    """The reader of notebook 07 corrects slices of 8 bits, and the network was trained on Hounsfield units."""
    folder = tmp_path / "films"
    for index in range(16):
        phantom = make_phantom(index, size=64, kind="ct")
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image.astype(np.int32)).save(folder / "images" / f"{index}.tif")
        write_png(folder / "masks" / f"{index}.png", phantom.mask)
    monkeypatch.setattr(sys.modules[__name__], "TINY", f"{TINY};window=-125,275")
    whole_report(folder, tmp_path / "home")
    table = pd.read_csv(tmp_path / "home/results/films/reader_example/before/segmentation.csv")
    assert table["note"].str.contains("taken for -125 to 275 HU").all()


@pytest.mark.skipif(KILLS <= 3, reason="takes minutes: set LUNGNB_KILLS to more than 3, as `make robust` does")
def test_a_series_that_was_killed_ends_as_one_that_was_not(films, tmp_path):
    whole, broken, rng, hits = tmp_path / "whole", tmp_path / "home", random.Random(KILLS), 0
    whole_report(films, whole)
    for number in range(math.ceil(KILLS / 5)):
        is_there = at_notebook(broken, AT_WORK[number % len(AT_WORK)])
        hits += kill(begin(films, broken), is_there, rng.uniform(0, 3), kernel=number % 2 == 0)
    assert hits == math.ceil(KILLS / 5)
    whole_report(films, broken)
    before = (broken / "results" / "films" / "report.html").read_text(encoding="utf-8")
    for _ in range(20):  # what is written in milliseconds is not always hit
        is_there = at_page(broken)
        hits += kill(begin_page(films, broken), is_there, 0)
        assert (broken / "results" / "films" / "report.html").read_text(encoding="utf-8") == before
        if hits == math.ceil(KILLS / 5) + math.ceil(KILLS / 15):
            break
    else:
        pytest.fail("report.html was never being written")
    page = whole_report(films, broken)
    assert page.rstrip().endswith("</html>")
    assert files(broken) == files(whole)
    killed, undisturbed = scores(broken), scores(whole)
    assert killed.keys() == undisturbed.keys()
    for name, table in undisturbed.items():
        pd.testing.assert_frame_equal(table, killed[name], obj=name)
    one, other = (
        load_model(home / "results" / "films" / "unet" / "model.keras").get_weights() for home in (whole, broken)
    )
    for weights, others in zip(one, other, strict=True):
        np.testing.assert_array_equal(weights, others)
