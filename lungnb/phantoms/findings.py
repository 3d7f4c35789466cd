"""Choose what a drawn patient has, and how often: disease, the way the film is taken, and the additions that are on.

Shares without a source are chosen for training: what is rare in a hospital must be frequent enough to be learned.
"""

from typing import NamedTuple

from numpy.random import Generator

# What the films of hospitals have and plain phantoms do not. Each can be left out by its name.
ADDITIONS = (
    "reader", "tuberculosis", "portable", "heart", "diaphragm", "mediastinum", "children", "processing", "labels",
)  # fmt: skip
SETTING_SHARES = {"portable": 0.25, "child": 0.1}  # of the films; the others are upright films of adults
TUBERCULOSIS_SHARE = 0.4  # of upright films of adults
# Post-primary tuberculosis (Woodring and others 1986, AJR 146:497). `has_thick_pleura` is their pleural fibrosis.
TUBERCULOSIS_SHARES = {
    "has_upper_patches": 0.91, "has_cavity": 0.45, "has_fibrosis": 0.29, "has_effusion": 0.18, "has_thick_pleura": 0.41,
}  # fmt: skip
PNEUMONIA_SHARE = 0.65  # of portable films, which show the severely ill
_EFFUSION_SHARE = 0.12  # of portable films
_DEVICES_SHARE = {"portable": 0.85, "child": 0.2, "upright": 0.1}


class Findings(NamedTuple):
    """The findings of one film: how it was taken, and what the patient has."""

    setting: str  # upright, portable or child
    has_tuberculosis: bool = False
    has_upper_patches: bool = False
    has_cavity: bool = False
    has_fibrosis: bool = False
    has_effusion: bool = False
    has_thick_pleura: bool = False
    has_pneumonia: bool = False
    has_devices: bool = False


def draw_findings(rng: Generator, additions: frozenset[str]) -> Findings:
    """Return random findings, with the frequencies of this module."""
    setting, chance = "upright", rng.random()
    if chance < SETTING_SHARES["portable"] and "portable" in additions:
        setting = "portable"
    elif chance > 1 - SETTING_SHARES["child"] and "children" in additions:
        setting = "child"
    devices = rng.random() < _DEVICES_SHARE[setting] and "portable" in additions
    if setting == "portable":
        return Findings(
            setting, has_pneumonia=rng.random() < PNEUMONIA_SHARE, has_effusion=rng.random() < _EFFUSION_SHARE,
            has_devices=devices,
        )  # fmt: skip
    if setting == "upright" and rng.random() < TUBERCULOSIS_SHARE and "tuberculosis" in additions:
        chances = {name: bool(rng.random() < share) for name, share in TUBERCULOSIS_SHARES.items()}
        return Findings(setting, has_tuberculosis=True, has_devices=devices, **chances)
    return Findings(setting, has_devices=devices)
