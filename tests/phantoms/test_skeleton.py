"""Bones and devices of drawn films."""

import numpy as np
import pytest

from lungnb.phantoms.anatomy import draw_patient, wall
from lungnb.phantoms.devices import draw_devices
from lungnb.phantoms.findings import ADDITIONS, Findings
from lungnb.phantoms.frame import SIDES, make_view
from lungnb.phantoms.skeleton import draw_skeleton, rib

ALONG = np.linspace(0, 1, 21)


def patients(setting="upright", count=20):
    for index in range(count):
        rng = np.random.default_rng([6, index])
        yield rng, draw_patient(rng, Findings(setting), frozenset(ADDITIONS))


@pytest.mark.parametrize("setting", ["upright", "portable", "child"])
def test_ribs_leave_the_spine_meet_the_wall_and_come_forward_lower(setting):
    for _, patient in patients(setting):
        for number in (0, 3, 7):
            for side in SIDES:
                x, y = (rib(patient, number, side, ALONG) * (side, 1)).T
                assert abs(x[0] - 1.6) < 1e-6 and x.argmax() == 10
                assert y[-1] > y[0] + 1
                if number:
                    assert abs(x.max() - float(wall(patient, y[10:11] + 0.0, side)[0])) < 1.5
        assert -0.5 < rib(patient, 0, 1, ALONG)[:, 1].min() < 0.6  # the first one lies on the lung's tip


def test_ribs_of_portable_films_are_flatter():
    def drop(setting):
        return np.mean([np.ptp(rib(patient, 4, 1, ALONG)[:, 1]) for _, patient in patients(setting)])

    assert drop("portable") < 0.8 * drop("upright")


@pytest.mark.parametrize("draw", [draw_skeleton, draw_devices])
def test_bones_and_devices_absorb(draw):
    """No ray has a negative amount of water; bones count as a few cm of water."""
    for rng, patient in patients(count=6):
        view = make_view(rng, 96, 36, np.array([0, 12]), tilt=0, bend_cm=0)
        water = draw(rng, patient, view)
        assert water.min() >= 0 and 0.3 < water.max() < 15
        assert 0 < np.mean(water > 0.2) < 0.8
