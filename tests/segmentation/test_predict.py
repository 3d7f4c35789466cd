import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.networks import BLOCKS, bright
from lungnb.engines.engines import Engine, engine_of, load_model
from lungnb.formats.images import write_png
from lungnb.networks.models import build_model
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from lungnb.segmentation.inference import predict
from lungnb.segmentation.predict import best_model, choose_model, masks_folder, segment
from lungnb.settings import SHIPPED


@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (130, 70), (20, 31)])
def test_masks_come_at_the_images_own_size(tmp_path, model_file, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_png(tmp_path / "a.png", picture)
    from_file, from_array = segment(tmp_path / "a.png", model_file), segment(picture, model_file)
    for found in (from_file, from_array):
        assert found.image.shape == found.mask.shape == found.probability.shape == shape
        assert (found.image.dtype, found.mask.dtype, found.probability.dtype) == (np.uint8, bool, np.float32)
        assert 0 <= found.probability.min() <= found.probability.max() <= 1
        np.testing.assert_array_equal(found.image, picture)
    np.testing.assert_array_equal(from_file.probability, from_array.probability)
    np.testing.assert_array_equal(from_file.mask, from_array.mask)


def test_the_mask_lies_where_the_lung_is():
    model = bright(128)
    for picture in (BLOCKS, np.ascontiguousarray(BLOCKS.T), np.pad(BLOCKS, ((0, 0), (0, 133)))):
        found, truth = segment(picture, model).mask, picture > 127
        assert (found & truth).sum() / (found | truth).sum() > 0.95
        rows, columns = np.indices(picture.shape)
        assert abs(rows[found].mean() - rows[truth].mean()) < 1
        assert abs(columns[found].mean() - columns[truth].mean()) < 1


def test_arrays_of_every_kind_mean_the_same(model):
    expected = segment(BLOCKS, model).mask
    rows = [*BLOCKS]
    for picture in (
        BLOCKS / 255.0,
        np.stack([BLOCKS] * 3, axis=2),
        BLOCKS[..., None],
        BLOCKS > 0,
        BLOCKS.tolist(),
        rows,
    ):
        np.testing.assert_array_equal(segment(picture, model).mask, expected)


def test_a_path_in_the_home_folder_is_one_image(tmp_path, model, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_png(tmp_path / "a.png", BLOCKS)
    np.testing.assert_array_equal(segment("~/a.png", model).mask, segment(BLOCKS, model).mask)
    with pytest.raises(ValueError, match="the path of an image is empty"):
        segment(" ", model)


def test_images_of_another_library_are_one_image_each(model):
    expected = segment(BLOCKS, model).mask
    found = segment([Image.fromarray(BLOCKS)] * 2, model)
    assert len(found) == 2
    for each in (*found, segment(Image.fromarray(BLOCKS), model), *segment((BLOCKS, Image.fromarray(BLOCKS)), model)):
        np.testing.assert_array_equal(each.mask, expected)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ma.masked_greater(BLOCKS, 200), "some of its values are masked; give them a value with its method filled"),
        ([[1, 2], [3]], "its rows do not have the same length"),
        ("https://example.org/a.png", "https://example.org/a.png is an address, not a path"),
    ],
)
def test_an_array_that_is_no_image_is_explained(image, words, model):
    with pytest.raises(ValueError, match=words):
        segment(image, model)


@pytest.mark.parametrize("window", [(1,), "lung", (400, -1000), (1, "a"), 5])
def test_a_window_that_is_none_is_named(window, model):
    with pytest.raises(ValueError, match="window must be two rising numbers"):
        segment(BLOCKS * -4.0, model, window=window)


def test_something_that_is_no_model_is_named():
    with pytest.raises(ValueError, match=r"a model is the path of a \.keras file, a Keras model or an Engine, not 3"):
        segment(BLOCKS, 3)


def test_hounsfield_units_are_windowed(model):
    phantom = make_phantom(0, kind="ct", size=64)
    found = segment(phantom.image, model, clean=False)
    assert found.image.min() == 0
    # Air is black in the window, so this model finds the body without the lungs.
    assert found.mask.mean() > 0.2
    assert (found.mask & phantom.mask).sum() < 0.2 * phantom.mask.sum()


def test_clean_is_the_default_and_can_be_left_out(model):
    spotted = BLOCKS.copy()
    spotted[2:8, 46:54] = 255
    assert segment(spotted, model, clean=False).mask[4, 50]
    assert not segment(spotted, model).mask[4, 50]


def test_the_best_model_is_that_of_the_highest_validation_dice(trained):
    source = trained.results / "unet"
    dice = {"unet": [0.5, 0.7, 0.9], "resunet": [0.1, 0.8, 0.2], "r2unet": [0.99, 0.6, 0.1], "unfinished": [1, 1, 1]}
    for name, values in dice.items():
        if name != "unet":
            shutil.copytree(source, trained.results / name)
        history = pd.DataFrame({"epoch": range(3), "val_loss": [0.5, 0.1, 0.3], "val_dice": values})
        history.to_csv(trained.results / name / "history.csv", index=False)
    (trained.results / "unfinished" / "run.json").unlink()
    assert best_model(trained) == trained.results / "resunet" / "model.keras"  # of the epoch whose weights are kept

    with pytest.raises(FileNotFoundError, match="run notebooks 01 to 05, or `lungnb train`"):
        best_model(make_settings("montgomery"))


