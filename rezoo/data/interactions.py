"""Interactions: who, what, when and how much, as NumPy columns with dense ids."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rezoo.data import log_columns, roles, times
from rezoo.data.columns import plain
from rezoo.data.ids import Ids
from rezoo.data.place import ROW, Place
from rezoo.data.table import Rows, rows_of
from rezoo.errors import DataError

_log = logging.getLogger(__name__)


class Interactions(NamedTuple):
    """A log. Every column has one value per row, in the file's order."""

    user: np.ndarray
    """Dense int32 ids."""
    item: np.ndarray
    rating: np.ndarray | None
    """float32, on the file's scale."""
    timestamp: np.ndarray | None
    """int64 microseconds since 1970, UTC; where the log's unit is "order", numbers in order of time."""
    session: np.ndarray | None
    """Dense int32 ids of sessions, from 1."""
    extra: dict[str, np.ndarray]
    """The other columns, by name."""
    users: Ids
    items: Ids
    row: Rows | None = None
    """The number of each row in its file, from 1 below a header; None for 1, 2, 3 …"""
    ordered: bool = False
    """Whether the timestamps are numbers of an order (`unit="order"`), between which no time passes."""

    @property
    def num_rows(self) -> int:
        """Rows of the log (`len` would count the fields of the tuple)."""
        return len(self.user)

    @property
    def num_users(self) -> int:
        """Rows of a user table, id 0 included."""
        return self.users.size

    @property
    def num_items(self) -> int:
        """Rows of an item table, id 0 included."""
        return self.items.size

    @property
    def row_numbers(self) -> np.ndarray:
        """The file's number of each row."""
        return np.arange(1, self.num_rows + 1) if self.row is None else np.asarray(self.row)

    def take(self, index: np.ndarray) -> "Interactions":
        """The rows of an index or a mask; the id maps stay as they are."""
        return self._replace(row=self.row_numbers).map(lambda column: column[index])

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Interactions":
        """`function` of every column."""
        columns = [None if column is None else function(column) for column in self[:5]]
        extra = {name: function(column) for name, column in self.extra.items()}
        row = None if self.row is None else function(self.row_numbers)
        return Interactions(*columns, extra, self.users, self.items, row, self.ordered)  # type: ignore[arg-type]

    def moments(self) -> np.ndarray:
        """The timestamps of a log whose timestamps are moments, between which time passes: int64 `[n]`.

        Raises:
          DataError: if the log has no timestamps, or they give the order alone (`unit="order"`).

        >>> from_columns({"user": [1], "item": [7], "time": [60_000]}, unit="ms").moments().tolist()
        [60000000]
        """
        if self.timestamp is None:
            raise DataError("the log has no times: name its time column with timestamp=…")
        if self.ordered:
            raise DataError(
                'the times only give the order of the rows, as those of a log of unit="order": give its times'
            )
        return self.timestamp

    def sort_by_time(self) -> "Interactions":
        """Oldest first; rows of the same time keep the file's order.

        Raises:
          DataError: if the log has no timestamps.
        """
        if self.timestamp is None:
            raise DataError("the log has no timestamps: name its time column with timestamp=…")
        return self.take(np.argsort(self.timestamp, kind="stable"))


