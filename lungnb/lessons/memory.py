"""Show by an experiment why patients must not be split: a predictor that only remembers its training images."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from lungnb.datasets.prepared import Prepared
from lungnb.formats.pixels import fit_square
from lungnb.masks import GREY_THRESHOLD
from lungnb.phantoms.make import make_phantom
from lungnb.settings import SPLITS

STUDY_SIDE = 64  # px; enough to recognise an image
TEST_SHARE = 0.2  # of the images, or of the patients
DEALS = 20  # random deals; more would change the means by less than 0.005
WAYS = ("images", "patients")  # what is drawn at random for training and test
MAX_IMAGES = 600  # of a prepared set, because all pairs of images are compared
RELEVANT_GAP = 0.01  # Dice; about the standard error of the means over the deals
# The images of one drawn patient differ by at most so much, as films of one day do.
_MAX_TURN_DEGREES, _MAX_SHIFT_PX, _MAX_CONTRAST, _NOISE = 2.0, 1.5, 0.15, 4.0


class Study(NamedTuple):
    """Small images with masks, and the patient of each."""

    images: np.ndarray  # (images, 64, 64), uint8
    masks: np.ndarray  # (images, 64, 64), bool
    patients: np.ndarray  # (images,), names or numbers


class Memory(NamedTuple):
    """The similarity of each pair of images of a study, and the Dice of each pair of masks."""

    patients: np.ndarray
    likeness: np.ndarray  # (images, images), correlation of greys, -1 to 1
    dice: np.ndarray  # (images, images)


def draw_study(patients: int = 30, images_each: int = 4, seed: int = 1) -> Study:
    """Draw a study in which each patient has several images of one day.

    The images of a patient differ a little in angle, place, contrast and noise.

    Example:
        >>> draw_study(patients=2, images_each=3).patients.tolist()
        [0, 0, 0, 1, 1, 1]
    """
    rng = np.random.default_rng(seed)
    phantoms = [make_phantom(patient, seed, size=STUDY_SIDE) for patient in range(patients)]
    films = [_expose_again(rng, *phantom) for phantom in phantoms for _ in range(images_each)]
    images, masks = zip(*films, strict=True)
    return Study(np.stack(images), np.stack(masks), np.repeat(np.arange(patients), images_each))


def _expose_again(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its mask as another film of the same day would show them."""
    angle = np.deg2rad(rng.uniform(-_MAX_TURN_DEGREES, _MAX_TURN_DEGREES))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (STUDY_SIDE - 1) / 2)
    offset = middle - turn @ middle + rng.uniform(-_MAX_SHIFT_PX, _MAX_SHIFT_PX, 2)
    moved = ndimage.affine_transform(image.astype(np.float32), turn, offset, order=1, mode="nearest")
    contrast = 1 + rng.uniform(-_MAX_CONTRAST, _MAX_CONTRAST)
    grey = moved.mean() + contrast * (moved - moved.mean()) + rng.normal(0, _NOISE, moved.shape)
    moved_mask = ndimage.affine_transform(mask.astype(np.uint8), turn, offset, order=0) > 0
    return np.clip(grey, 0, 255).astype(np.uint8), moved_mask


def read_study(prepared: Prepared) -> Study:
    """Return the images and masks of a prepared data set as a study: all, or the first 600."""
    rows = prepared.rows(*SPLITS)[:MAX_IMAGES]
    pairs = [prepared.pair(row) for row in rows]
    images = [fit_square(image, STUDY_SIDE).array for image, _ in pairs]
    masks = [fit_square(mask.astype(np.uint8) * np.uint8(255), STUDY_SIDE).array >= GREY_THRESHOLD for _, mask in pairs]
    return Study(np.stack(images), np.stack(masks), np.array([row["patient"] for row in rows]))


def remember(study: Study) -> Memory:
    """Return the correlation of each pair of images of a study, and the Dice of each pair of masks."""
    greys = study.images.reshape(len(study.images), -1).astype(np.float32)
    greys -= greys.mean(axis=1, keepdims=True)
    greys /= np.maximum(np.linalg.norm(greys, axis=1, keepdims=True), 1e-6)
    masks = study.masks.reshape(len(greys), -1).astype(np.float32)
    areas = masks.sum(axis=1)
    sums = areas[:, None] + areas[None, :]
    overlaps = np.divide(2 * masks @ masks.T, sums, out=np.ones_like(sums), where=sums > 0)
    return Memory(study.patients, greys @ greys.T, overlaps)


