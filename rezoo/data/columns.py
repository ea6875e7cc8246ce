"""A raw column of any kind as one NumPy array; see also `log_columns` and `feature_columns`."""

from typing import Any

import numpy as np

from rezoo.data import arrow, spelling
from rezoo.data.missing import is_none
from rezoo.errors import DataError

NUMBERS = (int, float, np.number, np.bool_)
COLLECTIONS = (list, tuple, dict, set, frozenset, np.ndarray)


def plain(column: Any, *, mixed: bool = True) -> np.ndarray:
    """A column as int, float, datetime, bool or text. Bytes are decoded. Missing text is empty.

    Whole numbers with gaps that floats would round are text.

    Args:
      column: an array, a list, or a column of another library.
      mixed: allow values that are neither all text nor all numbers. A column with lists and the like stays
        objects, any other becomes text, each value by `str`, whole floats as integers (12.0 is "12").

    Raises:
      DataError: if it is one value; or if it is `mixed` and must not be.

    >>> plain([1, 2]).tolist(), plain([1, None]).tolist(), plain([1, "a"]).tolist()
    ([1, 2], [1.0, nan], ['1', 'a'])
    """
    array = as_array(column)
    if array.dtype.kind == "S":
        return arrow.decoded(array.ravel().tolist())
    if array.dtype.kind == "T":
        return arrow.texts([None if value is None else str(value) for value in array.tolist()])
    return _unboxed(array, mixed) if array.dtype.kind == "O" else array


def as_array(column: Any) -> np.ndarray:
    """A column as an array; the values of a list or a tuple keep their own types.

    Raises:
      DataError: if it is one value.
    """
    if isinstance(column, list | tuple):
        return np.fromiter(column, object, len(column))
    array = np.asarray(column)
    if array.ndim == 0:
        raise DataError(
            f"{type(column).__name__} is not a column: give a list or an array, a value for each row"
        )
    return array


def _unboxed(array: np.ndarray, mixed: bool) -> np.ndarray:
    """The values of objects as an array of their common type."""
    if array.ndim != 1:
        array = np.fromiter(array, object, len(array))
    values = array.tolist()
    known = [value for value in values if not is_none(value)]
    if not mixed and not any(all(isinstance(v, kind) for v in known) for kind in ((str, bytes), NUMBERS)):
        kinds = ", ".join(sorted({type(value).__name__ for value in known}))
        raise DataError(f"it mixes values of {kinds}; give numbers or text, one per row")
    if any(isinstance(value, COLLECTIONS) for value in known):
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
    if some and all(isinstance(value, NUMBERS) for value in known):
        exact = all(abs(value) <= spelling.EXACT for value in known if isinstance(value, int | np.integer))
        if exact and not any(isinstance(value, complex | np.complexfloating) for value in known):
            return np.array([np.nan if is_none(value) else float(value) for value in values])
    if known and all(isinstance(value, bytes) for value in known):
        return arrow.decoded([None if is_none(value) else value for value in values])
    return arrow.texts([None if is_none(value) else _text(value) for value in values])


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    whole = isinstance(value, float | np.floating) and abs(value) < spelling.EXACT and value == int(value)
    return str(int(value) if whole else value)
