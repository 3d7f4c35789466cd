"""What the brush does in the browser: strokes come in as its front end sends them."""

import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import lungnb
from helpers.browsing import in_file_order
from helpers.volumes import NAME, SHAPE, write_nifti, write_series
from lungnb.artefacts import MODEL
from lungnb.browser.brush import pack_mask, unpack_mask
from lungnb.browser.corrections import Corrections
from lungnb.engines.engines import Engine
from lungnb.formats.images import write_png
from lungnb.masks import clean_mask
from lungnb.phantoms.make import make_phantom

DARK = Engine("dark", 64, lambda batch: 1 - np.asarray(batch))
SIZE = (70, 90)  # height and width of a film, px


@pytest.fixture
def films(home):
    """Three films, two of them of one name in different folders."""
    rng = np.random.default_rng(1)
    for name in ("a/film.png", "b/film.png", "c/other.png"):
        write_png(home / "films" / name, rng.integers(0, 256, SIZE, dtype=np.uint8))
    return home / "films"


@pytest.fixture
def looked(films):
    """A browser in which the first film is being corrected."""
    looked = in_file_order(films, DARK)
    looked.corrector.correct.value = True
    return looked


@pytest.fixture
def corrected(home):
    return Corrections(home / "data" / "corrected")


def mask_in(looked):
    return unpack_mask(looked.corrector.brush.mask, looked.corrector._image.grey.shape)


def draw(looked, mask, number=None):
    """Let the front end send the mask of a stroke on the image of a number, by default the one shown."""
    brush = looked.corrector.brush
    brush._receive(brush, {"opened": number or brush.opened}, [memoryview(pack_mask(mask))])


def stroke(looked):
    """Turn the mask of the upper rows around; return the new mask."""
    mask = mask_in(looked)
    mask[:10] = ~mask[:10]
    draw(looked, mask)
    return mask


def names(folder):
    return sorted(path.name for path in folder.glob("masks/*"))


def said(looked):
    return looked.corrector.status.value


def test_the_brush_takes_the_place_of_the_pictures(looked):
    assert looked.pictures.layout.display == looked.looking.layout.display == "none"
    assert looked.corrector.brush.layout.display is None and not looked.corrector.save_button.disabled
    looked.corrector.correct.value = False
    assert looked.pictures.layout.display is None and looked.looking.layout.display is None
    assert looked.corrector.brush.layout.display == "none" and looked.corrector.save_button.disabled


def test_a_large_film_is_corrected_at_its_own_size(home):
    grey = np.tile(np.arange(256, dtype=np.uint8), (3000, 6))
    looked = in_file_order(grey, DARK)
    assert "524 x 1024 px" in looked.caption.value
    looked.corrector.correct.value = True
    probability = lungnb.segment(grey, DARK).probability
    assert np.array_equal(mask_in(looked), clean_mask(probability > 0.5))
    looked.corrector.correct.value = False
    looked.threshold.value = 0.8
    looked.corrector.correct.value = True
    assert np.array_equal(mask_in(looked), clean_mask(probability > 0.8))
    drawn = stroke(looked)
    looked.corrector.save_button.click()
    assert np.asarray(Image.open(home / "data" / "corrected" / "masks" / "array_1.png")).shape == (3000, 1536)
    assert np.array_equal(Corrections(home / "data" / "corrected").load("array_1", grey), drawn)


def test_going_to_another_image_saves_only_strokes(looked, corrected, films):
    looked.next.click()
    assert len(corrected) == 0
    looked.previous.click()
    first = stroke(looked)
    assert "not saved yet" in said(looked) and len(corrected) == 0
    looked.next.click()
    assert names(corrected.folder) == ["film.png"] and "1 corrected" in said(looked)
    second = stroke(looked)
    looked.number.value = 3
    third = stroke(looked)
    looked.order.value = "uncertain images first"
    stroke(looked)
    looked.corrector.correct.value = False
    assert len(corrected) == 3
    grey = [np.asarray(Image.open(films / name)) for name in ("a/film.png", "b/film.png", "c/other.png")]
    saved = [corrected.load(name, each) for name, each in zip(("film", "film", "other"), grey, strict=True)]
    changed = [not np.array_equal(mask, drawn) for mask, drawn in zip(saved, (first, second, third), strict=True)]
    assert sum(changed) == 1  # the one that came first by uncertainty was drawn twice


