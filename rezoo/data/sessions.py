"""Sessions and histories: what happened, in order, as arrays of a fixed width.

Events stand oldest first and padding (0) at the end, so that position t of a model's `prefixes`
is its state after event t. Where a sequence is too long, its newest events are kept. Events of one
time keep the order of the file; those of an unknown item or user (0) are left out.

What else a log says of an event, such as its type and time, goes with it as one of the `columns`:

    kinds = features.fit({"type": Categorical()}, log.extra)
    visits = sessions.by_gap(log, columns=kinds.transform(log.extra) | {"time": sessions.seconds(log)})
    data = batches.next_items(visits, 50)            # data.query.features["type"], [S 50]
    model = GRU4Rec(log.num_items, event_features=kinds.rows | {"time": TimeGap})
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rezoo.arrays import int32_of, offsets_of, ranges
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
    columns: Mapping[str, np.ndarray] = {}
    """What else is known of each event, `[m …]`, for models with `event_features`."""

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
        return self._of_events(ranges(self.offsets[index], length), length)._replace(
            user=None if self.user is None else self.user[index],
            start=None if self.start is None else self.start[index],
        )

    def newest(self, length: int) -> "Sessions":
        """The last `length` events of each session; `start` stays that of the whole.

        Raises:
          DataError: if `length` is no whole number, or below 0.
        """
        if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 0:
            raise DataError(f"length = {length}: give the number of newest events, 0 or more")
        kept = np.minimum(self.lengths, length)
        return self._of_events(ranges(self.offsets[1:] - kept, kept), kept)

    def _of_events(self, events: np.ndarray, lengths: np.ndarray) -> "Sessions":
        """These events, in sessions of these lengths."""
        columns = {name: column[events] for name, column in self.columns.items()}
        return self._replace(items=self.items[events], offsets=offsets_of(lengths), columns=columns)


class NextItem(NamedTuple):
    """Every event, and the one that follows it."""

    history: np.ndarray
    """int32 `[S L]`."""
    target: np.ndarray
    """int32 `[S L]`: target[s, t] follows history[s, t]."""
    where: np.ndarray
    """bool `[S L]`: False = padding."""


Columns = Mapping[str, ArrayLike] | None
"""A value for each row of a log, by the column's name."""


