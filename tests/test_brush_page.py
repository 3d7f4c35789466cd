"""The editor of the brush alone, on a page in a real Chromium, with real events; `make browser` runs this."""

import os

import numpy as np
import pytest

from helpers.chromium import CHROMIUM, DRIVER, canvas_geometry, chromium, drag, mouse, open_brush, swept, touch
from lungnb.browser.brush import pack_mask

pytest.importorskip("selenium", reason="needs selenium: pip install -e .[dev]")
if not (CHROMIUM and DRIVER):
    pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)", allow_module_level=True)
if not os.environ.get("LUNGNB_CHROMIUM"):
    pytest.skip("takes half a minute: make browser", allow_module_level=True)

SHAPE = (200, 330)  # of the film; its lungs are a disk
AMBER = [255, 176, 0]


@pytest.fixture(scope="module")
def browser():
    with chromium(900, 800) as driver:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
        yield driver


@pytest.fixture(scope="module")
def lungs():
    return swept(SHAPE, [(100.3, 80.2)], 50)


@pytest.fixture
def page(browser, tmp_path, lungs):
    """The driver, with a page that was opened just now."""
    open_brush(browser, tmp_path, SHAPE[1], SHAPE[0], np.frombuffer(pack_mask(lungs), np.uint32).tolist())
    browser.execute_script("editor.setSize(25)")
    return browser


def mask(page):
    return np.array(page.execute_script("return [...film.mask]"), bool).reshape(SHAPE)


def sent(page):
    """Return the masks that were sent, one after each stroke."""
    return [
        np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(SHAPE) for runs in page.execute_script("return messages")
    ]


def keys(page, *names, modifiers=0):
    for name in names:
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": name, "modifiers": modifiers}
            page.execute_cdp_cmd("Input.dispatchKeyEvent", event)


def on_film(page, places):
    left, top, scale = canvas_geometry(page, *SHAPE)
    return [((x - left) / scale, (y - top) / scale) for x, y in places]


def frame(page):
    page.execute_async_script("const end = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(end))")


def pixel(page, x, y):
    """Return the colour that the canvas shows at a place in the page."""
    script = (
        "const box = editor.canvas.getBoundingClientRect();"
        "return [...editor.context.getImageData(arguments[0] - box.x, arguments[1] - box.y, 1, 1).data].slice(0, 3)"
    )
    frame(page)
    return page.execute_script(script, x, y)


def test_a_stroke_paints_what_a_disk_sweeps_over_and_no_more(page, lungs):
    places = [(500, 300), (520, 340), (560, 350), (700, 220)]
    drag(page, places)
    expected = lungs | swept(SHAPE, on_film(page, places), 12.5)
    assert np.array_equal(mask(page), expected) and expected.sum() > lungs.sum() + 1000
    (only,) = sent(page)
    assert np.array_equal(only, expected)


@pytest.mark.parametrize("how", ["key", "button", "right button"])
def test_erasing(page, lungs, how):
    places = [(200, 200), (330, 260)]
    if how == "key":
        page.execute_script("editor.canvas.focus()")
        keys(page, "e")
    elif how == "button":
        page.find_element("css selector", "button[aria-label^=Erase]").click()
    drag(page, places, *(("right", 2) if how == "right button" else ()))
    expected = lungs & ~swept(SHAPE, on_film(page, places), 12.5)
    assert np.array_equal(mask(page), expected) and expected.sum() < lungs.sum() - 100


def test_a_click_paints_a_disk_also_at_the_border(page, lungs):
    left, top, _ = canvas_geometry(page, *SHAPE)
    place = (round(left + 3), round(top + 2))
    drag(page, [place])
    assert np.array_equal(mask(page), lungs | swept(SHAPE, on_film(page, [place]), 12.5))


def test_undo_and_redo_with_keys_and_buttons(page, lungs):
    def button(name):
        return page.find_element("css selector", f"button[aria-label^={name}]")

    assert not button("Undo").is_enabled() and not button("Redo").is_enabled()
    drag(page, [(500, 300), (600, 300)])
    first = mask(page)
    drag(page, [(500, 350), (600, 350)])
    second = mask(page)
    keys(page, "z")
    assert np.array_equal(mask(page), first)
    button("Undo").click()
    assert np.array_equal(mask(page), lungs) and not button("Undo").is_enabled()
    page.execute_script("editor.canvas.focus()")
    keys(page, "y")
    button("Redo").click()
    assert np.array_equal(mask(page), second) and not button("Redo").is_enabled()
    page.execute_script("editor.canvas.focus()")
    keys(page, "z", modifiers=2)  # with Ctrl
    drag(page, [(300, 400)])
    third = mask(page)
    assert not button("Redo").is_enabled()
    assert [int(each.sum()) for each in sent(page)][-1] == third.sum() and len(sent(page)) == 8


