"""Columns that know which row of their file each of their rows is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Rows = range | np.ndarray
"""For each row of a table the number of its file's row, from 1; a header is not counted."""


class Table(dict[str, np.ndarray]):
    """Columns by name, of one length.

    >>> table = Table({"user": np.array([7, 8, 9])})
    >>> kept = table.take(np.array([True, False, True]))
    >>> kept["user"].tolist(), kept.rows.tolist()
    ([7, 9], [1, 3])
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: Rows | None = None):
        """`rows` of the file; 1, 2, 3 … if not given."""
        super().__init__(columns)
        self.rows = rows

    def take(self, index: np.ndarray) -> "Table":
        """The rows of an index or a mask."""
        total = len(next(iter(self.values()), ()))
        rows = np.arange(1, total + 1) if self.rows is None else np.asarray(self.rows)
        return Table({name: column[index] for name, column in self.items()}, rows[index])


def row_at(index: int, lines: Rows) -> str:
    """How an error names a row of a text file: by its number, and by its line where that is another.

    >>> row_at(2, range(2, 9))
    'row 3 (line 4)'
    """
    number, line = index + 1, int(lines[index])
    return f"row {number}" if line == number else f"row {number} (line {line})"


def rows_of(columns: Mapping[str, Any]) -> Rows | None:
    """The file's row of each row of any table, if it is known."""
    return columns.rows if isinstance(columns, Table) else None