def seconds(log: Interactions) -> np.ndarray:
    """The time of each row in seconds since 1970, int32: a column of times for `nn.events.TimeGap`.

    Raises:
      DataError: if the log has no times, but an order (`unit="order"`), or one beyond 2038 or before 1901.

    >>> from rezoo.data.interactions import from_columns
    >>> seconds(from_columns({"user": [1], "item": [7], "time": [60_000]}, unit="ms")).tolist()
    [60]
    """
    return of_rows({"time": log.moments() // SECOND}, log.num_rows)["time"]


def by_id(log: Interactions, *, columns: Columns = None) -> Sessions:
    """Sessions as the log names them, in that order.

    Raises:
      DataError: if the log names no sessions, or `columns` have not a value for each row.

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
    return _cut(log, order, session[1:] != session[:-1], columns)


def by_gap(log: Interactions, seconds: int | float = 1800, *, columns: Columns = None) -> Sessions:
    """Each user's events, cut where more than `seconds` pass without one; by user and time.

    Raises:
      DataError: if the log has no times, or an order alone (`unit="order"`), `columns` have not a value for
        each row, or `seconds` is below 0.

    >>> from rezoo.data.interactions import from_columns
    >>> times = ["2024-05-01 12:00", "2024-05-01 12:10", "2024-05-01 18:00"]
    >>> log = from_columns({"user": [1, 1, 1], "item": [7, 8, 9], "timestamp": times})
    >>> by_gap(log, seconds=1800).items.tolist(), by_gap(log, seconds=1800).lengths.tolist()
    ([1, 2, 3], [2, 1])
    """
    times = log.moments()
    if not seconds >= 0:
        raise DataError(f"seconds = {seconds}: give the length of a gap, 0 or more")
    order = _order(log, log.user)
    user, time = log.user[order], times[order]
    return _cut(log, order, (user[1:] != user[:-1]) | (np.diff(time) > seconds * SECOND), columns)


def pad(sessions: Sessions, length: int, column: str | None = None) -> np.ndarray:
    """int32 `[S length]`: the newest events, 0 after the last; or what one of the columns has of them.

    Raises:
      DataError: if there is no such column, or `length` is below 0.

    >>> pad(Sessions(np.array([1, 2, 3, 4], np.int32), np.array([0, 3, 4])), 2).tolist()
    [[2, 3], [4, 0]]
    """
    if column is not None and column not in sessions.columns:
        raise DataError(f"the sessions have no column {column!r}; they have {list(sessions.columns)}")
    short = sessions.newest(length)
    values = short.items if column is None else short.columns[column]
    kind = np.int32 if column is None else values.dtype
    rows = np.zeros((sessions.num_sessions, length, *values.shape[1:]), kind)
    rows[np.arange(length) < short.lengths[:, None]] = values
    return rows


def by_user(log: Interactions, *, columns: Columns = None) -> Sessions:
    """Each user's events as one session; users without events are left out.

    Raises:
      DataError: if `columns` have not a value for each row.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann", "bo", "ann"], "item": [7, 8, 9]})
    >>> made = by_user(log, columns={"type": [1, 1, 2]})
    >>> made.items.tolist(), made.lengths.tolist(), made.columns["type"].tolist()
    ([1, 3, 2], [2, 1], [1, 2, 1])
    """
    order = _order(log, log.user)
    user = log.user[order]
    return _cut(log, order, user[1:] != user[:-1], columns)


def of_padded(rows: np.ndarray, user: np.ndarray | None = None) -> Sessions:
    """Sessions from rows of item ids `[S L]`, 0 = padding.

    Raises:
      DataError: if they are no whole numbers from 0 within int32, or there is not a user for each row.

    >>> of_padded(np.array([[5, 6, 0], [7, 0, 0]])).offsets.tolist()
    [0, 2, 3]
    """
    rows = np.asarray(int32_of("a row", rows))
    if rows.ndim != 2 or rows.min(initial=0) < 0:
        raise DataError(f"rows {list(rows.shape)} are not [S L] of item ids, 0 and above")
    if user is not None and np.shape(user) != (len(rows),):
        raise DataError(f"user has shape {list(np.shape(user))} for {len(rows):,} rows: give one for each")
    return Sessions(rows[rows > 0], offsets_of((rows > 0).sum(axis=1)), user)


def histories(log: Interactions, length: int, of: ArrayLike | None = None) -> np.ndarray:
    """int32 `[num_users length]`: row u holds the newest items of user u, row 0 nothing.

    With `of`, a value for each row of the log, what it has of these events.

    Raises:
      DataError: if `of` has not a value for each row.

    >>> from rezoo.data.interactions import from_columns
    >>> histories(from_columns({"user": ["ann", "ann"], "item": [7, 5]}), 3).tolist()
    [[0, 0, 0], [1, 2, 0]]
    """
    order = _order(log, log.user)
    count = np.bincount(log.user[order], minlength=log.num_users)
    values = None if of is None else of_rows({"of": of}, log.num_rows)["of"][order]
    made = Sessions(log.item[order], offsets_of(count), columns={} if values is None else {"of": values})
    return pad(made, length, None if values is None else "of")


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


def next_item_columns(sessions: Sessions, length: int) -> dict[str, np.ndarray]:
    """The columns of the histories of `next_item_batch`, `[S length …]`: those of the inputs s[:-1].

    >>> made = Sessions(np.array([5, 6, 7]), np.array([0, 3]), columns={"type": np.array([1, 2, 3])})
    >>> next_item_columns(made, 3)["type"].tolist()
    [[1, 2, 0]]
    """
    last = np.maximum(sessions.lengths - 1, 0)
    events = ranges(sessions.offsets[:-1], last)
    known = sessions._of_events(events, last)
    return {name: pad(known, length, name) for name in sessions.columns}


def prefixes(sessions: Sessions, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Every prefix and the item after it: int32 `[P length]`, `[P]`, for models without `prefixes`.

    What columns have of their events is given by `prefix_columns`.

    >>> history, target = prefixes(Sessions(np.array([5, 6, 7], np.int32), np.array([0, 3])), 2)
    >>> history.tolist(), target.tolist()
    ([[5, 0], [5, 6]], [6, 7])
    """
    before, ends = _prefixes(sessions, length)
    return pad(before, length), sessions.items[ends]


def prefix_columns(sessions: Sessions, length: int) -> dict[str, np.ndarray]:
    """The columns of the events of `prefixes`, `[P length …]`.

    >>> made = Sessions(np.array([5, 6, 7]), np.array([0, 3]), columns={"type": np.array([1, 2, 3])})
    >>> prefix_columns(made, 2)["type"].tolist()
    [[1, 0], [1, 2]]
    """
    before, _ = _prefixes(sessions, length)
    return {name: pad(before, length, name) for name in sessions.columns}


def _prefixes(sessions: Sessions, length: int) -> tuple[Sessions, np.ndarray]:
    """The newest events of every prefix as a session of its own, and the place of the event after it."""
    count = np.maximum(sessions.lengths - 1, 0)
    ends = ranges(sessions.offsets[:-1] + 1, count)
    starts = np.maximum(np.repeat(sessions.offsets[:-1], count), ends - length)
    return sessions._of_events(ranges(starts, ends - starts), ends - starts), ends


def of_rows(columns: Columns, rows: int) -> dict[str, np.ndarray]:
    """The columns as int32 and float32, of which each has a value for each of so many rows.

    Raises:
      DataError: if one has not, is not of numbers, or has integers beyond int32.

    >>> of_rows({"price": [3.5, 7.0]}, 2)["price"].dtype.name
    'float32'
    """
    made = {}
    for name, column in (columns or {}).items():
        values = np.asarray(column)
        if values.dtype.kind not in "biuf" or values.shape[:1] != (rows,):
            raise DataError(
                f"column {name!r} is {values.dtype} {list(values.shape)}: give a number for each of {rows:,} "
                "rows; texts become such by rezoo.data.features"
            )
        if values.dtype.kind != "f":
            low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
            if values.size and (values.min() < low or values.max() > high):
                raise DataError(
                    f"column {name!r} has integers {values.min()} … {values.max()}, beyond int32: give times "
                    "in seconds (`sessions.seconds`)"
                )
        made[name] = values.astype(np.float32 if values.dtype.kind == "f" else np.int32)
    return made


def _order(log: Interactions, key: np.ndarray) -> np.ndarray:
    """Rows by key and time, without those whose key or item is 0."""
    order = np.lexsort((key,) if log.timestamp is None else (log.timestamp, key))
    return order[(key[order] > 0) & (log.item[order] > 0)]


def _cut(log: Interactions, order: np.ndarray, between: np.ndarray, columns: Columns) -> Sessions:
    """The rows in this order, cut between n and n + 1 where between[n]."""
    first = np.flatnonzero(np.r_[len(order) > 0, between])
    time = log.timestamp
    return Sessions(
        log.item[order],
        np.append(first, len(order)),
        log.user[order[first]],
        None if time is None else time[order[first]],
        {name: column[order] for name, column in of_rows(columns, log.num_rows).items()},
    )
