"""Rows of a chunk by group, chunks put together again, and counts of ids."""

from collections.abc import Iterable, Iterator

import numpy as np

from rezoo.data.preparing.plan import Chunk

Counts = tuple[np.ndarray, np.ndarray]
"""Ids, ascending, and the rows of each."""


def groups(number: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The rows of each group, in order.

    >>> [(group, rows.tolist()) for group, rows in groups(np.array([5, 2, 5]))]
    [(2, [1]), (5, [0, 2])]
    """
    if not len(number):
        return
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    for rows in np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1):
        yield int(number[rows[0]]), rows


def take(chunk: Chunk, index: np.ndarray) -> Chunk:
    """The rows of an index or a mask."""
    return {name: column[index] for name, column in chunk.items()}


def join(chunks: Iterable[Chunk]) -> Chunk:
    """The rows of all, in the order of the log.

    >>> join([{"row": np.array([3])}, {"row": np.array([1, 2])}])["row"].tolist()
    [1, 2, 3]
    """
    every = sorted(chunks, key=lambda chunk: chunk["row"][:1].tolist())
    whole = {name: np.concatenate([chunk[name] for chunk in every]) for name in every[0]}
    row = whole["row"]
    return whole if (row[1:] > row[:-1]).all() else take(whole, np.argsort(row))


def count(ids: np.ndarray, rows: np.ndarray | None = None) -> Counts:
    """How often each id occurs, or the sum of its `rows`.

    >>> [part.tolist() for part in count(np.array([3, 1, 3]))]
    [[1, 3], [1, 2]]
    """
    if int(ids.max(initial=0)) < 16 * len(ids):
        sums = np.bincount(ids, rows).astype(np.int64)
        found = np.flatnonzero(sums)
        return found, sums[found]
    found, place = np.unique(ids, return_inverse=True)
    return found, np.bincount(place, rows).astype(np.int64)


def add(many: Iterable[Counts]) -> Counts:
    """Sums of counts.

    >>> one = count(np.array([3, 1, 3]))
    >>> [part.tolist() for part in add([one, one])]
    [[1, 3], [2, 4]]
    """
    every = [(np.zeros(0, np.int64), np.zeros(0, np.int64)), *many]
    return count(*(np.concatenate(parts) for parts in zip(*every, strict=True)))
