"""A raw folder, whatever its layout, to a checked, paired, patient-split tree of PNGs and its manifest."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from lungnb.artefacts import EXCLUDED, MANIFEST, RECORD, raw_folder
from lungnb.datasets.origin import origin_of, refuse_other_origin
from lungnb.datasets.pairing import Pair, find_pairs
from lungnb.datasets.prepared import digest_of, read_manifest
from lungnb.datasets.sources import Source, find_source
from lungnb.datasets.splitting import assign_patients, assign_splits, read_small, split_path
from lungnb.files import (
    NotWritten,
    locked,
    make_table,
    need,
    read_json,
    refuse_foreign,
    write_json,
    write_table,
    written,
)
from lungnb.formats.folders import image_files
from lungnb.formats.images import read_mask, read_picture, read_volume, write_png
from lungnb.formats.nifti import is_nifti, read_nifti
from lungnb.formats.opening import Refused, guarded, refuse_memory
from lungnb.formats.pixels import resample_mm, shrink, through_window, volume_window
from lungnb.formats.volumes import Volume, central_slices
from lungnb.messages import run_first
from lungnb.settings import Settings

LONGEST_SIDE = 1024  # px; prepared images are no larger, for no network here sees more
MAX_ASPECT = 8  # of the longer side to the shorter; what is thinner is a strip of something else
_FORMAT = 3  # of what is made; raised when files come to be read otherwise, so that all is made anew
_ONE_VOLUME = threading.Lock()  # a volume takes some 300 MB, and its mask as much


def prepare_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Make `settings.prepared` from the raw data set and return its manifest, a row an image.

    A volume becomes `settings.volume_slices` images, its axial slices evenly spaced over its central half, resampled to
    `settings.spacing` where that is given. With `settings.window` all images must be in Hounsfield units.

    Does nothing when it was made before from the same files with the same settings. What cannot be used (no mask, no
    image, unreadable, sizes that disagree) is left out and listed in `excluded.csv` with the reason.

    Raises FileNotFoundError where there is no raw data set, ValueError where it holds no usable pair, or where another
    data set of the same name was prepared or trained on before.

    Example: `prepare_dataset(make_settings("montgomery", "full"))`.
    """
    source = find_source(settings.dataset)
    refuse_other_origin(settings)
    if not source.has_masks:
        raise ValueError(f"{source.name} comes without lung masks: segment its images, and train on another data set.")
    own = "make the folder, with images/ and masks/ in it,"
    step = own if source.kind == "own" else run_first("raw", settings.dataset)
    raw = need(raw_folder(settings.dataset), step)
    record = {
        "format": _FORMAT,
        "dataset": settings.name,
        "split_fractions": list(settings.split_fractions),
        "split_file": _digest(split_path(settings)) if settings.split_file else None,
        "patient_pattern": settings.patient_pattern or source.patient_pattern,
        "patient_file": _digest(Path(settings.patient_file)) if settings.patient_file else None,
        "window": list(settings.window) if settings.window else None,
        "spacing": settings.spacing,
        "volume_slices": settings.volume_slices,
        "files": _fingerprint(raw),
    }
    record |= {"folds": settings.folds, "fold": settings.fold} if settings.folds else {}
    if not _is_prepared(settings, record):
        with locked(settings.prepared):
            if not _is_prepared(settings, record):  # another run may have done it just now
                _prepare(settings, source, raw, record, progress)
    _record_origin(settings)
    return read_manifest(settings)


def _is_prepared(settings: Settings, record: dict) -> bool:
    found = read_json(settings.prepared / RECORD)
    return found == record | {name: found[name] for name in ("content", "origin") if name in found}


def _record_origin(settings: Settings) -> None:
    """Record where the raw folder is, if an earlier version did not, or if the folder was moved since."""
    file, origin = settings.prepared / RECORD, {"origin": origin_of(settings.dataset)}
    if read_json(file).get("origin") != origin["origin"]:
        with suppress(NotWritten, RuntimeError), locked(settings.prepared):  # it can be read without, and by others
            write_json(file, read_json(file) | origin)


