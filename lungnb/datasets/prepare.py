"""Convert a raw folder of any layout to PNGs, paired and split by patient, and a manifest."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from lungnb.artefacts import EXCLUDED, MANIFEST, RECORD, raw_folder
from lungnb.datasets.origin import origin_of, refuse_other_origin
from lungnb.datasets.pairing import Pair, find_pairs
from lungnb.datasets.plan import earlier_splits, is_prepared, make_plan, news_of, record_origin
from lungnb.datasets.prepared import Row, digest_of, read_manifest
from lungnb.datasets.sources import Source, find_source
from lungnb.datasets.splitting import assign_patients, assign_splits
from lungnb.files import locked, make_table, need, refuse_foreign, write_json, write_table, written
from lungnb.formats.dicom_opening import is_dicom
from lungnb.formats.dicom_seg import read_volume_seg
from lungnb.formats.images import (
    Picture,
    is_volume,
    read_mask,
    read_orientation,
    read_picture,
    read_volume,
    write_png,
)
from lungnb.formats.labels import lung_mask
from lungnb.formats.nifti import read_nifti
from lungnb.formats.opening import Refused, guarded, refuse_memory
from lungnb.formats.pixels import resample_mm, shrink, through_window
from lungnb.formats.ranges import grey_range
from lungnb.formats.rasters import UPRIGHT, turned_upright
from lungnb.formats.volumes import Volume, central_slices
from lungnb.masks import Mask
from lungnb.messages import run_first
from lungnb.settings import Settings

LONGEST_SIDE = 1024  # px; larger images are shrunk, because networks see less
_MAX_CHEST_ASPECT = 8  # longer side to shorter; a thinner image shows no chest
_MAX_ASPECT_ERROR = 0.01  # relative, of a mask's aspect ratio to its image's; rounding explains less, mistakes are more
_MAX_SPACING_ERROR = 0.01  # relative, of a mask's spacing to its volume's
_ONE_VOLUME = threading.Lock()  # because a volume takes about 300 MB, and its mask as much again
PixelSize = tuple[float, float] | tuple[None, None]  # height and width in mm, if known
Slice = tuple[str, np.ndarray, np.ndarray, PixelSize]  # id, uint8 image, bool mask, pixel size
Finding = tuple[str, str, str, str]  # file, severity, what, advice
NONE_NEEDED = "none needed: it was converted"
_APART = "its EXIF data turn it, and its mask has none: they may be turned apart"


def prepare_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Make `settings.prepared` from the raw data set and return its manifest, one row per image or slice of a volume.

    Does nothing if the folder was made before from the same files with the same settings. If files were added, patients
    keep the split that they had (see `earlier_splits`). Files that cannot be used (no mask, no image, unreadable,
    different sizes) are listed in `excluded.csv` with the reason.

    Raises FileNotFoundError if there is no raw data set, ValueError if it has no usable pair, or if another data set of
    the same name was prepared or trained on before.
    """
    source = find_source(settings.dataset)
    refuse_other_origin(settings)
    if not source.has_masks:
        raise ValueError(f"{source.name} comes without lung masks: segment its images, and train on another data set.")
    is_own = source.kind == "own"
    step = "make the folder, with images/ and masks/ in it," if is_own else run_first("raw", settings.dataset)
    raw = need(raw_folder(settings.dataset), step)
    plan = make_plan(settings, source, raw)
    if not is_prepared(settings, plan):
        with locked(settings.prepared):
            if not is_prepared(settings, plan):  # another run may have done it just now
                _prepare(settings, source, raw, plan, progress)
    record_origin(settings)
    return read_manifest(settings)


