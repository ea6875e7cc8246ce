"""Words that stand for a missing value, and where the values of a column are missing."""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WORDS = frozenset(
    (
        "", "NULL", "Null", "null", "(null)", "None", "NONE", "none", "NaN", "NAN", "nan", "-NaN", "-nan",
        "NaT", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "\\N", "nil", "Nil", "NIL", "-", "undefined",
    )
)  # fmt: skip
"""Texts that stand for a missing value, as databases, pandas, R, JavaScript and spreadsheets write it."""


def is_missing(column: np.ndarray) -> np.ndarray:
    """Where values `[n]` are missing: None, NaN, NaT, and the texts `WORDS`, blanks around them or not.

    >>> is_missing(np.array(["ann", " ", "NULL", "nan"])).tolist()
    [False, True, True, True]
    """
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind in "mM":
        return np.isnat(column)
    if column.dtype.kind in "US":
        texts = pc.utf8_trim_whitespace(pa.array(column).cast(pa.large_string()))
        return np.asarray(pc.is_in(texts, pa.array(sorted(WORDS), pa.large_string())))
    if column.dtype.kind == "O":
        return np.fromiter(map(is_nothing, column.tolist()), bool, len(column))
    return np.zeros(len(column), bool)


def is_nothing(value: Any) -> bool:
    """Whether one value, of any type, is a missing one."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() in WORDS if isinstance(value, str) else is_none(value)


def is_none(value: Any) -> bool:
    """Whether a Python value is None, NaN, NaT, or a nullable table's NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | np.datetime64 | np.timedelta64) and bool(value != value)


def counted(column: np.ndarray, missing: np.ndarray) -> str:
    """How the missing values of a column are written, and how often.

    >>> counted(np.array(["NULL", "ann", "", "NULL"]), np.array([True, False, True, True]))
    "2 'NULL', 1 empty"
    """
    return listed(Counter(str(value).strip() for value in column[missing].tolist()))


def listed(found: Mapping[str, int]) -> str:
    """Spellings in words, the most frequent first."""
    order = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{count:,} {word!r}" if word else f"{count:,} empty" for word, count in order)
