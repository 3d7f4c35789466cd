"""The image browser in a real JupyterLab and a real Chromium, as a reader uses it; `make browser` runs this.

With LUNGNB_SCREENSHOTS=folder, pictures of what was seen are kept there.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import v4

import lungnb
from helpers.chromium import CHROMIUM, DRIVER, canvas_geometry, drag, swept, touch
from helpers.chromium import chromium as open_chromium
from lungnb.formats.images import read_mask, write_png
from lungnb.phantoms.make import make_phantom

pytest.importorskip("selenium", reason="needs selenium: pip install -e .[dev]")
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)", allow_module_level=True)
if not os.environ.get("LUNGNB_CHROMIUM"):
    pytest.skip("takes a minute or two: make browser", allow_module_level=True)

LARGE = (11 * 256, 12 * 256)  # height and width of a film, px
SECONDS = 180  # to wait for anything, on a machine with other work


@pytest.fixture
def folder(home):
    """A folder with four films, one of them unreadable and one large, and a notebook that browses them."""
    for index in range(3):
        image = make_phantom(index).image
        write_png(
            home / "films" / f"film_{index}.png", np.kron(image, np.ones((11, 12), np.uint8)) if index == 2 else image
        )
    (home / "films" / "a<b>.png").write_bytes(b"no image")
    cell = v4.new_code_cell('import lungnb\n\nlungnb.browse("films", marks="marks.csv", order="all images")')
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # or JupyterLab asks which
    nbformat.write(v4.new_notebook(cells=[cell], metadata=kernel), home / "look.ipynb")
    return home


@pytest.fixture(params=["JupyterLab Light", "JupyterLab Dark"])
def lab(request, folder):
    """The address of a JupyterLab on that folder, in one of its themes, with settings of its own."""
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": request.param}))
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    places = {name: str(folder / "jupyter" / of) for name, of in own.items()}
    places |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for_server(f"http://127.0.0.1:{port}/api?token={token}", server)
        yield f"http://127.0.0.1:{port}/lab/tree/look.ipynb?token={token}&reset"
    finally:
        server.kill()  # its kernel ends itself when its parent is gone
        server.wait()


@pytest.fixture
def chromium():
    with open_chromium() as driver:
        yield driver


def _wait_for_server(address, server):
    for _ in range(SECONDS):
        assert server.poll() is None, "JupyterLab ended"
        try:
            return urllib.request.urlopen(address, timeout=5)
        except OSError:
            time.sleep(1)
    raise AssertionError("JupyterLab did not answer")


def _keep(driver, name):
    if os.environ.get("LUNGNB_SCREENSHOTS"):
        Path(os.environ["LUNGNB_SCREENSHOTS"]).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(Path(os.environ["LUNGNB_SCREENSHOTS"], f"{name}.png")))


class Page:
    """The notebook in JupyterLab, with its only cell."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.get(address)
        self.wait(lambda _: "| Idle" in self.find("#jp-main-statusbar").text)
        self.wait(lambda _: self._has_started())

    def wait(self, what):
        return WebDriverWait(self.driver, SECONDS, ignored_exceptions=[WebDriverException]).until(what)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def button(self, text):
        return self.wait(lambda driver: driver.find_element(By.XPATH, f"//button[contains(., '{text}')]"))

    def wait_for(self, text):
        self.wait(lambda _: text in self.find(".jp-OutputArea").text)

    def pictures(self):
        return [image.get_attribute("src") for image in self.all("img.widget-image")]

    def _has_started(self):
        """Return whether the cell runs. JupyterLab ignores the command to run before the kernel is connected."""
        self.find(".jp-CodeCell .cm-content").click()
        self.find('.jp-NotebookPanel-toolbar [data-command="notebook:run-cell-and-select-next"]').click()
        time.sleep(2)
        return self.find(".jp-CodeCell .jp-InputPrompt").text.strip() != "[ ]:"


@pytest.fixture
def page(lab, chromium):
    yield Page(chromium, lab)
    _keep(chromium, "end")


