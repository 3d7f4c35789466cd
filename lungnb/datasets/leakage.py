"""Find leaks between splits: patients that are in two splits, and copies of training images in other splits."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pandas as pd
from PIL import Image
from scipy.fft import dctn
from tqdm import tqdm

from lungnb.datasets.prepared import open_prepared
from lungnb.formats.images import read_image
from lungnb.settings import SPLITS, Settings

_SIDE = 16  # frequencies per side of the hash
# Images are copies if their hashes differ in at most this share of bits. On Montgomery, Shenzhen and CT slices, tone,
# size, noise, JPEG and inversion change up to 0.10 (saturated greys 0.15); different patients differ by at least 0.149.
MAX_COPY_DISTANCE = 0.125
LEAK_COLUMNS = ("kind", "first", "first_split", "second", "second_split", "distance")


def find_leaks(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Return a table of the leaks between splits of the prepared data set, one row each.

    Columns: `kind` (`patient` or `near-duplicate`); `first` and `second` (the patient, or the ids of the two images)
    with their splits; `distance` of the images' perceptual hashes, 0 to 0.5.

    Images up to `MAX_COPY_DISTANCE` apart are near-duplicates: copies with another tone, size, file format or name, or
    inverted ones. Copies that are cropped, rotated by a few degrees, or equalised may be missed.
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
        work = pool.map(lambda file: perceptual_hash(read_image(file)), files)
        bar = tqdm(work, "Looking for copies", len(files), unit="image", file=sys.stdout, disable=not progress)
        hashes = np.array([*bar])
    for one, other in combinations(SPLITS, 2):
        first, second = (manifest[manifest["split"] == split] for split in (one, other))
        distances = hash_distances(hashes[first.index], hashes[second.index])
        rows += [
            ("near-duplicate", first["id"].iloc[i], one, second["id"].iloc[j], other, round(float(distances[i, j]), 3))
            for i, j in np.argwhere(distances <= MAX_COPY_DISTANCE)
        ]
    return pd.DataFrame(rows, columns=LEAK_COLUMNS)


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """Return a hash of 255 bits, bool, of a uint8 image `(height, width)`; copies have nearly the same hash.

    A bit says whether one of the image's 16x16 lowest frequencies, without the mean, is above their median (pHash,
    Zauner 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf).

    Example:
        >>> image = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64) // 16
        >>> perceptual_hash(image.astype(np.uint8)).shape
        (255,)
    """
    small = Image.fromarray(image).resize((4 * _SIDE, 4 * _SIDE), Image.Resampling.BOX)
    frequencies = dctn(np.asarray(small, np.float32), norm="ortho")[:_SIDE, :_SIDE].ravel()[1:]
    return frequencies > np.median(frequencies)


def hash_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the share of bits, 0 to 0.5, in which hashes `(n, bits)` and `(m, bits)` differ, as `(n, m)` float32.

    An inverted image has the opposite bits, and counts as the same.

    Example:
        >>> film = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
        >>> hashes = np.array([perceptual_hash(image) for image in (film, 255 - film, film.T)])
        >>> hash_distances(hashes[:1], hashes) <= MAX_COPY_DISTANCE
        array([[ True,  True, False]])
    """
    signs = [2 * hashes.astype(np.float32) - 1 for hashes in (first, second)]
    return (1 - np.abs(signs[0] @ signs[1].T) / first.shape[1]) / 2
