"""Features fitted to a column of training rows; `rezoo.data.features` makes them."""

from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rezoo.data import feature_columns, text, typed
from rezoo.errors import DataError

Width = Annotated[int, range(1_000_001)]
"""The length to which the list of every row is padded."""
Length = Annotated[int, range(101)]
"""The n of an n-gram."""


@runtime_checkable
class Fitted(Protocol):
    """A fitted feature, which transforms any rows."""

    @property
    def size(self) -> int | None:
        """Rows of an embedding table for it, 0 included; None if it is a number."""
        ...

    @property
    def missing(self) -> int:
        """Training rows without a value."""
        ...

    def transform(self, column: Any) -> np.ndarray: ...


class Vocabulary(NamedTuple):
    """A category: int32 `[n]`, 0 where the value is missing or was not in training."""

    values: np.ndarray
    """In ascending order; `values[k]` has the number k + 1."""
    missing: int

    @property
    def size(self) -> int:
        return len(self.values) + 1

    def transform(self, column: Any) -> np.ndarray:
        return lookup(self.values, column)


class Vocabularies(NamedTuple):
    """Several categories: int32 `[n M]`, 0 after the last; unknown ones are left out."""

    values: np.ndarray
    width: Width
    """M, the most that a training row has; a longer row loses its last ones."""
    separator: str
    missing: int

    @property
    def size(self) -> int:
        return len(self.values) + 1

    def transform(self, column: Any) -> np.ndarray:
        rows = feature_columns.lists(column, self.separator)
        numbers = iter(lookup(self.values, [value for row in rows for value in row]).tolist())
        known = [[number for number in [next(numbers) for _ in row] if number] for row in rows]
        return _padded(known, self.width)


class Standardised(NamedTuple):
    """A number: float32 `[n]`, (x - mean) / deviation, of log(1 + x) if `log`; 0 where it is missing."""

    mean: float
    deviation: float
    log: bool
    missing: int

    @property
    def size(self) -> None:
        return None

    def transform(self, column: Any) -> np.ndarray:
        values = feature_columns.numbers(column, log=self.log)
        with np.errstate(over="ignore"):
            scaled = ((values - self.mean) / self.deviation).astype(np.float32)
        if len(beyond := np.flatnonzero(np.isinf(scaled))):
            row = beyond[0]
            raise DataError(
                f"row {row + 1} is {feature_columns.values(column)[0][row]}, where the mean is "
                f"{self.mean:g} and the deviation {self.deviation:g}, and overflows float32: correct it, or "
                "make it missing (NaN)"
            )
        return np.nan_to_num(scaled)


class Buckets(NamedTuple):
    """A number by its quantile: int32 `[n]`, 1 for the lowest; 0 where it is missing."""

    edges: np.ndarray
    """The least value of each bucket but the first."""
    missing: int

    @property
    def size(self) -> int:
        return len(self.edges) + 2

    def transform(self, column: Any) -> np.ndarray:
        values = feature_columns.numbers(column)
        bucket = 1 + np.searchsorted(self.edges, values, side="right")
        return np.where(np.isnan(values), 0, bucket).astype(np.int32)


class Grams(NamedTuple):
    """Text as hashed n-grams: int32 `[n M]`, words first, 0 after the last."""

    size: Annotated[int, range(2, 2**31)]
    words: Length
    shortest: Length
    longest: Length
    width: Width
    missing: int

    def transform(self, column: Any) -> np.ndarray:
        return _padded([self.numbers(value) for value in feature_columns.texts(column)], self.width)

    def numbers(self, value: str) -> list[int]:
        return text.hashed(value, self.size, self.words, (self.shortest, self.longest))


KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Vocabulary, Vocabularies, Standardised, Buckets, Grams)
}


def described(one: Any, name: str) -> dict[str, Any]:
    """A fitted feature for JSON.

    Raises:
      DataError: if `rebuilt` could not make it again.
    """
    values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in one._asdict().items()}
    fields = {"kind": type(one).__name__, **values}
    rebuilt(fields, name)
    return fields


def rebuilt(fields: Any, name: str) -> Fitted:
    """The feature that was described.

    Raises:
      DataError: if it is none, or one that cannot transform a column.
    """
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"{name} is none of {', '.join(KINDS)}")
    one = typed.read({key: value for key, value in fields.items() if key != "kind"}, KINDS[kind], name)
    ordered = getattr(one, "values", getattr(one, "edges", None))
    if ordered is not None and not (ordered[1:] > ordered[:-1]).all():
        raise DataError(f"{name}: its values are not in ascending order")
    if isinstance(one, Vocabulary | Vocabularies) and not len(one.values):
        raise DataError(f"{name} has no values")
    if isinstance(one, Vocabularies) and not one.separator:
        raise DataError(f"{name} has no separator")
    if isinstance(one, Buckets) and one.edges.dtype.kind not in "if":
        raise DataError(f"{name}: its edges are not numbers")
    if isinstance(one, Standardised) and not (one.deviation > 0 and np.isfinite(one.mean / one.deviation)):
        raise DataError(f"{name}: its mean is {one.mean} and its deviation {one.deviation}")
    return one


def lookup(vocabulary: np.ndarray, column: Any) -> np.ndarray:
    """int32: from 1 for the values of a sorted vocabulary, 0 where one is missing or unknown.

    Raises:
      DataError: if one is numbers and the other text.
    """
    values, missing = feature_columns.values(column)
    if missing.all():
        return np.zeros(len(values), np.int32)
    was, now = ("text" if array.dtype.kind == "U" else "numbers" for array in (vocabulary, values))
    if was != now:
        raise DataError(f"it was {was} in training and is {now} now, such as {values[~missing][0]!r}")
    place = np.minimum(np.searchsorted(vocabulary, values), len(vocabulary) - 1)
    return np.where(~missing & (vocabulary[place] == values), place + 1, 0).astype(np.int32)


def _padded(rows: list[list[int]], width: int) -> np.ndarray:
    """int32 `[n width]`: the first `width` numbers of each row, 0 after the last."""
    out = np.zeros((len(rows), width), np.int32)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = row[:width]
    return out
