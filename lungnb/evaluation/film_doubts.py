"""Name the films that a person should check before a network learns from them."""

from collections.abc import Iterator, Sequence

import numpy as np

from lungnb.datasets.copies import find_copies, fingerprint, stack
from lungnb.evaluation.films import Film
from lungnb.evaluation.mismatch import MaskPair, misplaced, shrink_mask
from lungnb.masks import Mask
from lungnb.metrics import FAILED_DICE, dice


def doubts_of(films: Sequence[Film], predictions: Sequence[Mask]) -> Iterator[str]:
    """Yield sentences on what looks wrong with films: masks of other films, moved masks, films that are there twice.

    `predictions` has the network's cleaned mask of each film. Readers draw lungs differently, so a mask that only
    differs from the network's is not named. Slices of one patient are not compared with each other.
    """
    for film in films:
        yield from (f"{film.id}: {note}" for note in film.notes)
    yield from _wrong_masks(films, predictions)
    yield from _shown_twice(films)


def _wrong_masks(films: Sequence[Film], predictions: Sequence[Mask]) -> Iterator[str]:
    """Yield a sentence for each mask that fits better after a move or on another film, or is far from the network's."""
    patient_of = {film.id: film.patient for film in films}
    pairs = [
        MaskPair(film.id, np.divide(*film.mask.shape), shrink_mask(film.mask)[None], shrink_mask(mask)[None])
        for film, mask in zip(films, predictions, strict=True)
    ]
    fits = {pair.file: fit for pair, fit in misplaced(pairs)}
    for film, prediction in zip(films, predictions, strict=True):
        fit, score = fits.get(film.id), dice(film.mask, prediction)
        is_other = fit is not None and fit.change in patient_of
        if fit and not (is_other and patient_of[fit.change] == film.patient):
            subject = f"the mask of {fit.change}" if is_other else f"its mask, {fit.change},"
            agreement = f"Dice {fit.dice:.2f} with the network's mask instead of {score:.2f}"
            yield f"{film.id}: {subject} would fit this image better: {agreement}. Check its mask."
        elif score < FAILED_DICE:
            doubt = f"its mask is far from that of the network (Dice {score:.2f})"
            yield f"{film.id}: {doubt}. Check that it belongs to this image."


def _shown_twice(films: Sequence[Film]) -> Iterator[str]:
    """Yield a sentence for each film that shows nearly the same image as another patient's, or has the same mask."""
    pairs = find_copies(stack([fingerprint(film.image) for film in films]), np.array([film.patient for film in films]))
    copies = {films[second].id: films[first] for first, second in pairs[["first", "second"]].to_numpy()}
    for name, first in copies.items():
        same = f"{name}: shows nearly the same image as {first.id}"
        yield f"{same}. Remove one of the two, or say that they are of one patient."
    first_of: dict[tuple[tuple[int, ...], bytes], Film] = {}
    for film in films:
        first = first_of.setdefault((film.mask.shape, film.mask.tobytes()), film)
        if first.patient != film.patient and film.id not in copies:
            yield f"{film.id}: has the same mask as {first.id}. Give each image its own mask."
