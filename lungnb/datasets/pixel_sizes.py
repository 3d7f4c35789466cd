"""Read the pixel size of each image from a table, for files that do not state theirs, such as PNG."""

from pathlib import Path

import pandas as pd

from lungnb.formats.dicom_header import PIXEL_MM

PIXEL_SIZE, HEIGHT, WIDTH = "pixel_mm", "pixel_height_mm", "pixel_width_mm"


def with_pixel_sizes(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return a table with the height and the width of an image's pixels in mm as a pair in its column `pixel_mm`.

    The table is text. It has a column `pixel_mm`, or columns `pixel_height_mm` and `pixel_width_mm`. Without them, it
    is returned as it is. The pair of an empty cell is empty. Raises ValueError, naming the file and the id, for a cell
    that is not a number within PIXEL_MM, and for other combinations of these columns.

    Example:
        >>> table = pd.DataFrame({"id": ["a", "b"], "pixel_mm": ["0.2", ""]})
        >>> with_pixel_sizes(table, Path("patients.csv"))["pixel_mm"].tolist()
        [(0.2, 0.2), ()]
    """
    columns = [name for name in table.columns if name in (PIXEL_SIZE, HEIGHT, WIDTH)]
    if not columns:
        return table
    if sorted(columns) not in ([PIXEL_SIZE], [HEIGHT, WIDTH]):
        given = " and ".join(columns)
        raise ValueError(f"{file}: has {given}. Give the pixel size as {PIXEL_SIZE} alone, or as {HEIGHT} and {WIDTH}.")
    sides = [
        [_millimetres(text, name, image, file) for image, text in zip(table["id"], table[name], strict=True)]
        for name in sorted(columns)
    ]
    sizes = [(height, width) if height and width else () for height, width in zip(sides[0], sides[-1], strict=True)]
    return table.drop(columns=columns).assign(**{PIXEL_SIZE: pd.Series(sizes, table.index, dtype=object)})


def _millimetres(text: str, column: str, image: str, file: Path) -> float | None:
    """Return the length in a cell; None if the cell is empty."""
    if not text.strip():
        return None
    try:
        length_mm = float(text)
    except ValueError:
        length_mm = 0.0
    low, high = PIXEL_MM
    if not low <= length_mm <= high:  # also if it is NaN
        raise ValueError(
            f"{file}: {column} of {image} must be a number of mm from {low:g} to {high:g}, such as 0.2, not {text!r}."
        )
    return length_mm
