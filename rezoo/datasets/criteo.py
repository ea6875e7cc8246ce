"""Criteo's display advertising log: a click label, 13 counts and 26 hashed categories a line.

The format of https://www.kaggle.com/c/criteo-display-ad-challenge: 40 columns between tabs, no header,
empty where a value is missing.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rezoo.data import features
from rezoo.data.features import Categorical, FeatureSet
from rezoo.data.files import text_lines
from rezoo.errors import DataError

NUMBERS = tuple(f"I{n}" for n in range(1, 14))
CATEGORIES = tuple(f"C{n}" for n in range(1, 27))


class Clicks(NamedTuple):
    """Raw columns."""

    label: np.ndarray
    """float32 `[n]`: 1 = clicked."""
    columns: dict[str, np.ndarray]
    """`I1` … `I13`, float64, NaN = missing, and `C1` … `C26`, strings, None = missing."""


def read(path: str | Path) -> Clicks:
    """Read a file of Criteo's format, plain, gzipped or zipped.

    Raises:
      DataError: if a line has not 40 columns, a label is not 0 or 1, or a count is not a whole number.
    """
    rows = [line.split("\t") for line in text_lines(path)]
    for number, row in enumerate(rows, start=1):
        if len(row) != 40:
            raise DataError(f"{path}, line {number}: {len(row)} columns between tabs instead of 40")
        if row[0] not in ("0", "1"):
            raise DataError(f"{path}, line {number}: the label is {row[0]!r}; it must be 0 or 1")
    label, *columns = zip(*rows, strict=True)
    named = dict(zip((*NUMBERS, *CATEGORIES), columns, strict=True))
    counts = {name: _counts(named[name], name, path) for name in NUMBERS}
    categories = {name: np.array([word or None for word in named[name]], object) for name in CATEGORIES}
    return Clicks(np.array(label, np.float32), {**counts, **categories})


def fit(train: Clicks, *, min_count: int = 10) -> FeatureSet:
    """The vocabularies of training rows; `transform(classes(clicks))` gives what models read.

    Values seen fewer than `min_count` times and missing ones share one id, the unknown.
    """
    return features.fit({name: Categorical(min_count) for name in (*NUMBERS, *CATEGORIES)}, classes(train))


def classes(clicks: Clicks) -> dict[str, np.ndarray]:
    """Every column as categories: a count v above 2 is ⌊ln² v⌋, as the winners of the contest had it."""
    made = dict(clicks.columns)
    for name in NUMBERS:
        value = clicks.columns[name]
        made[name] = np.where(value > 2, np.floor(np.log(np.maximum(value, 3)) ** 2), value)
    return made


def _counts(words: tuple[str, ...], name: str, path: str | Path) -> np.ndarray:
    for number, word in enumerate(words, start=1):
        if word and not re.fullmatch(r"-?\d{1,300}", word, re.ASCII):
            raise DataError(f"{path}, line {number}, column {name}: {word!r} is not a whole number")
    return np.array([float(word or "nan") for word in words])