def test_a_saved_mask_is_there_again_and_can_be_replaced(looked, films, corrected):
    first = stroke(looked)
    looked.corrector.save_button.click()
    assert "saved" in said(looked)
    again = in_file_order(films / "a" / "film.png", DARK)
    assert not np.array_equal(mask_in(looked), clean_mask(again.predictions.predict(0).result().probabilities[0] > 0.5))
    again.corrector.correct.value = True
    assert np.array_equal(mask_in(again), first) and "this mask was corrected" in said(again)
    second = stroke(again)
    assert not np.array_equal(first, second)
    again.corrector.save_button.click()
    looked.next.click()
    looked.previous.click()
    assert np.array_equal(mask_in(looked), second) and len(corrected) == 1


def test_a_mask_without_strokes_is_saved_if_asked_for(looked, corrected):
    looked.corrector.save_button.click()
    assert len(corrected) == 1
    assert np.array_equal(corrected.load("film", looked.corrector._image.grey), mask_in(looked))


def test_an_empty_mask_is_asked_about(looked, corrected):
    draw(looked, np.zeros(SIZE, bool))
    looked.next.click()
    assert looked.number.value == 1 and "The mask is empty" in said(looked) and "press Save;" in said(looked)
    looked.corrector.save_button.click()
    assert len(corrected) == 1 and not corrected.load("film", looked.corrector._image.grey).any()
    looked.next.click()
    assert looked.number.value == 2
    draw(looked, np.zeros(SIZE, bool))
    looked.corrector.save_button.click()
    assert "press Save once more" in said(looked) and len(corrected) == 1
    draw(looked, np.ones(SIZE, bool))
    draw(looked, np.zeros(SIZE, bool))
    looked.corrector.save_button.click()
    assert len(corrected) == 1  # another stroke, another question
    looked.next.click()
    assert looked.number.value == 2 and len(corrected) == 1  # only Save is an answer


def test_each_image_with_an_empty_mask_is_asked_about(films, corrected):
    looked = in_file_order(films, Engine("nothing", 64, np.zeros_like))
    looked.corrector.correct.value = True
    for number in (1, 2):
        assert looked.number.value == number
        looked.corrector.save_button.click()
        assert "press Save once more" in said(looked) and len(corrected) == 0
        looked.next.click()


@pytest.mark.parametrize("leave", ["next", "order", "correct", "adapt", "save_button"])
def test_what_cannot_be_saved_stays_in_the_brush(looked, corrected, monkeypatch, leave):
    mask = stroke(looked)
    full = OSError(28, "No space left on device")

    def fail(image, file, *arguments, **options):
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        looked.corrector.adapt.disabled = False
        if leave == "order":
            looked.order.value = "uncertain images first"
        elif leave == "correct":
            looked.corrector.correct.value = False
        else:
            getattr(looked if leave == "next" else looked.corrector, leave).click()
        assert "masks/film.png: cannot be written: the disk is full; make room" in said(looked)
    assert looked.number.value == 1 and looked.order.value == "all images" and looked.corrector.correct.value
    assert np.array_equal(mask_in(looked), mask) and looked.corrector.has_strokes and len(corrected) == 0
    looked.next.click()
    assert len(corrected) == 1 and looked.number.value == 2


def test_while_another_process_writes_strokes_stay_in_the_brush(looked, monkeypatch):
    def fail(*_):
        raise RuntimeError("another run is at work there")

    stroke(looked)
    with monkeypatch.context() as patch:
        patch.setattr(looked.corrector.corrections, "save", fail)
        looked.next.click()
    assert looked.number.value == 1 and looked.corrector.has_strokes and "another run is at work" in said(looked)


