"""Make synthetic chest X-rays and axial CT slices with exact lung masks, from random numbers and no patient."""

import os
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from lungnb.artefacts import SPLIT_FILE
from lungnb.files import written
from lungnb.phantoms.ct import ct_phantom
from lungnb.phantoms.findings import ADDITIONS
from lungnb.phantoms.frame import TAME, WILD, Phantom, Wild
from lungnb.phantoms.others import other_picture
from lungnb.phantoms.radiograph import film_phantom
from lungnb.phantoms.xray import xray_phantom

KINDS = {"xray": TAME, "ct": TAME, "wild": WILD, "wilder": Wild(*[1.5] * 5)}  # how far beyond what is real
FILM_KINDS = {"film": TAME, "mixed": WILD, "mixed-wider": KINDS["wilder"]}  # X-rays as hospitals have them
OTHER = "other"  # the kind of pictures that show no chest
_VALIDATED_ON = {"wild": "wilder", "mixed": "mixed-wider"}
_NAME = "patient_{:03d}_image_{}"
_VALIDATION_EVERY = 10  # in a wild set, one X-ray and one CT slice in so many are for validation
_IMAGES_SHARES = (0.75, 0.15, 0.1)  # of the patients that have one, two and three X-rays


def make_phantom(
    index: int, seed: int = 1, kind: str = "xray", size: int = 256, without: str | Collection[str] | None = None
) -> Phantom:
    """Return phantom number `index` of the series `seed`, which is always the same image.

    Args:
        index: 0 or more.
        seed: 0 or more.
        kind: "xray" and "ct" look real; "ct" is in Hounsfield units. "wild" gives X-rays and CT slices in turn, uint8,
            whose shape, posture, tone and artefacts vary more than in real images (domain randomisation). Networks that
            train on them can segment images of new kinds. "wilder" varies still more, for validation. "film" gives
            X-rays with disease, portable views and digital processing, and masks as readers draw them. "mixed" gives
            films, half of them wild, and wild CT slices in turn. "mixed-wider" is "mixed" with the wider ranges, for
            validation. "other" gives pictures without a chest, with empty masks.
        size: px, 32 or more.
        without: the name or names of variations to leave out: fields of `Wild`, such as "tone"; for films also names of
            `lungnb.phantoms.findings.ADDITIONS`, such as "portable".

    Raises ValueError for any other argument.

    >>> make_phantom(0, size=64).mask.shape
    (64, 64)
    """
    names = _check(kind, without)
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must be 0 or more, not {index} and {seed}.")
    return _draw(index, 1, seed, kind, size, names)


def _check(kind: str, without: str | Collection[str] | None) -> frozenset[str]:
    """Return the names of the variations to leave out. Raise ValueError if a name or the kind does not exist."""
    kinds = (*KINDS, *FILM_KINDS, OTHER)
    names = frozenset([without] if isinstance(without, str) else without or ()) - {""}
    known = (*Wild._fields, *(ADDITIONS if kind in FILM_KINDS else ()))
    if not names <= set(known):
        raise ValueError(f"without must be one of {', '.join(known)}, not {min(names - set(known))!r}.")
    if kind not in kinds:
        raise ValueError(f"kind must be one of {', '.join(kinds)}, not {kind!r}.")
    return names


def _draw(patient: int, image: int, seed: int, kind: str, size: int, without: frozenset[str]) -> Phantom:
    """Return one image of a patient. The anatomy in an X-ray does not depend on the number of the image."""
    of_patient, of_image = np.random.default_rng([seed, patient]), np.random.default_rng([seed, patient, image])
    if kind == OTHER:
        return Phantom(other_picture(of_patient, size), np.zeros((size, size), bool))
    wild = (KINDS | FILM_KINDS)[kind]._replace(**dict.fromkeys(without & {*Wild._fields}, 0.0))
    if kind == "ct" or (any(wild) and patient % 2):
        return ct_phantom(of_patient, size, wild)
    if kind in FILM_KINDS:
        is_plain = kind == "mixed" and patient % 4 == 0
        return film_phantom(of_patient, size, TAME if is_plain else wild, without & {*ADDITIONS})
    return xray_phantom(of_patient, size, of_image, wild)


def write_phantoms(
    folder: str | Path, count: int = 120, seed: int = 1, size: int = 256, progress: bool = True, kind: str = "xray",
    without: str | Collection[str] | None = None,
) -> None:  # fmt: skip
    """Write `count` phantoms to `folder/images` and their masks (0 and 255) to `folder/masks`, 8-bit greyscale BMP.

    CT slices of `kind` "ct" are in Hounsfield units, and written as TIFF. `patient_001_image_1` is an example of a
    name. About a quarter of the patients of `kind` "xray" have two or three images. Patients of other kinds have one.
    The first image of patient 7 is `make_phantom(7, seed, kind)`, and a larger `count` begins with the same images.

    In a set of `kind` "wild", one X-ray in ten and one CT slice in ten are "wilder" in all respects, even if `without`
    is given. In a set of `kind` "mixed" they are "mixed-wider". `folder/split.csv` puts these into the validation
    split. Other arguments are as in `make_phantom`.

    `folder` appears whole or not at all. Raises ValueError if it exists, and for other wrong arguments.
    """
    folder = Path(folder)
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}.")
    if folder.exists():
        raise ValueError(f"folder must not exist yet, but {folder} does; remove it or name another.")
    names = _check(kind, without)
    cases = _cases(count, seed) if kind == "xray" else [(patient, 1) for patient in range(1, count + 1)]
    with written(folder) as part, ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
        jobs = [pool.submit(_write_case, part, *case, seed, size, kind, names) for case in cases]
        try:
            for job in tqdm(jobs, "phantoms", unit="image", file=sys.stdout, disable=not progress):
                job.result()
        finally:  # after an interruption, drop the jobs that have not begun, so that the folder can be cleared at once
            pool.shutdown(cancel_futures=True)
        if kind in _VALIDATED_ON:
            splits = ["validation" if _is_for_validation(patient) else "train" for patient, _ in cases]
            ids = [_NAME.format(*case) for case in cases]
            pd.DataFrame({"id": ids, "split": splits}).to_csv(part / SPLIT_FILE, index=False)


def _is_for_validation(patient: int) -> bool:
    """Return whether a patient of a wild or mixed set is for validation: one X-ray in ten, and one CT slice in ten."""
    return patient // 2 % _VALIDATION_EVERY == 0


def _cases(count: int, seed: int) -> list[tuple[int, int]]:
    """Return `count` pairs of patient and image number, both from 1; a larger count begins with the same pairs."""
    rng = np.random.default_rng([seed, 0])  # no patient has number 0
    numbers = rng.choice([1, 2, 3], size=count, p=_IMAGES_SHARES)
    return [(patient, image) for patient, n in enumerate(numbers, 1) for image in range(1, n + 1)][:count]


def _write_case(
    folder: Path, patient: int, image: int, seed: int, size: int, kind: str, without: frozenset[str]
) -> None:
    name = _NAME.format(patient, image)
    if kind in _VALIDATED_ON and _is_for_validation(patient):
        kind, without = _VALIDATED_ON[kind], frozenset()
    phantom = _draw(patient, image, seed, kind, size, without)
    if kind == "ct":
        Image.fromarray(np.rint(phantom.image).astype(np.int32)).save(folder / "images" / f"{name}.tif", "TIFF")
    else:
        Image.fromarray(phantom.image).save(folder / "images" / f"{name}.bmp", "BMP")
    Image.fromarray(phantom.mask.astype(np.uint8) * np.uint8(255)).save(folder / "masks" / f"{name}.bmp", "BMP")