def deal(memory: Memory, way: str, seed: int) -> pd.DataFrame:
    """Deal `images` or `patients` (`way`) at random to training and test; return a row for each test image.

    The predictor finds the most similar training image, `nearest`, and returns the mask of that image. `dice` compares
    this mask with the ground truth. `is_same_patient` says whether both images are of one patient.
    """
    names = np.arange(len(memory.patients)) if way == "images" else memory.patients
    units = np.random.default_rng(seed).permutation(np.unique(names))
    is_test = np.isin(names, units[: max(round(TEST_SHARE * len(units)), 1)])
    tested, trained = np.flatnonzero(is_test), np.flatnonzero(~is_test)
    nearest = trained[memory.likeness[np.ix_(tested, trained)].argmax(axis=1)]
    answers = pd.DataFrame({"image": tested, "nearest": nearest, "dice": memory.dice[tested, nearest]})
    return answers.assign(is_same_patient=memory.patients[tested] == memory.patients[nearest])


def deal_both_ways(memory: Memory, deals: int = DEALS) -> pd.DataFrame:
    """Deal images and deal patients, several times each; return a row for each deal.

    Columns: `way`, the mean Dice `dice`, and `same_patient`, the share of test images whose nearest training image is
    of the same patient. If there is only one patient, the table is empty.

    Example:
        >>> table = deal_both_ways(remember(draw_study(patients=8)), deals=3)
        >>> float(table.loc[table["way"] == "patients", "same_patient"].max())
        0.0
    """
    rows = []
    for way in WAYS if len(np.unique(memory.patients)) > 1 else ():
        for seed in range(deals):
            answers = deal(memory, way, seed)
            rows.append((way, answers["dice"].mean(), answers["is_same_patient"].mean()))
    return pd.DataFrame(rows, columns=["way", "dice", "same_patient"])


def say_deals(table: pd.DataFrame, memory: Memory) -> str:
    """Return how much higher the Dice is if images are dealt instead of patients, from `deal_both_ways(memory)`."""
    if table.empty:
        return "All images are of one patient, so there is nothing to deal."
    if len(np.unique(memory.patients)) == len(memory.patients):
        return "Each patient has one image here, so dealing images and dealing patients are the same."
    means = table.groupby("way")[["dice", "same_patient"]].mean()
    images, patients = means.loc["images"], means.loc["patients"]
    gap = images["dice"] - patients["dice"]
    conclusion = "The scores hardly differ for this simple memory. A network might recognise the patients."
    if gap >= RELEVANT_GAP:
        conclusion = f"A split by image makes the score {gap:.2f} too high, although nothing was learned about lungs."
    return (
        f"Images dealt: mean Dice {images['dice']:.2f}; for {images['same_patient']:.0%} of the test images the "
        f"nearest training image is of the same patient.\nPatients dealt: mean Dice {patients['dice']:.2f}.\n"
        f"{conclusion}"
    )


def pick_example(memory: Memory, seed: int = 0) -> tuple[int, int, int]:
    """Return the numbers of three images: a test image, its nearest training image, and the nearest of another patient.

    Images are dealt once. Among the test images whose patient is recognised, choose the image with the median loss of
    Dice. The loss is the difference between both remembered masks. If no patient is recognised, choose the first image.
    """
    answers = deal(memory, "images", seed).sort_values("is_same_patient", ascending=False)
    is_other = memory.patients[None, :] != memory.patients[answers["image"]][:, None]
    others = np.where(is_other, memory.likeness[answers["image"]], -np.inf).argmax(axis=1)
    loss = answers["dice"] - memory.dice[answers["image"], others]
    known = loss[answers["is_same_patient"]]
    place = 0 if known.empty else int(np.argsort(known.to_numpy())[len(known) // 2])
    row = answers.iloc[place]
    return int(row["image"]), int(row["nearest"]), int(others[place])