def test_images_of_another_kind_are_segmented_with_the_shipped_network(trained, tmp_path):
    raw, others = Path(trained.dataset) / "images", tmp_path / "films"
    own, own_network = [raw / "case_00.png", raw / "case_01.png"], trained.results / "unet" / "model.keras"
    file, why = choose_model(trained, own)
    assert file == own_network and "results/scans/unet/model.keras" in why
    assert masks_folder(trained, file) == trained.results / "segmented" / "unet"
    for images in ([others / "a.png"], [own[0], others / "a.png"]):
        file, why = choose_model(trained, images)
        assert file == SHIPPED and "not all images are from the data set scans" in why
        assert masks_folder(trained, file).name == masks_folder(trained).name == "shipped"
    own_network.unlink()
    file, why = choose_model(trained, own)
    assert file == SHIPPED and "no network was trained on scans yet" in why


def test_an_image_that_cannot_be_read_is_named(tmp_path, model):
    with pytest.raises(ValueError, match=r"gone\.png: there is no such file"):
        segment(tmp_path / "gone.png", model)
    with pytest.raises(ValueError, match="expected \\(height, width\\)"):
        segment(np.zeros((2, 3, 4, 5)), model)


def test_predictions_are_those_of_the_network(model_file):
    picture = make_phantom(0, size=32).image
    network = build_model("unet", size=32, filters=2, depth=1)
    network.load_weights(model_file, skip_mismatch=False)
    expected = np.asarray(network.predict_on_batch(picture[None, :, :, None] / np.float32(255)))[0, :, :, 0]
    np.testing.assert_allclose(predict(engine_of(load_model(model_file)), picture), expected, atol=1e-6)


def test_a_model_trained_with_a_window_sees_through_it(tmp_path):
    """The window in Hounsfield units is in the `run.json` beside the model, as for a recipe."""
    hounsfield = np.full((32, 32), 40.0, np.float32)
    hounsfield[8:24, 8:24] = -850
    bright().save(tmp_path / "model.keras")
    seen = segment(hounsfield, tmp_path / "model.keras")
    (tmp_path / "run.json").write_text('{"plan": {"settings": {"window": [-125.0, 275.0]}}}')
    narrow = segment(hounsfield, tmp_path / "model.keras")
    assert seen.image.max() == round((40 + 1000) / 1400 * 255)
    assert narrow.image.max() == round((40 + 125) / 400 * 255)
    assert np.array_equal(segment(hounsfield, bright(), window=(-125.0, 275.0)).image, narrow.image)
    given = segment(hounsfield, tmp_path / "model.keras", window=(-1000.0, 400.0))  # goes before that of `run.json`
    assert np.array_equal(given.image, seen.image)
    with pytest.raises(ValueError, match="Hounsfield"):
        segment(np.full((32, 32), 90, np.uint16), tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Hounsfield"):
        segment(np.full((32, 32), 90, np.uint8), tmp_path / "model.keras", window=(-125.0, 275.0))
    assert (segment(np.full((32, 32), 90, np.uint8), tmp_path / "model.keras").image == 90).all()


def test_several_images_get_a_list(tmp_path):
    for name in ("a", "b"):
        write_png(tmp_path / "films" / f"{name}.png", BLOCKS)
    model, expected = bright(), segment(BLOCKS, bright()).mask
    for several in ([BLOCKS, tmp_path / "films" / "a.png"], tmp_path / "films", str(tmp_path / "films" / "*.png")):
        found = segment(several, model)
        assert len(found) == 2 and all((each.mask == expected).all() for each in found)
    with pytest.raises(ValueError, match="give a path, an array of numbers, or a list of these"):
        segment(None, model)


def test_a_volume_is_segmented_whole(tmp_path):
    pytest.importorskip("nibabel")
    from helpers.volumes import HOUNSFIELD, write_nifti

    path, model = write_nifti(tmp_path / "a.nii"), bright()
    found, raw = segment(path, model), segment(path, model, clean=False)
    assert found.image.shape == found.mask.shape == found.probability.shape == HOUNSFIELD.shape
    assert found.image.dtype == np.uint8 and found.mask.dtype == bool and found.probability.dtype == np.float32
    assert np.array_equal(raw.mask, raw.probability > 0.5) and not np.array_equal(raw.mask, found.mask)


def test_the_folder_of_a_series_is_one_volume(tmp_path):
    pytest.importorskip("pydicom")
    from helpers.volumes import HOUNSFIELD, write_series

    write_series(tmp_path / "series")
    assert segment(tmp_path / "series", bright()).mask.shape == HOUNSFIELD.shape


def test_a_model_in_memory_runs_with_keras_only(model):
    for engine in ("auto", "keras"):
        assert segment(BLOCKS, model, engine=engine).mask.any()
    with pytest.raises(ValueError, match="engine onnx needs a model in a file"):
        segment(BLOCKS, model, engine="onnx")


def test_a_probability_of_one_half_is_no_lung():
    engine = Engine("half", 32, lambda batch: np.full(batch.shape, 0.5, np.float32))
    assert not segment(BLOCKS, engine, clean=False).mask.any()
