"""Sessions and histories: what happened, in order, as arrays of a fixed width.

Events stand oldest first and padding (0) at the end, so that position t of a model's `prefixes`
is its state after event t. Where a sequence is too long, its newest events are kept. Events of one
time keep the order of the file; those of an unknown item or user (0) are left out.
"""

from typing import NamedTuple

import numpy as np

from rezoo.arrays import offsets_of, ranges
from rezoo.data.interactions import Interactions
from rezoo.data.times import SECOND
from rezoo.errors import DataError


class Sessions(NamedTuple):
    """Sequences of any length: session s is `items[offsets[s]:offsets[s + 1]]`."""

    items: np.ndarray
    """int32 `[m]`."""
    offsets: np.ndarray
    """int64 `[s + 1]`."""
    user: np.ndarray | None = None
    """int32 `[s]`: whose session it is (at its first event)."""
    start: np.ndarray | None = None
    """int64 `[s]`: the time of the first event, in microseconds since 1970, UTC."""

    @property
    def num_sessions(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Events of each session."""
        return np.diff(self.offsets)

    def take(self, index: np.ndarray) -> "Sessions":
        """The sessions of an index or a mask."""
        index = np.arange(self.num_sessions)[index]
        length = self.lengths[index]
        return Sessions(
            self.items[ranges(self.offsets[index], length)],
            offsets_of(length),
            None if self.user is None else self.user[index],
            None if self.start is None else self.start[index],
        )

    def newest(self, length: int) -> "Sessions":
        """The last `length` events of each session; `start` stays that of the whole."""
        kept = np.minimum(self.lengths, length)
        return self._replace(
            items=self.items[ranges(self.offsets[1:] - kept, kept)], offsets=offsets_of(kept)
        )


class NextItem(NamedTuple):
    """Every event, and the one that follows it."""

    history: np.ndarray
    """int32 `[S L]`."""
    target: np.ndarray
    """int32 `[S L]`: target[s, t] follows history[s, t]."""
    where: np.ndarray
    """bool `[S L]`: False = padding."""


def by_id(log: Interactions) -> Sessions:
    """Sessions as the log names them, in that order.

    Raises:
      DataError: if the log names no sessions.

    >>> from rezoo.data.interactions import from_columns
    >>> table = {"session": ["a", "b", "a"], "item": [7, 7, 5], "time": [20, 30, 10]}
    >>> log = from_columns(table, unit="order")
    >>> by_id(log).items.tolist(), by_id(log).offsets.tolist()
    ([2, 1, 1], [0, 2, 3])
    """
    if log.session is None:
        raise DataError("the log names no sessions: name its session column, or use sessions.by_gap")
    order = _order(log, log.session)
    session = log.session[order]
    return _cut(log, order, session[1:] != session[:-1])


def by_gap(log: Interactions, seconds: int | float = 1800) -> Sessions:
    """Each user's events, cut where more than `seconds` pass without one; by user and time.

    Raises:
      DataError: if the log has no times.

    >>> from rezoo.data.interactions import from_columns
    >>> times = ["2024-05-01 12:00", "2024-05-01 12:10", "2024-05-01 18:00"]
    >>> log = from_columns({"user": [1, 1, 1], "item": [7, 8, 9], "timestamp": times})
    >>> by_gap(log, seconds=1800).items.tolist(), by_gap(log, seconds=1800).lengths.tolist()
    ([1, 2, 3], [2, 1])
    """
    if log.timestamp is None:
        raise DataError("the log has no times to find gaps in: name its time column")
    order = _order(log, log.user)
    user, time = log.user[order], log.timestamp[order]
    return _cut(log, order, (user[1:] != user[:-1]) | (np.diff(time) > seconds * SECOND))


def pad(sessions: Sessions, length: int) -> np.ndarray:
    """int32 `[S length]`: the newest events, 0 after the last.

    >>> pad(Sessions(np.array([1, 2, 3, 4], np.int32), np.array([0, 3, 4])), 2).tolist()
    [[2, 3], [4, 0]]
    """
    short = sessions.newest(length)
    rows = np.zeros((sessions.num_sessions, length), np.int32)
    rows[np.arange(length) < short.lengths[:, None]] = short.items
    return rows


def by_user(log: Interactions) -> Sessions:
    """Each user's events as one session; users without events are left out.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann", "bo", "ann"], "item": [7, 8, 9]})
    >>> by_user(log).items.tolist(), by_user(log).lengths.tolist()
    ([1, 3, 2], [2, 1])
    """
    order = _order(log, log.user)
    user = log.user[order]
    return _cut(log, order, user[1:] != user[:-1])


def of_padded(rows: np.ndarray, user: np.ndarray | None = None) -> Sessions:
    """Sessions from rows of item ids `[S L]`, 0 = padding.

    >>> of_padded(np.array([[5, 6, 0], [7, 0, 0]])).offsets.tolist()
    [0, 2, 3]
    """
    rows = np.asarray(rows)
    return Sessions(rows[rows > 0].astype(np.int32), offsets_of((rows > 0).sum(axis=1)), user)


def histories(log: Interactions, length: int) -> np.ndarray:
    """int32 `[num_users length]`: row u holds the newest items of user u, row 0 nothing.

    >>> from rezoo.data.interactions import from_columns
    >>> histories(from_columns({"user": ["ann", "ann"], "item": [7, 5]}), 3).tolist()
    [[0, 0, 0], [1, 2, 0]]
    """
    order = _order(log, log.user)
    count = np.bincount(log.user[order], minlength=log.num_users)
    return pad(Sessions(log.item[order], offsets_of(count)), length)


def next_item_batch(sessions: Sessions, length: int) -> NextItem:
    """Inputs s[:-1] and targets s[1:] of the newest `length + 1` events, for models with `prefixes`.

    The row of a session of one event has no target.

    >>> batch = next_item_batch(Sessions(np.array([5, 6, 7, 8], np.int32), np.array([0, 3, 4])), 3)
    >>> batch.history.tolist(), batch.target.tolist()
    ([[5, 6, 0], [0, 0, 0]], [[6, 7, 0], [0, 0, 0]])
    """
    rows = pad(sessions, length + 1)
    target = rows[:, 1:]
    return NextItem(np.where(target > 0, rows[:, :-1], 0), target, target > 0)


def prefixes(sessions: Sessions, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Every prefix and the item after it: int32 `[P length]`, `[P]`, for models without `prefixes`.

    >>> history, target = prefixes(Sessions(np.array([5, 6, 7], np.int32), np.array([0, 3])), 2)
    >>> history.tolist(), target.tolist()
    ([[5, 0], [5, 6]], [6, 7])
    """
    count = np.maximum(sessions.lengths - 1, 0)
    ends = ranges(sessions.offsets[:-1] + 1, count)
    starts = np.maximum(np.repeat(sessions.offsets[:-1], count), ends - length)
    events = sessions.items[ranges(starts, ends - starts)]
    return pad(Sessions(events, offsets_of(ends - starts)), length), sessions.items[ends]


def _order(log: Interactions, key: np.ndarray) -> np.ndarray:
    """Rows by key and time, without those whose key or item is 0."""
    order = np.lexsort((key,) if log.timestamp is None else (log.timestamp, key))
    return order[(key[order] > 0) & (log.item[order] > 0)]


def _cut(log: Interactions, order: np.ndarray, between: np.ndarray) -> Sessions:
    """The rows in this order, cut between n and n + 1 where between[n]."""
    first = np.flatnonzero(np.r_[len(order) > 0, between])
    time = log.timestamp
    return Sessions(
        log.item[order],
        np.append(first, len(order)),
        log.user[order[first]],
        None if time is None else time[order[first]],
    )
