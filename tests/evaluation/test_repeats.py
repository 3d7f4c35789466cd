import numpy as np
import pandas as pd
import pytest

from lungnb.datasets.prepared import read_manifest
from lungnb.evaluation import repeats
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.repeats import seed_summary, train_repeatedly, variation
from lungnb.networks.training import read_run
from lungnb.settings import Settings


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


def test_known_scores_are_not_computed_again_and_networks_are_trained_as_before(monkeypatch):
    """A stub trains; the networks of the known scores were trained with another learning rate than the settings say."""
    steps = []

    def note(step):
        return lambda run, *_: steps.append((step, run.seed, run.fold, run.learning_rate))

    for step in ("prepare_dataset", "fetch_weights", "train"):
        monkeypatch.setattr(repeats, step, note(step))
    monkeypatch.setattr(
        repeats, "evaluate", lambda run, name, progress: pd.DataFrame({"id": ["a"], "dice": [run.seed + run.fold / 10]})
    )
    monkeypatch.setattr(repeats, "read_run", lambda run, name: run.replace(learning_rate=0.5))
    monkeypatch.setattr(repeats, "settings_of", lambda run: run)
    settings = Settings(folds=2, learning_rate=0.25)
    known = pd.DataFrame({"id": ["a"], "dice": [7.0], "model": ["unet"]})
    table = train_repeatedly(settings, ["unet"], seeds=2, scored=known)
    assert table[["model", "seed", "fold", "dice"]].to_numpy().tolist() == [
        ["unet", 1, 1, 7.0], ["unet", 1, 2, 1.2], ["unet", 2, 1, 2.1], ["unet", 2, 2, 2.2],
    ]  # fmt: skip
    assert table.index.tolist() == [0, 1, 2, 3]
    assert steps == [
        (step, seed, fold, 0.25 if step == "prepare_dataset" else 0.5)
        for seed, fold in ((1, 2), (2, 1), (2, 2))
        for step in ("prepare_dataset", "fetch_weights", "train")
    ]
    steps.clear()
    table = train_repeatedly(settings.replace(folds=0), ["unet", "resunet"])
    assert table["model"].tolist() == ["unet", "resunet"] and table["dice"].tolist() == [1.1, 1.1]
    assert [step for step, *_ in steps] == ["prepare_dataset", *["fetch_weights", "train"] * 2]
    assert {rate for *_, rate in steps} == {0.25}


def test_seeds_are_summarised_by_hand():
    rows = {"model": "unet", "seed": [1, 2, 3], "dice": [0.7, 0.8, 0.96], "iou": [0.5, 0.6, 0.76]}
    costs = {"parameters": 5, "multiplications": 7, "training_minutes": [1, 2, 9], "milliseconds_per_image": [3, 4, 8]}
    row = seed_summary(pd.DataFrame(rows | costs)).loc["U-Net"]
    assert row.to_dict() == pytest.approx({
        "seeds": 3, "dice": 0.82, "dice_sd": np.std(rows["dice"], ddof=1), "dice_low": 0.7, "dice_high": 0.96,
        "iou": 0.62, "parameters": 5, "multiplications": 7, "training_minutes": 2, "milliseconds_per_image": 4,
    })  # fmt: skip


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
    both = variation(pd.concat([table, table.assign(model="r2unet")]))
    assert both.index.tolist() == ["U-Net", "R2U-Net"]  # in the order of the table
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
