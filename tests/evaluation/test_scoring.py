import numpy as np
import pandas as pd
import pytest

from helpers.masks import EMPTY, FULL, HALF
from helpers.tables import table_of
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import Engine
from lungnb.evaluation.scoring import SCORE_COLUMNS, distance_summary, group_scores, has_all_scores, score_images
from lungnb.masks import clean_mask
from lungnb.metrics import FAILED_DICE, count_pixels, dice, surface_scores


def test_cleaned_masks_are_scored_beside_raw_ones(prepared, monkeypatch):
    """A speck far from the lungs costs the raw mask its HD95, and `segment` removes it."""
    data, masks = open_prepared(prepared), {}
    for row in data.rows("test"):
        image, truth = data.pair(row)
        masks[image.tobytes()] = truth

    def with_speck(_, image):
        mask = masks[image.tobytes()].copy()
        mask[:3, :40] = True  # along the upper edge
        return mask.astype(np.float32)

    monkeypatch.setattr("lungnb.evaluation.scoring.predict", with_speck)
    engine = Engine("fake", 64, lambda batch: batch)
    table = score_images(engine, data, ["test"], progress=False)
    for row, scored in zip(data.rows("test"), table.to_dict("records"), strict=True):
        image, truth = data.pair(row)
        raw = with_speck(None, image) > 0.5
        assert scored["dice"] == dice(truth, clean_mask(raw)) and scored["raw_dice"] == dice(truth, raw)
        assert scored["raw_hd95"] == surface_scores(truth, raw)["hd95"]
        assert scored["tp"] == count_pixels(truth, clean_mask(raw)).tp
    assert (table["dice"] == 1).all() and (table["raw_dice"] < 1).all() and (table["raw_hd95"] > table["hd95"]).all()
    data.manifest = data.manifest.assign(pixel_height_mm=0.5, pixel_width_mm=0.25)
    monkeypatch.setattr("lungnb.evaluation.scoring.shows_films", lambda _: False)
    in_mm = score_images(engine, data, ["test"], progress=False)
    assert "costophrenic" not in in_mm
    image, truth = data.pair(data.rows("test")[0])
    assert in_mm["raw_hd95"][0] == surface_scores(truth, with_speck(None, image) > 0.5, (0.5, 0.25))["hd95"]
    assert has_all_scores(table) and "costophrenic" in table and table[[*SCORE_COLUMNS]].notna().all(axis=None)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_empty_and_full_predictions_give_no_nan(prepared, monkeypatch, probability):
    monkeypatch.setattr("lungnb.evaluation.scoring.predict", lambda _, image: np.full(image.shape, probability))
    table = score_images(Engine("fake", 64, lambda batch: batch), open_prepared(prepared), progress=False)
    assert table[[*SCORE_COLUMNS, "costophrenic"]].notna().all(axis=None)
    if not probability:
        assert table["hd95"].tolist() == pytest.approx([100 * np.sqrt(2)] * len(table))  # the diagonal of a square
        assert distance_summary(table)["empty"] == distance_summary(table)["failed"] == len(table)


def images(*pairs):
    rows = []
    for truth, mask in pairs:
        scored = surface_scores(truth, mask)
        rows.append(count_pixels(truth, mask)._asdict() | scored | {"dice": dice(truth, mask), "raw_hd95": 0.0})
    return pd.DataFrame(rows)


def test_an_empty_mask_does_not_change_the_median():
    right = (HALF, HALF)
    summary = distance_summary(images(*[right] * 20, (HALF, EMPTY)))
    assert (summary["hd95_median"], summary["hd95_q1"], summary["hd95_q3"]) == (0, 0, 0)
    assert (summary["empty"], summary["failed"]) == (1, 1)


def test_masks_that_failed_are_counted():
    quarter = HALF.copy()
    quarter[:, : HALF.shape[1] // 4] = False
    table = images((HALF, HALF), (EMPTY, EMPTY), (FULL, HALF), (EMPTY, HALF), (HALF, EMPTY))
    assert table["dice"].tolist() == pytest.approx([1, 1, 2 / 3, 0, 0])
    summary = distance_summary(table)
    assert summary["failed"] == 3 and summary["empty"] == 1  # two empty masks are right
    assert 2 / 3 < FAILED_DICE < 0.75  # one of two equal lungs is missing


def test_scores_in_pixels_are_of_an_earlier_version():
    table = table_of(unet=[0.9, 0.8])
    assert has_all_scores(table)
    assert not has_all_scores(table.assign(unit="px")) and not has_all_scores(table.assign(unit=["%", "px"]))
    assert not has_all_scores(table.drop(columns="raw_dice")) and not has_all_scores(table.drop(columns="unit"))


def test_each_group_has_its_mean_and_its_number_of_patients():
    table = table_of(unet=[0.9, 0.8, 0.5, 0.7], resunet=[0.8, 0.8, 0.6, 0.6])
    table["group"] = ["normal", "normal", "tuberculosis", np.nan] * 2
    groups = group_scores(table)
    assert groups.index.tolist() == [
        (model, group) for model in ("unet", "resunet") for group in ("normal", "tuberculosis", "not stated")
    ]
    assert groups["dice"].tolist() == pytest.approx([0.85, 0.5, 0.7, 0.8, 0.6, 0.6])
    assert groups["patients"].tolist() == [2, 1, 1] * 2
    assert groups.loc[("unet", "tuberculosis"), "note"] == "one patient: no interval"
    assert np.isnan(groups.loc[("unet", "tuberculosis"), "dice_low"])
    two = group_scores(table.assign(group="normal", patient=["a", "a", "a", "b"] * 2)).loc[("unet", "normal")]
    assert two[["images", "patients"]].tolist() == [4, 2] and two["dice"] == pytest.approx((2.2 / 3 + 0.7) / 2)
    assert groups.loc[("unet", "normal"), "note"] == "" and groups.loc[("unet", "normal"), "dice_low"] < 0.85


@pytest.mark.parametrize("group", [None, "", np.nan])
def test_without_groups_there_is_no_row(group):
    table = table_of(unet=[0.9, 0.8])
    assert not len(group_scores(table if group is None else table.assign(group=group)))
