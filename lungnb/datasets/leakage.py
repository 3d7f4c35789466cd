"""Find leaks between splits: patients that are in two splits, and copies of training images in other splits."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pandas as pd
from tqdm import tqdm

from lungnb.datasets.copies import find_copies, fingerprint, stack
from lungnb.datasets.prepared import open_prepared
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
    files = [prepared.folder / image for image in manifest["image"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda file: fingerprint(read_image(file)), files)
        bar = tqdm(work, "Looking for copies", len(files), unit="image", file=sys.stdout, disable=not progress)
        fingerprints = stack([*bar])
    splits = manifest["split"].to_numpy()
    for *pair, distance in find_copies(fingerprints, splits).itertuples(index=False):
        first, second = sorted(pair, key=lambda image: SPLITS.index(splits[image]))
        ids = manifest["id"]
        rows.append(("near-duplicate", ids[first], splits[first], ids[second], splits[second], round(distance, 3)))
    return pd.DataFrame(rows, columns=LEAK_COLUMNS)
