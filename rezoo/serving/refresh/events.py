"""Events to refresh a model from: of a log, or of the service's log of events, in the ids of the model.

What else the model reads of each event (`nn.events`) are further columns of the log (`extra`), such as the
type and the time of those of the service.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from rezoo.arrays import offsets_of
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.packing import at_events
from rezoo.data.sessions import Sessions, pad, seconds
from rezoo.data.times import SECOND
from rezoo.errors import DataError
from rezoo.nn.events import names
from rezoo.serving import event_columns
from rezoo.serving.bundle import Saved
from rezoo.serving.cold_start import lengthened
from rezoo.serving.service.event_log import Event


class Events(NamedTuple):
    """What happened, oldest first; every column has a value for each event."""

    user: np.ndarray
    """Dense ids of the saved model, 0 = unknown."""
    item: np.ndarray
    sequence: np.ndarray
    """Events of one number follow each other: a session, or all of a user."""
    fresh: np.ndarray
    """bool: whether the model is to learn it now."""
    columns: Mapping[str, np.ndarray] = {}
    """Those that the model reads, as it reads them, `[n …]`."""

    def take(self, index: np.ndarray) -> "Events":
        """The events of an index or a mask."""
        columns = {name: column[index] for name, column in self.columns.items()}
        user, item, sequence, fresh = (column[index] for column in self[:4])
        return Events(user, item, sequence, fresh, columns)


def of_service(
    events: Iterable[Event], *, gap: float | None = None, times: Iterable[str] = ("time",)
) -> Interactions:
    """The events of a service as a log: who has signed in is the user, others are their visitor's id.

    Their order is that in which they arrived; the columns `type` and of `times` are as they were sent.

    Args:
      events: one or more, in the order of the service's log.
      gap: seconds without an event after which a visitor's session is over, for models of sessions; for
        models of customers None: all events of a user follow each other.
      times: columns of the time of each event, in seconds, 0 where it is none of this age; what the model
        calls it (`event_columns.times`).

    >>> events = [Event("a", "v1", "tea", received=1.0), Event("b", "v1", 7, received=9.0, user="ann")]
    >>> log = of_service(events, gap=5.0)
    >>> log.extra["type"].tolist()
    ['click', 'click']
    >>> log.users.raw.tolist(), log.items.raw.tolist(), log.session.tolist()
    (['v1', 'ann'], ['tea', '7'], [1, 2])
    """
    events = list(events)
    user = np.array([str(one.visitor if one.user is None else one.user) for one in events])
    item = np.array([str(one.item) for one in events])
    time = np.round(np.array([one.received for one in events]) * SECOND).astype(np.int64)
    users, items = Ids.fit(user), Ids.fit(item)
    session = None
    if gap is not None:
        visitor = np.unique([one.visitor for one in events], return_inverse=True)[1]
        order = np.lexsort((time, visitor))
        begins = (np.diff(visitor[order], prepend=-1) != 0) | (np.diff(time[order], prepend=0) > gap * SECOND)
        session = np.zeros(len(events), np.int32)
        session[order] = np.cumsum(begins)
    told, limits = np.array([one.time for one in events], float), np.iinfo(np.int32)
    told = np.where((told >= limits.min) & (told <= limits.max), told, 0)  # as the service hears it
    extra = {"type": np.array([one.type for one in events])} | dict.fromkeys(times, told)
    return Interactions(users.encode(user), items.encode(item), None, time, session, extra, users, items)


def with_times(log: Interactions, names: Iterable[str]) -> Interactions:
    """A log whose times stand in those of these columns, too, that it has not: to be `joined` with another.

    Raises:
      DataError: if the log lacks a column, and has no times.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["ann"], "item": ["tea"], "time": [1_700_000_000]})
    >>> with_times(log, ["when"]).extra["when"].tolist()
    [1700000000]
    """
    lacking = [name for name in names if name not in log.extra]
    return log._replace(extra=log.extra | {name: seconds(log) for name in lacking})


def with_columns(saved: Saved, log: Interactions) -> Interactions:
    """A log whose further columns are those that a model reads of each event, as it reads them.

    Raises:
      DataError: if the log lacks one, or has it of another type than in training.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.models import HSTU
    >>> log = from_columns({"user": ["ann"], "item": ["hat"], "time": ["2024-05-01"], "shop": [3]})
    >>> with_columns(Saved(HSTU(2, time="when"), {}, log.users, log.items), log).extra
    {'when': array([1714521600], dtype=int32)}
    """
    try:
        raw = with_times(log, event_columns.times(saved)).extra
        return log._replace(extra=event_columns.transformed(saved, raw))
    except DataError as error:
        raise DataError(
            f"{type(saved.model).__name__} reads the columns {', '.join(names(saved.model))} of each event, "
            f"and the log has them not as in training: {error}"
        ) from error


def joined(first: Interactions, second: Interactions) -> Interactions:
    """Two logs as one, in this order, such as that of the training and the service's.

    The result has sessions, times, or a further column, if both have.

    >>> from rezoo.data.interactions import from_columns
    >>> logs = [from_columns({"user": ["ann"], "item": items}) for items in (["tea"], ["cup"])]
    >>> joined(*logs).items.raw.tolist(), joined(*logs).item.tolist()
    (['tea', 'cup'], [1, 2])
    """
    users, user = _merged(first.users, second.users)
    items, item = _merged(first.items, second.items)
    session = time = None
    if first.session is not None and second.session is not None:
        session = np.concatenate([first.session, second.session + first.session.max(initial=0)])
    if first.timestamp is not None and second.timestamp is not None:
        time = np.concatenate([first.timestamp, second.timestamp])
    both = [name for name in first.extra if name in second.extra]
    return Interactions(
        np.concatenate([first.user, user[second.user]]),
        np.concatenate([first.item, item[second.item]]),
        None,
        time,
        session,
        {name: np.concatenate([first.extra[name], second.extra[name]]) for name in both},
        users,
        items,
        ordered=time is not None and (first.ordered or second.ordered),
    )


def _merged(ids: Ids, others: Ids) -> tuple[Ids, np.ndarray]:
    """A map with the ids of both, and for each dense id of the second its own there."""
    longer, _ = lengthened(ids, others.raw[ids.encode(others.raw) == 0])
    return longer, np.append(0, longer.encode(others.raw)).astype(np.int32)


def with_past(saved: Saved, log: Interactions, fresh: np.ndarray) -> tuple[Interactions, np.ndarray]:
    """A log, oldest first, and which of its events are fresh.

    Its further columns are those of `with_columns`. Where it holds nothing but fresh events of customers,
    what they did before is taken from the model's histories.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.models import GRU4Rec
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array(["tea"]))
    >>> shop = Saved(GRU4Rec(2), {}, users, items, history=np.array([[0], [1]], np.int32))
    >>> log, fresh = with_past(shop, from_columns({"user": ["ann"], "item": ["cup"]}), np.array([True]))
    >>> log.items.decode(log.item).tolist(), fresh.tolist()
    (['tea', 'cup'], [False, True])
    """
    if log.timestamp is not None:
        order = np.argsort(log.timestamp, kind="stable")
        log, fresh = log.take(order), fresh[order]
    if log.session is not None or saved.history is None or not fresh.all():
        return log, fresh
    who, place = np.nonzero(saved.history)
    columns = {name: saved.history_columns[name][who, place] for name in names(saved.model)}
    columns = {name: column.astype(log.extra[name].dtype) for name, column in columns.items()}
    past = Interactions(
        who.astype(np.int32), saved.history[who, place], None, None, None, columns, saved.users, saved.items
    )
    return joined(past, log), np.concatenate([np.zeros(len(who), bool), fresh])


def in_ids_of(saved: Saved, log: Interactions, fresh: np.ndarray) -> Events:
    """A log in the ids of a saved model, whose further columns are those of `with_columns`.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.models import MF
    >>> shop = Saved(MF(2, 3), {}, Ids(np.array(["ann"])), Ids(np.array(["tea", "cup"])))
    >>> log = from_columns({"user": ["ann", "bob"], "item": ["cup", "hat"]})
    >>> events = in_ids_of(shop, log, np.array([True, True]))
    >>> events.user.tolist(), events.item.tolist()
    ([1, 0], [2, 0])
    """
    user, item = (
        np.append(0, ids.encode(own.raw)).astype(np.int32)[column]
        for ids, own, column in ((saved.users, log.users, log.user), (saved.items, log.items, log.item))
    )
    return Events(user, item, sequence_of(log), fresh, {name: log.extra[name] for name in names(saved.model)})


def sequence_of(log: Interactions) -> np.ndarray:
    """The session of each event, where the log names sessions, else its user.

    >>> from rezoo.data.interactions import from_columns
    >>> sequence_of(from_columns({"user": ["ann", "bob"], "item": ["tea", "tea"]})).tolist()
    [1, 2]
    """
    return log.user if log.session is None else log.session


def rows(events: Events, kept: np.ndarray, length: int) -> np.ndarray:
    """The newest events of each sequence, of those kept whose item is known: places + 1, `[S length]`.

    >>> events = Events(*np.array([[1, 2, 1], [5, 6, 7], [1, 2, 1], [0, 1, 1]]))
    >>> rows(events, np.array([True, True, True]), 3).tolist()
    [[1, 3, 0], [2, 0, 0]]
    """
    at = np.flatnonzero(kept & (events.item > 0))
    at = at[np.argsort(events.sequence[at], kind="stable")]
    _, counts = np.unique(events.sequence[at], return_counts=True)
    return pad(Sessions((at + 1).astype(np.int32), offsets_of(counts)), length)


def before(events: Events, asked: np.ndarray, length: int) -> np.ndarray:
    """The events of known items before each of some in its sequence, oldest first: places + 1, `[n length]`.

    Args:
      events: of all time.
      asked: places of some of them.
      length: the newest so many.

    >>> events = Events(*np.array([[1, 2, 1], [5, 6, 7], [1, 2, 1], [0, 1, 1]]))
    >>> before(events, np.array([1, 2]), 2).tolist()
    [[0, 0], [1, 0]]
    """
    known = np.flatnonzero(events.item > 0)
    order = known[np.argsort(events.sequence[known], kind="stable")]
    sequence = events.sequence[order]
    start = np.searchsorted(sequence, events.sequence[asked])
    # The events of a sequence stand in the order of their places.
    key = sequence.astype(np.int64) * len(events.item) + order
    end = np.searchsorted(key, events.sequence[asked].astype(np.int64) * len(events.item) + asked)
    first = np.maximum(start, end - length)
    place = first[:, None] + np.arange(length)
    within = place < end[:, None]
    return at_events(order + 1, np.where(within, place + 1, 0))
