"""What a raw column of a table is taken for: ids, numbers or text, as NumPy arrays."""

from typing import Any

import numpy as np
import pyarrow as pa

from rezoo.data import arrow, spelling
from rezoo.data.missing import counted, is_missing, is_none
from rezoo.data.place import Place
from rezoo.errors import DataError


def plain(column: Any) -> np.ndarray:
    """A column as int, float, datetime, bool or text; lists and the like stay objects.

    Objects of mixed types are text, named by `str`. Bytes are decoded. Missing text is empty.
    """
    array = column if isinstance(column, np.ndarray) else as_objects(column)
    if array.dtype.kind == "S":
        return arrow.decoded(array.ravel().tolist())
    if array.dtype.kind == "T":
        return arrow.texts([None if value is None else str(value) for value in array.tolist()])
    return _from_objects(array) if array.dtype.kind == "O" else array


def as_objects(column: Any) -> np.ndarray:
    """A column as an array; the values of a list or a tuple keep their own types."""
    if not isinstance(column, list | tuple):
        array = np.asarray(column)
        if array.ndim == 0:
            raise DataError(
                f"{type(column).__name__} is no column: give a list or an array, a value for each row"
            )
        return array
    return np.fromiter(column, object, len(column))


def ids(column: np.ndarray, place: Place) -> np.ndarray:
    """Ids as integers or text, of a column as `plain` gives it.

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


def numbers(column: np.ndarray, place: Place) -> np.ndarray:
    """float32; text that is no number is an error.

    A missing value becomes NaN, a number beyond float32 infinity; `clean.drop_bad_ratings` reports them.
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


def _from_objects(array: np.ndarray) -> np.ndarray:
    if array.ndim != 1:
        array = np.fromiter(array, object, len(array))
    values = array.tolist()
    known = [value for value in values if not is_none(value)]
    if any(isinstance(value, list | tuple | dict | set | frozenset | np.ndarray) for value in known):
        return array
    if values and all(isinstance(value, bool | np.bool_) for value in values):
        return np.array(values, bool)
    if all(isinstance(value, int | np.integer) for value in known) and known:
        large = max(map(abs, map(int, known)))
        if len(known) == len(values) and min(known) >= -(2**63) and max(known) < 2**63:
            return np.array(values, np.int64)
        if large > spelling.EXACT:
            return arrow.texts([None if is_none(value) else str(int(value)) for value in values])
    some = known or any(isinstance(value, float) for value in values)
    if some and all(isinstance(value, int | float | np.number | np.bool_) for value in known):
        exact = all(abs(value) <= spelling.EXACT for value in known if isinstance(value, int | np.integer))
        if exact and not any(isinstance(value, complex | np.complexfloating) for value in known):
            return np.array([np.nan if is_none(value) else float(value) for value in values])
    if known and all(isinstance(value, bytes) for value in known):
        return arrow.decoded([None if is_none(value) else value for value in values])
    return arrow.texts([None if is_none(value) else _text(value) for value in values])


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _is_text(values: np.ndarray) -> bool:
    if values.dtype.kind == "O":
        return all(isinstance(value, str) for value in values.tolist())
    return values.dtype.kind == "U"
