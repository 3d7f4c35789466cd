import shutil

import numpy as np
import pandas as pd
import pytest

from lungnb.artefacts import raw_folder
from lungnb.datasets.prepared import read_manifest
from lungnb.engines.engines import load_model
from lungnb.evaluation import scoring, transfer
from lungnb.evaluation.transfer import (
    compare_untrained,
    dataset_summary,
    few_shot,
    few_shot_sentence,
    leave_one_out,
    score_untrained,
    train_across,
    untrained_sentence,
)
from lungnb.figures.charts import few_shot_chart, generalisation_chart
from lungnb.formats.tables import read_table
from lungnb.networks import models
from lungnb.networks.models import build_model
from lungnb.networks.training import read_run
from lungnb.phantoms.make import write_phantoms
from lungnb.segmentation import predict


@pytest.fixture
def shipped(trained, tmp_path, monkeypatch):
    """A small network in place of the one that comes with lungnb."""
    file = tmp_path / "shipped.keras"
    build_model("unet", size=32, filters=2, depth=1, weights=str(trained.results / "unet" / "model.keras")).save(file)
    shutil.copy(trained.results / "unet" / "run.json", tmp_path)
    for module in (models, predict, transfer):
        monkeypatch.setattr(module, "SHIPPED", file)
    return file


def test_the_shipped_and_the_trained_network_are_compared_with_masks_cleaned_up(shipped, trained, monkeypatch):
    shutil.copytree(trained.results / "unet", trained.results / "resunet")
    cleaned = []
    monkeypatch.setattr(scoring, "clean_mask", lambda mask: cleaned.append(mask) or np.zeros_like(mask))
    table = compare_untrained(trained, ["unet", "resunet"], progress=False)
    assert table.index.tolist() == ["comes with lungnb", "U-Net", "ResUNet"]
    images = (read_manifest(trained)["split"] == "test").sum()
    assert (table["images"] == images).all() and len(cleaned) == 3 * images
    assert (table["dice"] == 0).all() and "It is ahead" not in untrained_sentence(table)
    table["dice"] = [0.9, 0.89, 0.901]
    text = untrained_sentence(table)
    assert f"on these {images} images is 0.900" in text and "U-Net 0.890, ResUNet 0.901" in text
    assert "It is ahead of U-Net by more than 0.005: use it" in text


def test_all_images_are_scored_with_masks_cleaned_up(shipped, trained, monkeypatch):
    """The holes of random masks are filled."""
    noise = np.random.default_rng(0).random((1, 32, 32, 1), "float32")
    monkeypatch.setattr(scoring, "predict", lambda model, grey: np.resize(noise, grey.shape))
    table = score_untrained(trained, progress=False)
    manifest = read_manifest(trained)
    assert table["id"].tolist() == manifest["id"].tolist() and set(table["split"]) == set(manifest["split"])
    stored = read_table(trained.results / "pretrained.csv")
    pd.testing.assert_frame_equal(stored, table)
    assert (table["dice"] != table["raw_dice"]).all()
    assert "loss" not in table


def test_another_model_leaves_no_table_of_the_shipped_one(trained):
    score_untrained(trained, load_model(trained.results / "unet" / "model.keras"), progress=False)
    assert not (trained.results / "pretrained.csv").exists()


def test_each_data_set_is_tested_with_each(trained):
    write_phantoms(raw_folder("other"), 24, seed=5, size=64, progress=False)
    runs = [trained, trained.replace(dataset="other", epochs=1)]
    table = train_across(runs, progress=False)
    assert table[["trained_on", "tested_on"]].to_numpy().tolist() == [
        ["scans", "scans"], ["scans", "other"], ["other", "scans"], ["other", "other"],
    ]  # fmt: skip
    counts = [(read_manifest(run)["split"] == "test").sum() for run in runs]
    assert table["images"].tolist() == counts * 2
    assert table["dice"].between(0, 1).all() and not (table["dice_low"] > table["dice"] + 1e-9).any()
    axis = generalisation_chart(table).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["scans", "other"]
    assert [text.get_text()[:5] for text in axis.texts] == [f"{dice:.3f}" for dice in table["dice"]]
    assert not any("nan" in text.get_text() for text in axis.texts)  # where a single patient leaves it undefined
    with pytest.raises(ValueError, match="name each data set once, not scans, scans"):
        train_across([trained, trained])


