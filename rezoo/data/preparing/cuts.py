"""The times between the parts of a split, found in chunks, and the rows of each part."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from rezoo.data import latest
from rezoo.data.preparing.groups import groups, take
from rezoo.data.preparing.plan import PARTS, Chunk, Plan
from rezoo.errors import DataError

BINS = 1 << 16
"""Of times, of which only those that hold a cut are looked at closely."""


class Span(NamedTuple):
    """Of the times of a log."""

    low: int
    high: int
    rows: int


def span(chunk: Chunk) -> list[Span]:
    """Of the times of a chunk; none of an empty one."""
    time = chunk["timestamp"]
    return [Span(int(time.min()), int(time.max()), len(time))] if len(time) else []


def whole(many: Iterable[list[Span]]) -> list[Span]:
    """Of all chunks."""
    every = [one for spans in many for one in spans]
    if not every:
        return []
    low, high, rows = zip(*every, strict=True)
    return [Span(min(low), max(high), sum(rows))]


def histogram(chunk: Chunk, spans: list[Span]) -> np.ndarray:
    """int64 `[BINS]`: the rows in each of as many stretches of time of equal length."""
    return np.bincount(_bin(chunk["timestamp"], spans), minlength=BINS)


def _bin(time: np.ndarray, spans: list[Span]) -> np.ndarray:
    if not len(time):
        return np.zeros(0, np.int64)
    (one,) = spans
    return (time - one.low) // ((one.high - one.low) // BINS + 1)


def total(many: Iterable[np.ndarray]) -> np.ndarray:
    """Sum of histograms."""
    return np.sum([np.zeros(BINS, np.int64), *many], axis=0)


def _places(spans: list[Span], plan: Plan) -> list[int]:
    """How many rows are older than each cut, but for rows of one time."""
    rows = sum(one.rows for one in spans)
    tests, valids = round(rows * plan.test), round(rows * plan.valid)
    return [rows - tests - valids, rows - tests]


def near(chunk: Chunk, spans: list[Span], bins: np.ndarray, plan: Plan) -> np.ndarray:
    """The times of a chunk in the bins that hold a cut."""
    held = np.searchsorted(np.cumsum(bins), _places(spans, plan), side="right")
    time = chunk["timestamp"]
    return time[np.isin(_bin(time, spans), held)]


def found(plan: Plan, spans: list[Span], bins: np.ndarray, times: Iterable[np.ndarray]) -> list[int]:
    """The times from which on rows are for validation, and for testing, as `split.by_time` finds them.

    Raises:
      DataError: if no row is older.

    >>> chunk = {"timestamp": np.array([20, 10, 30, 40])}
    >>> plan, spans = Plan(valid=0.25, test=0.25), span(chunk)
    >>> bins = histogram(chunk, spans)
    >>> found(plan, spans, bins, [near(chunk, spans, bins, plan)])
    [30, 40]
    """
    if not spans:
        return [0, 0]
    ends, close = np.cumsum(bins), np.sort(np.concatenate([np.zeros(0, np.int64), *times]))
    own, cut = _bin(close, spans), []
    for place in _places(spans, plan):
        held = int(np.searchsorted(ends, place, side="right"))
        begin = int(ends[held - 1]) if held else 0
        inside = close[own == held] if held < BINS else []
        cut.append(int(inside[place - begin]) if place < spans[0].rows else spans[0].high + 1)
    if cut[0] <= spans[0].low:
        raise DataError(
            "no row is older than the test rows: the times are too much alike to split by them. "
            "Is it the right column (timestamp=…)?"
        )
    if cut[0] == cut[1] and round(spans[0].rows * plan.valid):
        raise DataError(
            "no row is for validation: those before the test rows are of one time. Give another share, "
            "or times (valid_from=…, test_from=…)."
        )
    return cut


def given(plan: Plan) -> list[int]:
    """The cuts of a plan that names times, as `split.at_time` makes them."""
    assert plan.test_from is not None
    return latest.cuts(plan.test_from, plan.valid_from)


def by_part(chunk: Chunk, cut: list[int]) -> Iterator[tuple[str, Chunk]]:
    """The rows for training, validation and testing; all for training without cuts."""
    part = np.zeros(len(chunk["row"]), np.int64)
    if cut:
        part = np.searchsorted(cut, chunk["timestamp"], side="right")
    for number, index in groups(part):
        yield PARTS[number], take(chunk, index)