def _prepare(settings: Settings, source: Source, raw: Path, record: dict, progress: bool) -> None:
    """Make the prepared folder anew from a raw one, with the record of how."""
    pairs, excluded = find_pairs(raw, source, settings.patient_pattern)
    for step in (assign_patients, assign_splits):
        pairs, unlisted = step(pairs, settings)
        excluded += unlisted
    record |= {"origin": origin_of(settings.dataset)}
    refuse_foreign(settings.prepared, RECORD)  # now, not only after minutes of work
    with written(settings.prepared, proof=RECORD) as folder:
        rows = _convert_all(pairs, raw, folder, settings, source.mask_values, progress)
        excluded += [(row["image"], row["error"]) for row in rows if "error" in row]
        rows = [row for row in rows if "error" not in row]
        if not rows:
            raise ValueError(f"{raw}: no image with a mask can be used; the last: {excluded[-1][1]}")
        columns = ["id", "patient", "split", "image", "mask", "width", "height", "pixel_height_mm", "pixel_width_mm"]
        columns += ["source_image", "source_mask"]
        rows = sorted(rows, key=lambda row: row["id"])
        write_table(make_table(rows, columns), folder / MANIFEST)
        write_table(make_table(sorted(excluded), ["file", "reason"]), folder / EXCLUDED)
        write_json(folder / RECORD, record | {"content": digest_of(row["content"] for row in rows)})


def _convert_all(
    pairs: list[Pair],
    raw: Path,
    folder: Path,
    settings: Settings,
    values: tuple[int, ...] | None,
    progress: bool,
) -> list[dict]:
    """Write every pair as PNGs on all cores (Pillow leaves Python's lock while it decodes and encodes)."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(lambda pair: _convert(pair, raw, folder, settings, values), pairs)
        bar = tqdm(rows, "Preparing", len(pairs), unit="pair", file=sys.stdout, disable=not progress)
        return [row for of_one_pair in bar for row in of_one_pair]


def _convert(pair: Pair, raw: Path, folder: Path, settings: Settings, values: tuple[int, ...] | None) -> list[dict]:
    """Write one pair and return its rows of the manifest, one an image, or its error."""
    read = _read_volume_pair if os.path.isdir(raw / pair.image) or is_nifti(pair.image) else _read_image_pair
    try:
        with guarded(raw / pair.image):
            found = read(pair, raw, settings, values)
    except ValueError as error:
        return [{"image": str(pair.image), "error": str(error).replace(f"{raw}{os.sep}", "")}]
    sources = {"source_image": pair.image.as_posix(), "source_mask": ";".join(m.as_posix() for m in pair.masks)}
    rows = []
    for name, image, mask, (pixel_height, pixel_width) in found:
        row = {"image": f"{pair.split}/images/{name}.png", "mask": f"{pair.split}/masks/{name}.png"}
        write_png(folder / row["image"], image)
        write_png(folder / row["mask"], mask)
        size = {"height": image.shape[0], "width": image.shape[1]}
        size |= {"pixel_height_mm": pixel_height, "pixel_width_mm": pixel_width}
        content = {"content": hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()}
        rows.append({"id": name, "patient": pair.patient, "split": pair.split} | row | size | sources | content)
    return rows


def _read_image_pair(
    pair: Pair, raw: Path, settings: Settings, values: tuple[int, ...] | None
) -> list[tuple[str, np.ndarray, np.ndarray, tuple]]:
    """Return the id, the uint8 image, the bool mask and the pixel's size (mm), if known, of a pair of image files."""
    image, pixel, *_ = read_picture(raw / pair.image, settings.window)
    masks = [read_mask(raw / mask, values) for mask in pair.masks]
    height, width = image.shape
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise Refused(f"{pair.image} is {width}x{height}, too thin for a picture of a chest")
    for path, mask in zip(pair.masks, masks, strict=True):
        # A few pixels more or less come from rounding when the publisher scaled; other shapes, from mistakes.
        if abs(mask.shape[1] / mask.shape[0] - width / height) > 0.01 * width / height:
            raise Refused(f"mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}")
    image = shrink(image, LONGEST_SIDE)
    lungs = np.logical_or.reduce([_resize_mask(mask, image.shape) for mask in masks])
    larger = (height / image.shape[0], width / image.shape[1])
    return [(pair.id, image, lungs, tuple(np.multiply(pixel, larger)) if pixel else (None, None))]


