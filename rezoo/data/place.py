"""The place of a value in its file, for errors and reports, even after rows before it were dropped."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rezoo.data.table import Rows, rows_of

ROW = "row of the file"
"""The column by which a table that lost rows keeps the file's number of each."""


class Place(NamedTuple):
    """A column of a table, whose rows have the numbers of its file's, from 1 below a header."""

    source: str = "table"
    column: str = "timestamp"
    row: Rows | None = None
    """The file's number of each row; 1, 2 … if None."""

    def __str__(self) -> str:
        return f"{self.source}, column {self.column!r}"

    def row_of(self, index: int) -> int:
        """The number of the row at `index` in the file."""
        return index + 1 if self.row is None else int(self.row[index])

    def at(self, index: int) -> str:
        """How an error names the value at `index`."""
        return f"{self.source}, row {self.row_of(index)}, column {self.column!r}"


def keep(columns: Mapping[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of a table where `kept`, each with the file's number of it in the column `ROW`.

    >>> keep({"user": np.array(["ann", "bob"])}, np.array([False, True]))[ROW].tolist()
    [2]
    """
    numbered = {**columns, ROW: row_numbers(columns, len(kept))}
    return {name: np.asarray(column)[kept] for name, column in numbered.items()}


def row_numbers(columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """The file's number of each of a table's rows.

    >>> row_numbers({"user": np.array(["ann", "bob"])}, 2).tolist()
    [1, 2]
    """
    known = rows_of(columns)
    return np.asarray(columns.get(ROW, np.arange(1, rows + 1) if known is None else known))
