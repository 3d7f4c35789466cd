import numpy as np
import pandas as pd
import pytest

from lungnb.prepare import read_manifest
from lungnb.repeats import repeat, repetitions, variation
from lungnb.training import read_run


def test_each_seed_meets_each_fold(prepared):
    assert repetitions(prepared) == [prepared]
    runs = repetitions(prepared.replace(folds=2, seed=4), seeds=3)
    assert [(run.seed, run.fold) for run in runs] == [(4, 1), (4, 2), (5, 1), (5, 2), (6, 1), (6, 2)]
    assert len({run.results for run in runs}) == 6 and len({run.prepared for run in runs}) == 2


def test_every_image_is_tested_once_with_every_seed(trained):
    table = repeat(trained.replace(folds=2, epochs=1), ["unet"], seeds=2, progress=False)
    images = read_manifest(trained)["id"]
    assert len(table) == 2 * len(images)
    for seed in (1, 2):
        assert sorted(table[table["seed"] == seed]["id"]) == sorted(images)
    assert (table.groupby("patient")["fold"].nunique() == 1).all()
    assert read_run(trained.replace(folds=2, fold=2, seed=2), "unet")["plan"]["settings"]["fold"] == 2


def test_variation_by_hand():
    """Two images, two seeds: patients differ by 0.1, seeds by 0.02 on one image and 0 on the other."""
    rows = [("a", 1, 0.9), ("b", 1, 0.8), ("a", 2, 0.92), ("b", 2, 0.8)]
    table = pd.DataFrame(rows, columns=["id", "seed", "dice"]).assign(patient=lambda of: of["id"], fold=1, model="unet")
    row = variation(table).loc["U-Net"]
    assert (row["images"], row["seeds"], row["folds"]) == (2, 2, 1)
    assert row["dice"] == pytest.approx(0.855)
    assert row["patients_sd"] == pytest.approx(0.11 / np.sqrt(2))
    assert row["seeds_sd"] == pytest.approx(0.01 / np.sqrt(2))
    assert row["image_sd"] == pytest.approx(0.02 / np.sqrt(2) / 2)
    assert np.isnan(row["folds_sd"])
    assert row["low"] == pytest.approx(0.8) and row["high"] == pytest.approx(0.91)
    once = variation(table[table["seed"] == 1])
    assert once["dice"].tolist() == pytest.approx([0.85]) and once[["seeds_sd", "image_sd"]].isna().all(axis=None)
