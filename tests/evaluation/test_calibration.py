import numpy as np
import pandas as pd
import pytest

from helpers.tables import examined
from lungnb.datasets.prepared import read_manifest
from lungnb.evaluation import calibration
from lungnb.evaluation.calibration import (
    AUGMENTATIONS,
    Examination,
    best_threshold,
    calibration_error,
    calibration_table,
    examine,
    review_gain,
    review_reasons,
)
from lungnb.formats.images import read_image, read_mask


def fake(answer):
    """Return a `predict` that gives `answer(grey)`."""
    return lambda model, grey: answer(grey).astype(np.float32)


@pytest.fixture
def truths(trained):
    """The true mask of each prepared validation image, by the bytes of the image as it is."""
    rows = read_manifest(trained).query("split == 'validation'")
    paths = zip(rows["image"], rows["mask"], strict=True)
    return {read_image(trained.prepared / i).tobytes(): read_mask(trained.prepared / m) for i, m in paths}


def test_a_network_that_is_right_leaves_no_doubt(trained, truths, monkeypatch):
    def right(grey):
        plain = truths.get(grey.tobytes())
        return truths[np.ascontiguousarray(grey[:, ::-1]).tobytes()][:, ::-1] if plain is None else plain

    monkeypatch.setattr(calibration, "predict", fake(right))
    monkeypatch.setattr(calibration, "AUGMENTATIONS", AUGMENTATIONS[:2])
    found = examine(trained, "unet", "validation", progress=False)
    assert (found.images["dice"] == 1).all() and (found.images["augmented_dice"] == 1).all()
    assert np.allclose(found.images["disagreement"], 0)
    assert (found.images["regions"] == found.images["true_regions"]).all()
    assert np.allclose(found.images["area"], found.images["true_area"])
    assert calibration_error(found.reliability) == 0
    assert best_threshold(found) == 0.5
    assert found.reliability["pixels"].sum() == sum(mask.size for mask in truths.values())


def test_probabilities_are_held_against_the_truth(trained, truths, monkeypatch):
    """0.7 everywhere is right as often as lung covers the picture; the mask is everything up to a threshold of 0.7."""
    monkeypatch.setattr(calibration, "predict", fake(lambda grey: np.full(grey.shape, 0.7)))
    found = examine(trained, "unet", "validation", progress=False)
    lung = np.mean([mask.mean() for mask in truths.values()])
    assert calibration_error(found.reliability) == pytest.approx(0.7 - lung, abs=1e-6)
    full = found.reliability.dropna()
    assert len(full) == 1 and full["observed"].iloc[0] == pytest.approx(lung)
    dice = found.thresholds.set_index("threshold")["dice"]
    assert dice[0.65] == pytest.approx(np.mean([2 * m.mean() / (1 + m.mean()) for m in truths.values()]))
    assert dice[0.75] == 0


def test_augmentations_are_undone():
    grey = np.random.default_rng(0).integers(0, 256, (8, 6), np.uint8)
    for change, undo in AUGMENTATIONS:
        changed = change(grey)
        assert changed.shape == grey.shape and changed.dtype == np.uint8
        order = np.argsort(undo(changed).ravel(), kind="stable")
        assert (np.diff(grey.ravel()[order].astype(int)) >= -4).all()  # the same places are the bright ones
    assert sum(np.array_equal(change(grey), grey) for change, _ in AUGMENTATIONS) == 1


def test_the_threshold_nearest_to_half_wins_a_draw():
    table = pd.DataFrame({"threshold": [0.1, 0.4, 0.8, 0.9], "dice": [0.8, 0.9, 0.9, 0.7]})
    assert best_threshold(Examination(table, table, table)) == 0.4


def test_the_threshold_is_chosen_on_validation_and_tried_on_test():
    reliability = pd.DataFrame({"probability": [0.5], "observed": [0.4], "pixels": [10]})
    images = pd.DataFrame({"augmented_dice": [0.9, 1.0]})
    seen, unseen = (
        Examination(images, pd.DataFrame({"threshold": [0.4, 0.5, 0.6], "dice": dice}), reliability)
        for dice in ([0.9, 0.8, 0.7], [0.5, 0.6, 0.9])
    )
    row = calibration_table({"unet": seen}, {"unet": unseen}).loc["U-Net"]
    assert row.to_dict() == pytest.approx(
        {"calibration_error": 0.1, "dice": 0.6, "best_threshold": 0.4, "dice_at_best": 0.5, "augmented_dice": 0.95}
    )


def test_what_is_unusual_is_doubted_first():
    validation = examined(disagreement=np.linspace(0, 0.1, 21), true_area=np.linspace(0.2, 0.4, 21))
    images = examined(regions=[2, 3, 2, 2, 3], area=[0.3, 0.3, 0.6, 0.3, 0.05], disagreement=[0.095, 0, 0.05, 0.05, 0])
    found = review_reasons(images, validation)
    assert found["doubt"].to_dict() == {
        4: "number of lungs, area",
        2: "area",
        1: "number of lungs",
        0: "answers disagree",
        3: "",
    }
    assert found.index.tolist() == [4, 2, 1, 0, 3]


def test_slices_with_one_lung_are_usual_where_validation_has_them():
    validation = examined(true_regions=[1] * 3 + [2] * 17)
    found = review_reasons(examined(regions=[1, 2, 0]), validation).sort_index()
    assert found["doubt"].tolist() == ["", "", "number of lungs"]


def test_usefulness_by_hand():
    doubted = examined(dice=[0.6, 0.9, 0.5, 0.8])
    found = review_gain(doubted, 0.25)
    assert found["looked_at"] == 1 and found["worst"] == 0.5
    assert found["worst_left"] == 0.5 and found["worst_ideal"] == 0.6
    assert found["worst_by_chance"] == pytest.approx(0.75 * 0.5 + 0.25 * 0.6)
    assert found["mean"] == pytest.approx(0.7) and found["mean_left"] == pytest.approx(2.2 / 3)
    two = review_gain(doubted, 0.5)
    assert two["worst_by_chance"] == pytest.approx(0.5 * 0.5 + 0.5 * (2 / 3 * 0.6 + 1 / 3 * 0.8))
    with pytest.raises(ValueError, match="two images at least"):
        review_gain(doubted.head(1))
