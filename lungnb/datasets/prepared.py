"""A prepared data set on disk: its manifest, its images and masks, and the split for scores."""

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lungnb.artefacts import EXCLUDED, MANIFEST, PREPARED_RECORD
from lungnb.datasets.origin import refuse_other_origin
from lungnb.files import need, read_json
from lungnb.formats.images import read_image, read_mask
from lungnb.formats.tables import escape, map_text, read_table
from lungnb.messages import run_first
from lungnb.settings import SPLITS, Settings, counted

ManifestRow = dict[Hashable, Any]  # a row of the manifest
_FILES = ("id", "image", "mask", "source_image", "source_mask")  # columns of the manifest from which paths are made


@dataclass(eq=False)
class Prepared:
    """A prepared data set, opened with `open_prepared`.

    The manifest has one row per image, with paths within `folder` and, if known, the size of its pixels in mm.
    """

    folder: Path  # data/prepared/<dataset>
    name: str
    manifest: pd.DataFrame

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {count}" for split, count in self.manifest["split"].value_counts().items())
        return f"<Prepared, {self.name}: {counts} images; {self.folder}>"

    @cached_property
    def excluded(self) -> pd.DataFrame:
        """Return the files that preparation left out: `file` and `reason`."""
        return read_table(self.folder / EXCLUDED)

    @cached_property
    def digest(self) -> str:
        """Return a digest of manifest and pixels, which does not depend on the place or the time of the raw files."""
        manifest = map_text(self.manifest, escape).to_csv(index=False)
        return digest_of([manifest, str(read_json(self.folder / PREPARED_RECORD).get("content", ""))])

    @cached_property
    def notes(self) -> list[tuple[str, str, str, str]]:
        """Return the findings about files that were read: file, severity, what, and advice."""
        return [tuple(note) for note in read_json(self.folder / PREPARED_RECORD).get("notes", [])]

    @property
    def news(self) -> str:
        """Return what the last preparation did to the splits, such as how many patients it kept and added, or ""."""
        return str(read_json(self.folder / PREPARED_RECORD).get("news", ""))

    @cached_property
    def groups(self) -> pd.Series:
        """Return the group of each image by its id, such as a diagnosis; empty text if the group is unknown."""
        return self.manifest.set_index("id")["group"]

    @property
    def has_pixel_size(self) -> bool:
        """Return whether the pixel size in mm is known for every image."""
        return bool(self.manifest[["pixel_height_mm", "pixel_width_mm"]].notna().all(axis=None))

    def scoring_split(self, split: str = "test") -> str:
        """Return the split to score on: `validation` instead of `test` if there is no test split."""
        return "validation" if split == "test" and split not in self.manifest["split"].values else split

    def sizes(self) -> pd.DataFrame:
        """Return the numbers of images and patients in each split, one row each; by group too if groups are known."""
        names = ["split", "group"] if (self.manifest["group"] != "").any() else ["split"]
        table = self.manifest.groupby(names).agg(images=("id", "size"), patients=("patient", "nunique")).reset_index()
        order = table["split"].map(SPLITS.index)
        return table.assign(order=order).sort_values(["order", *names[1:]], ignore_index=True).drop(columns="order")

    def small_groups(self) -> list[str]:
        """Return a clause for each known group that has fewer patients than there are splits."""
        count_by_group = self.manifest.groupby("group")["patient"].nunique()
        splits = self.manifest["split"].nunique()
        return [
            f"group {group} has {counted(count, 'patient')}, too few for each of the {splits} splits"
            for group, count in count_by_group.items()
            if group and count < splits
        ]

    def rows(self, *splits: str) -> list[ManifestRow]:
        """Return the manifest's rows of some splits; raise ValueError if these splits hold no image."""
        rows: list[ManifestRow] = self.manifest[self.manifest["split"].isin(splits)].to_dict("records")
        if not rows:
            known = ", ".join(split for split in SPLITS if (self.manifest["split"] == split).any())
            raise ValueError(f"split must be one of {known}, which {self.name} has, not {', '.join(splits)!r}.")
        return rows

    def pair(self, row: ManifestRow) -> tuple[np.ndarray, np.ndarray]:
        """Return the uint8 image and the bool mask, both `(height, width)`, of a row with `split` and `id`."""
        folder = self.folder / row["split"]
        return read_image(folder / "images" / f"{row['id']}.png"), read_mask(folder / "masks" / f"{row['id']}.png")

    def file_names(self, split: str, part: str) -> list[str]:
        """Return the names of a split's files in `images` or `masks`, in the order of Keras, without suffix.

        Raises ValueError if there is no such file.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}.")
        # Sort by the whole file name, like image_dataset_from_directory.
        names = [path.stem for path in sorted((self.folder / split / part).glob("*.png"), key=lambda path: path.name)]
        if not names:
            raise ValueError(f"{self.name} has no {split} split; prepare it with one (split_fractions).")
        return names


def open_prepared(settings: Settings) -> Prepared:
    """Open the prepared data set of the settings.

    Raises FileNotFoundError if it does not exist, ValueError if it was prepared from another data set with this name or
    by a version of lungnb that did not know groups, or if its manifest is empty or names files elsewhere.
    """
    refuse_other_origin(settings.dataset, settings.prepared, settings.results)
    step = run_first("prepared", settings.dataset)
    manifest = read_table(need(settings.prepared / MANIFEST, step))
    if not is_sound(manifest):
        reason = f"is damaged, or an earlier version of lungnb wrote it; prepare it again: {step.rstrip(',')}"
        raise ValueError(f"{settings.prepared / MANIFEST}: {reason}.")
    return Prepared(settings.prepared, settings.name, manifest)


def is_sound(manifest: pd.DataFrame) -> bool:
    """Return whether a manifest has images and the present columns, and no path in it leads out of the data set."""
    if manifest.empty or not {"split", "group", *_FILES} <= {*manifest}:
        return False
    names = ";".join(manifest[[*_FILES]].astype(str).to_numpy().ravel())  # as several source masks are joined
    paths = map(Path, names.split(";"))
    return {*manifest["split"]} <= {*SPLITS} and not any(path.anchor or ".." in path.parts for path in paths)


def read_manifest(settings: Settings) -> pd.DataFrame:
    """Return the manifest of the prepared data set (see `Prepared`); errors as in `open_prepared`."""
    return open_prepared(settings).manifest


def digest_of(lines: Iterable[str]) -> str:
    """Return the SHA-256 of some lines of text, in hexadecimal."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
