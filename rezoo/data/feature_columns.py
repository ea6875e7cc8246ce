"""What a feature reads of a raw column: values, numbers, texts or lists, and which of them are missing."""

from typing import Any

import numpy as np

from rezoo.data.columns import as_array, plain
from rezoo.data.missing import is_none
from rezoo.errors import DataError


def values(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values `[n]`, which are integers, floats, booleans or `str`, and where they are missing.

    Missing are None, NaN, a nullable table's NA, and texts of blanks only; "NA" or "None" is a text.

    Raises:
      DataError: if the column has not one value per row, or mixes numbers and text. As text, its numbers
        would be unknown in a later table that has numbers alone.

    >>> [x.tolist() for x in values(["a", None, " "])]
    [['a', '', ' '], [False, True, True]]
    """
    array = as_array(column)
    if array.ndim != 1:
        raise DataError(f"it has shape {array.shape}; give one value per row")
    array = plain(array, mixed=False)
    array = array.astype(str) if array.dtype.kind == "O" else array  # long texts
    if array.dtype.kind == "U":
        return array, np.strings.str_len(np.strings.strip(array)) == 0
    if array.dtype.kind in "fiub":
        return array, np.isnan(array)
    raise DataError(f"it is of type {array.dtype}; give numbers or text")


def numbers(column: Any, *, log: bool = False) -> np.ndarray:
    """float64 `[n]`, NaN where missing; of log(1 + x) if `log`.

    Raises:
      DataError: if the column is text, or a value is infinite, or negative under the logarithm.
    """
    found, missing = values(column)
    if found.dtype.kind == "U" and not missing.all():
        raise DataError(f"it is text, such as {str(found[~missing][0])!r}; give numbers")
    found = np.where(missing, np.nan, 0.0 if missing.all() else found).astype(np.float64)
    bad = np.isinf(found) | (log & (found < 0))
    if bad.any():
        row = np.flatnonzero(bad)[0]
        raise DataError(
            f"row {row + 1} is {found[row]}, of which there is no {'logarithm' if log else 'mean'}: "
            "correct it, or make it missing (NaN)"
        )
    return np.log1p(found) if log else found


def texts(column: Any) -> list[str]:
    """The texts, empty where missing.

    Raises:
      DataError: if the column is numbers.
    """
    found, missing = values(column)
    if found.dtype.kind != "U" and not missing.all():
        raise DataError(f"it is {found.dtype}; give text")
    return np.where(missing, "", found.astype(str)).tolist()


def lists(column: Any, separator: str) -> list[list[Any]]:
    """For each row its values: the parts of a text, or the elements of a list; none where missing.

    >>> lists(["a|b", None, ["c"]], "|")
    [['a', 'b'], [], ['c']]
    """
    return [_list(value, row, separator) for row, value in enumerate(as_array(column).tolist(), 1)]


def _list(value: Any, row: int, separator: str) -> list[Any]:
    if is_none(value):
        return []
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return [part for part in map(str.strip, value.split(separator)) if part]
    if isinstance(value, list | tuple | np.ndarray | set | frozenset):
        return [part for part in value if not is_none(part)]
    raise DataError(f"row {row} is {value!r}: give a list of values, or text with {separator!r} between them")
