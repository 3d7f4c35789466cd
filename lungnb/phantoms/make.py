"""Make synthetic chest X-rays and axial CT slices with exact lung masks, from random numbers and no patient."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from lungnb.files import write_table, written
from lungnb.phantoms.ct import ct_phantom
from lungnb.phantoms.frame import TAME, Phantom, Wild, check_size
from lungnb.phantoms.xray import xray_phantom

KINDS = {"xray": TAME, "ct": TAME, "wild": Wild(*[1.0] * 5), "wilder": Wild(*[1.5] * 5)}  # how far beyond what is real
_NAME = "patient_{:03d}_image_{}"
_VALIDATION_EVERY = 10  # of the X-rays and of the CT slices of a wild set, one in so many is for validation
_IMAGES_SHARES = (0.75, 0.15, 0.1)  # of the patients that have one, two and three X-rays


def make_phantom(index: int, seed: int = 1, kind: str = "xray", size: int = 256, without: str | None = None) -> Phantom:
    """Return phantom number `index` of the series `seed`, which is always the same image.

    Args:
        index: 0 or more.
        seed: 0 or more.
        kind: "xray" and "ct" are as in reality, CT in Hounsfield units. "wild" are X-rays and CT slices in turn, uint8,
            far beyond what is real in shape, posture, tone and artefacts (domain randomisation), on which networks
            learn to segment what they have never seen. "wilder" come from still wider ranges, to validate these.
        size: px, 32 or more.
        without: the field of `Wild` that stays as in reality, such as "tone".

    Raises ValueError for any other argument.

    >>> make_phantom(0, size=64).mask.shape
    (64, 64)
    """
    _check(kind, without)
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, not {index} and {seed}.")
    wild = KINDS[kind]._replace(**{without: 0.0} if without else {})
    if kind == "ct" or (any(wild) and index % 2):
        return ct_phantom(np.random.default_rng([seed, index]), size, wild)
    return _patient_xray(index, 1, seed, size, wild)


def write_phantoms(
    folder: str | Path,
    count: int = 120,
    seed: int = 1,
    size: int = 256,
    progress: bool = True,
    workers: int | None = None,
    kind: str = "xray",
    without: str | None = None,
) -> None:
    """Write `count` phantoms to `folder/images` and their masks (0 and 255) to `folder/masks`, 8-bit greyscale BMP.

    CT slices in Hounsfield units, of `kind` "ct", are written as TIFF. Names are such as `patient_001_image_1`. About a
    quarter of the patients of `kind` "xray" have two or three images, those of other kinds have one. The first image of
    patient 7 is `make_phantom(7, seed, kind)`, and a larger `count` begins with the same images.

    In a set of `kind` "wild", one X-ray in ten and one CT slice in ten are "wilder" in all respects, even if `without`
    is given. `folder/split.csv` has these as validation. Other arguments are as in `make_phantom`.

    `folder` appears whole or not at all. The files do not depend on `workers`, the number of threads (by default the
    number of cores). Threads start in any notebook or script on any system, and 120 images take seconds.

    Raises ValueError for a `folder` that exists, another `kind`, and `count` or `workers` below 1.
    """
    folder = Path(folder)
    if count < 1 or (workers is not None and workers < 1):
        raise ValueError(f"count and workers must be 1 or more, not {count} and {workers}.")
    if folder.exists():
        raise ValueError(f"folder must not exist yet, but {folder} does; remove it or name another.")
    _check(kind, without)
    check_size(size)
    cases = _cases(count, seed) if kind == "xray" else [(patient, 1) for patient in range(1, count + 1)]
    with written(folder) as part, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
        jobs = [pool.submit(_write_case, part, *case, seed, size, kind, without) for case in cases]
        try:
            for job in tqdm(jobs, "phantoms", unit="image", file=sys.stdout, disable=not progress):
                job.result()
            if kind == "wild":
                _write_split(part, [patient for patient, _ in cases])
        finally:  # after an interruption, drop the jobs that have not begun, so that the folder can be cleared at once
            pool.shutdown(cancel_futures=True)


def _check(kind: str, without: str | None) -> None:
    if without and without not in Wild._fields:
        raise ValueError(f"without must be one of {', '.join(Wild._fields)}, not {without!r}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")


def _is_for_validation(patient: int) -> bool:
    """Return whether a patient of a wild set is for validation: one X-ray in ten, and one CT slice in ten."""
    return patient // 2 % _VALIDATION_EVERY == 0


def _cases(count: int, seed: int) -> list[tuple[int, int]]:
    """Return `count` pairs of patient and image number, both from 1; a larger count begins with the same pairs."""
    rng = np.random.default_rng([seed, 0])  # no patient has number 0
    numbers = rng.choice([1, 2, 3], size=count, p=_IMAGES_SHARES)
    return [(patient, image) for patient, n in enumerate(numbers, 1) for image in range(1, n + 1)][:count]


def _write_case(folder: Path, patient: int, image: int, seed: int, size: int, kind: str, without: str | None) -> None:
    """Write one X-ray or CT slice and its mask."""
    name = _NAME.format(patient, image)
    if kind == "xray":
        phantom = _patient_xray(patient, image, seed, size)
    elif kind == "wild" and _is_for_validation(patient):
        phantom = make_phantom(patient, seed, "wilder", size)
    else:
        phantom = make_phantom(patient, seed, kind, size, without)
    if kind == "ct":
        Image.fromarray(np.rint(phantom.image).astype(np.int32)).save(folder / "images" / f"{name}.tif", "TIFF")
    else:
        Image.fromarray(phantom.image).save(folder / "images" / f"{name}.bmp", "BMP")
    Image.fromarray(phantom.mask.astype(np.uint8) * np.uint8(255)).save(folder / "masks" / f"{name}.bmp", "BMP")


def _write_split(folder: Path, patients: list[int]) -> None:
    """Write which patients of a wild set are for training and which for validation."""
    splits = ["validation" if _is_for_validation(patient) else "train" for patient in patients]
    ids = [_NAME.format(patient, 1) for patient in patients]
    write_table(pd.DataFrame({"id": ids, "split": splits}), folder / "split.csv")


def _patient_xray(patient: int, image: int, seed: int, size: int, wild: Wild = TAME) -> Phantom:
    """Return one of the X-rays of one patient; the anatomy depends on the patient alone."""
    of_patient, of_image = np.random.default_rng([seed, patient]), np.random.default_rng([seed, patient, image])
    return xray_phantom(of_patient, size, of_image, wild)