def test_a_stroke_that_another_film_interrupts_is_sent(page, lungs):
    places = [(500, 300), (600, 300)]
    path = on_film(page, places)
    mouse(page, "mousePressed", *places[0])
    mouse(page, "mouseMoved", *places[1])
    page.execute_script("editor.open(new Film(new OffscreenCanvas(9, 9), 9, 9, Uint32Array.of(81)), 'another film')")
    mouse(page, "mouseReleased", *places[1], buttons=0)
    (only,) = sent(page)
    assert np.array_equal(only, lungs | swept(SHAPE, path, 12.5))
    assert not page.execute_script("return editor.film.mask.some(Boolean)")


def test_zoom_and_pan_change_the_view_not_the_mask(page, lungs):
    scale = canvas_geometry(page, *SHAPE)[2]
    page.execute_script("editor.canvas.focus()")
    keys(page, "+", "+", "ArrowLeft")
    drag(page, [(400, 300), (430, 310)], "middle", 4)
    assert np.array_equal(mask(page), lungs) and not sent(page)
    assert page.execute_script("return editor.scale") == pytest.approx(1.25**2 * scale)
    drag(page, [(400, 300)])
    place = page.execute_script("return editor.toImage(editor.place({clientX: 400, clientY: 300}))")
    assert np.array_equal(mask(page), lungs | swept(SHAPE, [place], 12.5))
    keys(page, "0")
    assert page.execute_script("return editor.scale") == pytest.approx(scale)


def test_the_wheel_zooms_at_the_pointer_once_the_picture_has_the_focus(page):
    def wheel(modifiers=0):
        event = {"type": "mouseWheel", "x": 300, "y": 200, "deltaX": 0, "deltaY": -100, "modifiers": modifiers}
        page.execute_cdp_cmd("Input.dispatchMouseEvent", event)
        frame(page)
        return page.execute_script(
            "return [editor.scale, ...editor.toImage(editor.place({clientX: 300, clientY: 200}))]"
        )

    first = page.execute_script("return [editor.scale, ...editor.toImage(editor.place({clientX: 300, clientY: 200}))]")
    assert wheel() == first
    with_ctrl = wheel(modifiers=2)
    assert with_ctrl == pytest.approx([1.25 * first[0], *first[1:]])
    page.execute_script("editor.canvas.focus()")
    assert wheel() == pytest.approx([1.25**2 * first[0], *first[1:]])


def test_a_finger_paints_and_two_pan_and_zoom(page, lungs):
    places = [(500, 300), (540, 320), (600, 320)]
    touch(page, "touchStart", places[0])
    for place in places[1:]:
        touch(page, "touchMove", place)
    touch(page, "touchEnd")
    expected = mask(page)
    whole = lungs | swept(SHAPE, on_film(page, places), 12.5)
    # Chromium ignores the first move of a finger if it is short, so some pixels may be missing.
    assert not (expected & ~whole).any() and (expected & ~lungs).sum() > 0.8 * (whole & ~lungs).sum()

    scale = page.execute_script("return editor.scale")
    touch(page, "touchStart", (300, 300))
    touch(page, "touchStart", (300, 300), (500, 300))
    for step in range(1, 6):
        touch(page, "touchMove", (300 - 10 * step, 300), (500 + 10 * step, 300))
    touch(page, "touchEnd")
    assert np.array_equal(mask(page), expected) and len(sent(page)) == 1
    assert page.execute_script("return editor.scale") == pytest.approx(1.5 * scale, rel=0.05)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_pen_paints_and_the_palm_does_not_disturb_it(page, lungs, is_first):
    page.execute_script(
        "window.kinds = []; editor.canvas.addEventListener('pointerdown', e => kinds.push(e.pointerType))"
    )
    places = [(500, 300), (540, 320), (600, 320), (620, 400)]
    path = on_film(page, places)
    if is_first:
        touch(page, "touchStart", (300, 350))
    mouse(page, "mousePressed", *places[0], pointer="pen")
    mouse(page, "mouseMoved", *places[1], pointer="pen")
    if not is_first:
        touch(page, "touchStart", (300, 350))
    mouse(page, "mouseMoved", *places[2], pointer="pen")
    touch(page, "touchEnd")
    mouse(page, "mouseMoved", *places[3], pointer="pen")
    mouse(page, "mouseReleased", *places[3], buttons=0, pointer="pen")
    assert sorted(page.execute_script("return kinds")) == ["pen", "touch"]
    (only,) = sent(page)
    assert np.array_equal(only, lungs | swept(SHAPE, path, 12.5)) and np.array_equal(mask(page), only)


