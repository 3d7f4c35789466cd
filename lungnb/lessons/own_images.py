"""Give notebooks 00 and 07 examples to practise on, and sentences on masks and tables of the reader's own images."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.ndimage import binary_dilation, binary_erosion

from lungnb.artefacts import home, raw_folder
from lungnb.datasets.prepared import open_prepared
from lungnb.files import remove
from lungnb.formats.images import write_png
from lungnb.messages import print_lines, printable
from lungnb.metrics import dice
from lungnb.phantoms.body_parts import hand
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.lungs import MAX_UNCERTAINTY, UNCERTAIN, uncertainty, why_implausible
from lungnb.segmentation.predict import Segmentation
from lungnb.settings import Settings, counted

_CORRECTED, _UNSEEN = 5, 6  # patients of the example: the how-to asks for five, and six are enough to see a change
_OUTSIDE_PX = 5  # the reader of the example draws each outline so far outside the ground truth
BORDER_PX = 4  # a quarter of the 16 px that one value at the bottom of a U-Net of four levels covers
_ODD_SEED = 3  # seed of the hand in `write_odd_images`
_SLICES, _SLICE_MM, _PIXEL_MM = 8, 25.0, 1.4  # of the example volume, which is 36 cm wide and 20 cm high


class Practice(NamedTuple):
    """The folder of the corrected pairs, and the images for testing the adapted network."""

    corrected: Path  # with images/ and masks/
    images: Sequence[str | Path]
    truth: Path | None = None  # masks of these images, if a reader drew them


def unseen_images(settings: Settings, count: int = 3) -> list[Path]:
    """Return raw images that no network was trained on. Images of the test split come first, if there is one."""
    manifest = open_prepared(settings).manifest.sort_values(["split", "id"])
    files = manifest.loc[manifest["split"] != "train", "source_image"].drop_duplicates().head(count)
    return [raw_folder(settings.dataset) / file for file in files]


def say_segmentation(segmentation: Segmentation) -> str:
    """Return sentences on a result of `segment`: size, lungs, uncertain pixels, and whether a person should look.

    The reasons are those that `segment_files` writes under `review`.

    Example:
        >>> mask = np.zeros((100, 100), bool)
        >>> mask[20:80, 10:40] = mask[20:80, 60:85] = True
        >>> print(say_segmentation(Segmentation(np.zeros((100, 100), np.uint8), mask, mask.astype("float32"))))
        The image has 100 x 100 pixels. The mask covers 33% of it: the right lung 18%, the left lung 15%.
        Uncertain pixels (probability 0.1 to 0.9): 0.0% of the size of the mask. Above 20% is unusual.
        Nothing about this mask is unusual.
    """
    mask, probability, temperature = segmentation.mask, segmentation.probability, segmentation.temperature
    right, left = (side.mean() for side in segmentation.sides())
    of_image = probability if mask.ndim == 2 else None
    reasons = why_implausible(mask, right, left, None, of_image, temperature, segmentation.chest)
    verdict = f"A person should look at it: {reasons}." if reasons else "Nothing about this mask is unusual."
    return (
        f"The image has {' x '.join(map(str, mask.shape))} pixels. The mask covers {mask.mean():.0%} of it: the right "
        f"lung {right:.0%}, the left lung {left:.0%}.\n{_say_uncertainty(segmentation)}{verdict}"
    )


def say_border(truths: ArrayLike, predictions: ArrayLike) -> str:
    """Return how many of the wrong pixels of masks `(images, height, width)` lie near the border of the lungs.

    Example:
        >>> truth = np.zeros((1, 40, 40), bool)
        >>> truth[:, 10:30, 10:30] = True
        >>> print(say_border(truth, np.roll(truth, 2, axis=2)))
        100% of the wrong pixels are within 4 px of the true border, where 40% of all pixels are.
    """
    truths, predictions = np.asarray(truths), np.asarray(predictions)
    one_image = np.ones((1, 3, 3), bool)  # neighbours within an image
    widened = binary_dilation(truths, one_image, iterations=BORDER_PX)
    near = widened & ~binary_erosion(truths, one_image, iterations=BORDER_PX, border_value=1)
    wrong = truths != predictions
    share = (wrong & near).sum() / max(wrong.sum(), 1)
    return (
        f"{share:.0%} of the wrong pixels are within {BORDER_PX} px of the true border, where {near.mean():.0%} of all "
        "pixels are."
    )


def _say_uncertainty(segmentation: Segmentation) -> str:
    """Return how many pixels are uncertain; "" if the mask is empty, because their number is divided by its size."""
    mask, (low, high) = segmentation.mask, UNCERTAIN
    if not mask.any():
        return ""
    share = uncertainty(segmentation.probability, mask, segmentation.temperature)
    limit = f" Above {MAX_UNCERTAINTY:.0%} is unusual." if mask.ndim == 2 else ""
    return f"Uncertain pixels (probability {low:g} to {high:g}): {share:.1%} of the size of the mask.{limit}\n"


def say_segmented_files(table: pd.DataFrame) -> str:
    """Return how many files have a mask, and which masks need a look, from a table of `segment_files`.

    Example:
        >>> columns = {"file": ["a.png", "b.png"], "status": ["ok", "failed"], "review": ["", ""]}
        >>> print(say_segmented_files(pd.DataFrame(columns | {"error": ["", "b.png: is empty."]})))
        1 of 2 files has a mask. 0 of the masks need a look.
        b.png has no mask: b.png: is empty.
    """
    done, failed = table[table["status"] == "ok"], table[table["status"] != "ok"]
    flagged = done[done["review"] != ""]
    masks, need = ("has a mask" if len(done) == 1 else "have masks"), ("needs" if len(flagged) == 1 else "need")
    lines = [f"{len(done)} of {counted(len(table), 'file')} {masks}. {len(flagged)} of the masks {need} a look."]
    lines += [f"{_name(row['file'])}: {row['review']}." for _, row in flagged.iterrows()]
    lines += [f"{_name(row['file'])} has no mask: {row['error']}" for _, row in failed.iterrows()]
    return "\n".join(lines)


def _name(file: str) -> str:
    return printable(Path(file).name)


def write_odd_images(folder: Path) -> list[Path]:
    """Write four drawn images into a new folder, and return the paths: a film, a turned film, a half film, a hand."""
    remove(folder)
    film = make_phantom(8, kind="film").image
    arm = np.rint(255 * hand(np.random.default_rng(_ODD_SEED), len(film))).astype(np.uint8)
    half = np.ascontiguousarray(film[:, : len(film) // 2])
    images = {"film": film, "turned_film": np.ascontiguousarray(np.rot90(film)), "half_film": half, "hand": arm}
    for name, image in images.items():
        write_png(folder / f"{name}.png", image)
    return [folder / f"{name}.png" for name in images]


def write_volume(file: Path) -> Path | None:
    """Write a NIfTI volume that repeats a drawn CT slice 8 times, 25 mm apart; return the file.

    Return None, and say why, if the extra `medical` is not installed.
    """
    if find_spec("nibabel") is None:
        print_lines('Reading volumes needs the extra "medical": python -m pip install -e ".[medical]"')
        return None
    from nibabel import Nifti1Image

    hounsfield = make_phantom(1, kind="ct").image.T  # NIfTI stores columns first
    voxels = np.repeat(hounsfield[..., None], _SLICES, axis=2).astype(np.int16)
    affine = np.diag([-_PIXEL_MM, -_PIXEL_MM, _SLICE_MM, 1.0])  # rows run to the back, columns to the patient's left
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(Nifti1Image(voxels, affine).to_bytes())
    return file


def start_practice(settings: Settings, images: Sequence[str | Path] = ()) -> Practice:
    """Return the corrected pairs to adapt to, and the images to test on.

    If `images` are given, test on them, and adapt to the pairs that the browser saved in data/corrected. Otherwise,
    make an example: a reader who draws each outline 5 px outside the ground truth. The reader corrects the masks of
    five training patients, and draws the masks of six validation patients to test on.
    """
    folder = settings.results / "reader_example"
    for name in ("corrected", "unseen", "before", "after"):
        remove(folder / name)
    if images:
        return Practice(home() / "data" / "corrected", images)
    prepared = open_prepared(settings)
    for name, split, count in (("corrected", "train", _CORRECTED), ("unseen", "validation", _UNSEEN)):
        row_of_patient = {row["patient"]: row for row in prepared.rows(split)}
        for row in [*row_of_patient.values()][:count]:
            image, mask = prepared.pair(row)
            write_png(folder / name / "images" / f"{row['id']}.png", image)
            write_png(folder / name / "masks" / f"{row['id']}.png", binary_dilation(mask, iterations=_OUTSIDE_PX))
    unseen = folder / "unseen"
    return Practice(folder / "corrected", [unseen / "images"], unseen / "masks")


def say_rules(truths: Sequence[np.ndarray], predictions: Sequence[np.ndarray]) -> str:
    """Return how the reader's masks differ from the network's: ratio of the areas, and mean Dice.

    Example:
        >>> print(say_rules([np.ones((2, 2), bool)], [np.eye(2, dtype=bool)]))
        The reader's masks have 2.00 times the area of the network's, and 1 of 1 is larger. Their mean Dice is 0.667.
    """
    if not truths:
        return "No mask is corrected yet. Correct five in the browser above, and run this cell again."
    pairs = [*zip(truths, predictions, strict=True)]
    ratios = [truth.sum() / max(prediction.sum(), 1) for truth, prediction in pairs]
    larger, verb = sum(ratio > 1 for ratio in ratios), "is" if len(pairs) == 1 else "are"
    return (
        f"The reader's masks have {np.mean(ratios):.2f} times the area of the network's, and {larger} of {len(pairs)} "
        f"{verb} larger. Their mean Dice is {np.mean([dice(*pair) for pair in pairs]):.3f}."
    )


def say_adaptation(scores: pd.DataFrame) -> str:
    """Return how adapting changed the mean Dice, from a table of `score` with the networks `before` and `after`.

    If the table has no `after`, say how to get it.

    Example:
        >>> print(say_adaptation(pd.DataFrame({"model": ["before", "after"], "id": ["a", "a"], "dice": [0.9, 0.95]})))
        On 1 other image, the mean Dice is 0.900 before and 0.950 after: 1 of them improved.
    """
    wide = scores.pivot(index="id", columns="model", values="dice")
    where = f"On {counted(len(wide), 'other image')}, the mean Dice is {wide['before'].mean():.3f} before"
    if "after" not in wide:
        return f"{where}. Set ADAPT to True to see what adapting changes."
    improved = int((wide["after"] > wide["before"]).sum())
    return f"{where} and {wide['after'].mean():.3f} after: {improved} of them improved."


def say_published(table: pd.DataFrame) -> str:
    """Return a line for each data set of `published_adaptation`: what five corrected images brought.

    Example:
        >>> columns = ["dataset", "images", "draws", "before", "after", "after_low", "helped"]
        >>> rows = [("a", 1, 3, 0.9, 0.91, 0.89, 2), ("a", 5, 3, 0.9, 0.93, 0.92, 3)]
        >>> print(say_published(pd.DataFrame(rows, columns=columns).set_index(["dataset", "images"])))
        a: 0.900 before, 0.930 after five corrected images, higher in 3 of 3 draws.
    """
    return "\n".join(
        f"{name}: {row['before']:.3f} before, {row['after']:.3f} after five corrected images, higher in "
        f"{row['helped']:.0f} of {counted(int(row['draws']), 'draw')}."
        for name, row in table.xs(5, level="images").iterrows()
    )
