"""Quantities sold, in whatever notation: what matters is whether they are above 0."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from rezoo.data.missing import is_missing
from rezoo.data.place import keep, row_numbers
from rezoo.data.reports import NothingLeft, Reason, Report
from rezoo.errors import DataError

NUMBER = re.compile(r"\d[\d.,'\s]*")
"""Digits with separators."""
MINUS = re.compile(r"^\(.*\)$|(^|(?<=[\s$€£]))[-−–][\s$€£]?\d|\d\s?-$")
"""How negative quantities are written: with a sign before or behind, or in brackets."""


class Quantities(NamedTuple):
    """Three masks over the rows of a column, at most one of which is true of a row."""

    cancelled: np.ndarray
    """A quantity of 0 or less: a return, a cancellation."""
    empty: np.ndarray
    """The quantity is missing."""
    unread: np.ndarray
    """Text without a number."""


def read(column: np.ndarray) -> Quantities:
    """Which rows are cancelled, missing or no number; text may have units and separators of thousands.

    >>> [mask.tolist() for mask in read(np.array(["2", "-1 pcs", "", "1,200", "0.0", "(3)", "few"]))]
    [[False, True, False, False, True, True, False], [False, False, True, False, False, False, False], \
[False, False, False, False, False, False, True]]
    """
    values = np.asarray(column)
    if values.dtype.kind in "iub":
        none = np.zeros(len(values), bool)
        return Quantities(values.astype(np.int64) <= 0, none, none)
    if values.dtype.kind == "f":
        empty = np.isnan(values)
        return Quantities(~empty & (values <= 0), empty, np.zeros(len(values), bool))
    missing = is_missing(values)
    texts = np.array([str(value) for value in np.where(missing, "", values).tolist()])
    distinct, place = np.unique(texts, return_inverse=True)
    sold = np.array([_sold(text) for text in distinct.tolist()])[place]
    return Quantities(sold == 0, missing, (sold < 0) & ~missing)


def drop_cancelled(columns: Mapping[str, np.ndarray], name: str) -> tuple[dict[str, np.ndarray], Report]:
    """A table without the rows whose quantity is 0 or less.

    Rows without a quantity, and those whose quantity is not a number, stay, and the report counts them.

    Raises:
      DataError: if there is no such column.
      NothingLeft: if every row would go.

    >>> table, report = drop_cancelled({"item": np.arange(3), "sold": np.array([2, -2, np.nan])}, "sold")
    >>> print(report)
    3 rows, 1 dropped, 2 left
      1 without a 'sold', kept (such as row 3)
      1 cancelled: 'sold' is 0 or less (such as row 2: -2.0)
    """
    if name not in columns:
        raise DataError(f"there is no column {name!r}; there are {list(columns)}")
    column = np.asarray(columns[name])
    found, number, reasons = read(column), row_numbers(columns, len(column)), []
    for mask, why in ((found.empty, "a"), (found.unread, "a number in")):
        if mask.any():
            shown = ("" if why == "a" else f": {column[row]}" for row in np.flatnonzero(mask)[:3])
            examples = [f"row {row}{text}" for row, text in zip(number[mask], shown, strict=False)]
            reasons.append(Reason(f"{int(mask.sum()):,} without {why} {name!r}, kept", 0, examples))
    if found.cancelled.any():
        examples = [f"row {number[row]}: {column[row]}" for row in np.flatnonzero(found.cancelled)[:3]]
        rows = int(found.cancelled.sum())
        reasons.append(Reason(f"cancelled: {name!r} is 0 or less", rows, examples))
    kept = ~found.cancelled
    report = Report(len(column), int(kept.sum()), reasons)
    if len(column) and not kept.any():
        raise NothingLeft(report)
    return (dict(columns) if kept.all() else keep(columns, kept)), report


def _sold(text: str) -> int:
    """1 where above 0, 0 where 0 or below, -1 where there is no number."""
    number = NUMBER.search(text)
    if number is None:
        return -1
    return int(MINUS.search(text) is None and any(digit in "123456789" for digit in number[0]))
