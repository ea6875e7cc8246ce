"""Features of users, items and contexts: fitted on training rows, applied to any.

    specs = {"genres": MultiValued(), "year": Numeric(), "title": Text()}
    fitted = features.fit(specs, ml.items, rows=np.unique(train.item))
    catalogue = fitted.transform(ml.items)         # genres: int32 [N M], year: float32 [N] …
    model = WideDeep(sizes=fitted.sizes | {"user": num_users, "item": num_items})
    fitted.save("features.json")

Integers are categories, 0 being missing, unknown, and padding; floats are numbers. A specification
says what to make of a column: its `fit(column)` returns an object with `transform(column)`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rezoo.arrays import at_least_0, at_least_1
from rezoo.data import feature_columns, typed
from rezoo.data.columns import as_array
from rezoo.data.fitted import (
    Buckets,
    Fitted,
    Grams,
    Standardised,
    Vocabularies,
    Vocabulary,
    described,
    rebuilt,
)
from rezoo.errors import DataError
from rezoo.storage import durable

MOST = 2**28
"""Bytes of a file of saved features."""


@runtime_checkable
class Spec(Protocol):
    """What to make of a column."""

    def fit(self, column: Any) -> Fitted: ...


@dataclass(frozen=True)
class Categorical:
    """A number for each value; values that occur less than `min_count` times are unknown."""

    min_count: int = 1

    def __post_init__(self) -> None:
        at_least_1(min_count=self.min_count)

    def fit(self, column: Any) -> Vocabulary:
        values, missing = feature_columns.values(column)
        return Vocabulary(_frequent(values[~missing], self.min_count), int(missing.sum()))


@dataclass(frozen=True)
class MultiValued:
    """Lists of values, or texts of values between separators, such as "Comedy|Drama"."""

    separator: str = "|"
    min_count: int = 1

    def __post_init__(self) -> None:
        at_least_1(min_count=self.min_count)
        if not self.separator or not isinstance(self.separator, str):
            raise ValueError(f"separator = {self.separator!r}: give what stands between values, such as '|'")

    def fit(self, column: Any) -> Vocabularies:
        rows = feature_columns.lists(column, self.separator)
        values, _ = feature_columns.values([value for row in rows for value in row])
        width, missing = max(map(len, rows), default=0), sum(not row for row in rows)
        return Vocabularies(_frequent(values, self.min_count), width, self.separator, missing)


@dataclass(frozen=True)
class Numeric:
    """Numbers brought to mean 0 and deviation 1, the missing ones to the mean."""

    log: bool = False
    """Of log(1 + x), for prices and counts."""

    def fit(self, column: Any) -> Standardised:
        values = feature_columns.numbers(column, log=self.log)
        known, missing = _known(values)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = float(known.mean()), float(known.std())
        if not np.isfinite(deviation):
            row = np.nanargmax(np.abs(values))
            raise DataError(
                f"row {row + 1} is {values[row]}, too large for a mean and a deviation: correct it or "
                "make it missing (NaN)"
            )
        return Standardised(mean, deviation or 1.0, self.log, missing)


@dataclass(frozen=True)
class Quantile:
    """Numbers as categories of equally many training rows; equal numbers stay together."""

    buckets: int = 10

    def __post_init__(self) -> None:
        at_least_1(buckets=self.buckets)

    def fit(self, column: Any) -> Buckets:
        known, missing = _known(feature_columns.numbers(column))
        return Buckets(np.unique(np.quantile(known, np.arange(1, self.buckets) / self.buckets)), missing)


@dataclass(frozen=True)
class Text:
    """Raw text as hashed n-grams of words and characters; see `rezoo.data.text`."""

    buckets: int = 2**15
    words: int = 2
    """Longest sequence of words."""
    characters: tuple[int, int] = (3, 4)
    """Shortest and longest n-gram of characters; (0, 0) for none."""
    width: int = 64
    """The most n-grams of a text; the last ones of a longer text are left out."""

    def __post_init__(self) -> None:
        at_least_1(buckets=self.buckets, width=self.width)
        shortest, longest = self.characters
        at_least_0(words=self.words, shortest=shortest, longest=longest)
        if shortest > longest or (shortest == 0 < longest) or not (self.words or longest):
            raise ValueError(
                f"words = {self.words}, characters = {self.characters}: give the most words of an n-gram, or "
                "the fewest and the most characters"
            )

    def fit(self, column: Any) -> Grams:
        texts = feature_columns.texts(column)
        fitted = Grams(self.buckets, self.words, *self.characters, self.width, texts.count(""))
        longest = max((len(fitted.numbers(value)) for value in texts), default=0)
        if not longest:
            raise DataError("there is no word in it: leave it out")
        return fitted._replace(width=min(self.width, longest))


class FeatureSet(NamedTuple):
    """Fitted features by the name of their column."""

    fitted: dict[str, Fitted]

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the embedding table of each categorical feature."""
        return {name: rows for name, rows in self.rows.items() if rows is not None}

    @property
    def rows(self) -> dict[str, int | None]:
        """Of each feature, None for a number: what models take as features of users, items and events."""
        return {name: one.size for name, one in self.fitted.items()}

    def transform(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The features of any rows, each with leading axis n; other columns are ignored.

        Raises:
          DataError: if a column is missing or of another type than in training.
        """
        return {name: _of(columns, name, one.transform) for name, one in self.fitted.items()}

    def describe(self) -> str:
        """A line for each feature: its kind, the rows of its table, the training rows without a value."""
        lines = []
        for name, one in self.fitted.items():
            size = "a number" if one.size is None else f"{one.size} rows"
            lines.append(f"{name}: {type(one).__name__}, {size}, {one.missing} without a value")
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write a JSON file, from which `load` makes the same features.

        Raises:
          DataError: if a feature could not be read again.
          OSError: if the file cannot be written; one of that name is then as it was.
        """
        table = {name: described(one, name) for name, one in self.fitted.items()}
        with durable.file(path) as partial:
            partial.write_text(json.dumps(table, ensure_ascii=False), "utf-8")


def fit(specs: Mapping[str, Spec], columns: Mapping[str, Any], rows: np.ndarray | None = None) -> FeatureSet:
    """Fit each specification to the column of its name.

    Args:
      specs: by column.
      columns: one value per row; a missing one is None, NaN or "".
      rows: index or mask of the training rows; all by default.

    Raises:
      DataError: if a column is missing, has no value at all, or is of the wrong type.

    >>> fitted = fit({"age": Numeric(), "job": Categorical()}, {"age": [20, 40], "job": ["cook", ""]})
    >>> new = fitted.transform({"age": [30, None], "job": ["cook", "king"]})
    >>> new["age"].tolist(), new["job"].tolist(), fitted.sizes
    ([0.0, 0.0], [1, 0], {'job': 2})
    """

    def one(name: str, spec: Spec) -> Fitted:
        return _of(columns, name, lambda c: spec.fit(c if rows is None else as_array(c)[rows]))

    return FeatureSet({name: one(name, spec) for name, spec in specs.items()})


def load(path: str | Path) -> FeatureSet:
    """Read what `FeatureSet.save` wrote.

    Raises:
      DataError: if it is not such a file.
    """
    try:
        table = typed.from_file(Path(path), MOST)
        if not isinstance(table, dict):
            raise DataError("it holds no features by name")
        return FeatureSet({name: rebuilt(fields, name) for name, fields in table.items()})
    except DataError as error:
        raise DataError(f"{path}: not a file of saved features ({error})") from error


def _of(columns: Mapping[str, Any], name: str, function: Callable[[Any], Any]) -> Any:
    """`function` of a column; its errors name the column."""
    if name not in columns:
        raise DataError(f"there is no column {name!r}; there are {', '.join(columns) or 'none'}")
    try:
        return function(columns[name])
    except DataError as error:
        raise DataError(f"column {name!r}: {error}") from error


def _frequent(values: np.ndarray, min_count: int) -> np.ndarray:
    found, count = np.unique(values, return_counts=True)
    if not (count >= min_count).any():
        raise DataError(f"no value occurs {min_count} times: leave the column out")
    return found[count >= min_count]


def _known(values: np.ndarray) -> tuple[np.ndarray, int]:
    """The numbers that are there, and how many are missing."""
    known = values[~np.isnan(values)]
    if not len(known):
        raise DataError("all its values are missing: leave it out")
    return known, len(values) - len(known)
