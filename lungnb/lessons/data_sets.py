"""Say in sentences and tables what notebooks 01 and 02 show: patients, faults of masks, the image size."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from lungnb.datasets.check import judge_mask
from lungnb.datasets.pairing import Pair, find_pairs
from lungnb.datasets.prepared import Prepared
from lungnb.datasets.sources import find_source
from lungnb.datasets.splitting import assign_patients
from lungnb.formats.pixels import fit_square, unfit_square
from lungnb.masks import LUNG_THRESHOLD, Mask
from lungnb.messages import printable
from lungnb.metrics import dice
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.lungs import split_sides
from lungnb.settings import SPLITS, Settings, counted

# As shares of the side: how far a mask is shifted, and the width of the rim that is eroded.
_SHIFT_SHARE, _RIM_SHARE = 0.06, 0.03
_HOLE_RADIUS_SHARE = 0.07  # radius of a hole, as a share of the side
_RESIZED_MASKS = 20  # measure so many masks, evenly spaced; more would change the mean by less than 0.001
_WORK_SIDE = 128  # px; at this side, the work is defined as 1
SQUARE_SIDES = (32, 64, 128, 256)
# By so much two splits of a dozen patients each differ by chance: the share of lung has an SD of 0.03 over patients.
_MAX_GAP = 0.02


class Fault(NamedTuple):
    """A wrong mask of an image, its Dice with the correct mask, and what the rules of `lungnb check` say."""

    name: str
    mask: Mask
    dice: float
    findings: str  # of the rules, joined by "; "; empty if they find nothing


def find_raw_pairs(settings: Settings, raw: Path) -> list[Pair]:
    """Return the pairs of image and mask in a raw folder, with their patients; none if the set comes without masks.

    Raises ValueError if there is no pair, and for a wrong `patient_pattern` or `patient_file`.
    """
    source = find_source(settings.dataset)
    if not source.has_masks:
        return []
    return assign_patients(find_pairs(raw, source, settings.patient_pattern)[0], settings.patient_file)[0]


def count_files(files: Sequence[Path]) -> pd.DataFrame:
    """Count the files in each folder by their suffix, and give an example of each kind.

    Example:
        >>> count_files([Path("images/a.bmp"), Path("images/b.bmp")])["files"].tolist()
        [2]
    """
    rows = [(printable(file.parent.as_posix()), file.suffix.lower(), printable(file.name)) for file in files]
    table = pd.DataFrame(rows, columns=["folder", "kind", "example"])
    return table.groupby(["folder", "kind"])["example"].agg(files="size", example="first").reset_index()


def say_patients(pairs: Sequence[Pair]) -> str:
    """Return sentences on the number of images and patients, and on patients with several images.

    Example:
        >>> print(say_patients([Pair("a_1", "a", Path("a_1.bmp"), ()), Pair("a_2", "a", Path("a_2.bmp"), ())]))
        2 images of 1 patient. 1 patient has more than one image, at most 2.
        Example: a_1.bmp belongs to patient a.
    """
    if not pairs:
        return "This data set comes without masks, so there is nothing to learn from."
    counts = Counter(pair.patient for pair in pairs)
    several = [count for count in counts.values() if count > 1]
    alone = "Each patient has one image."
    if several:
        verb = "has" if len(several) == 1 else "have"
        alone = f"{counted(len(several), 'patient')} {verb} more than one image, at most {max(several)}."
    example = f"Example: {printable(pairs[0].image)} belongs to patient {printable(pairs[0].patient)}."
    return f"{counted(len(pairs), 'image')} of {counted(len(counts), 'patient')}. {alone}\n{example}"


def faulty_masks(patient: int = 8, other: int = 1, size: int = 256) -> tuple[np.ndarray, list[Fault]]:
    """Return the image `(size, size)` of a phantom, its correct mask, and masks that have one fault each.

    The list starts with the correct mask. For the fault "of another patient", take the mask of the phantom `other`.
    """
    image, mask = make_phantom(patient, size=size)
    hole_y, hole_x = ndimage.center_of_mass(split_sides(mask)[0])
    y, x = np.indices(mask.shape)
    masks = {
        "correct": mask,
        "inverted": ~mask,
        "one lung missing": split_sides(mask)[0],
        "with a hole": mask & (np.hypot(y - hole_y, x - hole_x) > _HOLE_RADIUS_SHARE * size),
        "shifted": np.roll(mask, round(_SHIFT_SHARE * size), axis=1),
        "too small": ndimage.binary_erosion(mask, iterations=round(_RIM_SHARE * size)),
        "upside down": mask[::-1],
        "of another patient": make_phantom(other, size=size).mask,
    }
    findings = {name: "; ".join(what for _, what, _ in judge_mask(image, wrong)) for name, wrong in masks.items()}
    return image, [Fault(name, wrong, dice(mask, wrong), findings[name]) for name, wrong in masks.items()]


def say_faults(faults: Sequence[Fault]) -> str:
    """Return which faults the rules find, which faults they miss, and the highest Dice of a missed mask."""
    wrong = faults[1:]
    missed = [fault for fault in wrong if not fault.findings]
    found = ", ".join(fault.name for fault in wrong if fault.findings)
    text = f"The rules find {len(wrong) - len(missed)} of {len(wrong)} wrong masks: {found}."
    if missed:
        best = max(missed, key=lambda fault: fault.dice)
        text += (
            f"\nThey miss {len(missed)}: {', '.join(fault.name for fault in missed)}.\nThe highest Dice with the "
            f"correct mask among these is {best.dice:.2f}: {best.name}."
        )
    return text


def best_mask(mask: Mask, side: int) -> Mask:
    """Return the mask of a perfect network of `side` px: shrink the mask, enlarge it, and keep values above 0.5.

    Example:
        >>> mask = np.zeros((256, 200), bool)
        >>> mask[50:200, 40:80] = True
        >>> bool((best_mask(mask, 256) == mask).all())
        True
    """
    square = fit_square(mask.astype(np.uint8) * np.uint8(255), side)
    return np.asarray(unfit_square(square.array / np.float32(255), square, *mask.shape) > LUNG_THRESHOLD)


def resize_table(prepared: Prepared, sides: Sequence[int] = SQUARE_SIDES) -> pd.DataFrame:
    """Return what a perfect network could reach at each image size, a row for each side.

    `dice` and `lowest` are the mean and the lowest Dice of `best_mask` with the mask at full size. `work` is the number
    of multiplications, divided by the number at 128 px.
    """
    rows = prepared.rows(*SPLITS)
    masks = [prepared.pair(row)[1] for row in rows[:: -(-len(rows) // _RESIZED_MASKS)]]
    table = {}
    for side in sides:
        scores = [dice(mask, best_mask(mask, side)) for mask in masks]
        table[side] = {"dice": np.mean(scores), "lowest": np.min(scores), "work": (side / _WORK_SIDE) ** 2}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("side_px")


def say_sizes(table: pd.DataFrame, side: int) -> str:
    """Return the Dice that a perfect network could reach at `side` px and at twice the side, from a `resize_table`.

    Example:
        >>> table = pd.DataFrame({"dice": [0.98, 0.995]}, index=[64, 128])
        >>> print(say_sizes(table, 64))
        At 64 px, a perfect network could reach a mean Dice of 0.980.
        At 128 px it could reach 0.995: 0.015 more, for four times the work.
    """
    best = {int(size): float(score) for size, score in zip(table.index, table["dice"], strict=True)}
    if side not in best:
        return f"The table has no row for your image size of {side} px. Add it: resize_table(prepared, [{side}])."
    text = f"At {side} px, a perfect network could reach a mean Dice of {best[side]:.3f}."
    if 2 * side in best:
        gain = best[2 * side] - best[side]
        text += f"\nAt {2 * side} px it could reach {best[2 * side]:.3f}: {gain:.3f} more, for four times the work."
    return text


def say_findings(findings: pd.DataFrame, images: int) -> str:
    """Return the numbers of errors, warnings and notes of `check_dataset`, for `images` images.

    Example:
        >>> say_findings(pd.DataFrame({"severity": ["note"]}), 120)
        '120 images were checked: 0 errors, 0 warnings, 1 note. Nothing needs your attention.'
    """
    counts = {name: int((findings["severity"] == name).sum()) for name in ("error", "warning", "note")}
    listed = ", ".join(counted(count, name) for name, count in counts.items())
    needed = counts["error"] + counts["warning"]
    verdict = "Look at the pictures below." if needed else "Nothing needs your attention."
    return f"{counted(images, 'image')} {'was' if images == 1 else 'were'} checked: {listed}. {verdict}"


def say_data(areas: pd.DataFrame) -> str:
    """Return how the share of lung differs between splits, from a table with the `split` and `lung` of each image.

    Example:
        >>> print(say_data(pd.DataFrame({"split": ["train", "test"], "lung": [0.2, 0.25]})))
        Lung covers 20% of the picture in train, 25% in test.
        The splits differ by 5 percentage points. Find out why before you compare scores.
    """
    means = areas.groupby("split")["lung"].mean().reindex(SPLITS).dropna()
    gap = means.max() - means.min()
    listed = ", ".join(f"{share:.0%} in {split}" for split, share in means.items())
    points = f"{100 * gap:.0f} percentage point{'' if round(100 * gap) == 1 else 's'}"
    verdict = "Find out why before you compare scores." if gap > _MAX_GAP else "Chance alone can explain this."
    where = listed.replace(" in ", " of the picture in ", 1)
    return f"Lung covers {where}.\nThe splits differ by {points}. {verdict}"


def say_overview(prepared: Prepared) -> str:
    """Return what the panels of `data_overview` show: the smallest split, sizes, grey levels and shares of lung."""
    areas, sides, darker = [], set(), 0
    for row in prepared.rows(*SPLITS):
        image, mask = prepared.pair(row)
        areas.append({"split": row["split"], "lung": mask.mean()})
        sides.add(image.shape[::-1])
        darker += bool(0 < mask.mean() < 1 and image[mask].mean() < image[~mask].mean())
    table = pd.DataFrame(areas)
    counts = table["split"].value_counts()
    size = "All images have {} x {} pixels.".format(*min(sides)) if len(sides) == 1 else f"{len(sides)} sizes occur."
    return (
        f"The smallest split, {counts.idxmin()}, has {counted(counts.min(), 'image')}, so one image is "
        f"{1 / counts.min():.0%} of its mean score. {size}\nThe lungs are darker than the rest, on average, in "
        f"{darker} of {counted(len(table), 'image')}.\n{say_data(table)}"
    )