def test_a_stroke_that_comes_late_is_saved_with_its_image(looked, corrected):
    number, image = looked.corrector.brush.opened, looked.corrector._image
    looked.next.click()
    shown = mask_in(looked)
    late = ~shown
    draw(looked, late, number)
    assert "after the next image was opened" in said(looked) and np.array_equal(mask_in(looked), shown)
    assert np.array_equal(corrected.load("film", image.grey), late) and not looked.corrector.has_strokes
    draw(looked, np.zeros(SIZE, bool), number)  # of an empty mask, nobody could be asked any more
    assert np.array_equal(corrected.load("film", image.grey), late)


def test_a_late_stroke_that_cannot_be_saved_is_not_lost(looked, corrected, monkeypatch):
    number, image = looked.corrector.brush.opened, looked.corrector._image
    looked.next.click()
    late = ~mask_in(looked)

    def fail(image, file, *arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        draw(looked, ~late, number)
        draw(looked, late, number)
        assert "the disk is full" in said(looked)
        looked.next.click()
        assert looked.number.value == 2 and "the disk is full" in said(looked)
    looked.next.click()
    assert looked.number.value == 3 and np.array_equal(corrected.load("film", image.grey), late)


def test_strokes_of_another_size_are_refused(looked, corrected):
    before = mask_in(looked)
    brush = looked.corrector.brush
    looked.corrector._take(brush.opened, pack_mask(np.ones((3, 3), bool)))
    assert "another size than its image" in said(looked) and not looked.corrector.has_strokes
    assert np.array_equal(mask_in(looked), before) and len(corrected) == 0


def test_opening_the_browser_anew_saves_the_strokes_of_the_earlier_one(looked, films, corrected):
    mask = stroke(looked)
    again = in_file_order(films, DARK)
    again.corrector.correct.value = True
    assert np.array_equal(mask_in(again), mask) and len(corrected) == 1


def test_strokes_are_saved_when_the_kernel_ends(home, corrected):
    script = (
        "import numpy as np, lungnb\n"
        "from lungnb.browser.brush import pack_mask\n"
        "from lungnb.engines.engines import Engine\n"
        "network = Engine('dark', 64, lambda batch: 1 - np.asarray(batch))\n"
        "looked = lungnb.browse(np.arange(4000, dtype=np.uint8).reshape(50, 80), network)\n"
        "looked.corrector.correct.value = True\n"
        "brush = looked.corrector.brush\n"
        "brush._receive(brush, {'opened': 1}, [memoryview(pack_mask(np.eye(50, 80) > 0))])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    grey = np.arange(4000, dtype=np.uint8).reshape(50, 80)
    assert np.array_equal(corrected.load("array_1", grey), np.eye(50, 80) > 0)


def test_slices_of_a_volume_are_corrected_one_by_one(home, corrected):
    file = write_nifti(
        home / "scan.nii.gz", np.tile(np.linspace(-900, 300, 12), (9, 10, 1)) + np.arange(9)[:, None, None]
    )
    looked = in_file_order(file, DARK)
    assert looked.slice.layout.display is None and (looked.slice.value, looked.slice.max) == (4, 8)
    looked.corrector.correct.value = True
    masks = {}
    for number in (4, 0, 8):
        looked.slice.value = number
        masks[number] = stroke(looked)
    looked.corrector.correct.value = False
    assert names(corrected.folder) == ["scan_slice_000.png", "scan_slice_004.png", "scan_slice_008.png"]
    looked.corrector.correct.value = True
    for number, mask in masks.items():
        looked.slice.value = number
        assert np.array_equal(mask_in(looked), mask) and f"slice {number}" in looked.corrector.brush.title


def test_an_empty_slice_keeps_the_slider_where_it_is(home, corrected):
    looked = in_file_order(write_nifti(home / "scan.nii.gz"), DARK)
    looked.corrector.correct.value = True
    draw(looked, np.zeros(SHAPE[1:], bool))
    looked.slice.value = 7
    assert looked.slice.value == 4 and "The mask is empty" in said(looked)


def test_nothing_of_a_dicom_header_is_written(home, corrected):
    write_series(home / "series")
    looked = in_file_order(home / "series", DARK)
    looked.corrector.correct.value = True
    draw(looked, np.ones(mask_in(looked).shape, bool))
    looked.corrector.save_button.click()
    assert names(corrected.folder) == ["series_slice_004.png"]
    for file in corrected.folder.rglob("*.png"):
        assert NAME.encode() not in file.read_bytes() and not Image.open(file).info


@pytest.fixture
def adapted(monkeypatch):
    """Put a training in the place of `adapt` that prints, waits to be released, and writes a network or fails."""

    class Adapted:
        calls, released, error = [], threading.Event(), None

    def adapt(folder, out, start):
        Adapted.calls.append((folder, out, start, names(folder)))
        print("film_2: its mask is empty.")
        print("\repoch 1 of 2", end="")
        print("Dice 0.9")
        Adapted.released.wait(60)
        if Adapted.error:
            raise Adapted.error
        out.mkdir(parents=True, exist_ok=True)
        (out / MODEL).touch()

    Adapted.calls, Adapted.released = [], threading.Event()
    monkeypatch.setattr("lungnb.browser.adapting.adapt_network", adapt)
    monkeypatch.setattr("lungnb.browser.browser.open_model", lambda file, window: (Engine("b", 64, np.asarray), None))
    yield Adapted
    Adapted.released.set()


def test_adapting_shows_progress_then_the_new_masks_and_name(looked, home, adapted, capsys):
    assert looked.corrector.adapt.disabled
    before = mask_in(looked)
    looked.next.click()
    stroke(looked)
    looked.corrector.save_button.click()
    assert not looked.corrector.adapt.disabled
    looked.previous.click()
    looked.corrector.adapt.click()
    while "Dice 0.9" not in said(looked):
        assert looked.corrector.thread.is_alive()
    assert looked.corrector.adapt.disabled and "network <b>dark</b>" in said(looked)
    thread = looked.corrector.thread
    looked.corrector.adapt.click()  # a click that came before the page had disabled the button
    assert looked.corrector.thread is thread
    stroke(looked)
    assert "not saved yet" in said(looked) and "Dice 0.9" in said(looked)
    draw(looked, before)
    print("another cell")
    assert capsys.readouterr().out == "another cell\n"
    adapted.released.set()
    looked.corrector.thread.join(60)
    out = home / "results" / "corrected" / "adapted-1"
    assert adapted.calls == [(home / "data" / "corrected", out, None, ["film.png"])]
    assert "network <b>adapted-1</b>" in said(looked)
    assert "adapted to your corrections. film_2: its mask is empty. Dice 0.9" in said(looked)
    assert not looked.corrector.adapt.disabled
    assert not np.array_equal(mask_in(looked), before) and looked.marks.model == str(out / MODEL)
    looked.corrector.adapt.click()
    looked.corrector.thread.join(60)
    assert "network <b>adapted-2</b>" in said(looked) and sys.stdout is not None


def test_a_network_given_as_a_file_is_adapted(films, model_file, adapted, home):
    (home / "results" / "corrected" / "adapted-1").mkdir(parents=True)  # an interrupted training, which continues
    looked = in_file_order(films, model_file)
    looked.corrector.correct.value = True
    looked.corrector.save_button.click()
    assert "network <b>unet</b>" in said(looked)
    adapted.released.set()
    looked.corrector.adapt.click()
    looked.corrector.thread.join(60)
    assert [call[2] for call in adapted.calls] == [model_file.absolute()] and "adapted-1" in said(looked)


def test_strokes_are_kept_while_the_network_changes(looked, corrected, adapted):
    stroke(looked)
    looked.corrector.adapt.click()  # which saves them
    mask = stroke(looked)
    adapted.released.set()
    looked.corrector.thread.join(60)
    assert np.array_equal(mask_in(looked), mask) and looked.corrector.has_strokes and len(corrected) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(ValueError("images/film.png: too few"), "too few"), (KeyError("x"), "unexpected KeyError at adapting.py")],
)
def test_an_error_of_adapting_is_said(looked, adapted, error, sentence):
    looked.corrector.save_button.click()
    adapted.error = error
    adapted.released.set()
    looked.corrector.adapt.click()
    looked.corrector.thread.join(60)
    assert sentence in said(looked) and "network <b>dark</b>" in said(looked)
    assert not looked.corrector.adapt.disabled


