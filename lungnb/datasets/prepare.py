"""Convert a raw folder of any layout to PNGs, paired and split by patient, and a manifest."""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lungnb.artefacts import EXCLUDED, MANIFEST, PREPARED_RECORD, raw_folder, raw_root
from lungnb.datasets.origin import origin_of, refuse_gone_origin, refuse_other_origin
from lungnb.datasets.pairing import Pair, find_pairs
from lungnb.datasets.plan import earlier_splits, is_prepared, make_plan, news_of, record_origin
from lungnb.datasets.prepared import ManifestRow, digest_of, read_manifest
from lungnb.datasets.reading import ReadOptions, read_pair
from lungnb.datasets.sources import Source, find_source
from lungnb.datasets.splitting import assign_patients, assign_splits
from lungnb.files import locked, need, refuse_foreign, write_json, written
from lungnb.formats.images import write_png
from lungnb.formats.tables import make_table, write_table
from lungnb.messages import run_first
from lungnb.settings import UNPACK_FIRST, Settings


def prepare_dataset(settings: Settings, progress: bool = True) -> pd.DataFrame:
    """Make `settings.prepared` from the raw data set and return its manifest, one row per image or slice of a volume.

    Does nothing if the folder was made before from the same files with the same settings. If files were added, patients
    keep the split that they had (see `earlier_splits`). Files that cannot be used (no mask, no image, unreadable,
    different sizes) are listed in `excluded.csv` with the reason.

    Raises FileNotFoundError if there is no raw data set, ValueError if it has no usable pair, or if another data set of
    the same name was prepared or trained on before.
    """
    source = find_source(settings.dataset)
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    if not source.has_masks:
        raise ValueError(f"{source.name} comes without lung masks: segment its images, and train on another data set.")
    is_own = source.kind == "own"
    step = "make the folder, with images/ and masks/ in it," if is_own else run_first("raw", settings.dataset)
    if not is_own and not raw_root().is_dir() and os.environ.get("LUNGNB_RAW"):
        step = f"check LUNGNB_RAW, because {raw_root()} is not a folder, or {step}"
    refuse_gone_origin(settings.dataset, settings.prepared)
    raw = need(raw_folder(settings.dataset), step)
    if not raw.is_dir():
        raise ValueError(f"{raw}: is a file. {UNPACK_FIRST}")
    plan = make_plan(settings, source, raw)
    if not is_prepared(settings.prepared, plan):
        with locked(settings.prepared):
            if not is_prepared(settings.prepared, plan):  # another run may have done it just now
                _prepare(settings, source, raw, plan, progress)
    record_origin(settings.prepared, settings.dataset)
    return read_manifest(settings)


def _prepare(settings: Settings, source: Source, raw: Path, plan: dict[str, object], progress: bool) -> None:
    """Make the prepared folder from a raw one, and record how it was made."""
    pairs, excluded = find_pairs(raw, source, settings.patient_pattern)
    pairs, unlisted = assign_patients(pairs, settings.patient_file)
    earlier, why_anew = earlier_splits(settings.prepared, plan, pairs)
    pairs, unsplit = assign_splits(pairs, settings, earlier)
    excluded += unlisted + unsplit
    record = plan | {"origin": origin_of(settings.dataset), "news": why_anew or news_of(pairs, earlier)}
    mask_values = settings.mask_values or source.mask_values
    options = ReadOptions(settings.window, settings.spacing, settings.pixel_mm, settings.volume_slices, mask_values)
    refuse_foreign(settings.prepared, PREPARED_RECORD)  # before minutes of work
    with written(settings.prepared, proof=PREPARED_RECORD) as folder:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads, because Pillow runs without Python's global lock
            work = pool.map(lambda pair: _convert(pair, raw, folder, options), pairs)
            bar = tqdm(work, "Preparing", len(pairs), unit="pair", file=sys.stdout, disable=not progress)
            rows = [row for of_one_pair in bar for row in of_one_pair]
        excluded += [(row["image"], row["error"]) for row in rows if "error" in row]
        rows = sorted((row for row in rows if "error" not in row), key=lambda row: row["id"])
        notes = sorted({note for row in rows for note in row.pop("notes")})
        if not rows:
            raise ValueError(f"{raw}: no image with a mask can be used; the last: {excluded[-1][1]}")
        have_lung = [row.pop("has_lung") for row in rows]
        if not any(have_lung):
            if mask_values:
                labels = ", ".join(map(str, mask_values))
                raise ValueError(f"{raw}: no mask has the labels {labels}. Look at the masks, and correct mask_values.")
            raise ValueError(f"{raw}: all masks are empty. Look at them: are these the masks of the lungs?")
        unknown = [name for name in ("sex", "age") if not any(row[name] for row in rows)]  # if no table gave them
        write_table(make_table(rows).drop(columns=["content", *unknown]), folder / MANIFEST)
        write_table(make_table(sorted(excluded), ["file", "reason"]), folder / EXCLUDED)
        content = digest_of(row["content"] for row in rows)
        write_json(folder / PREPARED_RECORD, record | {"content": content, "notes": notes})


def _convert(pair: Pair, raw: Path, folder: Path, options: ReadOptions) -> list[ManifestRow]:
    """Write one pair and return its rows of the manifest, one per image, or a row with its error."""
    try:
        slices, notes = read_pair(pair, raw, options)
    except ValueError as error:
        return [{"image": str(pair.image), "error": str(error)}]
    rows = []
    for name, image, mask, (pixel_height_mm, pixel_width_mm) in slices:
        row: ManifestRow = {
            "id": name, "patient": pair.patient, "split": pair.split, "group": pair.group, "sex": pair.sex,
            "age": pair.age, "image": f"{pair.split}/images/{name}.png", "mask": f"{pair.split}/masks/{name}.png",
            "width": image.shape[1], "height": image.shape[0], "pixel_height_mm": pixel_height_mm,
            "pixel_width_mm": pixel_width_mm, "source_image": pair.image.as_posix(),
            "source_mask": ";".join(path.as_posix() for path in pair.masks),
            "content": hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest(), "notes": notes,
            "has_lung": bool(mask.any()),
        }  # fmt: skip
        write_png(folder / row["image"], image)
        write_png(folder / row["mask"], mask)
        rows.append(row)
    return rows
