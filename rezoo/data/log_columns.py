"""Ids and ratings of a log, from columns as `columns.plain` gives them; errors name the row."""

import numpy as np
import pyarrow as pa

from rezoo.data import spelling
from rezoo.data.missing import counted, is_missing
from rezoo.data.place import Place
from rezoo.errors import DataError


def ids(column: np.ndarray, place: Place) -> np.ndarray:
    """Ids as integers or text.

    Raises:
      DataError: if an id is missing, as the row belongs to nobody; or if ids were rounded by a
        spreadsheet, or are of a type or size whose values cannot be told apart. It names the row.
    """
    missing = is_missing(column)
    if column.dtype.kind == "f":
        missing |= np.isinf(column)
    if missing.any():
        found = np.flatnonzero(missing)
        first = ", ".join(str(place.row_of(index)) for index in found[:3].tolist())
        raise DataError(
            f"{place}: {len(found):,} of {len(column):,} ids are missing ({counted(column, missing)}), the "
            f"first in row {first}. Drop those rows (`clean.drop_missing` on the table that "
            "`files.read_table` reads) or fill them in."
        )
    if column.dtype.kind == "f":
        return _whole(column, place)
    if column.dtype.kind == "u" and column.max(initial=0) > np.iinfo(np.int64).max:
        return column.astype(str)
    if column.dtype.kind in "iub":
        return column.astype(np.int64, copy=False)
    if not _is_text(column):
        kind = "lists (with explode=… each value becomes a row)" if column.dtype.kind == "O" else column.dtype
        raise DataError(f"{place}: {kind} cannot be ids; give integers or strings")
    words = pa.array(column, pa.large_string())
    if (broken := spelling.destroyed(words.unique())) is not None:
        raise DataError(
            f"{place.at(words.index(broken).as_py())}: {broken!r} is an id that a spreadsheet rounded, so "
            "that different ids became one. Export the file again with this column formatted as text, or as "
            "a number without decimals."
        )
    return column


def ratings(column: np.ndarray, place: Place) -> np.ndarray:
    """float32; NaN where missing, and infinite beyond float32: `clean.drop_bad_ratings` reports both.

    Raises:
      DataError: if a text is not a number; it names the row.
    """
    if column.dtype.kind in "iufb":
        with np.errstate(over="ignore"):
            return column.astype(np.float32)
    if not _is_text(column):
        raise DataError(f"{place}: {column.dtype} cannot be numbers")
    filled = np.where(is_missing(column), "nan", column.astype(object))
    for index, value in enumerate(filled.tolist()):
        if value != "nan" and not spelling.is_number(value):
            comma = " If the comma is the decimal mark, say decimal=','." * ("," in value)
            raise DataError(f"{place.at(index)}: {value!r} is not a number.{comma}")
    with np.errstate(over="ignore"):
        return filled.astype(np.float64).astype(np.float32)


def _whole(column: np.ndarray, place: Place) -> np.ndarray:
    """Whole numbers that came as floats, as integers."""
    broken = np.flatnonzero(column != np.floor(column))
    if len(broken):
        index = int(broken[0])
        raise DataError(
            f"{place.at(index)}: ids are fractions, such as {column[index]}. Give integers or text."
        )
    top = np.abs(column).max(initial=0)
    if top >= min(2.0 ** (np.finfo(column.dtype).nmant + 1), spelling.EXACT):
        raise DataError(
            f"{place}: ids such as {top:.0f} are too large to be told apart as {column.dtype}. Give them as "
            "text or as integers."
        )
    return column.astype(np.int64)


def _is_text(values: np.ndarray) -> bool:
    if values.dtype.kind == "O":
        return all(isinstance(value, str) for value in values.tolist())
    return values.dtype.kind == "U"
