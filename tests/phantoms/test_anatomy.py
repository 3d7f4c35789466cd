"""The measures of drawn patients lie in the stated ranges."""

import numpy as np
import pytest

from lungnb.phantoms.anatomy import DOME_RANGE_CM, RATIO_RANGE, draw_patient, edge, floor, wall
from lungnb.phantoms.findings import ADDITIONS, Findings
from lungnb.phantoms.frame import SIDES


def many(setting="upright", *without, **findings):
    additions, finding = frozenset(ADDITIONS).difference(without), Findings(setting, **findings)
    return [draw_patient(np.random.default_rng([5, i]), finding, additions) for i in range(1500)]


def ratios(patients):
    """Return cardiothoracic ratios."""
    return np.array([sum(patient.heart) / (2 * patient.width) for patient in patients])


def domes(patients):
    """Return how much higher the right dome is (cm)."""
    return np.array([patient.domes[0] - patient.domes[1] for patient in patients])


def test_hearts_reach_from_small_to_very_large():
    found = ratios(many())
    assert RATIO_RANGE[0] - 0.01 < found.min() < 0.38
    assert 0.67 < found.max() < RATIO_RANGE[1] + 0.01
    assert 0.43 < np.median(found) < 0.48
    assert ratios(many("upright", "heart")).max() < 0.6


def test_hearts_on_portable_films_are_larger_by_an_eighth():
    between = np.median(ratios(many("portable"))) / np.median(ratios(many()))
    assert 1.08 < between < 1.16


def test_the_left_dome_is_higher_in_one_of_ten():
    found = domes(many())
    assert DOME_RANGE_CM[0] - 1e-6 <= found.min() < -0.5
    assert 3.0 < found.max() <= DOME_RANGE_CM[1] + 1e-6
    assert 0.06 < np.mean(found <= 0) < 0.15
    assert domes(many("upright", "diaphragm")).min() > 0


def test_scars_pull_at_hila_and_mediastinum():
    scarred, whole = many(has_fibrosis=True), many()
    assert all(max(patient.pull) >= 0.5 for patient in scarred)
    assert not any(max(patient.pull) for patient in whole)
    towards = [SIDES[patient.pull[1] > 0] * patient.shift for patient in scarred]
    assert np.mean(towards) > 0.8  # cm, to the side of the scar
    smaller = [patient.widths[patient.pull[1] > 0] / patient.width for patient in scarred]
    assert np.mean(smaller) < 0.97
    assert np.std([patient.shift for patient in scarred]) > 2 * np.std([patient.shift for patient in whole])


def test_chests_are_as_large_as_published():
    """Lung tip to right dome: 22.9 cm in men and 21.5 cm in women; dome above the angle 5.1 cm, width 27.8 cm."""
    upright = many()
    assert 21 < np.mean([patient.height - patient.domes[0] for patient in upright]) < 23.5
    assert 4.6 < np.mean([patient.domes[0] for patient in upright]) < 5.8
    assert 26.5 < np.mean([2 * patient.width for patient in upright]) < 28.5


def test_portable_films_and_children_have_other_chests():
    upright, portable, children = many(), many("portable"), many("child")

    def mean(patients, measure):
        return np.mean([getattr(patient, measure) for patient in patients])

    assert mean(portable, "height") < 0.85 * mean(upright, "height")
    assert mean(portable, "slope") < 0.75 * mean(upright, "slope")
    assert mean(portable, "blades") > mean(upright, "blades") + 2
    assert mean(children, "bones") < 0.8 * mean(upright, "bones")
    assert abs(np.mean([patient.arms > 1.57 for patient in children]) - 0.6) < 0.05
    assert not any(patient.arms > 1.57 for patient in upright)


@pytest.mark.parametrize("setting", ["upright", "portable", "child"])
def test_borders_leave_room_for_lungs(setting):
    """The chest is wider than the heart except for the largest ones, and the diaphragm meets the ribs at the angle."""
    room = []
    for patient in many(setting)[:200]:
        for side in SIDES:
            heights = np.linspace(0.1, 0.9, 20) * patient.height
            room.append((wall(patient, heights, side) > edge(patient, heights, side)).mean())
            width = patient.widths[side > 0]
            assert edge(patient, np.linspace(0, 1.1, 30) * patient.height, side).max() < 0.93 * width
            assert floor(patient, np.array(width), side) == pytest.approx(patient.height, abs=0.01)
            assert floor(patient, np.array(0.4 * width), side) < patient.height
    assert np.mean(room) > 0.97
