"""The line that a reader draws: few points, smooth, and through disease."""

import numpy as np
import pytest
from scipy import ndimage

from lungnb.phantoms import radiograph
from lungnb.phantoms.anatomy import draw_patient, wall
from lungnb.phantoms.findings import ADDITIONS, Findings
from lungnb.phantoms.frame import SIDES
from lungnb.phantoms.radiograph import film_phantom
from lungnb.phantoms.reader import reader_line, reader_points

ALL = frozenset(ADDITIONS)


def patients(count=150):
    for index in range(count):
        rng = np.random.default_rng([8, index])
        yield rng, draw_patient(rng, Findings("upright"), ALL)


def test_a_reader_sets_12_to_20_points():
    for rng, patient in patients():
        for side in SIDES:
            points, corner = reader_points(rng, patient, side)
            assert 12 <= len(points) <= 20
            assert 0 < corner < len(points)


def test_the_line_follows_ribs_and_spine_and_ends_in_the_angles():
    for rng, patient in patients():
        for side in SIDES:
            line = reader_line(rng, patient, side)
            x, y = side * line[:, 0], line[:, 1]
            assert -1.0 < y.min() < 0.4  # at the outer edge of the first rib, above the lung's tip
            assert abs(y.max() - patient.height) < 0.7
            assert abs(x.max() - patient.widths[side > 0]) < 0.8
            high = (0.08 * patient.height < y) & (y < 0.2 * patient.height)
            assert abs(x[high].min() - patient.spine) < 0.8  # above the aortic arch
            outer = x[high].max() - float(wall(patient, y[high][x[high].argmax()], side))
            assert abs(outer) < 0.9


@pytest.mark.parametrize("what", ["filled", "fluid"])
def test_disease_does_not_move_the_line(monkeypatch, what):
    """White lungs, or lungs under water, have the mask of healthy ones, but another image."""

    def everywhere(rng, patient, findings, view):
        return np.full(view.x.shape, 0.95, np.float32)

    before = film_phantom(np.random.default_rng(6), 128)
    monkeypatch.setattr(radiograph, what, everywhere)
    after = film_phantom(np.random.default_rng(6), 128)
    overlap = 2 * (before.mask & after.mask).sum() / (before.mask.sum() + after.mask.sum())
    assert overlap > 0.97  # the hand is unsteady, and the film's end lies elsewhere
    assert not np.array_equal(before.image, after.image)


def test_without_the_reader_the_mask_has_the_exact_border():
    """The exact border goes into each corner; the reader's line cuts them."""

    def roughness(mask):
        opened = ndimage.binary_opening(mask, iterations=3)
        return (mask & ~opened).sum() / mask.sum()

    masks = {
        name: [film_phantom(np.random.default_rng([1, i]), 128, without=without).mask for i in range(12)]
        for name, without in (("reader", []), ("exact", ["reader"]))
    }
    pairs = list(zip(masks["reader"], masks["exact"], strict=True))
    assert all(0.85 < 2 * (one & other).sum() / (one.sum() + other.sum()) < 0.999 for one, other in pairs)
    assert np.mean([roughness(mask) for mask in masks["reader"]]) < 0.05
