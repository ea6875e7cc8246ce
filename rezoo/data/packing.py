"""Rows of different lengths as rectangles: padded, or several in a row so that little is padding."""

from typing import NamedTuple

import numpy as np

from rezoo.arrays import across, offsets_of, ranges
from rezoo.data.sessions import Sessions


class Packed(NamedTuple):
    """Rows of several sessions, for models that keep them apart by `segment`."""

    items: np.ndarray
    """int32 `[R L]`, 0 = padding."""
    segment: np.ndarray
    """int32 `[R L]`: 1, 2 … for the sessions of a row, 0 = padding."""
    position: np.ndarray
    """int32 `[R L]`: 0, 1 … within each session."""


def pack(sessions: Sessions, length: int) -> Packed:
    """Pack sessions end to end into rows of `length`; of longer ones the newest `length` events.

    Best fit decreasing: each session, the longest first, goes into the fullest row that has room
    for it. That needs in the limit at most 11/9 of the fewest rows possible (Johnson, Demers,
    Ullman, Garey, Graham 1974, https://doi.org/10.1137/0203025). The order of sessions is lost.

    >>> packed = pack(Sessions(np.array([1, 2, 3, 4, 5, 6], np.int32), np.array([0, 1, 4, 6])), 4)
    >>> packed.items.tolist(), packed.segment.tolist()
    ([[2, 3, 4, 1], [5, 6, 0, 0]], [[1, 1, 1, 2], [1, 1, 0, 0]])
    """
    short = sessions.newest(length)
    size = short.lengths
    row, column, segment = (np.zeros(len(size), np.int64) for _ in range(3))
    open_rows: list[list[int]] = [[] for _ in range(length + 1)]  # by free places
    held: list[int] = []  # sessions in each row
    for s in np.argsort(-size, kind="stable")[: np.count_nonzero(size)].tolist():
        need = int(size[s])
        free = next((places for places in range(need, length) if open_rows[places]), length)
        if free == length:
            open_rows[length].append(len(held))
            held.append(0)
        row[s] = into = open_rows[free].pop()
        held[into] += 1
        column[s], segment[s] = length - free, held[into]
        open_rows[free - need].append(into)
    out = Packed(*(np.zeros((len(held), length), np.int32) for _ in range(3)))
    position = ranges(np.zeros_like(size), size)
    at = np.repeat(row, size), np.repeat(column, size) + position
    out.items[at], out.segment[at], out.position[at] = short.items, np.repeat(segment, size), position
    return out


def rows_needed(lengths: np.ndarray, length: int) -> int:
    """The rows that `pack` makes of sessions of these lengths; needs only how many have each length.

    >>> rows_needed(np.array([1, 3, 2]), 4)
    2
    """
    size = np.bincount(np.minimum(lengths, length), minlength=length + 1).tolist()
    open_rows, total = [0] * (length + 1), 0  # by free places
    for need in range(length, 0, -1):
        for free in range(need, length + 1):
            each = free // need  # sessions that a row takes before the next one is fuller
            rows = -(-size[need] // each)
            if free == length:
                total += rows
            else:
                rows = min(rows, open_rows[free])
                open_rows[free] -= rows
            whole = min(rows, size[need] // each)
            open_rows[free - each * need] += whole
            size[need] -= whole * each
            if rows > whole:
                open_rows[free - size[need] * need] += 1
                size[need] = 0
    return total


class PackedNextItem(NamedTuple):
    """Packed rows to learn the next item from."""

    history: np.ndarray
    """int32 `[R L]`, 0 = padding."""
    target: np.ndarray
    """int32 `[R L]`: target[r, t] follows history[r, t] in its session."""
    where: np.ndarray
    """bool `[R L]`: False = padding."""
    segment: np.ndarray
    """int32 `[R L]`: the feature `segment` of a `Query`; see `nn.sequence`."""


def next_item(sessions: Sessions, length: int) -> PackedNextItem:
    """`sessions.next_item_batch`, with several sessions in a row, without those of one event.

    >>> batch = next_item(Sessions(np.array([5, 6, 7, 8, 9, 4], np.int32), np.array([0, 3, 5, 6])), 4)
    >>> batch.history.tolist(), batch.target.tolist(), batch.segment.tolist()
    ([[5, 6, 8, 0]], [[6, 7, 9, 0]], [[1, 1, 2, 0]])
    """
    return of_events(sessions, next_events(sessions, length))


def next_events(sessions: Sessions, length: int) -> Packed:
    """The events of `next_item` that have one after them: as `items` their numbers, from 1.

    >>> next_events(Sessions(np.array([7, 8, 9, 5, 6]), np.array([0, 3, 5])), 3).items.tolist()
    [[1, 2, 4]]
    """
    size = np.maximum(sessions.lengths - 1, 0)
    event = ranges(sessions.offsets[:-1], size)  # by number, for an event of each session is left out
    return pack(Sessions((event + 1).astype(np.int32), offsets_of(size)), length)


def of_events(sessions: Sessions, packed: Packed) -> PackedNextItem:
    """What `next_item` makes of the events of `next_events`.

    >>> sessions = Sessions(np.array([7, 8, 9, 5, 6]), np.array([0, 3, 5]))
    >>> of_events(sessions, next_events(sessions, 3)).target.tolist()
    [[8, 9, 6]]
    """
    history, target = (at_events(sessions.items, packed.items + step * (packed.items > 0)) for step in (0, 1))
    return PackedNextItem(history, target, packed.items > 0, packed.segment)


def event_columns(sessions: Sessions, packed: Packed) -> dict[str, np.ndarray]:
    """The columns of the events of `next_events`, `[R L …]`, 0 in padding.

    >>> sessions = Sessions(np.array([7, 8, 9]), np.array([0, 3]), columns={"type": np.array([2, 1, 3])})
    >>> event_columns(sessions, next_events(sessions, 3))["type"].tolist()
    [[2, 1, 0]]
    """
    return {name: at_events(column, packed.items) for name, column in sessions.columns.items()}


def at_events(column: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The value of each event, by its number from 1; 0 where that is 0.

    >>> at_events(np.array([5, 6]), np.array([[2, 1, 0]])).tolist()
    [[6, 5, 0]]
    """
    values = column[number - 1]
    return np.where(across(number > 0, values), values, np.zeros((), column.dtype))


def padded(users: np.ndarray, user: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of each of `users`, in the order of the rows, filled up with 0: `([U L], where)`.

    >>> items, where = padded(np.array([1, 2]), user=np.array([2, 1, 2]), value=np.array([7, 8, 9]))
    >>> items.tolist(), where.tolist()
    ([[8, 0], [7, 9]], [[True, False], [True, True]])
    """
    row = np.full(max(users.max(), user.max(initial=0)) + 1, -1)
    row[users] = np.arange(len(users))
    row_of, value = row[user][row[user] >= 0], value[row[user] >= 0]
    order = np.argsort(row_of, kind="stable")
    row_of, value = row_of[order], value[order]
    counts = np.bincount(row_of, minlength=len(users))
    column = np.arange(len(row_of)) - (np.cumsum(counts) - counts)[row_of]
    out = np.zeros((len(users), max(counts.max(), 1)), value.dtype)
    out[row_of, column] = value
    return out, np.arange(out.shape[1]) < counts[:, None]