def _prepare(settings: Settings, source: Source, raw: Path, plan: dict[str, object], progress: bool) -> None:
    """Make the prepared folder from a raw one, and write the record of how."""
    pairs, excluded = find_pairs(raw, source, settings.patient_pattern)
    pairs, unlisted = assign_patients(pairs, settings)
    earlier, why_anew = earlier_splits(settings, plan, pairs)
    pairs, unsplit = assign_splits(pairs, settings, earlier)
    excluded += unlisted + unsplit
    record = plan | {"origin": origin_of(settings.dataset), "news": why_anew or news_of(pairs, earlier)}
    refuse_foreign(settings.prepared, RECORD)  # before minutes of work
    with written(settings.prepared, proof=RECORD) as folder:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads, because Pillow runs without Python's global lock
            mask_values = settings.mask_values or source.mask_values
            work = pool.map(lambda pair: _convert(pair, raw, folder, settings, mask_values), pairs)
            bar = tqdm(work, "Preparing", len(pairs), unit="pair", file=sys.stdout, disable=not progress)
            rows = [row for of_one_pair in bar for row in of_one_pair]
        excluded += [(row["image"], row["error"]) for row in rows if "error" in row]
        rows = sorted((row for row in rows if "error" not in row), key=lambda row: row["id"])
        notes = sorted({note for row in rows for note in row.pop("notes")})
        if not rows:
            raise ValueError(f"{raw}: no image with a mask can be used; the last: {excluded[-1][1]}")
        write_table(_manifest_of(rows), folder / MANIFEST)
        write_table(make_table(sorted(excluded), ["file", "reason"]), folder / EXCLUDED)
        content = digest_of(row["content"] for row in rows)
        write_json(folder / RECORD, record | {"content": content, "notes": notes})


def _manifest_of(rows: list[Row]) -> pd.DataFrame:
    """Return the manifest of rows; sex and age are in it if a table gave them."""
    unknown = [name for name in ("sex", "age") if not any(row[name] for row in rows)]
    return make_table(rows).drop(columns=["content", *unknown])


def _convert(pair: Pair, raw: Path, folder: Path, settings: Settings, mask_values: tuple[int, ...] | None) -> list[Row]:
    """Write one pair and return its rows of the manifest, one per image, or a row with its error."""
    read = _read_volume_pair if is_volume(raw / pair.image) else _read_image_pair
    try:
        with guarded(raw / pair.image):
            slices, notes = read(pair, raw, settings, mask_values)
    except ValueError as error:
        return [{"image": str(pair.image), "error": str(error).replace(f"{raw}{os.sep}", "")}]
    rows = []
    for name, image, mask, (pixel_height_mm, pixel_width_mm) in slices:
        row: Row = {
            "id": name,
            "patient": pair.patient,
            "split": pair.split,
            "group": pair.group,
            "sex": pair.sex,
            "age": pair.age,
            "image": f"{pair.split}/images/{name}.png",
            "mask": f"{pair.split}/masks/{name}.png",
            "width": image.shape[1],
            "height": image.shape[0],
            "pixel_height_mm": pixel_height_mm,
            "pixel_width_mm": pixel_width_mm,
            "source_image": pair.image.as_posix(),
            "source_mask": ";".join(path.as_posix() for path in pair.masks),
            "content": hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest(),
            "notes": notes,
        }
        write_png(folder / row["image"], image)
        write_png(folder / row["mask"], mask)
        rows.append(row)
    return rows


def _read_image_pair(
    pair: Pair, raw: Path, settings: Settings, mask_values: tuple[int, ...] | None
) -> tuple[list[Slice], list[Finding]]:
    """Return the image, the mask and the pixel size of a pair of image files, and notes on them."""
    picture = read_picture(raw / pair.image, settings.window)
    image, pixel_mm = picture.grey, picture.pixel_mm
    if settings.pixel_mm and not pixel_mm:
        pixel_mm = (settings.pixel_mm, settings.pixel_mm)
    notes = [(pair.image.as_posix(), "note", picture.note, NONE_NEEDED)] if picture.note else []
    masks = [read_mask(raw / mask, mask_values) for mask in pair.masks]
    height, width = image.shape
    if max(height, width) > _MAX_CHEST_ASPECT * min(height, width):
        raise Refused(f"{pair.image} is {width}x{height}, too thin for a picture of a chest")
    if picture.orientation != UPRIGHT:
        masks, is_apart = _turn_alike(masks, [raw / mask for mask in pair.masks], picture)
        if is_apart:
            advice = "look at it in the gallery; save images and masks as they are shown, without EXIF data"
            notes.append((pair.image.as_posix(), "warning", _APART, advice))
    for path, mask in zip(pair.masks, masks, strict=True):
        if not _have_one_shape(mask, image):
            raise Refused(f"mask {path} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}")
    image = shrink(image, LONGEST_SIDE)
    size = image.shape[::-1]  # width and height, for Pillow
    resized = [np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) for mask in masks]
    lungs = np.logical_or.reduce(resized)
    scale = (height / image.shape[0], width / image.shape[1])
    shrunk_mm = (pixel_mm[0] * scale[0], pixel_mm[1] * scale[1]) if pixel_mm else (None, None)
    return [(pair.id, image, lungs, shrunk_mm)], notes


