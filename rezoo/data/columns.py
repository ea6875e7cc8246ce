"""A column of a table of any kind, read as one NumPy array of numbers or of text."""

from typing import Any

import numpy as np

from rezoo.data import arrow
from rezoo.errors import DataError


def read(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values `[n]`, which are integers, floats, booleans or `str`, and where they are missing.

    Missing are None, NaN, a nullable table's NA, and texts of blanks only.

    Raises:
      DataError: if the column has not one value per row, or mixes numbers and text.

    >>> [x.tolist() for x in read(["a", None, " "])]
    [['a', '', ' '], [False, True, True]]
    """
    array = objects(column) if isinstance(column, list | tuple) else np.asarray(column)
    if array.ndim != 1:
        raise DataError(f"it has shape {array.shape}; give one value per row")
    if array.dtype.kind == "O":
        array = _unboxed(array.tolist())
    if array.dtype.kind == "S":
        array = arrow.decoded(array.tolist())
    if array.dtype.kind == "U":
        return array, np.strings.str_len(np.strings.strip(array)) == 0
    if array.dtype.kind in "fiub":
        return array, np.isnan(array)
    raise DataError(f"it is of type {array.dtype}; give numbers or text")


def objects(column: Any) -> np.ndarray:
    """The column as an array that can be indexed, whatever its values are."""
    return column if isinstance(column, np.ndarray) else np.fromiter(column, object, len(column))


def numbers(column: Any, *, log: bool = False) -> np.ndarray:
    """float64 `[n]`, NaN where missing; of log(1 + x) if `log`.

    Raises:
      DataError: if the column is text, or a value is infinite, or negative under the logarithm.
    """
    values, missing = read(column)
    if values.dtype.kind == "U" and not missing.all():
        raise DataError(f"it is text, such as {str(values[~missing][0])!r}; give numbers")
    values = np.where(missing, np.nan, 0.0 if missing.all() else values).astype(np.float64)
    bad = np.isinf(values) | (log & (values < 0))
    if bad.any():
        row = np.flatnonzero(bad)[0]
        raise DataError(
            f"row {row + 1} is {values[row]}, of which there is no {'logarithm' if log else 'mean'}: "
            "correct it, or make it missing (NaN)"
        )
    return np.log1p(values) if log else values


def texts(column: Any) -> list[str]:
    """The texts, empty where missing.

    Raises:
      DataError: if the column is numbers.
    """
    values, missing = read(column)
    if values.dtype.kind != "U" and not missing.all():
        raise DataError(f"it is {values.dtype}; give text")
    return np.where(missing, "", values.astype(str)).tolist()


def lists(column: Any, separator: str) -> list[list[Any]]:
    """For each row its values: the parts of a text, or the elements of a list; none where missing.

    >>> lists(["a|b", None, ["c"]], "|")
    [['a', 'b'], [], ['c']]
    """
    return [_list(value, row, separator) for row, value in enumerate(objects(column).tolist(), 1)]


def padded(rows: list[list[int]], width: int) -> np.ndarray:
    """int32 `[n width]`: the first `width` numbers of each row, 0 after the last."""
    out = np.zeros((len(rows), width), np.int32)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row[:width]
    return out


def _list(value: Any, row: int, separator: str) -> list[Any]:
    if _is_missing(value):
        return []
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return [part for part in map(str.strip, value.split(separator)) if part]
    if isinstance(value, list | tuple | np.ndarray | set | frozenset):
        return [part for part in value if not _is_missing(part)]
    raise DataError(f"row {row} is {value!r}: give a list of values, or text with {separator!r} between them")


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float | np.floating) and value != value
    return value is None or is_nan or type(value).__name__ == "NAType"


def _unboxed(values: list[Any]) -> np.ndarray:
    known = [value for value in values if not _is_missing(value)]
    if all(isinstance(value, str | bytes) for value in known):
        plain = [
            value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
            for value in known
        ]
        blank: Any = ""
    elif all(isinstance(value, int | float | np.number | np.bool_) for value in known):
        plain, blank = known, np.nan
    else:
        kinds = sorted({type(value).__name__ for value in known})
        raise DataError(f"it mixes values of {', '.join(kinds)}; give numbers or text, one per row")
    rest = iter(plain)
    return np.array([blank if _is_missing(value) else next(rest) for value in values])
