"""Disease is drawn where patients have it."""

import numpy as np
import pytest

from lungnb.phantoms.anatomy import draw_patient
from lungnb.phantoms.disease import filled, fluid
from lungnb.phantoms.findings import ADDITIONS, Findings
from lungnb.phantoms.frame import make_view

SIZE = 64


def draw(what, count=60, **flags):
    """Return fields of disease, and the heights (0 at the tips, 1 at the angles) and sides of their pixels."""
    for index in range(count):
        rng = np.random.default_rng([4, index])
        findings = Findings(**{"setting": "upright"} | flags)
        patient = draw_patient(rng, findings, frozenset(ADDITIONS))
        width = 2.2 * patient.height
        view = make_view(rng, SIZE, width, np.array([0, 0.5 * patient.height]), tilt=0, bend_cm=0)
        yield what(rng, patient, findings, view), view.y / patient.height, np.abs(view.x) / patient.width


def centre(fields, where):
    """Return the mean of `where`, weighted by how much the disease fills within the lungs' height and width."""
    total = weighted = 0.0
    for fill, height, reach in fields:
        lung = (height > 0) & (height < 1) & (reach < 1)
        total += fill[lung].sum()
        weighted += (fill * (height if where == "height" else reach))[lung].sum()
    return weighted / total


def test_tuberculosis_lies_high_and_pneumonia_low():
    high = centre(draw(filled, has_tuberculosis=True, has_upper_patches=True), "height")
    low = centre(draw(filled, has_tuberculosis=True), "height")
    pneumonia = centre(draw(filled, setting="portable", has_pneumonia=True), "height")
    assert high < 0.4 < low
    assert pneumonia > 0.56
    assert centre(draw(filled, setting="portable", has_pneumonia=True), "reach") > 0.5


def test_some_pneumonias_turn_lungs_white():
    shares = []
    for fill, height, reach in draw(filled, setting="portable", has_pneumonia=True):
        shares.append(fill[(height > 0.2) & (height < 1) & (reach > 0.2) & (reach < 1)].mean())
    assert np.max(shares) > 0.6 and np.median(shares) < 0.5 and np.max(shares) <= 0.95


def test_cavities_are_rings():
    """With cavities, the same patients have more edges: a wall, and air in it."""

    def edges(**flags):
        fields = draw(filled, has_tuberculosis=True, has_upper_patches=True, **flags)
        return np.mean([np.abs(np.diff(fill, axis=0)).mean() for fill, _, _ in fields])

    assert edges(has_cavity=True) > 1.15 * edges()


def test_fluid_lies_at_the_bottom_and_thick_pleura_at_the_wall():
    assert centre(draw(fluid, has_effusion=True), "height") > 0.75
    assert centre(draw(fluid, has_thick_pleura=True), "reach") > 0.6
    assert not any(field.any() for field, _, _ in draw(fluid))


@pytest.mark.parametrize("flags", [{}, {"has_tuberculosis": True, "has_cavity": True}, {"has_pneumonia": True}])
def test_no_more_air_is_filled_than_there_is(flags):
    for fill, _, _ in draw(filled, 20, **flags):
        assert 0 <= fill.min() and fill.max() <= 0.95