def test_a_reader_looks_through_films_and_marks_one(page, folder, request):
    theme = "dark" if "Dark" in request.node.name else "light"
    page.wait_for("cannot be read")
    _keep(page.driver, f"{theme}_unreadable")
    assert "a<b>.png" in page.find(".jp-OutputArea").text and not page.button("Mark as wrong").is_enabled()

    page.button("Next").click()
    page.wait_for("film_0.png")
    page.wait(lambda _: len(page.pictures()) == 2 and "256 x 256" in page.find(".jp-OutputArea").text)
    time.sleep(1)
    _keep(page.driver, f"{theme}_first")
    before = page.pictures()
    page.button("Next").click()
    page.wait_for("film_1.png")
    page.wait(lambda _: page.pictures()[0] != before[0] and page.pictures()[1] != before[1])

    before, handle = page.pictures(), page.find(".noUi-handle")
    handle.send_keys(Keys.ARROW_RIGHT * 30)
    page.wait(lambda _: page.pictures()[0] != before[0])
    page.button("disagreement").click()
    page.wait_for("of four predictions")
    page.button("Mark as wrong").click()
    page.wait(lambda _: page.button("Marked as wrong"))
    page.wait(lambda _: (folder / "marks.csv").exists())
    time.sleep(1)
    _keep(page.driver, f"{theme}_marked")
    marks = pd.read_csv(folder / "marks.csv")
    assert [Path(file).name for file in marks["file"]] == ["film_1.png"] and marks["threshold"][0] > 0.5


def test_a_reader_corrects_a_mask_with_mouse_keys_and_fingers(page, folder, request):
    theme, driver = "dark" if "Dark" in request.node.name else "light", page.driver
    saved = folder / "data" / "corrected" / "masks" / "film_0.png"
    page.wait_for("cannot be read")
    page.button("Next").click()
    page.wait_for("film_0.png")
    page.button("Correct").click()
    page.wait(lambda _: page.find(".lungnb-brush canvas").size["height"] > 300)
    predicted = lungnb.segment(folder / "films" / "film_0.png").mask
    radius = float(page.find(".lungnb-brush output").text.split()[0]) / 2

    def on_film(*fractions):
        """Return places, in parts of the film's sides, as whole CSS px in the page, and where on the film these are."""
        left, top, scale = canvas_geometry(driver, 256, 256)
        places = [(round(left + x * 256 * scale), round(top + y * 256 * scale)) for x, y in fractions]
        return places, [((x - left) / scale, (y - top) / scale) for x, y in places]

    def wait_for_strokes():
        page.wait_for("strokes are not saved yet")

    # A stroke, saved by going on.
    places, path = on_film((0.2, 0.9), (0.5, 0.9), (0.5, 0.8))
    drag(driver, places)
    wait_for_strokes()
    _keep(driver, f"{theme}_brush")
    page.button("Next").click()
    page.wait_for("film_1.png")
    assert np.array_equal(read_mask(saved), predicted | swept((256, 256), path, radius))

    # Back: the correction is there; another stroke is undone; the eraser takes some away. Keys do nothing to the cells.
    page.button("Previous").click()
    page.wait_for("this mask was corrected")
    canvas = page.find(".lungnb-brush canvas")
    page.wait(lambda _: not page.find(".lungnb-brush button[aria-label^=Undo]").is_enabled())
    drag(driver, on_film((0.3, 0.2), (0.7, 0.2))[0])
    wait_for_strokes()
    canvas.send_keys("z")
    page.wait(lambda _: "strokes are not saved yet" not in page.find(".jp-OutputArea").text)
    canvas.send_keys("b", "x", "e")
    places, erased = on_film((0.3, 0.9), (0.4, 0.7))
    drag(driver, places)
    wait_for_strokes()
    page.button("Save").click()
    page.wait_for("1 corrected")
    page.wait(lambda _: "strokes are not saved yet" not in page.find(".jp-OutputArea").text)
    expected = (predicted | swept((256, 256), path, radius)) & ~swept((256, 256), erased, radius)
    assert np.array_equal(read_mask(saved), expected) and len(page.all(".jp-Cell")) == 2

    # A finger paints; two fingers zoom and paint nothing.
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    canvas.send_keys("b")
    places, touched = on_film((0.6, 0.9), (0.7, 0.9), (0.8, 0.9))
    touch(driver, "touchStart", places[0])
    for place in places[1:]:
        touch(driver, "touchMove", place)
    touch(driver, "touchEnd")
    wait_for_strokes()
    one, other = on_film((0.4, 0.5), (0.6, 0.5))[0]
    touch(driver, "touchStart", one)
    touch(driver, "touchStart", one, other)
    touch(driver, "touchMove", (one[0] - 60, one[1]), (other[0] + 60, other[1]))
    touch(driver, "touchEnd")
    canvas.send_keys("f")
    time.sleep(1)
    _keep(driver, f"{theme}_zoomed")
    page.button("Next").click()
    page.wait_for("film_1.png")
    assert np.array_equal(read_mask(saved), expected | swept((256, 256), touched, radius))

    # A large film is painted at its own size.
    page.button("Next").click()
    page.wait_for("film_2.png")
    page.wait(lambda _: "film_2.png" in page.find(".lungnb-brush canvas").accessible_name)
    left, top, scale = canvas_geometry(driver, *LARGE)
    places = [
        (round(left + x * LARGE[1] * scale), round(top + y * LARGE[0] * scale)) for x, y in ((0.2, 0.9), (0.7, 0.8))
    ]
    drag(driver, places)
    wait_for_strokes()
    page.button("Correct").click()
    page.wait(lambda _: "strokes are not saved yet" not in page.find(".jp-OutputArea").text)
    path = [((x - left) / scale, (y - top) / scale) for x, y in places]
    predicted = lungnb.segment(folder / "films" / "film_2.png").mask
    assert np.array_equal(read_mask(saved.with_name("film_2.png")), predicted | swept(LARGE, path, radius))
    page.wait(lambda _: len([image for image in page.all("img.widget-image") if image.is_displayed()]) == 2)


