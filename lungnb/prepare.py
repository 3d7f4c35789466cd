"""A raw folder, whatever its layout, to a checked, paired, patient-split tree of PNGs and its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from lungnb.files import need, write_json, written
from lungnb.images import SUFFIXES, read_image, read_mask, shrink, write_png
from lungnb.settings import SPLITS, Settings, raw_folder
from lungnb.sources import Source, find_source

LONGEST_SIDE = 1024  # px; prepared images are no larger, for no network here sees more
MAX_ASPECT = 8  # of the longer side to the shorter; what is thinner is a strip of something else
_SALT = "lungnb/450/"  # of 3,000 tried, the one whose shares come nearest to 70/15/15 on the catalogue's small sets
_MASK_FOLDER = re.compile(r"mask|label", re.IGNORECASE)
_MASK_SUFFIX = re.compile(r"[-_ ](mask|label|seg)$", re.IGNORECASE)
_IMAGE_FOLDER = re.compile(r"^(image|img|picture|slice)s?$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image file, the mask files whose union is its lung mask, and their name; paths within the raw folder."""

    id: str
    patient: str
    image: Path
    masks: tuple[Path, ...]


def prepare_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Make `settings.prepared` from the raw data set and return its manifest, a row an image.

    Does nothing when it was made before from the same files with the same settings. What cannot be used (no mask, no
    image, unreadable, sizes that disagree) is left out and listed in `excluded.csv` with the reason.

    Raises FileNotFoundError where there is no raw data set, ValueError where it holds no usable pair.

    Example: `prepare_dataset(make_settings("montgomery", "full"))`.
    """
    source = find_source(settings.dataset)
    if not source.has_masks:
        raise ValueError(f"{source.name} comes without lung masks: segment its images, and train on another data set.")
    own = "make the folder, with images/ and masks/ in it,"
    step = own if source.kind == "own" else f"run notebook 01, or `lungnb download {settings.dataset}`,"
    raw = need(raw_folder(settings.dataset), step)
    record = {
        "dataset": settings.name,
        "split_fractions": list(settings.split_fractions),
        "split_file": _digest(split_path(settings.split_file)) if settings.split_file else None,
        "patient_pattern": settings.patient_pattern or source.patient_pattern,
        "files": _fingerprint(raw),
    }
    record_file = settings.prepared / "prepared.json"
    if record_file.exists() and json.loads(record_file.read_text(encoding="utf-8")) == record:
        return read_manifest(settings)

    pairs, excluded = find_pairs(raw, source, settings.patient_pattern)
    splits, unlisted = _splits(pairs, settings)
    excluded += unlisted
    pairs = [pair for pair in pairs if pair.id in splits]
    with written(settings.prepared) as folder:
        rows = _convert_all(pairs, raw, folder, splits, source, progress)
        excluded += [(row["image"], row["error"]) for row in rows if "error" in row]
        rows = [row for row in rows if "error" not in row]
        if not rows:
            raise ValueError(_no_pairs(raw, excluded))
        columns = ["id", "patient", "split", "image", "mask", "width", "height", "source_image", "source_mask"]
        pd.DataFrame(rows, columns=columns).sort_values("id").to_csv(folder / "manifest.csv", index=False)
        pd.DataFrame(sorted(excluded), columns=["file", "reason"]).to_csv(folder / "excluded.csv", index=False)
        write_json(folder / "prepared.json", record)
    return read_manifest(settings)


def read_manifest(settings: Settings) -> pd.DataFrame:
    """Return the prepared data set's manifest, a row an image, paths within `settings.prepared`."""
    file = need(settings.prepared / "manifest.csv", f"run notebook 02, or `lungnb prepare {settings.dataset}`,")
    return pd.read_csv(file, dtype={"id": str, "patient": str})


def read_excluded(settings: Settings) -> pd.DataFrame:
    """Return the files that preparation left out, each with its reason."""
    read_manifest(settings)
    return pd.read_csv(settings.prepared / "excluded.csv")


