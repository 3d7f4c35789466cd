"""Marks that a person sets: a table of the images whose masks are wrong, written at each mark."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lungnb.files import locked
from lungnb.formats.tables import make_table, read_table, write_table

MARK_COLUMNS = ("file", "model", "threshold", "marked")


class Marks:
    """The images that are marked as wrong with one model, in a CSV file that may hold marks of others too.

    Its columns: `file` (path, id of a prepared image, or digest of an array), `model` (path, or name of a model in
    memory), `threshold` of the mask shown, and `marked` (time, UTC). Raises ValueError if the file is another table,
    and leaves it unchanged.
    """

    def __init__(self, file: Path, model: str) -> None:
        self.file, self.model = file, model
        self._keys = self._keys_in(self._read())

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def turn(self, key: str, threshold: float) -> None:
        """Mark an image, or remove its mark if it is marked; keep marks that other processes have set meanwhile.

        Raises OSError as `files.written` does, RuntimeError while another process writes.
        """
        with locked(self.file):
            table = self._read()
            is_same = (table["file"] == key) & (table["model"] == self.model)
            table = table[~is_same]
            if key not in self._keys:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                table.loc[len(is_same)] = [key, self.model, f"{threshold:g}", now]
            write_table(table, self.file)
            self._keys = self._keys_in(table)

    def _keys_in(self, table: pd.DataFrame) -> set[str]:
        return set(table.loc[table["model"] == self.model, "file"])

    def _read(self) -> pd.DataFrame:
        if not self.file.exists():
            return make_table([], MARK_COLUMNS)
        try:
            table = read_table(self.file, dtype=str, na_values=[])
        except (ValueError, OSError):  # pandas's own errors are ValueErrors
            table = pd.DataFrame()
        if tuple(table.columns) != MARK_COLUMNS:
            raise ValueError(f"{self.file}: not a table of marks ({', '.join(MARK_COLUMNS)}); name another file.")
        return table