def _have_one_shape(mask: np.ndarray, image: np.ndarray) -> bool:
    aspect, image_aspect = (array.shape[1] / array.shape[0] for array in (mask, image))
    return abs(aspect - image_aspect) <= _MAX_ASPECT_ERROR * image_aspect


def _turn_alike(masks: list[Mask], paths: list[Path], picture: Picture) -> tuple[list[Mask], bool]:
    """Return masks turned like their image, if EXIF turns the image alone, and whether it is unknown if they should be.

    A mask that was drawn on the pixels as they are stored fits its image only after a turn. If it fits in both ways, as
    a square one does and any one upside down, it stays as it is.
    """
    is_apart = False
    for number, (mask, path) in enumerate(zip(masks, paths, strict=True)):
        if read_orientation(path) == UPRIGHT:
            turned = turned_upright(mask, picture.orientation)
            if not _have_one_shape(mask, picture.grey):
                masks[number] = turned
            else:
                is_apart |= _have_one_shape(turned, picture.grey)
    return masks, is_apart


def _read_volume_pair(
    pair: Pair, raw: Path, settings: Settings, mask_values: tuple[int, ...] | None
) -> tuple[list[Slice], list[Finding]]:
    """Return the central slices of a volume and its masks, NIfTI or DICOM Segmentations, and notes on them."""
    with _ONE_VOLUME:
        volume = read_volume(raw / pair.image)
        indices = central_slices(len(volume.hounsfield), settings.volume_slices)
        window_hu, note = grey_range(volume.hounsfield, settings.window, raw / pair.image)
        images = [through_window(volume.hounsfield[index], window_hu) for index in indices]
        lungs = [*np.logical_or.reduce([read_lung(raw / mask, volume, mask_values)[indices] for mask in pair.masks])]
    note = ", ".join(filter(None, [volume.note, note]))
    notes = [(pair.image.as_posix(), "note", note, NONE_NEEDED)] if note else []
    spacing_mm: tuple[float, ...] = volume.spacing_mm[1:]
    if settings.spacing:  # resample within slices only, because resampling between them would only blur each
        grid = np.multiply(images[0].shape, spacing_mm) / settings.spacing
        refuse_memory(pair.image, 16 * grid.prod() * len(images), f"resampling to {settings.spacing:g} mm")
        images = [resample_mm(image, spacing_mm, settings.spacing) for image in images]
        lungs = [resample_mm(lung, spacing_mm, settings.spacing, is_mask=True) for lung in lungs]
        spacing_mm = (settings.spacing, settings.spacing)
    size = images[0].shape
    images, lungs = ([shrink(part, LONGEST_SIDE) for part in parts] for parts in (images, lungs))
    pixel_height_mm, pixel_width_mm = np.array(spacing_mm) * size / images[0].shape
    slices: list[Slice] = [
        (f"{pair.id}_{index:03}", image, lung, (pixel_height_mm, pixel_width_mm))
        for index, image, lung in zip(indices, images, lungs, strict=True)
    ]
    return slices, notes


def read_lung(path: Path, volume: Volume, mask_values: tuple[int, ...] | None) -> np.ndarray:
    """Return a mask as a bool array on the grid of its volume; see `lung_mask` and `read_volume_seg`."""
    if is_dicom(path):
        return read_volume_seg(path, volume, mask_values)
    mask = read_nifti(path)
    if mask.hounsfield.shape != volume.hounsfield.shape:
        shapes = ("x".join(map(str, each.hounsfield.shape)) for each in (mask, volume))
        raise Refused("mask {} has {} voxels, its volume {}".format(path, *shapes))
    distance_mm = np.abs(np.subtract(mask.origin_mm, volume.origin_mm)).max()
    has_spacing = np.allclose(mask.spacing_mm, volume.spacing_mm, rtol=_MAX_SPACING_ERROR)
    if not has_spacing or distance_mm > max(volume.spacing_mm):
        raise Refused(f"mask {path} lies elsewhere than its volume, by what their headers say of spacing and place")
    return lung_mask(mask.hounsfield, mask_values, path, volume.hounsfield)
