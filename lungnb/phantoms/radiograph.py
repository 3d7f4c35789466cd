"""Draw chest films as hospitals have them: patients with disease, portable films, children, digital processing.

The image is drawn first; then comes the line that a reader would draw. Numbers are from printed anatomy and papers.
"""

from collections.abc import Collection

import numpy as np
from numpy.random import Generator

from lungnb.masks import Floats, Mask
from lungnb.phantoms import tissues
from lungnb.phantoms.anatomy import Patient, draw_patient, edge, floor, wall
from lungnb.phantoms.captions import captioned, field
from lungnb.phantoms.devices import draw_devices
from lungnb.phantoms.disease import filled, fluid
from lungnb.phantoms.drawing import as_bytes, as_seen, make_sheet, stroke
from lungnb.phantoms.exposure import develop
from lungnb.phantoms.film import distort
from lungnb.phantoms.findings import ADDITIONS, Findings, draw_findings
from lungnb.phantoms.frame import SIDES, TAME, Phantom, View, Wild, make_view, without_specks
from lungnb.phantoms.processing import process
from lungnb.phantoms.reader import reader_line
from lungnb.phantoms.skeleton import draw_skeleton

_SMALLEST_LUNG = 0.005  # of the picture; smaller parts of the mask are dropped
_FULL = 0.3  # air, as a share of the trunk's depth, above which a ray counts as crossing lung
_INFLATED = 0.8  # cm of water that a cm of lung lacks


def film_phantom(rng: Generator, size: int = 256, wild: Wild = TAME, without: Collection[str] = ()) -> Phantom:
    """Return a drawn chest film, uint8 `(size, size)`, bone white, and the mask that a reader would draw.

    `without` names additions of `lungnb.phantoms.findings.ADDITIONS` that are left out. A `wild` film is placed more
    freely, and distorted as no device does.

    >>> film = film_phantom(np.random.default_rng(1), 64, without=["labels"])
    >>> film.image.shape, film.image.dtype, film.mask.dtype
    ((64, 64), dtype('uint8'), dtype('bool'))
    """
    additions = frozenset(ADDITIONS).difference(without)
    findings = draw_findings(rng, additions)
    patient = draw_patient(rng, findings, additions)
    view = _posture(rng, patient, findings, size, wild.acquisition)
    air = tissues.air_along(rng, patient, view, "mediastinum" in additions)
    mask = _read(rng, patient, view) if "reader" in additions else _exact_border(patient, view)
    water = _water(rng, patient, findings, view, air)
    grey = develop(rng, water, air > _FULL * patient.depth, findings.setting == "portable")
    if "processing" in additions:
        grey = process(rng, grey)
    seen = field(rng, view, patient.width, patient.height)
    grey = np.where(seen, grey, np.float32(rng.uniform(0, 0.04)))
    if "labels" in additions:
        grey = captioned(rng, grey)
    if any(wild):
        image, shown = distort(rng, grey, wild)
        return Phantom(image, mask & seen & shown)
    return Phantom(as_bytes(grey), mask & seen)


def _water(rng: Generator, patient: Patient, findings: Findings, view: View, air: Floats) -> Floats:
    """Return the water along each ray (cm), with disease, bones and devices, if there are `air` cm of healthy lung."""
    wet = fluid(rng, patient, findings, view)
    fill = 1 - (1 - filled(rng, patient, findings, view)) * (1 - wet)
    water = tissues.trunk(rng, patient, view) + tissues.upper_arms(patient, view) - _INFLATED * air * (1 - fill)
    water += np.clip(air / np.float32(_FULL * patient.depth), 0, 1) * tissues.lung_vessels(rng, patient, view)
    bones = draw_skeleton(rng, patient, view)
    water += bones - tissues.airways(rng, patient, view) - tissues.bowel_gas(rng, patient, view)
    water += tissues.fat_pads(rng, patient, view)
    if findings.has_devices:
        water += draw_devices(rng, patient, view)
    return np.maximum(water, 0)


def _posture(rng: Generator, patient: Patient, findings: Findings, size: int, wild: float) -> View:
    """Return how the patient lies in the picture; films of children show more of them, a `wild` one may be cropped."""
    middle = np.array([0, patient.height * 0.47])
    whole = max(patient.height * 1.2, patient.width * 2.3)
    if findings.setting == "child":
        whole *= rng.uniform(1.0, 1.5)
    tilt = 0.05 if findings.setting == "portable" else 0.03
    if not wild:
        centre = middle + rng.normal(0, (0.05, 0.05)) * whole
        return make_view(rng, size, whole * rng.uniform(0.98, 1.35), centre, tilt=tilt, bend_cm=0.4, stretch=0.05)
    width = whole * np.exp(rng.uniform(np.log(0.8), np.log(1.6)))
    centre = middle + rng.normal(0, 0.06, 2) * width
    return make_view(rng, size, width, centre, tilt + 0.06 * wild, wild * rng.uniform(0.1, 0.6), 0.1 * wild)


def _read(rng: Generator, patient: Patient, view: View) -> Mask:
    """Return the mask within the reader's lines."""
    sheet, draw = make_sheet()
    for side in SIDES:
        stroke(draw, reader_line(rng, patient, side), 0, 1.0, area=True)
    return without_specks(as_seen([sheet], view, 0.03) > 0.5, _SMALLEST_LUNG)


def _exact_border(patient: Patient, view: View) -> Mask:
    """Return the mask within the exact borders of the lungs."""
    mask = np.zeros(view.x.shape, bool)
    for side in SIDES:
        reach, inner = side * view.x, np.maximum(edge(patient, view.y, side), tissues.round_tip(patient, view))
        lung = (reach > inner) & (reach < wall(patient, view.y, side)) & (view.y > 0)
        mask |= without_specks(lung & (view.y < floor(patient, reach, side)), _SMALLEST_LUNG)
    return mask