def from_columns(
    columns: Mapping[str, ArrayLike],
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    timestamp: str | None = None,
    session: str | None = None,
    title: str | None = None,
    unit: str | None = None,
    time_format: str | None = None,
    users: Ids | None = None,
    items: Ids | None = None,
    source: str = "table",
) -> Interactions:
    """A log from a table of columns, whose roles are recognised by name or given.

    Args:
      columns: by name, of one length.
      user: name of the user column, if it is not one that `roles.ALIASES` knows; likewise `item`,
        `rating`, `timestamp`, `session`, `title`. A log with sessions (visits, not orders) and no users
        takes each session as one and says so in the log. A session is one user's: where several users
        have sessions of one name, as where each user's are numbered from 1, these are sessions of their own,
        and the log says so. Titles name the items (`log.items.names`) and are in `extra` too.
      unit: of times that are numbers: "s", "ms", "us" or "ns", by their size if not given; "order", if
        they are not times but only give the order (1, 2, 3 …). See `times.microseconds`.
      time_format: of times that are text, such as "%d.%m.%Y %H:%M" or "ISO8601"; needed where day and
        month could be either.
      users: an id map fitted before; ids that it does not know become 0. Likewise `items`.
      source: what errors call the table, such as the file's name.

    Raises:
      DataError: if a column is missing, of another length or not readable as its role, or if two look like
        one role.

    >>> log = from_columns({"userId": ["u7", "u9", "u7"], "movieId": [30, 20, 20], "rating": [4, 3.5, 5]})
    >>> log.user.tolist(), log.item.tolist(), log.rating.tolist()
    ([1, 2, 1], [1, 2, 2], [4.0, 3.5, 5.0])
    """
    given = dict(user=user, item=item, rating=rating, timestamp=timestamp, session=session, title=title)
    _check(columns, source)
    chosen = roles.choose(columns, given, required=("user", "item"), source=source)
    names = {role: one.column for role, one in chosen.items()}
    if names["user"] == names.get("session"):
        _log.warning("%s: %s", source, chosen["user"].why)
    table = {name: plain(column) for name, column in columns.items()}
    row = table.pop(ROW, rows_of(columns))
    del columns  # so that a table that nobody else holds is freed column by column

    def column(role: str) -> np.ndarray:
        values = table[names[role]] if role == shared else table.pop(names[role])
        if values.ndim != 1:
            raise DataError(f"{place(role)} has shape {values.shape}; give one value for each row")
        return values

    def place(role: str) -> Place:
        return Place(source, names[role], row)

    shared = "session" if names["user"] == names.get("session") else None
    sessions = visits = None
    if "session" in names:
        values = log_columns.ids(column("session"), place("session"))
        visits = Ids.fit(values)
        sessions = visits.encode(values)
    maps, dense = {}, {}
    for role, fitted in (("user", users), ("item", items)):
        values = log_columns.ids(column(role), place(role))
        maps[role] = fitted or Ids.fit(values)
        dense[role] = maps[role].encode(values)
        if role == "user" and visits is not None and shared is None:
            own = dense[role] if fitted is None else Ids.fit(values).encode(values)
            sessions = _of_one_user(sessions, own, visits, place("session"))
        del values
    if "title" in names and table[names["title"]].ndim == 1:
        maps["item"] = maps["item"].named(dense["item"], table[names["title"]])
    numbers = log_columns.ratings(column("rating"), place("rating")) if "rating" in names else None
    when = None
    if "timestamp" in names:
        when = times.microseconds(
            column("timestamp"), unit=unit, time_format=time_format, place=place("timestamp")
        )
    return Interactions(
        dense["user"],
        dense["item"],
        numbers,
        when,
        sessions,
        table,
        maps["user"],
        maps["item"],
        row,
        when is not None and unit == times.ORDER,
    )  # type: ignore[arg-type]


def _of_one_user(session: Any, user: np.ndarray, named: Ids, place: Place) -> np.ndarray:
    """Dense ids of sessions, where those of one name and several users are several, by first appearance."""
    order = np.argsort(session, kind="stable")
    shared = (session[order[1:]] == session[order[:-1]]) & (user[order[1:]] != user[order[:-1]])
    if not shared.any():
        return session
    pairs = session.astype(np.int64) * (int(user.max()) + 1) + user
    _log.warning(
        "%s: %s sessions are those of several users, such as %r: each user's is a session of its own",
        place,
        f"{len(np.unique(session[order[1:]][shared])):,}",
        named.raw[session[order[1:][shared][0]] - 1].item(),
    )
    return Ids.fit(pairs).encode(pairs)


def _check(columns: Mapping[str, ArrayLike], source: str) -> None:
    """Check that the columns have one length, and at least one row."""
    for name, column in columns.items():
        if not hasattr(column, "__getitem__") or isinstance(column, str | bytes) or np.ndim(column) == 0:
            raise DataError(f"{source}, column {name!r} is not a list or array with a value for each row")
    lengths = {name: len(column) for name, column in columns.items()}  # pyright: ignore[reportArgumentType]
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: the columns differ in length: {lengths}")
    if not next(iter(lengths.values()), 0):
        raise DataError(f"{source}: there are no rows. Is it the right file?")
