from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lungnb.datasets.pairing import Pair
from lungnb.datasets.prepared import open_prepared
from lungnb.datasets.sources import CATALOGUE
from lungnb.formats.images import write_png
from lungnb.lessons import data_sets
from lungnb.metrics import dice
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings


def test_raw_pairs_have_their_patients(tmp_path):
    raw = tmp_path / "scans"
    for name in ("a_1", "a_2", "b_1"):
        for folder in ("images", "masks"):
            write_png(raw / folder / f"{name}.png", np.full((8, 8), 9, np.uint8))
    settings = make_settings(str(raw), patient_pattern=r"(.+)_\d")
    pairs = data_sets.find_raw_pairs(settings, raw)
    assert [pair.patient for pair in pairs] == ["a", "a", "b"]
    said = data_sets.say_patients(pairs)
    assert said.startswith("3 images of 2 patients. 1 patient has more than one image, at most 2.")


def test_a_set_without_masks_has_no_pairs(tmp_path):
    (without,) = (source.name for source in CATALOGUE.values() if not source.has_masks)
    assert data_sets.find_raw_pairs(make_settings(without), tmp_path) == []
    assert "comes without masks" in data_sets.say_patients([])
    alone = [Pair(name, name, Path(f"{name}.png"), ()) for name in "ab"]
    assert "2 images of 2 patients. Each patient has one image." in data_sets.say_patients(alone)


def test_files_are_counted_by_folder_and_kind():
    names = ("images/a.PNG", "images/b.png", "images/c.bmp", "masks/a.png", "loose.png")
    table = data_sets.count_files([Path(name) for name in names])
    counts = {(row.folder, row.kind): row.files for row in table.itertuples()}
    assert counts == {("images", ".png"): 2, ("images", ".bmp"): 1, ("masks", ".png"): 1, (".", ".png"): 1}


def test_some_faults_are_found_and_some_are_missed():
    image, faults = data_sets.faulty_masks()
    assert image.shape == faults[0].mask.shape == (256, 256)
    right, *wrong = faults
    assert right.dice == 1 and not right.findings
    assert all(fault.dice < 0.99 for fault in wrong)
    assert {fault.name for fault in wrong if fault.findings} == {"inverted", "one lung missing", "with a hole"}
    said = data_sets.say_faults(faults)
    assert "find 3 of 7 wrong masks: inverted, one lung missing, with a hole." in said
    assert f"{wrong[-1].dice:.2f}: of another patient." in said  # the best of those that rules miss
    assert "They miss" not in data_sets.say_faults([fault for fault in faults if fault is right or fault.findings])


@pytest.mark.parametrize("shape", [(200, 120), (120, 200), (256, 256)])
def test_the_best_mask_improves_with_the_size(shape):
    y, x = np.indices(shape)
    mask = np.hypot(y - shape[0] / 2, x - shape[1] / 2) < 40
    scores = [dice(mask, data_sets.best_mask(mask, side)) for side in (16, 32, 64, 128)]
    assert scores == sorted(scores) and scores[0] < 0.98 and scores[-1] > 0.99


def test_the_table_of_sizes(prepared):
    table = data_sets.resize_table(open_prepared(prepared), (16, 32, 64))
    assert [*table.index] == [16, 32, 64] and (table["lowest"] <= table["dice"]).all()
    assert table["dice"].is_monotonic_increasing and table["dice"][64] == 1  # the images have 64 px
    assert table["work"].tolist() == [1 / 64, 1 / 16, 1 / 4]
    assert "for four times the work" in data_sets.say_sizes(table, 32)
    assert "for four times" not in data_sets.say_sizes(table, 64)
    assert "has no row for your image size of 96 px" in data_sets.say_sizes(table, 96)


def test_shares_of_lung_are_compared_over_splits():
    near = pd.DataFrame({"split": ["test", "train"], "lung": [0.21, 0.2]})
    said = data_sets.say_data(near)
    assert said.startswith("Lung covers 20% of the picture in train, 21% in test.")
    assert "differ by 1 percentage point. Chance alone can explain this" in said


def test_findings_need_attention_if_there_are_errors_or_warnings():
    findings = pd.DataFrame({"severity": ["error", "warning", "note"]})
    assert data_sets.say_findings(findings, 1).startswith("1 image was checked: 1 error, 1 warning, 1 note. Look at")


def test_exercise_masks_come_from_make_phantom():
    assert (data_sets.faulty_masks()[1][0].mask == make_phantom(8).mask).all()


def test_the_overview_in_words(prepared):
    said = data_sets.say_overview(open_prepared(prepared))
    assert said.startswith("The smallest split, ") and "All images have 64 x 64 pixels." in said
    assert "The lungs are darker than the rest, on average, in " in said and "Lung covers" in said
