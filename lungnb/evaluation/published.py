"""Read the tables of results/published, so that notebooks can show them beside the reader's own results."""

from __future__ import annotations

import pandas as pd

from lungnb.artefacts import PUBLISHED, series_folder
from lungnb.files import need, read_table


def read_published(name: str) -> pd.DataFrame:
    """Return a published table, such as `adapt/adapt.csv`, of the checkout or the installed package.

    Raises FileNotFoundError if there is no such table.

    Example:
        >>> len(read_published("networks/networks.csv"))
        5
    """
    return read_table(need(series_folder() / PUBLISHED / name, "name a table of results/published"))


def published_networks() -> pd.DataFrame:
    """Return the networks that were trained on Montgomery with three seeds: a row a network, as in `seed_summary`.

    Example:
        >>> round(float(published_networks()["dice"].max()), 3)
        0.977
    """
    wide = read_published("networks/compact_unet_16.csv").assign(model="Compact U-Net, 16 filters")
    tables = [read_published("networks/networks.csv"), read_published("networks/compact_unet_8.csv"), wide]
    return pd.concat(tables).drop_duplicates("model").set_index("model")  # networks.csv may have all


def of_different_images(table: pd.DataFrame, column: str = "dataset") -> pd.DataFrame:
    """Return a table without the rows of `lung-ct-bmp`, whose 89 slices are among those of finding-lungs-in-ct-data."""
    return table[table[column] != "lung-ct-bmp"]


def published_adaptation() -> pd.DataFrame:
    """Return what adapting brought: a row a data set and number of corrected films, with means over draws of films.

    `before` and `after` are the mean Dice of all other films. `after_low` and `after_high` are those of single draws.
    `helped` is the number of draws after which the Dice was higher.
    """
    drawn = read_published("adapt/adapt.csv").assign(helped=lambda table: table["after"] > table["before"])
    groups = drawn.groupby(["dataset", "images"])
    table = groups.agg(
        draws=("draw", "size"), before=("before", "mean"), after=("after", "mean"),
        after_low=("after", "min"), after_high=("after", "max"), helped=("helped", "sum"),
    )  # fmt: skip
    return table.rename(index={"chest-xray-masks-and-labels:CHN": "shenzhen"}, level="dataset").sort_index()
