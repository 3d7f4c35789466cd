"""Read the images with masks to which a network is adapted."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.datasets.pairing import find_pairs
from lungnb.datasets.prepared import digest_of
from lungnb.datasets.reading import SLICE_ENDING, ReadOptions, read_pair
from lungnb.datasets.sources import own_source
from lungnb.masks import Mask


class Film(NamedTuple):
    """An image with its mask: uint8 and bool, `(height, width)`."""

    id: str
    patient: str
    image: np.ndarray
    mask: Mask
    notes: tuple[str, ...] = ()  # sentences on what was doubtful when it was read


def read_films(
    folder: Path, options: ReadOptions, patient_pattern: str | None
) -> tuple[list[Film], list[tuple[str, str]]]:
    """Return the images with masks in a folder, and the files that cannot be used, with the reasons.

    All slices of a volume have one patient, also those that the browser saved as images.

    Raises ValueError if there is no pair that can be used.
    """
    pairs, left_out = find_pairs(folder, own_source(folder.resolve()), patient_pattern)
    films: list[Film] = []
    id_of_image: dict[bytes, str] = {}
    for pair in pairs:
        try:
            slices, findings = read_pair(pair, folder, options, is_drawn=True)
        except ValueError as error:
            left_out.append((pair.image.as_posix(), str(error).removeprefix(f"{pair.image}: ")))
            continue
        notes = tuple(f"{what}; {advice}." for _, severity, what, advice in findings if severity == "warning")
        patient = pair.patient if patient_pattern else SLICE_ENDING.sub("", pair.patient)
        for name, image, mask, _ in slices:
            if not mask.any():
                left_out.append((name, _why_empty(options.mask_values)))
                continue
            first = id_of_image.setdefault(hashlib.sha256(image.tobytes()).digest(), name)
            if first == name:
                films.append(Film(name, patient, image, mask, notes))
                notes = ()  # one sentence for all slices of a volume
            else:
                left_out.append((name, f"shows the same image as {first}, which is used. Remove one of the two."))
    if not films:
        file, reason = left_out[-1]
        raise ValueError(f"{folder}: no image with a mask can be used; the last: {file}: {reason}")
    return films, left_out


def _why_empty(labels: tuple[int, ...] | None) -> str:
    if labels:
        return f"its mask has no pixel of the labels {', '.join(map(str, labels))}. Are these the labels of lung?"
    return "its mask is empty. Draw the lungs, or remove the image."


def digest_of_films(films: list[Film]) -> str:
    """Return a digest of images, masks and patients, on which an adapted network and its estimate depend."""
    parts = ((film.patient.encode(), film.image.tobytes(), film.mask.tobytes()) for film in films)
    return digest_of(sorted(hashlib.sha256(b"".join(part)).hexdigest() for part in parts))
