"""The weights that come with lungnb, and how weights get into a network."""

import json

import numpy as np
import pytest

from lungnb.datasets.fetch import download
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.evaluation.scoring import score_images
from lungnb.formats import images
from lungnb.masks import CHEST_THRESHOLD
from lungnb.networks.backend import keras
from lungnb.networks.chest_output import has_chest, probability_part
from lungnb.networks.costs import count_multiplications
from lungnb.networks.models import build_model
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings
from lungnb.segmentation.predict import load_pretrained, segment
from lungnb.settings import SHIPPED


def dice(truth, found):
    return 2 * (truth & found).sum() / (truth.sum() + found.sum())


def test_the_shipped_network_is_small_and_says_where_it_comes_from():
    model, run = load_pretrained(), json.loads((SHIPPED.parent / "run.json").read_text())
    assert SHIPPED.stat().st_size <= 3e6 and model.count_params() <= 1.5e6
    assert count_multiplications(model) <= 0.2e9
    assert getattr(model, "optimizer", None) is None
    assert run["plan"]["settings"]["dataset"] == "phantom-wild" and "-dirty" not in run["git_commit"]
    assert run["parameters"] == probability_part(model).count_params() and has_chest(model)
    opened = keras.models.load_model(SHIPPED, compile=False)  # as whoever does not have lungnb opens it
    assert {layer.compute_dtype for layer in opened.layers} == {"float32"}
    assert all(name in (SHIPPED.parent / "README.md").read_text() for name in (run["git_commit"], "make weights"))


def test_its_masks_do_not_depend_on_the_output_chest():
    model = load_pretrained()
    images = np.stack([make_phantom(index, seed=78, kind="wild", size=128).image for index in range(6)])
    batch = images[..., None].astype(np.float32) / 255
    np.testing.assert_array_equal(model.predict_on_batch(batch)[0], probability_part(model).predict_on_batch(batch))


def test_its_output_chest_flags_images_without_a_chest():
    """Of drawings that it has not seen, it accepts nearly all chests and flags nearly all other pictures."""
    chests = [make_phantom(index, seed=79, kind="mixed") for index in range(30)]
    values = [segment(case.image).chest for case in chests if case.mask.mean() > 0.05]
    others = [segment(make_phantom(index, seed=79, kind="other").image).chest for index in range(30)]
    assert np.mean(np.array(values) > CHEST_THRESHOLD) > 0.9
    assert np.mean(np.array(others) < CHEST_THRESHOLD) > 0.8


def test_films_that_lie_on_their_side_are_found():
    case = make_phantom(4, seed=77, kind="xray")
    turned = np.ascontiguousarray(np.rot90(case.image))
    lying, upright = segment(turned), segment(turned, upright=True)
    assert lying.chest < CHEST_THRESHOLD < upright.chest and upright.turned_degrees == 270
    assert dice(np.rot90(case.mask), upright.mask) > 0.9


@pytest.mark.parametrize("kind", ["xray", "ct", "wilder"])
def test_it_finds_the_lungs_of_phantoms_it_has_not_seen(kind):
    cases = [make_phantom(index, seed=77, kind=kind) for index in range(8)]
    scores = [dice(case.mask, segment(case.image).mask) for case in cases if case.mask.any()]
    assert np.mean(scores) > (0.75 if kind == "wilder" else 0.95)


@pytest.mark.parametrize(
    ("dataset", "least"), [("montgomery", 0.94), ("finding-lungs-in-ct-data", 0.94), ("lung-ct-bmp", 0.94)]
)
def test_it_finds_the_lungs_of_patients(real, dataset, least):
    """The test takes one image in ten; the figures of all images are published."""
    real(dataset)
    settings = make_settings(dataset)
    download(dataset, progress=False)
    prepare_dataset(settings, progress=False)
    manifest = read_manifest(settings)
    manifest.iloc[::10].to_csv(settings.prepared / "manifest.csv", index=False)
    assert score_images(load_pretrained(), open_prepared(settings), progress=False)["dice"].mean() > least


def test_bright_lungs_are_found_too(real):
    """Some films are printed as negatives (https://en.wikipedia.org/wiki/Negative_(photography))."""
    folder = real("montgomery")
    files = sorted(folder.rglob("CXR_png/*.png"))[::20]
    films = [images.read_image(file) for file in files]
    agreement = [dice(segment(film).mask, segment(255 - film).mask) for film in films]
    assert np.mean(agreement) > 0.9


def test_training_can_begin_with_the_shipped_weights():
    model = build_model("compact_unet", size=64, depth=5, weights="phantom")  # of any input size
    for own, other in zip(model.get_weights(), probability_part(load_pretrained()).get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(ValueError, match="not weights for compact_unet at this width and depth, but of a compact_unet"):
        build_model("compact_unet", size=64, filters=4, depth=5, weights="phantom")
    with pytest.raises(ValueError, match="not weights for resunet at this width and depth, but of a compact_unet"):
        build_model("resunet", size=32, weights="phantom")
    assert isinstance(model, keras.Model)
