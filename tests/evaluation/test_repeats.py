import numpy as np
import pandas as pd
import pytest

from lungnb.datasets.prepared import read_manifest
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.repeats import train_repeatedly, variation
from lungnb.networks.training import read_run


@pytest.mark.slow
def test_every_image_is_tested_once_with_every_seed(trained):
    settings = trained.replace(folds=2, epochs=1)
    table = train_repeatedly(settings, ["unet"], seeds=2, progress=False)
    own = table[(table["seed"] == settings.seed) & (table["fold"] == settings.fold)]
    again = train_repeatedly(settings, ["unet"], progress=False, scored=own.assign(dice=2.0))  # no score of an image
    assert (again.loc[again["fold"] == settings.fold, "dice"] == 2).all() and len(again) == len(table) / 2
    assert (again.loc[again["fold"] != settings.fold, "dice"] <= 1).all()
    images = read_manifest(trained)["id"]
    assert len(table) == 2 * len(images)
    for seed in (1, 2):
        assert sorted(table[table["seed"] == seed]["id"]) == sorted(images)
    assert (table.groupby("patient")["fold"].nunique() == 1).all()
    assert read_run(trained.replace(folds=2, fold=2, seed=2), "unet")["plan"]["settings"]["fold"] == 2


def test_variation_by_hand():
    """Two patients, the first with two images, and two seeds: patients differ by 0.1, seeds by 0.02 on two images."""
    rows = [("a", 1, 0.9), ("A", 1, 0.9), ("b", 1, 0.8), ("a", 2, 0.92), ("A", 2, 0.92), ("b", 2, 0.8)]
    table = pd.DataFrame(rows, columns=["id", "seed", "dice"]).assign(fold=1, model="unet")
    table["patient"] = table["id"].str.lower()
    row = variation(table).loc["U-Net"]
    assert (row["images"], row["patients"], row["seeds"], row["folds"]) == (3, 2, 2, 1)
    assert row["dice"] == pytest.approx(0.855)
    assert row["patients_sd"] == pytest.approx(0.11 / np.sqrt(2))
    assert row["seeds_sd"] == pytest.approx(0.01 / np.sqrt(2))
    assert row["image_sd"] == pytest.approx(0.02 / np.sqrt(2) * 2 / 3)
    assert np.isnan(row["folds_sd"])
    assert 0 <= row["low"] < 0.8 and 0.91 < row["high"] <= 1
    once = variation(table[table["seed"] == 1])
    assert once["dice"].tolist() == pytest.approx([0.85]) and once[["seeds_sd", "image_sd"]].isna().all(axis=None)


def test_the_tests_take_all_seeds_and_folds():
    """Ten images in two folds with two seeds: the second network is 0.01 worse on each, whatever the seed."""
    rows = [
        (model, f"p{image}", seed, 1 + image % 2, 0.9 + image / 1000 + seed / 10_000 - worse)
        for model, worse in (("unet", 0), ("resunet", 0.01))
        for seed in (1, 2)
        for image in range(10)
    ]
    table = pd.DataFrame(rows, columns=["model", "id", "seed", "fold", "dice"]).assign(patient=lambda of: of["id"])
    (test,) = paired_tests(table).to_dict("records")
    assert (test["patients"], test["seeds"], test["folds"]) == (10, 2, 2)
    assert test["difference"] == pytest.approx(0.01)
    assert test["low"] == pytest.approx(0.01) and test["p"] < 1e-6  # no fold differs from another
