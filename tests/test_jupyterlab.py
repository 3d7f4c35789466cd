"""The image browser in a real JupyterLab and a real Chromium, as a reader uses it; `make browser` runs this.

With LUNGNB_SCREENSHOTS=folder, pictures of what was seen are kept there.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import v4

from lungnb.formats.images import write_png
from lungnb.phantoms.make import make_phantom

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install -e .[dev]")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = (shutil.which("chromium") or shutil.which("google-chrome")), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)", allow_module_level=True)
if not os.environ.get("LUNGNB_CHROMIUM"):
    pytest.skip("takes a minute or two: make browser", allow_module_level=True)

SECONDS = 180  # to wait for anything, on a machine with other work


@pytest.fixture
def folder(home):
    """A folder with four films, one of them unreadable, and a notebook that browses them."""
    for index in range(3):
        write_png(home / "films" / f"film_{index}.png", make_phantom(index).image)
    (home / "films" / "a<b>.png").write_bytes(b"no image")
    cell = v4.new_code_cell('import lungnb\n\nlungnb.browse("films", marks="marks.csv")')
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
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1400,1250"):
        options.add_argument(f"--{switch}")
    options.add_argument("--disable-background-networking")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


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


def test_a_reader_looks_through_films_and_marks_one(lab, folder, chromium, request):
    def wait(what):
        return WebDriverWait(chromium, SECONDS, ignored_exceptions=[WebDriverException]).until(what)

    def find(selector):
        return chromium.find_element(By.CSS_SELECTOR, selector)

    def started():
        """Whether the cell runs; JupyterLab drops what it is asked to run before the kernel is connected."""
        find(".jp-CodeCell .cm-content").click()
        find('.jp-NotebookPanel-toolbar [data-command="notebook:run-cell-and-select-next"]').click()
        time.sleep(2)
        return find(".jp-CodeCell .jp-InputPrompt").text.strip() != "[ ]:"

    def button(text):
        return chromium.find_element(By.XPATH, f"//button[contains(., '{text}')]")

    def caption(text):
        return lambda _: text in find(".jp-OutputArea").text

    def pictures():
        return [image.get_attribute("src") for image in chromium.find_elements(By.CSS_SELECTOR, "img.widget-image")]

    theme = "dark" if "Dark" in request.node.name else "light"
    chromium.get(lab)
    wait(lambda _: "| Idle" in find("#jp-main-statusbar").text)
    wait(lambda _: started())
    wait(caption("cannot be read"))
    _keep(chromium, f"{theme}_unreadable")
    assert "a<b>.png" in find(".jp-OutputArea").text and not button("Mark as wrong").is_enabled()

    button("Next").click()
    wait(caption("film_0.png"))
    wait(lambda _: len(pictures()) == 2 and "256 x 256" in find(".jp-OutputArea").text)
    time.sleep(1)
    _keep(chromium, f"{theme}_first")
    before = pictures()
    button("Next").click()
    wait(caption("film_1.png"))
    wait(lambda _: pictures()[0] != before[0] and pictures()[1] != before[1])

    before, handle = pictures(), find(".noUi-handle")
    handle.send_keys(Keys.ARROW_RIGHT * 30)
    wait(lambda _: pictures()[0] != before[0])
    button("disagreement").click()
    wait(caption("of four answers"))
    button("Mark as wrong").click()
    wait(lambda _: button("Marked as wrong"))
    wait(lambda _: (folder / "marks.csv").exists())
    time.sleep(1)
    _keep(chromium, f"{theme}_marked")
    marks = pd.read_csv(folder / "marks.csv")
    assert [Path(file).name for file in marks["file"]] == ["film_1.png"] and marks["threshold"][0] > 0.5


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