def test_a_prepared_set_has_a_folder_of_its_own(trained, home):
    looked = in_file_order(trained)
    looked.corrector.correct.value = True
    mask = np.zeros((64, 64), bool)
    mask[20:30] = True
    draw(looked, mask)
    looked.corrector.save_button.click()
    assert names(home / "data" / f"corrected-{trained.name}") == [f"{looked.cases[0].stem}.png"]


@pytest.fixture
def large(home):
    """The settings of a prepared data set whose films are larger than prepared ones."""
    for index in range(6):
        phantom = make_phantom(index, size=64)
        for kind, array in (("images", phantom.image), ("masks", phantom.mask)):
            write_png(home / "scans" / kind / f"film_{index}.png", np.kron(array, np.ones((24, 20), array.dtype)))
    settings = lungnb.Settings(dataset=str(home / "scans"), image_size=64)
    lungnb.prepare_dataset(settings, progress=False)
    return settings


def test_films_of_a_prepared_set_are_corrected_at_full_size(large, home):
    looked = in_file_order(large, DARK)
    assert "853 x 1024 px" in looked.caption.value
    looked.corrector.correct.value = True
    assert "saved at 1280 x 1536 px" in looked.caption.value
    drawn = stroke(looked)
    looked.corrector.save_button.click()
    name = f"{looked.cases[0].stem}.png"
    saved = {kind: Image.open(home / "data" / "corrected-scans" / kind / name) for kind in ("images", "masks")}
    assert np.array_equal(saved["images"], Image.open(home / "scans" / "images" / name))
    assert np.array_equal(np.asarray(saved["masks"]) > 0, drawn) and drawn.shape == (1536, 1280)
    looked.corrector.correct.value = False
    assert "853 x 1024 px" in looked.caption.value


