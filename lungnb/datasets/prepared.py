"""TODO."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import escape_table, need, read_json, read_table
from lungnb.formats.images import read_image, read_mask
from lungnb.settings import Settings


def read_pair(settings: Settings, row: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the prepared image and mask of a row that has `split` and `id`."""
    folder = settings.prepared / row["split"]
    return read_image(folder / "images" / f"{row['id']}.png"), read_mask(folder / "masks" / f"{row['id']}.png")


_RECORD = "prepared.json"  # how a prepared folder was made


def _read_record(settings: Settings) -> dict:
    """Return how the prepared folder was made and a digest of its content, if it is there."""
    return read_json(settings.prepared / _RECORD)


def data_digest(settings: Settings) -> str:
    """Return a digest of the prepared data set, pixels and all, so that results are not taken for those of other data.

    It does not hang on where the raw files lie, or when they were written.
    """
    manifest = escape_table(read_manifest(settings)).to_csv(index=False)
    return _digest_of([manifest, str(_read_record(settings).get("content", ""))])


def read_manifest(settings: Settings) -> pd.DataFrame:
    """Return the prepared data set's manifest, a row an image, paths within `settings.prepared`.

    A pixel's size in mm is that of the prepared image, and missing where the raw file does not tell. Raises ValueError
    where the folder was prepared from another data set of the same name.
    """
    refuse_other_origin(settings)
    step = f"run notebook 02, or `lungnb prepare {settings.dataset}`,"
    return read_table(need(settings.prepared / "manifest.csv", step))


def read_excluded(settings: Settings) -> pd.DataFrame:
    """Return the files that preparation left out, each with its reason."""
    read_manifest(settings)
    return read_table(settings.prepared / "excluded.csv")


def _digest_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
