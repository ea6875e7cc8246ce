"""Words that files write for nothing, and where the values of a column are missing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WORDS = (
    "", "NULL", "Null", "null", "None", "NONE", "none", "NaN", "NAN", "nan", "-NaN", "-nan", "NaT", "NA",
    "N/A", "n/a", "#N/A", "#NA", "<NA>", "\\N",
)  # fmt: skip
"""Texts that stand for a missing value, as databases, pandas, R and spreadsheets write it."""


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
        return np.asarray(pc.is_in(texts, pa.array(WORDS, pa.large_string())))
    if column.dtype.kind == "O":
        return np.fromiter(map(_is_nothing, column.tolist()), bool, len(column))
    return np.zeros(len(column), bool)


def _is_nothing(value: Any) -> bool:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip() in WORDS
    return value is None or str(value) in ("nan", "NaT", "<NA>")