@pytest.mark.parametrize("change", ["gone", "other", "damaged"])
def test_a_raw_film_that_changed_is_corrected_as_it_was_prepared(large, home, change):
    looked = in_file_order(large, DARK)
    file = home / "scans" / "images" / f"{looked.cases[0].stem}.png"
    if change == "gone":
        file.unlink()
    elif change == "other":
        write_png(file, np.asarray(Image.open(file)) // 2)
    else:
        file.write_bytes(file.read_bytes()[:100])
    looked.corrector.correct.value = True
    assert "saved at 853 x 1024 px" in looked.caption.value and mask_in(looked).shape == (1024, 853)


def test_slices_of_a_prepared_volume_keep_their_volume(home):
    rng = np.random.default_rng(1)
    for index in range(4):
        values = rng.integers(-1000, 300, (9, 32, 32)).astype(np.float32)
        write_nifti(home / "scans" / "images" / f"scan{index}.nii.gz", values)
        write_nifti(home / "scans" / "masks" / f"scan{index}.nii.gz", values > 0, dtype=np.uint8)
    settings = lungnb.Settings(dataset=str(home / "scans"), image_size=32, volume_slices=3)
    lungnb.prepare_dataset(settings, progress=False)
    looked = in_file_order(settings, DARK)
    looked.corrector.correct.value = True
    looked.corrector.save_button.click()
    (name,) = names(home / "data" / "corrected-scans")
    assert re.fullmatch(r"scan\d_slice_\d{3}\.png", name) and "saved at 32 x 32 px" in looked.caption.value


def test_names_with_markup_are_shown_as_text(home):
    write_png(home / "<b>x.png", make_phantom(0, size=64).image)
    looked = in_file_order(home / "<b>x.png", DARK, corrections=home / "<i>")
    assert "&lt;i&gt;" in said(looked) and "<i>" not in said(looked)
