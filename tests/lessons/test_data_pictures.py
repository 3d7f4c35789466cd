from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from helpers.figures import drawn
from helpers.scans import write_pairs
from lungnb.datasets.prepared import open_prepared
from lungnb.formats.folders import image_files
from lungnb.formats.images import write_png
from lungnb.lessons import data_pictures, data_sets, memory
from lungnb.networks.data import load_batches
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings


def titles(figure):
    return [axis.get_title() for axis in drawn(figure)]


def test_files_of_a_raw_set_are_shown_whatever_they_are(tmp_path):
    write_png(tmp_path / "b.png", np.full((20, 30), 9, np.uint8))
    (tmp_path / "c.png").write_text("no picture")
    volume = np.full((8, 9, 5), -900, np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")
    shown = titles(data_pictures.show_files(tmp_path, image_files(tmp_path)))
    assert shown == ["a.nii.gz, slice 2", "b.png", "c.png cannot be read"]


@pytest.fixture
def raw(tmp_path):
    return write_pairs(tmp_path / "scans", count=5)


def test_a_row_of_pairs_is_image_mask_and_contour(raw):
    settings = make_settings(str(raw))
    pairs = data_sets.find_raw_pairs(settings, raw)
    figure = data_pictures.pair_grid(raw, pairs, settings)
    assert titles(figure) == [
        title
        for name in ("case_0.png", "case_2.png", "case_4.png")
        for title in (f"image {name}", f"mask {name}", "contour")
    ]
    mask = drawn(figure)[1].images[0].get_array()
    assert {*np.unique(mask)} == {0, 255}


def test_pairs_are_of_different_patients_and_damage_is_named(raw):
    (raw / "images" / "case_4.png").write_text("no picture")
    settings = make_settings(str(raw), patient_pattern="(.)")
    one = data_sets.find_raw_pairs(settings, raw)
    assert len(titles(data_pictures.pair_grid(raw, one, settings))) == 3  # one patient
    settings = make_settings(str(raw))
    shown = titles(data_pictures.pair_grid(raw, data_sets.find_raw_pairs(settings, raw), settings))
    assert shown[-3:] == ["case_4.png cannot be read"] * 3


def test_a_volume_is_shown_by_a_slice(tmp_path):
    volume, mask = np.full((2, 32, 32, 9), -900, np.int16)
    mask[:] = 0
    mask[8:20, 4:12] = mask[8:20, 20:28] = 1
    for name, array in (("images", volume), ("masks", mask)):
        (tmp_path / "scans" / name).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "scans" / name / "a.nii.gz")
    settings = make_settings(str(tmp_path / "scans"))
    pairs = data_sets.find_raw_pairs(settings, tmp_path / "scans")
    assert len(titles(data_pictures.pair_grid(tmp_path / "scans", pairs, settings))) == 3


def test_titles_name_the_faults_and_leave_the_verdict_to_the_reader():
    shown = titles(data_pictures.fault_grid(*data_sets.faulty_masks()))
    assert shown[:2] == ["correct", "inverted"] and "shifted" in shown and not any("rule" in title for title in shown)


def test_a_column_of_phantoms_is_a_kind():
    assert titles(data_pictures.phantom_grid(("xray", "ct"), count=2)) == ["xray", "ct", "xray", "ct"]


def test_an_image_at_each_size():
    image, mask = make_phantom(1)
    shown = titles(data_pictures.size_grid(image[:, :200], mask[:, :200]))
    assert [title.split(",")[0] for title in shown] == ["32 px", "64 px", "128 px"]


def test_a_leak_in_points_and_pictures():
    study = memory.draw_study(patients=6)
    known = memory.remember(study)
    assert len(titles(data_pictures.leak_grid(study, known, memory.pick_example(known)))) == 3
    (axis,) = drawn(data_pictures.leak_chart(memory.deal_both_ways(known, 4)))
    assert [len(line.get_xdata()) for line in axis.lines] == [4, 2, 4, 2]


def test_each_augmentation_alone_and_all_together(prepared):
    batch = next(iter(load_batches(prepared, "train")))
    settings = prepared.replace(flip=True, rotation=10.0, zoom=0.0, contrast=0.2)
    figure = data_pictures.augmentation_grid(batch, settings)
    shown = ["as it was read", "flip", "rotation, at most 10 degrees", "contrast, at most 20%", "all together"]
    assert titles(figure) == shown
    first, flipped = (axis.images[0].get_array() for axis in drawn(figure)[:2])
    np.testing.assert_allclose(flipped, first[:, ::-1], atol=1e-3)


def test_paths_of_the_raw_folder_are_not_needed():
    assert isinstance(data_pictures._read_raw(Path("nothing.png")).image, np.ndarray)


def test_an_empty_table_shows_nothing_and_text_stays_text():
    from lungnb.lessons.text import text_table

    assert text_table(pd.DataFrame({"a": []}), "empty") is None
    styled = text_table(pd.DataFrame({"file": ["<b>"], "dice": [0.12345]}), "one")
    html = styled.to_html()
    assert "&lt;b&gt;" in html and "0.123" in html and "T_one" in html and "text-align: left" in html


def test_overview_of_a_prepared_set(prepared):
    assert len(drawn(data_pictures.data_overview(open_prepared(prepared)))) == 4
