"""What a network predicts for one image: the probability, whether it shows a chest, and how it must be turned."""

import numpy as np
import pandas as pd
import pytest

from lungnb.engines.engines import Engine
from lungnb.formats.dicom_header import Turn
from lungnb.formats.images import read_image, write_png
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.inference import (
    NOT_A_CHEST,
    TURNS,
    chest_of_volume,
    is_negative,
    predict_image,
    predict_upright,
)
from lungnb.segmentation.predict import segment, segment_many

SIZE = 64


def chest_engine(clear=0.97):
    """Return a network that takes dark pixels for lung, and pictures that are dark at the top for chests."""

    def run(batch):
        lung = 1 - batch
        top, bottom = lung[:, : SIZE // 2].mean(axis=(1, 2)), lung[:, SIZE // 2 :].mean(axis=(1, 2))
        sides = np.abs(lung[:, :, : SIZE // 2].mean(axis=(1, 2)) - lung[:, :, SIZE // 2 :].mean(axis=(1, 2)))
        return [(lung > 0.5).astype(np.float32), np.where(top > bottom + sides, clear, 0.1).astype(np.float32)]

    return Engine("dark at the top", SIZE, run)


@pytest.fixture
def film():
    """Two lungs at the top, the right one larger."""
    grey = np.full((SIZE, SIZE), 255, np.uint8)
    grey[8:30, 6:28] = grey[8:28, 36:56] = 0
    return grey


def test_turns_are_those_of_numpy():
    picture = np.arange(12).reshape(3, 4)
    for degrees, turn in TURNS.items():
        np.testing.assert_array_equal(turn.upright(picture), np.rot90(picture, degrees // 90))
        np.testing.assert_array_equal(turn.stored(turn.upright(picture)), picture)


@pytest.mark.parametrize("first", [Turn(), Turn(True), Turn(False, (1,)), Turn(True, (0, 1))])
@pytest.mark.parametrize("second", [Turn(True, (0,)), Turn(False, (0,)), Turn(True)])
def test_two_turns_are_one(first, second):
    picture = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(first.then(second).upright(picture), second.upright(first.upright(picture)))


def test_one_output_gives_no_chest(film):
    engine = Engine("dark", SIZE, lambda batch: (batch < 0.5).astype(np.float32))
    assert predict_image(engine, film).chest is None
    found = segment(film, engine, upright=True)
    assert (found.chest, found.turned_degrees) == (None, 0)
    np.testing.assert_array_equal(found.mask, film == 0)


def test_an_image_of_one_grey_does_not_count_as_a_chest(film):
    always = Engine("always", SIZE, lambda batch: [batch, np.ones((len(batch), 1), np.float32)])
    assert predict_image(always, np.full((50, 70), 9, np.uint8)).chest == 0
    assert predict_image(always, film).chest == 1


def test_the_chest_of_a_volume_is_the_median_over_slices_with_lung():
    chest, mask = [0.1, 0.9, 0.8, 0.95], np.zeros((4, 2, 2), bool)
    assert chest_of_volume(chest, mask) == pytest.approx(0.85)  # without lung, over all slices
    mask[1:, 0] = True
    assert chest_of_volume(chest, mask) == 0.9 and chest_of_volume([None] * 4, mask) is None


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_film_is_found_and_its_mask_lies_as_the_file(film, turns):
    turned = np.ascontiguousarray(np.rot90(film, turns))
    as_it_lies, upright = segment(turned, chest_engine()), segment_many([turned], chest_engine(), upright=True)[0]
    assert (round(as_it_lies.chest, 2), as_it_lies.turned_degrees) == (0.1, 0)
    assert (round(upright.chest, 2), upright.turned_degrees) == (0.97, 360 - 90 * turns)
    np.testing.assert_array_equal(upright.mask, turned == 0)
    assert upright.probability.shape == turned.shape
    sizes = [[side.sum() for side in each.sides()] for each in (upright, segment(film, chest_engine()))]
    assert sizes[0] == sizes[1]


def test_an_upright_film_and_an_unclear_one_are_not_turned(film):
    assert predict_upright(chest_engine(), film).turned_degrees == 0
    turned = np.ascontiguousarray(film.T)
    assert predict_upright(chest_engine(clear=0.8), turned).turned_degrees == 0
    two = Engine("two", SIZE, lambda batch: [1 - batch, np.where(batch[:, 0, 0] < 1, 0.1, 0.99).astype(np.float32)])
    corner = film.copy()
    corner[0, 0] = 9  # only as it lies does it look wrong, and so three turns look right
    assert predict_upright(two, corner).turned_degrees == 0
    both = Engine("both", SIZE, lambda batch: [1 - batch, np.where(batch[:, 0, 0] < 1, 0.99, 0.1).astype(np.float32)])
    corner[-1, -1] = 9  # as it lies it looks right, and upside down, too
    assert predict_upright(both, corner).turned_degrees == 0


def test_the_table_flags_images_without_a_chest(film, tmp_path, monkeypatch):
    for name, picture in {"good": film, "side": np.rot90(film), "bad": film[::-1, ::-1]}.items():
        write_png(tmp_path / "films" / f"{name}.png", np.ascontiguousarray(picture))
    monkeypatch.setattr("lungnb.segmentation.batch.open_model", lambda *_: (chest_engine(), None))
    tables = [
        segment_files(tmp_path / "films", tmp_path / f"out{upright}", progress=False, upright=upright).set_index(
            pd.Index(["bad", "good", "side"])
        )
        for upright in (False, True)
    ]
    plain, upright = tables
    assert plain["chest"].round(2).to_list() == [0.1, 0.97, 0.1] and upright["chest"].round(2).to_list() == [0.97] * 3
    assert [text.startswith(NOT_A_CHEST) for text in plain["review"]] == [True, False, True]
    assert not upright["review"].str.contains(NOT_A_CHEST).any()
    assert "turn of 270 degrees" in upright.loc["side", "note"] and "turn of 180 degrees" in upright.loc["bad", "note"]
    assert upright[["right_px", "left_px"]].nunique().to_list() == [1, 1]  # sides are named as in the upright film
    np.testing.assert_array_equal(read_image(tmp_path / "outTrue" / "side_mask.png") > 0, np.rot90(film) == 0)


@pytest.mark.parametrize("lung", [0, 60])
def test_a_negative_is_inverted_if_the_network_learned_from_dark_lungs(film, lung, tmp_path, monkeypatch):
    film = np.where(film == 0, lung, 140).astype(np.uint8)
    engine = Engine("far from grey", SIZE, lambda batch: [(abs(batch * 255 - 128) > 40) * 1.0, 1 - batch[:, 9, 9]])
    for picture, is_inverted in [(film, False), (255 - film, True)]:
        found = predict_image(engine, picture)
        assert found.is_negative == is_inverted and found.chest == pytest.approx(1 - lung / 255)
        np.testing.assert_array_equal(found.probability > 0.5, film == lung)
        write_png(tmp_path / "films" / f"{is_inverted}.png", picture)
    assert not predict_image(Engine("one output", SIZE, lambda batch: engine.run(batch)[0]), 255 - film).is_negative
    monkeypatch.setattr("lungnb.segmentation.batch.open_model", lambda *_: (engine, None))
    notes = segment_files(tmp_path / "films", tmp_path / "out", progress=False)["note"]
    assert ["inverted to segment it" in str(note) for note in notes] == [False, True]


def test_a_small_mask_and_a_weak_contrast_do_not_make_a_negative():
    lungs = np.pad(np.ones((8, 8), bool), 4)
    lungs[7:9] = False
    grey = np.where(lungs, 110, 100).astype(np.uint8)
    assert not is_negative(grey, lungs) and is_negative(np.where(lungs, 111, 100).astype(np.uint8), lungs)
    assert not is_negative(255 * np.uint8(lungs), np.pad(np.ones((8, 8), bool), 4))  # the whole box
    speck = np.zeros((64, 64), bool)
    speck[0, :40] = speck[2, :40] = True
    assert not is_negative(255 * np.uint8(speck), speck)
    speck[4, :40] = True
    assert is_negative(255 * np.uint8(speck), speck)


def test_a_dicom_film_is_turned_as_its_header_says_and_then_upright(film, tmp_path, monkeypatch):
    """It lies on its side and is stored mirrored. The note on its values stays."""
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    stored, window = np.rot90(film)[:, ::-1], {"WindowCenter": 60000, "WindowWidth": 2}
    path = dicom(tmp_path / "film.dcm", stored, "DX", PatientOrientation=["R", "F"], **window)
    monkeypatch.setattr("lungnb.segmentation.batch.open_model", lambda *_: (chest_engine(), None))
    row = segment_files(path, tmp_path / "out", progress=False, upright=True).iloc[0]
    assert row["note"].startswith("its window does not fit its values and is not used, ")
    assert "segmented after a turn of 270 degrees" in row["note"]
    assert (row["right_px"], row["left_px"]) == (22 * 22, 20 * 20)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "film_mask.png") > 0, stored == 0)
