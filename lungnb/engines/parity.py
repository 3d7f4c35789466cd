"""The parity check: how well the masks of an exported network agree with those of Keras, and the record of it.

Beside each exported file, an `.npz` holds the images and the masks of Keras; a `.json` holds each engine's agreement.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZipFile

import numpy as np

from lungnb.engines.engines import Engine, ExportError, engine_of
from lungnb.files import read_json, write_json, written
from lungnb.formats.opening import memory_limit, open_file
from lungnb.formats.pixels import fit_square, to_grey
from lungnb.masks import LUNG_THRESHOLD
from lungnb.metrics import count_pixels, scores

if TYPE_CHECKING:
    import keras

MIN_MEAN_DICE, MIN_WORST_DICE = 0.9995, 0.995  # Dice with the masks of Keras; an engine below is not used
MAX_CHEST_DIFFERENCE = 0.05  # of `chest`, 0 to 1, from that of Keras
_PHANTOMS = {"xray": 8, "ct": 8, "wild": 24}  # half of the wild ones, whose lungs may be faint, are CT
_SEED = 11  # used by no data set


class Parity(NamedTuple):
    """The agreement of an engine with Keras: Dice of masks over the images of a `Reference`, and the output `chest`."""

    mean_dice: float
    worst_dice: float
    images: int
    images_with_lung: int  # on the others, two empty masks agree, which says little
    chest_difference: float = 0.0  # the largest of the output `chest`; 0 for a network without it

    @property
    def passed(self) -> bool:
        """Return whether the engine may be used."""
        is_same_mask = self.mean_dice >= MIN_MEAN_DICE and self.worst_dice >= MIN_WORST_DICE
        return is_same_mask and self.chest_difference <= MAX_CHEST_DIFFERENCE


class Reference(NamedTuple):
    """Images of the size that a network takes, and the masks that Keras gives for them."""

    images: np.ndarray  # (count, size, size), uint8
    masks: np.ndarray  # (count, size, size), bool
    chest: np.ndarray | None = None  # (count,), float32; None for a network without this output


def draw_reference(model: keras.Model) -> Reference:
    """Draw phantoms, X-rays and CT slices, always the same ones; return them with the masks of a Keras model."""
    from lungnb.phantoms.make import make_phantom  # takes half a second, which an export that is only used can save

    phantoms = (make_phantom(index, _SEED, kind).image for kind, count in _PHANTOMS.items() for index in range(count))
    images = np.stack([fit_square(to_grey(image), model.input_shape[1]).array for image in phantoms])
    return Reference(images, *_answers(engine_of(model), images))


def measure_parity(engine: Engine, reference: Reference) -> Parity:
    """Return how well an engine agrees with Keras: the Dice of their masks, and the largest difference of `chest`."""
    masks, chest = _answers(engine, reference.images)
    pairs = zip(reference.masks, masks, strict=True)
    dice = [scores(count_pixels(*pair))["dice"] for pair in pairs]
    with_lung = int(reference.masks.any(axis=(1, 2)).sum())
    difference = np.abs(chest - reference.chest).max() if chest is not None and reference.chest is not None else 0
    return Parity(float(np.mean(dice)), float(np.min(dice)), len(dice), with_lung, round(float(difference), 4))


def _answers(engine: Engine, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return an engine's masks of `(count, size, size)` uint8 images and its values of `chest`, `(count,)`, if any.

    Images are predicted one at a time, as `segment` does.
    """
    answers = [engine.predict(image[None, :, :, None].astype(np.float32) / 255.0) for image in images]
    chest = [answer.chest[0, 0] for answer in answers if answer.chest is not None]
    masks = np.stack([answer.probability[0, :, :, 0] > LUNG_THRESHOLD for answer in answers])
    return masks, np.array(chest, np.float32) if chest else None


def refuse_disagreement(name: str, parity: Parity, file: Path) -> None:
    """Raise ExportError if the masks or `chest` of the engine called `name` differ too much from those of Keras."""
    if not parity.passed:
        raise ExportError(
            f"{file}: {name} is not used: the Dice of its masks with those of Keras is {parity.mean_dice:.4f} on "
            f"average and {parity.worst_dice:.4f} at worst, but {MIN_MEAN_DICE} and {MIN_WORST_DICE} are required; "
            f"chest differs by {parity.chest_difference:.4f}, and {MAX_CHEST_DIFFERENCE} is allowed."
        )


def write_reference(file: Path, reference: Reference) -> None:
    """Write the images and masks of the check beside an exported file."""
    with written(beside(file, ".npz")) as temporary:
        arrays = {"images": reference.images, "masks": np.packbits(reference.masks, axis=-1)}
        arrays |= {} if reference.chest is None else {"chest": reference.chest}
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_reference(file: Path, size: int | None) -> Reference:
    """Return the images, `size` px a side, and the masks in an `.npz` file."""
    try:
        with open_file(file) as opened, ZipFile(opened) as archive:
            if sum(member.file_size for member in archive.infolist()) > memory_limit():
                raise ValueError("it unpacks to more than the memory limit")
        with np.load(file, allow_pickle=False) as stored:
            images, masks = stored["images"], np.unpackbits(stored["masks"], axis=-1).astype(bool)
            chest = stored.get("chest")
        masks = masks[..., : images.shape[2]]  # because a byte holds eight pixels
        if images.shape != (len(images), size, size) or images.dtype != np.uint8 or masks.shape != images.shape:
            raise ValueError("it holds other arrays")
        if chest is not None and (chest.shape != (len(images),) or chest.dtype != np.float32):
            raise ValueError("it holds other values of chest")
        return Reference(images, masks, chest)
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ExportError(
            f"{file}: is damaged. Remove it and the export beside it, and lungnb exports the model again."
        ) from error


def parities(file: Path) -> dict[str, Parity]:
    """Return the parity of each engine that an exported file was checked with, from the JSON beside it."""
    stored = read_record(file).get("parity")
    entries = stored.items() if isinstance(stored, dict) else ()
    return {name: Parity(**entry) for name, entry in entries if _is_parity(entry)}


def _is_parity(entry: object) -> bool:
    """Return whether an entry of the JSON is complete and sound."""
    if not isinstance(entry, dict) or set(entry) != set(Parity._fields):
        return False
    return all(type(number) in (int, float) and math.isfinite(number) for number in entry.values())


def add_parities(file: Path, digests: dict[str, str], measured: dict[str, Parity]) -> None:
    """Add parities to the JSON beside an exported file. Drop those of an export with other `digests`.

    `digests` has the SHA-256 of the `model` and of the exported `file`.
    """
    record, digests = read_record(file), {name: digests[name] for name in ("model", "file")}
    is_same_export = all(record.get(name) == digest for name, digest in digests.items())
    known = parities(file) if is_same_export else {}
    asked = {"mean_dice": MIN_MEAN_DICE, "worst_dice": MIN_WORST_DICE}
    as_json = {name: parity._asdict() for name, parity in (known | measured).items()}
    write_json(beside(file, ".json"), digests | {"asked_for": asked, "parity": as_json})


def read_record(file: Path) -> dict[str, Any]:
    """Return the JSON beside an exported file, or nothing."""
    return read_json(beside(file, ".json"))


def beside(file: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to an exported one."""
    return file.with_name(file.name + suffix)