def find_pairs(raw: Path, source: Source, pattern: str | None = None) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Pair the images under `raw` with their masks by name; return the pairs, and what has no partner with why.

    A file is a mask when a folder on its way is called after masks or labels, or its name ends in `_mask`; its image is
    the one of the same name, or, where names repeat in several folders, the one in the mask's own branch.
    """
    try:
        matcher = re.compile(pattern or source.patient_pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern is not a regular expression: {pattern!r} ({error}).") from error
    images, masks = defaultdict(list), defaultdict(list)
    for path in image_files(raw):
        is_mask = any(map(_MASK_FOLDER.search, path.parent.parts)) or _MASK_SUFFIX.search(path.stem)
        (masks if is_mask else images)[_MASK_SUFFIX.sub("", path.stem)].append(path)

    # Where a name occurs in several folders, all that is in these is told apart, and taken for a patient's, by folder.
    branched = set()
    for paths in images.values():
        branches = {_branch(path) for path in paths}
        branched |= branches if len(branches) > 1 else set()
    named = bool(pattern) or source.patient_pattern != Source.patient_pattern

    pairs, excluded, used = [], [], set()
    for stem, paths in images.items():
        for image in paths:
            branch = _branch(image) if _branch(image) in branched else ""
            own = tuple(mask for mask in masks[stem] if not branch or _same_branch(mask, image))
            found = matcher.search(stem)
            by_name = found.group(1 if matcher.groups else 0) if found else stem
            patient = by_name if named and found else branch or by_name
            if own:
                pairs.append(Pair(f"{branch}_{stem}".lstrip("_"), patient, image, own))
                used.update(own)
            else:
                excluded.append((str(image), "no mask of this name"))
    lonely = (mask for paths in masks.values() for mask in paths if mask not in used)
    excluded += [(str(mask), "no image of this name") for mask in lonely]
    if not pairs:
        raise ValueError(_no_pairs(raw, excluded))
    return _refuse_same_ids(pairs, excluded)


def image_files(raw: Path) -> list[Path]:
    """Return all image files under `raw`, hidden ones left out, as sorted paths within it."""
    found = []
    for folder, folders, names in os.walk(raw):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [
            Path(folder, name).relative_to(raw)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found)


def split_of(patient: str, fractions: tuple[float, float, float]) -> str:
    """Return the split a patient belongs to: a matter of the name alone, so it stays when other images come or go.

    For the same reason one patient's images land in the same split in every data set that holds them.
    """
    train, validation, _ = fractions
    place = _place(patient)
    return "train" if place < train else "validation" if place < train + validation else "test"


def _splits(pairs: list[Pair], settings: Settings) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the split of each pair's id, and the files that a published split does not list."""
    if settings.split_file:
        listed = _read_split_file(split_path(settings.split_file))
        unlisted = [(str(pair.image), "not in the split file") for pair in pairs if pair.id not in listed]
        return {pair.id: listed[pair.id] for pair in pairs if pair.id in listed}, unlisted

    fractions = settings.split_fractions
    patients = {patient: split_of(patient, fractions) for patient in sorted({pair.patient for pair in pairs})}
    wanted = [split for split, fraction in zip(SPLITS, fractions, strict=True) if fraction]
    if len(patients) < len(wanted):
        raise ValueError(
            f"{settings.dataset}: {len(patients)} patients cannot make the splits {', '.join(wanted)}; "
            "patient_pattern says how names tell patients apart."
        )
    # A set of few patients may leave a split empty: it gets, from the largest, the patient nearest to its own range.
    for split, middle in zip(SPLITS, np.cumsum(fractions) - np.array(fractions) / 2, strict=True):
        if split in wanted and split not in patients.values():
            sizes = pd.Series(patients).value_counts()
            donors = [patient for patient, other in patients.items() if other == sizes.idxmax()]
            patients[min(donors, key=lambda patient: abs(_place(patient) - middle))] = split
    return {pair.id: patients[pair.patient] for pair in pairs}, []


