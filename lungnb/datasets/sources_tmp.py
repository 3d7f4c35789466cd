"""TODO."""

from __future__ import annotations

import difflib

import pandas as pd

from lungnb.datasets.catalogue import CATALOGUE, Source
from lungnb.places import holds_data, is_path, raw_folder

# How many are made: the X-rays suit a first run, the slices train an encoder, the wild ones of both a whole network.
PHANTOMS = {"xray": 120, "ct": 600, "wild": 16_000}


def catalogue() -> pd.DataFrame:
    """Return the catalogue, a row a data set: what it is, on which terms, how it comes, and whether it is here."""
    rows = [
        {
            "name": source.name,
            "kind": source.kind,
            "title": source.title,
            "licence": source.licence,
            "masks": source.has_masks,
            "comes": _comes(source),
            "here": holds_data(raw_folder(source.name)),
        }
        for source in CATALOGUE.values()
    ]
    return pd.DataFrame(rows)


def find_source(dataset: str) -> Source:
    """Return the catalogue's entry for `dataset`, or a general one for a folder of the reader's own.

    Raises ValueError, with the nearest name, for what is neither.
    """
    if dataset in CATALOGUE:
        return CATALOGUE[dataset]
    if is_path(dataset) or (dataset and raw_folder(dataset).is_dir()):
        return Source(raw_folder(dataset).name, "A folder of your own", "own", "your own", "your own")
    near = difflib.get_close_matches(dataset.lower(), CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(
        f"there is no data set {dataset!r}: {hint}The catalogue has {', '.join(CATALOGUE)}. For images of your own, "
        "give the path of a folder with images/ and masks/ in it, such as ./my-scans."
    )


def _comes(source: Source) -> str:
    """Return how a data set gets here, in a word or two."""
    ways = {"drive": "Google Drive", "kaggle": "Kaggle"}
    found = [ways.get(address.partition(":")[0], "web") for file in source.files for address in file.addresses]
    return ", ".join(dict.fromkeys(found)) or ("by hand" if source.files else "made here")
