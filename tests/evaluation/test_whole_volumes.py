import numpy as np
import pytest

pytest.importorskip("nibabel")

from helpers.networks import bright
from helpers.volumes import AFFINE, SPACING, write_nifti
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.evaluation import whole_volumes
from lungnb.evaluation.whole_volumes import VOLUME_COLUMNS, volume_scores
from lungnb.presets import make_settings
from lungnb.segmentation.inference import ImagePrediction

SHAPE = (20, 48, 64)  # slices, rows, columns
AIR, TISSUE = -900.0, 40.0


def lungs():
    """Return two boxes of air, in all slices except the first and the last, and the slices in Hounsfield units."""
    mask = np.zeros(SHAPE, bool)
    mask[1:-1, 10:40, 6:26] = mask[1:-1, 10:40, 36:58] = True
    return mask, np.where(mask, AIR, TISSUE).astype(np.float32)


@pytest.fixture
def scans(home):
    """Twelve volumes of 20 slices, of which four slices each are prepared, and a network that a stub replaces."""
    raw, (mask, hounsfield) = home / "scans", lungs()
    for number in range(12):
        write_nifti(raw / "images" / f"case_{number:02}.nii.gz", hounsfield + number)
        write_nifti(raw / "masks" / f"case_{number:02}.nii.gz", mask.astype(np.float32), dtype=np.uint8)
    settings = make_settings(str(raw), window=(-1000.0, 400.0), volume_slices=4, models=("unet",))
    prepare_dataset(settings, progress=False)
    folder = settings.results / "unet"
    folder.mkdir(parents=True)
    bright(64).save(folder / "model.keras")
    return settings


def scored(settings, monkeypatch, predicted):
    """The scores of volumes whose slices the network predicts to be `predicted`, (slices, height, width)."""

    def predict_slices(engine, hounsfield, window_hu):
        predictions = [ImagePrediction(each) for each in predicted.astype(np.float32)]
        yield from zip(np.zeros(SHAPE, np.uint8), predictions, strict=True)

    monkeypatch.setattr("lungnb.segmentation.predict.predict_slices", predict_slices)
    monkeypatch.setattr(whole_volumes, "trained_window", lambda _: settings.window)
    return volume_scores(settings, ["unet"], progress=False)


def test_apex_and_base_count(scans, monkeypatch):
    """A prediction that lacks the upper six slices has a Dice of 24 / (24 + 6), and lies up to six slices away."""
    mask, _ = lungs()
    predicted = mask.copy()
    predicted[13:] = False  # slices 1 to 12 of 1 to 18
    table = scored(scans, monkeypatch, predicted)
    assert list(table) == list(VOLUME_COLUMNS)
    test = open_prepared(scans).rows("test")
    assert sorted(table["volume"]) == sorted({row["source_image"] for row in test})
    assert (table["slices"] == SHAPE[0]).all() and table["split"].eq("test").all()
    np.testing.assert_allclose(table["dice"], 24 / 30)
    assert SPACING[0] * 5 <= table["hd95"].iloc[0] <= SPACING[0] * 6  # mm
    assert (scored(scans, monkeypatch, mask)[["dice", "nsd"]] == 1).all(axis=None)


def test_an_empty_volume_has_the_diagonal_as_its_distance(scans, monkeypatch):
    table = scored(scans, monkeypatch, np.zeros(SHAPE, bool))
    np.testing.assert_allclose(table["hd95"], np.linalg.norm(np.multiply(SHAPE, SPACING)))
    assert (table["dice"] == 0).all()


def test_the_volume_is_cleaned_as_a_whole(scans, monkeypatch):
    mask, _ = lungs()
    with_speck = mask.copy()
    with_speck[10, 45:, :3] = True
    assert (scored(scans, monkeypatch, with_speck)["dice"] == 1).all()


def test_images_that_are_not_volumes_give_an_empty_table(prepared):
    table = volume_scores(prepared, ["unet"], progress=False)
    assert list(table) == list(VOLUME_COLUMNS) and not len(table)


def test_the_affine_is_that_of_the_spacing():
    np.testing.assert_allclose(np.abs(np.diag(AFFINE))[:3], SPACING[::-1])
