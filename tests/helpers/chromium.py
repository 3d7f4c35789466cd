"""A headless Chromium, and a page with the brush alone: a film to paint on, with a mouse or fingers."""

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from helpers.paths import ROOT

CHROMIUM, DRIVER = (shutil.which("chromium") or shutil.which("google-chrome")), shutil.which("chromedriver")
SCRIPT = ROOT / "lungnb" / "browser" / "brush.js"
_PAGE = """<!doctype html><meta charset="utf-8"><title>brush</title><body style="margin:8px"><div id="place"></div>
<script type="module">{script}
const [width, height] = {size};
const canvas = new OffscreenCanvas(width, height);
const context = canvas.getContext("2d");
const image = context.createImageData(width, height);
for (let at = 0; at < image.data.length; at += 4) {{
  image.data.fill((at / 4 * 37) % 251, at, at + 3);
  image.data[at + 3] = 255;
}}
context.putImageData(image, 0, 0);
window.film = new Film(canvas, width, height, Uint32Array.from({runs}));
window.editor = new Editor(document.getElementById("place"));
Object.assign(window, {{ Film, packMask, unpackMask, sweptPixels, messages: [] }});
film.addEventListener("change", (event) => event.detail.runs && messages.push([...event.detail.runs]));
editor.open(film, "a film");
</script>"""


@contextmanager
def chromium(
    width: int = 1400, height: int = 1250, ratio: float = 1, switches: tuple[str, ...] = ()
) -> Iterator[object]:
    """Yield a selenium driver of a window with this size (px) and with `ratio` screen pixels for each CSS pixel.

    `switches` are further switches of Chromium. The log `performance` of the driver lists all requests of pages.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        *switches,
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    options.add_argument(f"--window-size={width},{height}")
    options.add_argument(f"--force-device-scale-factor={ratio}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def open_brush(driver, folder: Path, width: int, height: int, runs: list[int] | None = None) -> None:
    """Open a page with the brush on a film of this size (px), whose mask has these runs, by default none."""
    script = SCRIPT.read_text(encoding="utf-8")
    page = _PAGE.format(script=script, size=json.dumps([width, height]), runs=json.dumps(runs or [width * height]))
    (folder / "brush.html").write_text(page, encoding="utf-8")
    driver.get((folder / "brush.html").as_uri())
    driver.execute_async_script("const end = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(end))")


def mouse(
    driver, kind: str, x: float, y: float, button: str = "left", buttons: int = 1, pointer: str = "mouse"
) -> None:
    """Send a real event of a mouse or a pen, `mousePressed`, `mouseMoved` or `mouseReleased`, at a place (CSS px)."""
    event = {"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1}
    event["pointerType"] = pointer
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def drag(driver, places: list[tuple[float, float]], button: str = "left", buttons: int = 1) -> None:
    """Press the mouse at the first place, move it over the others, and release it."""
    mouse(driver, "mousePressed", *places[0], button, buttons)
    for place in places[1:]:
        mouse(driver, "mouseMoved", *place, button, buttons)
    mouse(driver, "mouseReleased", *places[-1], button, 0)


def touch(driver, kind: str, *places: tuple[float, float]) -> None:
    """Send a real touch event, `touchStart`, `touchMove` or `touchEnd`, with a finger at each place (CSS px)."""
    points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
    driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def canvas_geometry(driver, height: int, width: int) -> tuple[float, float, float]:
    """Return the corner of a fitted film in the page (CSS px), and how many CSS px a pixel of the film has."""
    script = "const c = document.querySelector('.lungnb-brush canvas'); c.scrollIntoView({block: 'nearest'});"
    box = driver.execute_script(script + "return c.getBoundingClientRect().toJSON()")
    scale = min(box["width"] / width, box["height"] / height)
    return box["x"] + (box["width"] - width * scale) / 2, box["y"] + (box["height"] - height * scale) / 2, scale


def swept(shape: tuple[int, int], places: list[tuple[float, float]], radius: float) -> np.ndarray:
    """Return the mask, `(height, width)`, of the pixels whose centres a disk covers on its way over the places (px)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    mask = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in itertools.pairwise([places[0], *places]):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        mask |= np.hypot(x - x0 - along * dx, y - y0 - along * dy) <= radius
    return mask