def test_a_row_a_data_set():
    table = pd.DataFrame({"id": list("abcd"), "patient": list("abcd"), "dice": [0.8, 0.95, 0.97, 1.0]})
    row = dataset_summary({"some": table.assign(iou=0.9)}).loc["some"]
    assert row["images"] == 4 and row["dice"] == pytest.approx(0.93) and row["median_dice"] == pytest.approx(0.96)
    assert row["below_0.9"] == 0.25 and row["worst"] == "a" and row["worst_dice"] == 0.8
    assert 0.5 < row["dice_low"] < 0.93 < row["dice_high"] <= 1


def test_few_images_from_phantom_weights_and_from_scratch(shipped, trained):
    table = few_shot(trained, counts=(2,), seeds=(3,), steps=4, progress=False)
    assert table.drop(columns="dice").to_numpy().tolist() == [
        ["phantom", 0, 3], ["phantom", 2, 3], ["scratch", 2, 3],
    ]  # fmt: skip
    assert table["dice"].between(0, 1).all()
    tuned, scratch = (
        read_run(trained, f"few_shot/{start}_2_seed3")["plan"]["settings"] for start in ("phantom", "scratch")
    )
    assert (tuned["weights"], tuned["train_images"], tuned["seed"], tuned["schedule"]) == ("phantom", 2, 3, "cosine")
    assert scratch.pop("weights") is None and tuned.pop("weights")
    assert scratch.pop("learning_rate") == pytest.approx(10 * tuned.pop("learning_rate"))
    assert scratch == tuned


def test_what_the_phantom_is_worth_in_real_images():
    table = pd.DataFrame(
        [
            *[("phantom", 0, 1, 0.95), ("phantom", 2, 1, 0.96), ("phantom", 20, 1, 0.97)],
            *[("scratch", 2, 1, 0.6), ("scratch", 20, 1, 0.94), ("scratch", 20, 2, 0.98)],
        ],
        columns=["start", "images", "seed", "dice"],
    )
    assert few_shot_sentence(table).endswith("a Dice of 0.950; from scratch, 20 images are enough for that.")
    assert few_shot_sentence(table[table["seed"] == 1]).endswith("from scratch, 20 images are not enough for that.")
    axis = few_shot_chart({"films": table}).axes[0]
    phantom, scratch, shipped = axis.get_lines()
    assert phantom.get_xydata().tolist() == [[2, 0.96], [20, 0.97]]
    assert scratch.get_ydata().tolist() == pytest.approx([0.6, 0.96]) and set(shipped.get_ydata()) == {0.95}
    assert [text.get_text() for text in axis.get_xticklabels()] == ["2", "20"]


@pytest.mark.slow
def test_a_kind_of_variation_is_left_out(trained, monkeypatch):
    settings = trained.replace(epochs=1)
    for _ in range(2):  # the second time from what is there
        table = leave_one_out(settings, {"phantoms": trained}, 24, ["tone"], progress=False)
        assert table.index.tolist() == ["nothing", "tone"] and table.columns.tolist() == ["seed", "phantoms"]
        assert table["phantoms"].between(0, 1).all()
    prepared = [settings.replace(dataset=f"phantom-wild-{name}-24") for name in ("all", "without-tone")]
    assert [read_manifest(of)["split"].value_counts().to_dict() for of in prepared] == [
        {"train": 21, "validation": 3}
    ] * 2
    files = [sorted((of.prepared / "train" / "images").iterdir())[0].read_bytes() for of in prepared]
    assert files[0] != files[1]
    of_group = pd.DataFrame({"patient": ["a", "b", "c"], "group": ["ill", "well", ""], "dice": [0.8, 0.9, 0.4]})
    monkeypatch.setattr(transfer, "score_untrained", lambda *_: of_group)
    rows = leave_one_out(settings, {"films": trained}, 24, [], progress=False, seeds=(settings.seed, 7))
    assert rows.round(3).to_dict("records") == [
        {"seed": seed, "films": 0.7, "films, ill": 0.8, "films, well": 0.9} for seed in (settings.seed, 7)
    ]
    assert (settings.replace(dataset="phantom-wild-all-24", seed=7).results / "unet" / "model.keras").exists()
