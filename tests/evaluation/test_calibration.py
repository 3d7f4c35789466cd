import numpy as np
import pandas as pd
import pytest

from lungnb.datasets.prepared import read_manifest
from lungnb.engines.temperature import read_temperature
from lungnb.evaluation import calibration
from lungnb.evaluation.calibration import (
    AUGMENTATIONS,
    Examination,
    best_threshold,
    calibration_table,
    examine,
    save_temperature,
)
from lungnb.evaluation.probabilities import border_bins, calibration_error, mean_bins, reliability_table
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


def test_a_network_that_is_right_is_never_uncertain(trained, truths, monkeypatch):
    def right(grey):
        plain = truths.get(grey.tobytes())
        return truths[np.ascontiguousarray(grey[:, ::-1]).tobytes()][:, ::-1] if plain is None else plain

    monkeypatch.setattr(calibration, "predict", fake(right))
    monkeypatch.setattr(calibration, "AUGMENTATIONS", dict([*AUGMENTATIONS.items()][:2]))
    found = examine(trained, "unet", "validation", progress=False)
    assert (found.images["dice"] == 1).all() and (found.images["augmented_dice"] == 1).all()
    assert np.allclose(found.images["disagreement"], 0)
    assert (found.images["regions"] == found.images["true_regions"]).all()
    assert np.allclose(found.images["area"], found.images["true_area"])
    table = reliability_table(found.border)
    assert calibration_error(table) == pytest.approx(0, abs=1e-5)
    assert best_threshold(found) == 0.5
    assert 0 < table["pixels"].sum() < sum(mask.size for mask in truths.values())  # near the borders only


def test_probabilities_are_compared_with_the_truth_near_the_border(trained, truths, monkeypatch):
    """0.7 everywhere is right as often as lung covers the band; the mask is everything up to a threshold of 0.7."""
    monkeypatch.setattr(calibration, "predict", fake(lambda grey: np.full(grey.shape, 0.7)))
    found = examine(trained, "unet", "validation", progress=False)
    table = reliability_table(found.border)
    full = table.dropna()
    assert len(full) == 1 and 0.3 < full["observed"].iloc[0] < 0.6  # about half of the band lies inside
    assert calibration_error(table) == pytest.approx(0.7 - full["observed"].iloc[0], abs=0.003)
    dice = found.thresholds.set_index("threshold")["dice"]
    assert dice[0.65] == pytest.approx(np.mean([2 * m.mean() / (1 + m.mean()) for m in truths.values()]))
    assert dice[0.75] == 0


def test_the_temperature_is_chosen_on_validation_images_and_stored_with_its_network(trained):
    validation = examine(trained, "unet", "validation", progress=False)
    model = trained.results / "unet" / "model.keras"
    assert read_temperature(model) == 1
    temperature = save_temperature(trained, "unet", validation)
    assert read_temperature(model) == temperature != 1
    with pytest.raises(ValueError, match="examine the split `validation`"):
        save_temperature(trained, "unet", examine(trained, "unet", "test", progress=False))


def test_augmentations_are_undone():
    grey = np.random.default_rng(0).integers(0, 256, (8, 6), np.uint8)
    for change, undo in AUGMENTATIONS.values():
        changed = change(grey)
        assert changed.shape == grey.shape and changed.dtype == np.uint8
        order = np.argsort(undo(changed).ravel(), kind="stable")
        assert (np.diff(grey.ravel()[order].astype(int)) >= -4).all()  # the same places are the bright ones
    assert sum(np.array_equal(change(grey), grey) for change, _ in AUGMENTATIONS.values()) == 1


def test_the_threshold_nearest_to_half_wins_a_draw():
    table = pd.DataFrame({"threshold": [0.1, 0.4, 0.8, 0.9], "dice": [0.8, 0.9, 0.9, 0.7]})
    assert best_threshold(Examination(table, table, table)) == 0.4


def test_threshold_and_temperature_are_chosen_on_validation_and_tried_on_test():
    images = pd.DataFrame({"augmented_dice": [0.9, 1.0]})
    truth = np.array([[True] * 30 + [False] * 30] * 4)
    sure = np.where(truth, 0.9, 0.1).astype(np.float32)
    seen, unseen = (
        Examination(
            images,
            pd.DataFrame({"threshold": [0.4, 0.5, 0.6], "dice": dice}),
            mean_bins([border_bins(truth, np.concatenate([1 - sure[:wrong], sure[wrong:]]))]),
        )
        for dice, wrong in (([0.9, 0.8, 0.7], 1), ([0.5, 0.6, 0.9], 2))  # of four rows
    )
    found = calibration_table({"unet": seen}, {"unet": unseen}).loc["U-Net"]
    # Three in four validation pixels of 0.9 are right. The odds of 0.9 are 9, those of 0.75 their root.
    assert found["temperature"] == pytest.approx(2, abs=0.03)
    # Two in four test pixels of 0.9, which the temperature makes 0.75, are right.
    assert found["calibration_error"] == pytest.approx(0.4, abs=0.003)
    assert found["corrected_error"] == pytest.approx(0.25, abs=0.003)
    assert found[["dice", "best_threshold", "dice_at_best", "augmented_dice"]].tolist() == [0.6, 0.4, 0.5, 0.95]
