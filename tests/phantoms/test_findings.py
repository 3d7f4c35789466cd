"""Findings are as frequent as stated, and each addition can be left out."""

import numpy as np
import pytest

from lungnb.phantoms import findings as frequencies
from lungnb.phantoms.findings import ADDITIONS, SETTING_SHARES, TUBERCULOSIS_SHARES, draw_findings

COUNT = 4000


def many(*without):
    additions = frozenset(ADDITIONS).difference(without)
    return [draw_findings(np.random.default_rng([3, i]), additions) for i in range(COUNT)]


@pytest.fixture(scope="module")
def findings():
    return many()


def near(flags, share):
    """Return whether a share is within four standard errors of the stated one."""
    flags = list(flags)
    return abs(np.mean(flags) - share) < 4 * np.sqrt(share * (1 - share) / len(flags))


@pytest.mark.parametrize(("setting", "share"), SETTING_SHARES.items())
def test_settings_are_as_frequent_as_stated(findings, setting, share):
    assert near((one.setting == setting for one in findings), share)


@pytest.mark.parametrize(("name", "share"), TUBERCULOSIS_SHARES.items())
def test_tuberculosis_is_shown_as_stated(findings, name, share):
    """Woodring and others 1986: upper lobes 91 %, cavities 45 %, fibrosis 29 %, effusion 18 %."""
    assert near((getattr(one, name) for one in findings if one.has_tuberculosis), share)


def test_disease_is_as_frequent_as_stated(findings):
    assert near((one.has_tuberculosis for one in findings if one.setting == "upright"), frequencies.TUBERCULOSIS_SHARE)
    assert near((one.has_pneumonia for one in findings if one.setting == "portable"), frequencies.PNEUMONIA_SHARE)
    assert {name: TUBERCULOSIS_SHARES[name] for name in ("has_upper_patches", "has_cavity", "has_fibrosis")} == {
        "has_upper_patches": 0.91, "has_cavity": 0.45, "has_fibrosis": 0.29,
    }  # fmt: skip


def test_additions_that_are_left_out_do_not_occur():
    assert not any(one.has_tuberculosis or one.has_cavity for one in many("tuberculosis"))
    assert not any(one.setting == "portable" or one.has_devices or one.has_pneumonia for one in many("portable"))
    assert not any(one.setting == "child" for one in many("children"))
    plain = many(*ADDITIONS)
    assert {tuple(one) for one in plain} == {("upright", *[False] * 8)}