def _read_volume_pair(
    pair: Pair, raw: Path, settings: Settings, values: tuple[int, ...] | None
) -> list[tuple[str, np.ndarray, np.ndarray, tuple]]:
    """Return id, uint8 image, bool mask and pixel's size (mm) of each slice taken from a volume and its NIfTI masks.

    Resampled within the slices alone: between them it would only blur slices of which single ones are kept.
    """
    with _ONE_VOLUME:
        volume = read_volume(raw / pair.image)
        indices = central_slices(len(volume.hounsfield), settings.volume_slices)
        scale = volume_window(volume.hounsfield, settings.window, raw / pair.image)
        images = [through_window(volume.hounsfield[index], scale) for index in indices]
        masks = [_read_lung(raw / mask, volume, values)[indices] for mask in pair.masks]
    lungs = np.logical_or.reduce(masks)
    spacing = volume.spacing_mm[1:]
    if settings.spacing:
        grid = np.multiply(images[0].shape, spacing) / settings.spacing
        refuse_memory(pair.image, 16 * grid.prod() * len(images), f"resampling to {settings.spacing:g} mm")
        images = [resample_mm(image, spacing, settings.spacing) for image in images]
        lungs = [resample_mm(lung, spacing, settings.spacing, is_mask=True) for lung in lungs]
        spacing = (settings.spacing, settings.spacing)
    pairs = zip(images, lungs, strict=True)
    small = [(shrink(image, LONGEST_SIDE), shrink(lung, LONGEST_SIDE)) for image, lung in pairs]
    pixel = tuple(np.array(spacing) * images[0].shape / small[0][0].shape)
    return [(f"{pair.id}_{index:03}", *both, pixel) for index, both in zip(indices, small, strict=True)]


def _read_lung(path: Path, volume: Volume, values: tuple[int, ...] | None) -> np.ndarray:
    """Return a NIfTI mask as a bool array on the grid of its volume: all labels but 0, or those given."""
    mask = read_nifti(path)
    apart = np.abs(np.subtract(mask.origin_mm, volume.origin_mm)).max()
    if mask.hounsfield.shape != volume.hounsfield.shape:
        shapes = ("x".join(map(str, of.hounsfield.shape)) for of in (mask, volume))
        raise Refused("mask {} has {} voxels, its volume {}".format(path, *shapes))
    if not np.allclose(mask.spacing_mm, volume.spacing_mm, rtol=0.01) or apart > max(volume.spacing_mm):
        raise Refused(f"mask {path} lies elsewhere than its volume, by what their headers say of spacing and place")
    return np.isin(np.rint(mask.hounsfield), values) if values else mask.hounsfield > 0.5


def _resize_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize a bool mask to `(height, width)` by nearest neighbour."""
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def _fingerprint(raw: Path) -> str:
    """Return a digest of the names, sizes and times of the image files under `raw`."""
    lines = []
    for path in image_files(raw):
        # A link to nothing has a time of its own, so that the digest changes when the link is mended.
        status = os.stat(raw / path, follow_symlinks=os.path.exists(raw / path))
        lines.append(f"{path.as_posix()} {status.st_size} {status.st_mtime_ns}")
    return digest_of(lines)


def _digest(file: Path) -> str:
    return hashlib.sha256(read_small(need(file, "put the file there"))).hexdigest()