@pytest.fixture
def short_training(folder):
    """Let the notebook adapt in 50 steps instead of 600."""
    notebook = nbformat.read(folder / "look.ipynb", as_version=4)
    notebook.cells[0].source = (
        "from lungnb.networks import tuning\n\ntuning.steps_for = lambda images: 50\n\n" + notebook.cells[0].source
    )
    nbformat.write(notebook, folder / "look.ipynb")


@pytest.mark.parametrize("lab", ["JupyterLab Light"], indirect=True)
def test_a_reader_adapts_the_network_and_sees_its_masks(short_training, page, folder):
    page.wait_for("cannot be read")
    page.button("Next").click()
    page.wait_for("film_0.png")
    page.button("Correct").click()
    page.wait(lambda _: page.find(".lungnb-brush canvas").size["height"] > 300)
    left, top, scale = canvas_geometry(page.driver, 256, 256)
    places = [(round(left + x * 256 * scale), round(top + y * 256 * scale)) for x, y in ((0.2, 0.9), (0.8, 0.9))]
    drag(page.driver, places)
    page.wait_for("strokes are not saved yet")
    page.button("Next").click()
    page.wait_for("film_1.png")
    page.button("Correct").click()
    page.wait(lambda _: len(page.pictures()) == 2 and page.button("Adapt with these").is_enabled())
    before = page.pictures()
    page.button("Adapt with these").click()
    page.wait(lambda _: not page.button("Adapt with these").is_enabled())
    _keep(page.driver, "adapting")
    page.wait_for("adapted to your corrections")
    page.wait_for("network adapted-1")
    page.wait(lambda _: page.pictures()[0] != before[0])
    _keep(page.driver, "adapted")

    # The brush too opens with the mask of the new network.
    page.button("Correct").click()
    page.wait(lambda _: "film_1.png" in page.find(".lungnb-brush canvas").accessible_name)
    page.button("Save").click()
    page.wait_for("2 corrected")
    adapted = lungnb.segment(folder / "films" / "film_1.png", folder / "results" / "corrected" / "adapted-1").mask
    shown = read_mask(folder / "data" / "corrected" / "masks" / "film_1.png")
    shipped = lungnb.segment(folder / "films" / "film_1.png").mask
    assert np.array_equal(shown, adapted) and not np.array_equal(shown, shipped)


def test_without_a_kernel_the_first_cases_are_a_picture(folder, chromium):
    notebook = nbformat.read(folder / "look.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": folder}}, store_widget_state=False).execute()
    assert len(nbformat.writes(notebook)) < 300_000 and str(folder) not in nbformat.writes(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    (folder / "look.html").write_text(page, encoding="utf-8")
    chromium.get((folder / "look.html").as_uri())
    (image,) = chromium.find_elements(By.CSS_SELECTOR, ".jp-OutputArea img")
    assert image.size["width"] > 500 and image.size["height"] > 300
    _keep(chromium, "html")
