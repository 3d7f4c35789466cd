"""Altered copies of images are found, and different images do not count as copies."""

import numpy as np
import pandas as pd
import pytest

from helpers.alterations import ALTERATIONS, HARDER
from lungnb.datasets import copies
from lungnb.datasets.copies import MAX_COPY_DISTANCE, compare_candidates, find_copies, fingerprint, stack
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.formats.pixels import LUNG_WINDOW, through_window
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings

CHANGES = ALTERATIONS | HARDER


def recall(images, change):
    """Return the share of images whose copy is found, and the number of other pairs that are taken for copies."""
    altered = [np.ascontiguousarray(CHANGES[change](image)) for image in images]
    prints = stack([fingerprint(image) for image in [*images, *altered]])
    pairs = find_copies(prints, np.repeat(["original", "altered"], len(images)))
    is_own = pairs["second"] - pairs["first"] == len(images)
    return is_own.sum() / len(images), (~is_own).sum()


@pytest.fixture(scope="module")
def phantoms():
    kinds = [(kind, index) for index in range(6) for kind in ("xray", "ct")]
    images = [make_phantom(index, size=256, kind=kind).image for kind, index in kinds]
    return [image if image.dtype == np.uint8 else through_window(image, LUNG_WINDOW) for image in images]


@pytest.mark.parametrize("change", CHANGES)
def test_copies_of_phantoms_are_found(phantoms, change):
    share, others = recall(phantoms, change)
    assert share >= (1 if change in ALTERATIONS else 0.9) and others == 0


@pytest.mark.parametrize("dataset", ["montgomery", "chest-xray-masks-and-labels", "finding-lungs-in-ct-data"])
def test_copies_of_real_images_are_found(real, dataset):
    real(dataset)
    settings = Settings(dataset=dataset)
    prepare_dataset(settings, progress=False)
    prepared = open_prepared(settings)
    images = [prepared.pair(row)[0] for row in prepared.rows("train", "validation", "test")][::10]
    for change in ALTERATIONS:
        share, others = recall(images, change)
        assert share >= 0.95 and others == 0, change


def test_images_of_one_group_are_not_compared(phantoms, monkeypatch):
    monkeypatch.setattr(copies, "_BLOCK", 4)  # so that there are several blocks
    prints = stack([fingerprint(image) for image in [*phantoms[:3], *phantoms[:3]]])
    assert find_copies(prints, np.array([0, 1, 2, 0, 1, 2])).empty
    pairs = find_copies(prints, np.arange(6))
    assert pairs[["first", "second"]].to_numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert pairs["distance"].to_numpy() == pytest.approx(0, abs=1e-5)


def test_pairs_that_are_not_copies_have_larger_distances(phantoms):
    prints = stack([fingerprint(image) for image in phantoms])
    pairs = compare_candidates(prints, np.arange(len(phantoms)))
    assert list(pairs) == ["first", "second", "distance"]
    assert (pairs["distance"] > MAX_COPY_DISTANCE).all() and (pairs["first"] < pairs["second"]).all()


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.full((1, 300), 7, np.uint8)])
def test_images_of_one_grey_are_not_copies(image):
    assert find_copies(stack([fingerprint(image)] * 2), np.arange(2)).empty


def test_one_image_alone_has_no_copies():
    pairs = find_copies(fingerprint(np.eye(64, dtype=np.uint8) * 255), np.arange(1))
    assert isinstance(pairs, pd.DataFrame) and pairs.empty
