"""Histories in a column of a table: lists of ids, or texts with something between the ids."""

from typing import Any

import numpy as np

from rezoo.data import feature_columns
from rezoo.data.ids import Ids
from rezoo.data.missing import is_missing
from rezoo.errors import DataError

USUAL = "|"
OTHERS = (",", ";", " ", "\t")


def find(column: np.ndarray, items: Ids) -> str:
    """What stands between the ids of a column of histories: "|", unless it is surely something else.

    It is another mark if no text has a "|", no text as a whole is a known item while it has that mark, and
    the parts between that mark, and no other, are known items.

    >>> items = Ids(np.array(["a", "b", "c"]))
    >>> find(np.array(["a,b", "c"]), items), find(np.array(["a b"]), items), find(np.array(["x-y"]), items)
    (',', ' ', '|')
    """
    if column.dtype.kind not in "UO":
        return USUAL
    texts = [text for text in column.tolist() if isinstance(text, str)][:10_000]
    if not texts or any(USUAL in text for text in texts):
        return USUAL
    whole = {text for text, dense in zip(texts, items.encode(texts), strict=True) if dense}
    found = {}
    for mark in OTHERS:
        marked = [text for text in texts if mark in text.strip()]
        parts = [part for row in lists(np.array(marked, str), mark) for part in row]
        if parts and not whole.intersection(marked):
            found[mark] = int((items.encode(parts) > 0).sum())
    best = max(found, key=lambda mark: found[mark], default=USUAL)
    sure = best != USUAL and found[best] > max((n for mark, n in found.items() if mark != best), default=0)
    return best if sure else USUAL


def lists(column: np.ndarray, separator: str) -> list[list[Any]]:
    """Each row's values; a column of numbers has one or none in each, and [1, 2] is read as 1, 2."""
    if column.dtype.kind in "iuf":
        return feature_columns.lists([[value] for value in column.tolist()], separator)
    filled = column.astype(object)
    filled[is_missing(column)] = None
    rows = [[value] if isinstance(value, int | float | np.number) else value for value in filled.tolist()]
    return [_bare(row) for row in feature_columns.lists(rows, separator)]


def ratings(column: np.ndarray, separator: str) -> list[list[float]]:
    """Each row's numbers.

    Raises:
      DataError: if one is none.
    """
    try:
        return [[float(value) for value in row] for row in lists(column, separator)]
    except ValueError as error:
        raise DataError(f"history_rating: {error}; give numbers, such as 5{separator}3.5") from error


def _bare(row: list[Any]) -> list[Any]:
    """The parts of a text without the brackets and quotation marks of a list in Python or JSON."""
    if not row or not all(isinstance(part, str) for part in (row[0], row[-1])):
        return row
    if not (row[0].startswith("[") and row[-1].endswith("]")):
        return row
    row = [row[0][1:], *row[1:]]
    row[-1] = row[-1][:-1]
    return [part.strip().strip("'\"") for part in row if part.strip()]
