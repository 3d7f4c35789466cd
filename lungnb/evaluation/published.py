"""Read the results that come with the notebooks, to show them beside those of a short run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lungnb.files import need

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def read_published(name: str) -> pd.DataFrame:
    """Return a table of results/published, such as `review/review.csv`; the README there says how each was made.

    The tables are in the project's folder, also if `LUNGNB_HOME` is another one. Raises FileNotFoundError for a table
    that is not there, and without the project's folder.
    """
    file = need(PUBLISHED / name, "get the project's folder with results/published (`git clone`)")
    return pd.read_csv(file)
