"""A data set looked through before anything is learned from it: what is wrong, in which file, and what to do.

Works on the prepared tree, so that files, volumes and all layouts are judged alike, and on the files it came from.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from lungnb.artefacts import MANIFEST, raw_folder
from lungnb.datasets.leakage import NEAR, hash_distances, perceptual_hash
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import Prepared, Row, open_prepared
from lungnb.datasets.sources import find_source
from lungnb.formats.images import MAX_LABELS, peculiarity, read_image
from lungnb.formats.rasters import IMAGE_SUFFIXES
from lungnb.masks import AREA, count_regions
from lungnb.settings import Settings, counted

FINDING_COLUMNS = ("file", "severity", "what", "advice")
SEVERITIES = ("error", "warning", "note")
_EDGE = 0.15  # of the picture's edge: more than lungs may touch, less than the air around a body does
_GREYS = 0.05  # of a mask file's pixels, that may be neither black nor white, as JPEG makes some
_MEND = "mend it, then run this again"
_ADVICE = {"no mask of this name": "add its mask", "no image of this name": "add its image"}
_FEW_PATIENTS = 5  # of a split, under which its scores say next to nothing
_FEW_FOLDERS = 5  # taken for patients, of many images each: rather classes
_BLOCK = 1000  # images compared with all at once
_LOOK = "look at it in the gallery; mend it, or take both files out"


def check_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Prepare a data set and look through it; return a row a finding: file, severity, what, and what to do.

    Severities: `error` for what would spoil training or was left out, `warning` for what a person should look at,
    `note` for what was converted on the way. Empty where all is well. Raises what `prepare_dataset` does.
    """
    prepare_dataset(settings, progress)
    prepared = open_prepared(settings)
    manifest, excluded = prepared.manifest, prepared.excluded
    unpaired = excluded["reason"].str.contains("no mask|no image|not in the")
    rows = [
        (
            file,
            "warning" if lonely else "error",
            f"left out: {reason.removeprefix(f'{file}: ')}",
            _ADVICE.get(reason, _MEND),
        )
        for (file, reason), lonely in zip(excluded.to_numpy(), unpaired, strict=True)
    ]
    raw, values = raw_folder(settings.dataset), find_source(settings.dataset).mask_values
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda row: _check_pair(row, prepared, raw, values), manifest.to_dict("records"))
        looked = list(tqdm(work, "Checking", len(manifest), unit="pair", file=sys.stdout, disable=not progress))
    rows += [finding for findings, _ in looked for finding in findings]
    rows += _few(manifest) + _folders(manifest, settings)
    rows += _copies(manifest, np.array([bits for _, bits in looked]))
    table = pd.DataFrame(rows, columns=FINDING_COLUMNS)
    return table.sort_values("severity", key=lambda of: of.map(SEVERITIES.index), kind="stable", ignore_index=True)


def _check_pair(
    row: Row, prepared: Prepared, raw: Path, values: tuple[int, ...] | None
) -> tuple[list[tuple], np.ndarray]:
    """Return the findings of one pair, and its image's perceptual hash."""
    image, mask = prepared.pair(row)
    sources = [row["source_image"], *row["source_mask"].split(";")]
    files = [Path(source) for source in sources if Path(source).suffix.lower() in IMAGE_SUFFIXES]
    files = [file for file in files if (raw / file).is_file()]
    found = [
        (str(file), "note", what, "none needed: it was converted")
        for file in files
        if (what := peculiarity(raw / file))
    ]
    greys = 0.0
    if values is None and len(files) == len(sources):
        greys = max(_greys(read_image(raw / file)) for file in files[1:])
    if greys > _GREYS:
        swapped = _greys(image) < 0.01
        what = "image and mask may be swapped" if swapped else f"not a mask: {greys:.0%} of it is grey"
        found.append((row["source_mask"], "error", what, "put images into images/ and masks into masks/"))
    elif image.std() < 2:
        found.append((row["source_image"], "error", "the image is of one grey", "take it out"))
    else:
        found += [(row["source_mask"], *finding) for finding in _judge_mask(image, mask)]
    return found, perceptual_hash(image)


