"""What a raw column of a table is taken for: ids, numbers or text, as NumPy arrays."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rezoo.data.errors import DataError


def plain(column: ArrayLike) -> np.ndarray:
    """A column as int, float, datetime, bool or str; bytes are decoded, other objects named by str()."""
    array = np.asarray(column)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "O":
        values = array.ravel().tolist()
        if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
            return np.array(values, np.int64)
        if all(isinstance(value, int | float) or value is None for value in values):
            return np.array([np.nan if value is None else float(value) for value in values])
        return np.array(["" if value is None or value != value else _text(value) for value in values])
    return array


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def ids(column: np.ndarray, name: str, source: str) -> np.ndarray:
    """Ids as integers or strings; a missing one is an error, as it belongs to nobody."""
    if column.dtype.kind == "f":
        missing = ~np.isfinite(column)
        if not missing.any() and (column == np.floor(column)).all() and np.abs(column).max(initial=0) < 2**53:
            return column.astype(np.int64)
        broken = column[~missing][column[~missing] % 1 > 0]
        if not missing.any() and len(broken):
            raise DataError(f"{source}, column {name!r}: ids are fractions, such as {broken[0]}")
        if not missing.any():
            raise DataError(
                f"{source}, column {name!r}: ids such as {np.abs(column).max():.0f} are too large to be told "
                f"apart as numbers. Give them as text; from a text file: text=[{name!r}]."
            )
    elif column.dtype.kind == "U":
        missing = np.char.str_len(np.char.strip(column)) == 0
    elif column.dtype.kind in "iub":
        return column.astype(np.int64, copy=False)
    else:
        raise DataError(f"{source}, column {name!r}: {column.dtype} cannot be ids; give integers or strings")
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"{source}, column {name!r}: {len(rows)} of {len(column)} ids are missing, the first in row "
            f"{rows[0] + 1}. Drop those rows (`clean.drop_missing` on the table) or fill them in."
        )
    return column


def numbers(column: np.ndarray, name: str, source: str) -> np.ndarray:
    """float32; text that is no number is an error.

    An empty cell becomes NaN, a number beyond float32 infinity; `clean.drop_bad_ratings` reports them.
    """
    if column.dtype.kind != "U":
        with np.errstate(over="ignore"):
            return column.astype(np.float32)
    filled = np.where(np.char.strip(column) == "", "nan", column)
    try:
        return filled.astype(np.float32)
    except ValueError:
        row = next(row for row, value in enumerate(filled) if not is_number(value))
        raise DataError(
            f"{source}, row {row + 1}, column {name!r}: {str(column[row])!r} is not a number"
        ) from None


def is_number(value: str) -> bool:
    """Whether text reads as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True
