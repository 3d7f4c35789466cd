"""Say what a prepared folder depends on, if it is up to date, and which splits it keeps when it is made again."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from lungnb.artefacts import EXCLUDED, MANIFEST, PREPARED_RECORD
from lungnb.datasets.origin import origin_of
from lungnb.datasets.pairing import Pair
from lungnb.datasets.prepared import digest_of, is_sound
from lungnb.datasets.sources import Source
from lungnb.datasets.splitting import has_split_folders, split_path
from lungnb.datasets.user_tables import read_small
from lungnb.files import locked, need, read_json, write_json
from lungnb.formats.folders import image_files
from lungnb.formats.tables import read_table
from lungnb.settings import Settings, counted

_FORMAT = 16  # of prepared folders; raise it if files are read in another way, so that all folders are made again
_SPLIT_FORMAT = 2  # of the splits; raise it if patients are dealt in another way, so that all are dealt again
# If one of these parts of the plan changes, all patients are dealt again.
_SPLIT_PARTS = ("split_format", "dataset", "split_fractions", "split_file", "patient_pattern", "folds", "fold")
_RESULTS = ("content", "origin", "notes", "news")  # parts of the record that do not belong to the plan


def make_plan(settings: Settings, source: Source, raw: Path) -> dict[str, object]:
    """Return what the prepared folder depends on, for its record. `_FORMAT` is the version of pairing and reading.

    Raises FileNotFoundError or ValueError for a table of patients or splits that cannot be read.
    """
    plan: dict[str, object] = {
        "format": _FORMAT, "split_format": _SPLIT_FORMAT, "dataset": settings.name,
        "split_fractions": list(settings.split_fractions),
        "split_file": _digest(split_path(settings.split_file, settings.dataset)) if settings.split_file else None,
        "patient_pattern": settings.patient_pattern or source.patient_pattern,
        "patient_file": _digest(Path(settings.patient_file)) if settings.patient_file else None,
        "window": list(settings.window) if settings.window else None, "spacing": settings.spacing,
        "pixel_mm": settings.pixel_mm, "volume_slices": settings.volume_slices,
        "mask_values": list(settings.mask_values) if settings.mask_values else None, "files": _fingerprint(raw),
    }  # fmt: skip
    plan |= {"mask_values": list(source.mask_values)} if source.mask_values else {}
    return plan | ({"folds": settings.folds, "fold": settings.fold} if settings.folds else {})


def is_prepared(folder: Path, plan: dict[str, object]) -> bool:
    """Return whether the prepared folder exists, was made by the same plan, and is whole."""
    stored = read_json(folder / PREPARED_RECORD)
    return stored == plan | {name: stored[name] for name in _RESULTS if name in stored} and _is_whole(folder)


def _is_whole(folder: Path) -> bool:
    """Return whether the tables of a prepared folder can be read, and all its images and masks are there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        read_table(folder / EXCLUDED)
        manifest = read_table(folder / MANIFEST)
        files = [*manifest["image"], *manifest["mask"]]
        return is_sound(manifest) and all((folder / file).is_file() for file in files)
    return False


def record_origin(folder: Path, dataset: str) -> None:
    """Record in the prepared folder where the raw one is, if an earlier version did not, or if it was moved since."""
    file, origin = folder / PREPARED_RECORD, {"origin": origin_of(dataset)}
    if read_json(file).get("origin") != origin["origin"]:
        with suppress(OSError, RuntimeError), locked(folder):  # the record is useful without it
            write_json(file, read_json(file) | origin)


def earlier_splits(folder: Path, plan: dict[str, object], pairs: list[Pair]) -> tuple[dict[str, str], str]:
    """Return the split of each patient in the earlier manifest, and a sentence if all patients are split again.

    All patients are split again if a setting of the splits has changed since, if the manifest cannot be read, or if
    another version of lungnb wrote it. Earlier splits are ignored if a split file, folders or folds decide.
    """
    stored = read_json(folder / PREPARED_RECORD)
    if not stored:
        return {}, ""
    if stored.get("format") != plan["format"]:
        return {}, "An earlier version of lungnb prepared this data set, so it was prepared and split again."
    if plan["split_file"] or "folds" in plan or has_split_folders(pairs):
        return {}, ""
    changed = [name for name in _SPLIT_PARTS if stored.get(name) != plan.get(name)]
    if changed:
        return {}, f"All patients were split again, because {' and '.join(changed)} changed."
    try:
        manifest = read_table(folder / MANIFEST)
        splits = dict(zip(manifest["patient"], manifest["split"], strict=True))
    except (OSError, ValueError, KeyError):
        return {}, "The earlier manifest cannot be read, so all patients were split again."
    return splits, ""


def news_of(pairs: list[Pair], earlier: dict[str, str]) -> str:
    """Return a sentence on how many patients have the split of the earlier manifest, if there is one."""
    splits = {pair.patient: pair.split for pair in pairs}
    known = splits.keys() & earlier.keys()
    if any(splits[patient] != earlier[patient] for patient in known):
        return "All patients were split again, because a split would have been empty."
    others = counted(len(splits) - len(known), "patient")
    kept = f"{counted(len(known), 'patient')} kept the split of the earlier manifest"
    return f"{kept}, {others} had none and got one." if earlier else ""


def _fingerprint(raw: Path) -> str:
    """Return a digest of the names, sizes and times of the image files under `raw`."""
    lines = []
    for path in image_files(raw):
        # A broken link has its own time, so that the digest changes if the link is repaired.
        status = os.stat(raw / path, follow_symlinks=os.path.exists(raw / path))
        lines.append(f"{path.as_posix()} {status.st_size} {status.st_mtime_ns}")
    return digest_of(lines)


def _digest(file: Path) -> str:
    return hashlib.sha256(read_small(need(file, "put the file there"))).hexdigest()