def _judge_mask(image: np.ndarray, mask: np.ndarray) -> list[tuple[str, str, str]]:
    """Return what is strange about a mask on its image: severity, what, and what to do."""
    area = mask.mean()
    if not area:
        return [("warning", "the mask is empty", "right for a slice without lung; else " + _LOOK)]
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    if area > 0.95:
        return [("error", "the mask covers everything", _LOOK)]
    if area > 0.5 and edge > 0.5:
        return [("error", "the mask seems to be inverted: it covers the edge, not the middle", "invert it")]
    if edge > _EDGE:
        return [("error", f"the mask touches {edge:.0%} of the picture's edge, as air around a body does", _LOOK)]
    found = []
    regions = count_regions(mask)
    if not AREA[0] <= area <= AREA[1]:
        found.append(("warning", f"the mask covers {area:.1%} of the picture", _LOOK))
    left = mask[:, : mask.shape[1] // 2].sum() / mask.sum()
    if not 0.05 <= left <= 0.95:
        found.append(("warning", "the mask is in one half of the picture: a lung may be missing", _LOOK))
    if regions > 3:
        found.append(("warning", f"the mask has {regions} regions; lungs are two", _LOOK))
    around = ndimage.binary_dilation(mask, iterations=max(round(0.04 * max(mask.shape)), 1)) & ~mask
    if around.any() and image[mask].mean() > image[around].mean():
        found.append(("warning", "what is marked is brighter than what is around it", "invert the image, or " + _LOOK))
    return found


def _greys(image: np.ndarray) -> float:
    """Return the share of a picture's pixels that are neither nearly its darkest nor nearly its brightest.

    Of a file of labels it is nothing.
    """
    low, high = float(image.min()), float(image.max())
    if high <= MAX_LABELS:
        return 0.0
    inner = (image > low + 0.1 * (high - low)) & (image < high - 0.1 * (high - low))
    return float(inner.mean()) if high > low else 0.0


def _few(manifest: pd.DataFrame) -> list[tuple]:
    """Return a finding for a split of hardly any patients."""
    patients = manifest.groupby("split")["patient"].nunique()
    what = "{} in the {} split: scores on so few say next to nothing"
    return [
        (MANIFEST, "warning", what.format(counted(count, "patient"), split), "add images, or set folds=5")
        for split, count in patients.items()
        if split != "train" and count < _FEW_PATIENTS
    ]


def _folders(manifest: pd.DataFrame, settings: Settings) -> list[tuple]:
    """Return a finding where folders may have been taken for patients that are none, or the other way round."""
    folders = manifest["source_image"].map(lambda file: str(Path(file).parent))
    if find_source(settings.dataset).kind != "own" or settings.patient_file or settings.patient_pattern:
        return []
    by_file, images = manifest["source_image"].is_unique, len(manifest)
    patients, places = manifest["patient"].nunique(), folders.nunique()
    if by_file and 1 < places == patients <= _FEW_FOLDERS and images >= 10 * patients:
        what = f"each of the {places} folders of images is taken for a patient"
        return [(folders.iloc[0], "warning", what, "if they are none, give patient_pattern='(.+)': each name is one")]
    if by_file and places > 2 and patients == images >= 2 * places:
        what = f"images lie in {places} folders, and each image is taken for a patient"
        return [(folders.iloc[0], "note", what, "if a folder is a patient, give patient_pattern='([^/]+)/[^/]+$'")]
    return []


def _copies(manifest: pd.DataFrame, hashes: np.ndarray) -> list[tuple]:
    """Return a finding for each image that looks like an earlier one; some thousand at a time, to spare memory."""
    pairs = [
        (start + later, first)
        for start in range(0, len(hashes), _BLOCK)
        for later, first in np.argwhere(hash_distances(hashes[start : start + _BLOCK], hashes) <= NEAR)
        if first < start + later
    ]
    names, patients = manifest["source_image"].to_numpy(), manifest["patient"].to_numpy()
    return [
        (names[later], "warning", f"looks like a copy of {names[first]}", "keep one, or let both be one patient's")
        for later, first in pairs
        if patients[later] != patients[first]  # one patient's are alike, as are slices of a volume
    ]