def test_the_picture_shows_outline_fill_and_contrast(page):
    left, top, scale = canvas_geometry(page, *SHAPE)
    middle, edge = (left + 100.3 * scale, top + 80.2 * scale), (left + 50.3 * scale, top + 80.2 * scale)
    page.execute_script("editor.canvas.focus()")
    grey = pixel(page, *middle)
    assert grey[0] == grey[1] == grey[2] and pixel(page, *edge) == AMBER
    keys(page, "f")
    assert pixel(page, *middle) == [
        round(part + (amber - part) * 0.35) for part, amber in zip(grey, AMBER, strict=True)
    ]
    keys(page, "f")
    hidden = pixel(page, *edge)
    assert hidden[0] == hidden[1] == hidden[2] and pixel(page, *middle) == grey
    page.execute_script("editor.setWindow({brightness: 1})")
    assert pixel(page, *middle)[0] == min(grey[0] + 128, 255)  # 127.5, rounded
    page.execute_script("editor.setWindow({brightness: 0})")
    keys(page, ".", ",")
    assert pixel(page, *middle) == grey


def test_what_a_stroke_redraws_is_what_the_whole_picture_would_show(page):
    drag(page, [(500, 300), (520, 340), (560, 350), (700, 220), (150, 250)])
    drag(page, [(300, 250), (200, 200)], "right", 2)
    frame(page)
    read = "return [...new Uint32Array(editor.context.getImageData(0, 0, 880, editor.canvas.height).data.buffer)]"
    after_strokes = page.execute_script(read)
    page.execute_script("editor.redraw()")
    frame(page)
    assert page.execute_script(read) == after_strokes


def test_the_brush_has_a_size_that_is_shown(page):
    page.execute_script("editor.canvas.focus()")
    mouse(page, "mouseMoved", 400, 300, buttons=0)
    before = page.execute_script("return editor.diameter")
    keys(page, "]", "]")
    size = page.execute_script("return editor.diameter")
    assert size > before and page.find_element("css selector", "output").text == f"{size} px"
    scale = canvas_geometry(page, *SHAPE)[2]
    assert page.find_element("css selector", ".ring").size["width"] == pytest.approx(size * scale, abs=2)
    keys(page, *["["] * 40)
    assert page.execute_script("return editor.diameter") == 1


def test_every_control_has_a_name_and_can_be_reached(page):
    controls = page.find_elements("css selector", ".bar button, .bar select, .bar input")
    assert len(controls) == 12
    for control in controls:
        assert control.accessible_name and (control.get_attribute("title") or control.tag_name == "input")
    assert (
        page.find_element("css selector", "canvas").accessible_name == "Mask of a film, to be corrected with the brush"
    )


def test_masks_and_runs_agree_with_those_of_python(page):
    rng = np.random.default_rng(0)
    for array in (rng.random(997) > 0.5, np.ones(50, bool), np.zeros(50, bool)):
        runs = np.frombuffer(pack_mask(array), np.uint32).tolist()
        script = "return [...packMask(Uint8Array.from(arguments[0]))]"
        assert page.execute_script(script, array.astype(int).tolist()) == runs
        script = "const mask = new Uint8Array(arguments[1]).fill(1); unpackMask(arguments[0], mask); return [...mask]"
        assert page.execute_script(script, runs, len(array)) == array.astype(int).tolist()


def test_on_a_screen_of_finer_pixels_the_stroke_is_where_the_pointer_is(tmp_path):
    with chromium(700, 600, ratio=1.5) as driver:
        open_brush(driver, tmp_path, SHAPE[1], SHAPE[0])
        driver.execute_script("editor.setSize(25)")
        places = [(300, 100), (340, 220), (420, 240)]
        path = on_film(driver, places)  # which scrolls the canvas into view
        drag(driver, places)
        assert np.array_equal(mask(driver), swept(SHAPE, path, 12.5)) and mask(driver).any()
        assert driver.execute_script("return editor.canvas.width / editor.canvas.getBoundingClientRect().width") == (
            pytest.approx(1.5)
        )
