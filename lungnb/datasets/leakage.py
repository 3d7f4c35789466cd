"""Find leaks between splits: patients that are in two splits, and copies of training images in other splits."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb.datasets.copies import Fingerprints, find_copies, fingerprint, stack
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.formats.images import read_image
from lungnb.settings import SPLITS, Settings

LEAK_COLUMNS = ("kind", "first", "first_split", "second", "second_split", "distance")


def find_leaks(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Return a table of the leaks between splits of the prepared data set, one row each.

    Columns: `kind` (`patient` or `near-duplicate`); `first` and `second` (the patient, or the ids of the two images)
    with their splits; `distance` of the two images, 1 minus the correlation after they were aligned.

    Near-duplicates are copies with other tones, size, file format or name, and copies that were inverted, mirrored,
    turned by up to 2 degrees, cropped or padded by up to 5 %, or marked in a corner; see `datasets.copies`.
    """
    prepared = open_prepared(settings)
    manifest = prepared.manifest
    by_split = manifest.groupby("patient")["split"].unique()
    rows = [
        ("patient", patient, one, patient, other, np.nan)
        for patient, splits in by_split[by_split.map(len) > 1].items()
        for one, other in combinations(sorted(splits, key=SPLITS.index), 2)
    ]
    fingerprints = _fingerprints([prepared.folder / image for image in manifest["image"]], progress)
    splits = manifest["split"].to_numpy()
    for *pair, distance in find_copies(fingerprints, splits).itertuples(index=False):
        first, second = sorted(pair, key=lambda image: SPLITS.index(splits[image]))
        ids = manifest["id"]
        rows.append(("near-duplicate", ids[first], splits[first], ids[second], splits[second], round(distance, 3)))
    return pd.DataFrame(rows, columns=LEAK_COLUMNS)


def without_seen(tested: Prepared, trained: Prepared, progress: bool = True) -> Prepared:
    """Return the test split of a data set without patients whose images another data set's network has seen.

    Published sets share films: the Kaggle set has those of Montgomery. A patient of both may be in the training or
    validation split of one and in the test split of the other. Names do not tell, so images are compared.
    """
    test = tested.manifest[tested.manifest["split"] == "test"]
    seen = trained.manifest[trained.manifest["split"] != "test"]
    files = [data.folder / image for data, rows in ((tested, test), (trained, seen)) for image in rows["image"]]
    set_of = np.repeat([0, 1], [len(test), len(seen)])
    copies = find_copies(_fingerprints(files, progress), set_of)["first"]  # those of the first set have lower numbers
    patients = test["patient"].iloc[copies.unique()]
    manifest = test[~test["patient"].isin(patients)].reset_index(drop=True)
    return Prepared(tested.folder, tested.name, manifest)


def _fingerprints(files: list[Path], progress: bool) -> Fingerprints:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda file: fingerprint(read_image(file)), files)
        bar = tqdm(work, "Looking for copies", len(files), unit="image", file=sys.stdout, disable=not progress)
        return stack([*bar])