def _convert_all(
    pairs: list[Pair], raw: Path, folder: Path, splits: dict[str, str], source: Source, progress: bool
) -> list[dict]:
    """Write every pair as two PNGs on all cores (Pillow leaves Python's lock while it decodes and encodes)."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(lambda pair: _convert(pair, raw, folder, splits[pair.id], source.mask_values), pairs)
        bar = tqdm(rows, "Preparing", len(pairs), unit="pair", file=sys.stdout, disable=not progress)
        return list(bar)


def _convert(pair: Pair, raw: Path, folder: Path, split: str, values: tuple[int, ...] | None) -> dict:
    """Write one pair and return its row of the manifest, or its error."""
    try:
        image = read_image(raw / pair.image)
        masks = [read_mask(raw / mask, values) for mask in pair.masks]
        height, width = image.shape
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise ValueError(f"{pair.image} is {width}x{height}, too thin for a picture of a chest")
        for path, mask in zip(pair.masks, masks, strict=True):
            # A few pixels more or less come from rounding when the publisher scaled; other shapes, from mistakes.
            if abs(mask.shape[1] / mask.shape[0] - width / height) > 0.01 * width / height:
                raise ValueError(f"mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}")
        image = shrink(image, LONGEST_SIDE)
        mask = np.logical_or.reduce([_resize_mask(mask, image.shape) for mask in masks])
    except ValueError as error:
        return {"image": str(pair.image), "error": str(error).replace(f"{raw}{os.sep}", "")}
    row = {"image": f"{split}/images/{pair.id}.png", "mask": f"{split}/masks/{pair.id}.png"}
    write_png(folder / row["image"], image)
    write_png(folder / row["mask"], mask)
    sources = {"source_image": pair.image.as_posix(), "source_mask": ";".join(m.as_posix() for m in pair.masks)}
    size = {"height": image.shape[0], "width": image.shape[1]}
    return {"id": pair.id, "patient": pair.patient, "split": split} | row | size | sources


def _resize_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize a bool mask to `(height, width)` by nearest neighbour."""
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def _branch(image: Path) -> str:
    """Return the folders an image lies in, those called after images aside, as one word."""
    return "_".join(part for part in image.parent.parts if not _IMAGE_FOLDER.match(part))


def _same_branch(mask: Path, image: Path) -> bool:
    """Whether a mask lies in an image's branch: its folders, those called after masks aside, are the image's too."""
    return {part for part in mask.parent.parts if not _MASK_FOLDER.search(part)} <= set(image.parent.parts)


def _refuse_same_ids(pairs: list[Pair], excluded: list[tuple[str, str]]) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Keep the first of the pairs that would be written under one name; the name's case does not tell them apart."""
    kept: dict[str, Pair] = {}
    for pair in pairs:
        first = kept.setdefault(pair.id.lower(), pair)
        if first is not pair:
            excluded.append((str(pair.image), f"the name is taken by {first.image}"))
    return list(kept.values()), excluded


def _no_pairs(raw: Path, excluded: list[tuple[str, str]]) -> str:
    """Return the sentence for a folder without a usable pair."""
    if any(raw.rglob("*.nii*")):
        return f"{raw} holds NIfTI volumes; convert them to image slices first, for volumes cannot be prepared yet."
    why = f" The first of the {len(excluded)} files left out: {': '.join(excluded[0])}." if excluded else ""
    return f"{raw}: no image with a mask found; put images in images/ and masks of the same names in masks/.{why}"


def split_path(split_file: str) -> Path:
    """Return the path of a split file: the reader's own, or a published one that `lungnb/splits` holds by name."""
    published = Path(__file__).parent / "splits" / f"{split_file}.csv"
    return published if published.exists() else Path(split_file)


def _read_split_file(file: Path) -> dict[str, str]:
    """Return the split of each id in a CSV with the columns id and split."""
    table = pd.read_csv(need(file, "put the split file there"), dtype=str)
    if not {"id", "split"} <= set(table) or not set(table["split"]) <= set(SPLITS):
        raise ValueError(f"{file}: needs the columns id and split, with splits among {', '.join(SPLITS)}.")
    return dict(zip(table["id"], table["split"], strict=True))


def _place(patient: str) -> float:
    """Return a patient's place between 0 and 1, evenly spread and the same on every machine."""
    return int(hashlib.sha256(f"{_SALT}{patient}".encode()).hexdigest()[:12], 16) / 16**12


def _fingerprint(raw: Path) -> str:
    """Return a digest of the names, sizes and times of the image files under `raw`."""
    stats = ((path.as_posix(), (raw / path).stat()) for path in image_files(raw))
    return _digest_of(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


def _digest(file: Path) -> str:
    return _digest_of([need(file, "put the split file there").read_text(encoding="utf-8")])


def _digest_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
