"""Interactions: who, what, when and how much, as NumPy columns with dense ids."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from rezoo.data import times
from rezoo.data.errors import DataError

ALIASES = {
    "user": "user userid uid customerid customer reviewerid memberid shopper",
    "item": "item itemid movie movieid iid asin parentasin stockcode product productid article articleid",
    "rating": "rating userrating weight stars score overall",
    "timestamp": "timestamp ts time datetime date invoicedate unixreviewtime",
    "session": "session sessionid invoiceno invoice basketid orderid",
}
"""Names by which a column is recognised, without case, blanks and underscores."""

KNOWN = {alias: role for role, names in ALIASES.items() for alias in names.split()}


class Ids:
    """Raw ids of any type, and the dense ids 1, 2, 3 … that stand for them; 0 is the unknown.

    >>> ids = Ids.fit(np.array(["b", "a", "b"]))
    >>> ids.encode(np.array(["a", "b", "new"])).tolist()
    [2, 1, 0]
    >>> ids.decode(np.array([2, 1])).tolist()
    ['a', 'b']
    """

    def __init__(self, raw: np.ndarray):
        """`raw[0]` is the raw id of dense id 1."""
        self.raw = raw

    @classmethod
    def fit(cls, raw: ArrayLike) -> "Ids":
        """Number the distinct ids in the order in which they first come."""
        values = _plain(raw)
        return cls(pa.array(values).unique().to_numpy(zero_copy_only=False).astype(values.dtype))

    @property
    def size(self) -> int:
        """Rows of a table for these ids: their number and one for the unknown."""
        return len(self.raw) + 1

    def encode(self, raw: ArrayLike) -> np.ndarray:
        """Dense int32 ids; 0 for what is not known. Numbers and text are compared as text."""
        values = _plain(raw)
        if (values.dtype.kind == "U") != (self.raw.dtype.kind == "U"):
            return Ids(self.raw.astype(str)).encode(values.astype(str))
        if values.dtype.kind == "f":
            whole = values == np.floor(values)
            return np.where(whole, self.encode(np.where(whole, values, 0).astype(np.int64)), 0).astype(
                np.int32
            )
        known, flat = pa.array(self.raw), values.ravel()
        dense = np.empty(flat.shape, np.int32)
        block = max(1 << 20, 4 * self.size)  # so that long columns are not held four times over
        for at in range(0, len(flat), block):
            some = pa.array(flat[at : at + block]).cast(known.type)
            place = pc.index_in(some, value_set=known)  # pyright: ignore[reportAttributeAccessIssue]
            dense[at : at + block] = place.fill_null(-1).to_numpy() + 1
        return dense.reshape(values.shape)

    def decode(self, dense: ArrayLike) -> np.ndarray:
        """Raw ids, of any shape.

        Raises:
          DataError: if an id is 0 (unknown) or beyond the map.
        """
        dense = np.asarray(dense)
        bad = dense[(dense < 1) | (dense > len(self.raw))]
        if bad.size:
            raise DataError(f"id {bad.flat[0]} has no raw id: dense ids here are 1 … {len(self.raw)}")
        return self.raw[dense - 1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and np.array_equal(self.raw, other.raw)

    __hash__ = None  # type: ignore[assignment]


class Interactions(NamedTuple):
    """A log. Every column has one value per row, in the file's order."""

    user: np.ndarray
    """Dense int32 ids."""
    item: np.ndarray
    rating: np.ndarray | None
    """float32, on the file's scale."""
    timestamp: np.ndarray | None
    """int64 seconds since 1970, UTC."""
    session: np.ndarray | None
    """Dense int32 ids of sessions, from 1."""
    extra: dict[str, np.ndarray]
    """The other columns, by name."""
    users: Ids
    items: Ids

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

    def take(self, index: np.ndarray) -> "Interactions":
        """The rows of an index or a mask; the id maps stay as they are."""
        return self.map(lambda column: column[index])

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> "Interactions":
        """`function` of every column."""
        columns = [None if column is None else function(column) for column in self[:5]]
        extra = {name: function(column) for name, column in self.extra.items()}
        return Interactions(*columns, extra, self.users, self.items)  # type: ignore[arg-type]

    def sort_by_time(self) -> "Interactions":
        """Oldest first; rows of the same second keep the file's order.

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
    unit: str | None = None,
    users: Ids | None = None,
    items: Ids | None = None,
    source: str = "table",
) -> Interactions:
    """A log from a table of columns, whose roles are recognised by name or given.

    Args:
      columns: by name, of one length.
      user: name of the user column, if it is not one that `ALIASES` knows; likewise `item`,
        `rating`, `timestamp`, `session`. A log with sessions and no users takes each session as one.
      unit: of numeric times: "s", "ms", "us" or "ns"; by their size if not given.
      users: an id map fitted before; ids that it does not know become 0. Likewise `items`.
      source: what errors call the table, such as the file's name.

    Raises:
      DataError: if a column is missing, twice there, not of one length or not readable as its role.

    >>> log = from_columns({"userId": ["u7", "u9", "u7"], "movieId": [30, 20, 20], "rating": [4, 3.5, 5]})
    >>> log.user.tolist(), log.item.tolist(), log.rating.tolist()
    ([1, 2, 1], [1, 2, 2], [4.0, 3.5, 5.0])
    """
    given = dict(user=user, item=item, rating=rating, timestamp=timestamp, session=session)
    roles = _roles(columns, given, source)
    table = {name: _plain(column) for name, column in columns.items()}
    del columns  # so that a table that nobody else holds is freed column by column
    _check(table, roles, source)

    def column(role: str) -> np.ndarray:
        return table[roles[role]] if role == shared else table.pop(roles[role])

    shared = None
    if "user" not in roles:
        roles["user"] = roles["session"]
        shared = "session"
    sessions = None
    if "session" in roles:
        raw = _ids(column("session"), roles["session"], source)
        sessions = Ids.fit(raw).encode(raw)
    maps, dense = {}, {}
    for role, fitted in (("user", users), ("item", items)):
        raw = _ids(column(role), roles[role], source)
        maps[role] = fitted or Ids.fit(raw)
        dense[role] = maps[role].encode(raw)
        del raw
    numbers = _numbers(column("rating"), roles["rating"], source) if "rating" in roles else None
    when = None
    if "timestamp" in roles:
        when = times.seconds(column("timestamp"), unit=unit, source=source, column=roles["timestamp"])
    return Interactions(
        dense["user"], dense["item"], numbers, when, sessions, table, maps["user"], maps["item"]
    )  # type: ignore[arg-type]


def _check(table: Mapping[str, np.ndarray], roles: Mapping[str, str], source: str) -> None:
    """Columns of one length, some rows, and an item and a user or a session."""
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source}: the columns differ in length: {lengths}")
    if not next(iter(lengths.values()), 0):
        raise DataError(f"{source}: there are no rows. Is it the right file?")
    missing = [role for role in ("user", "item") if role not in roles]
    if "session" in roles and "user" in missing:
        missing.remove("user")
    if missing:
        raise DataError(
            f"{source}: no {missing[0]} column among {list(table)}. Say which it is, for example "
            f"{missing[0]}={next(iter(table))!r}."
        )


def _roles(columns: Mapping[str, Any], given: Mapping[str, str | None], source: str) -> dict[str, str]:
    roles: dict[str, str] = {}
    for role, name in given.items():
        if name is not None and name not in columns:
            raise DataError(f"{source}: there is no column {name!r}; there are {list(columns)}")
        if name is not None:
            roles[role] = name
    for name in columns:
        role = KNOWN.get(re.sub(r"[\s_]", "", name).lower())
        if role is None or given.get(role) is not None or name in roles.values():
            continue
        if role in roles:
            raise DataError(
                f"{source}: both {roles[role]!r} and {name!r} look like the {role} column. Say which it "
                f"is: {role}={name!r}."
            )
        roles[role] = name
    return roles


def _plain(column: ArrayLike) -> np.ndarray:
    """A column as int, float, datetime, bool or str; bytes are decoded, other objects named by str()."""
    array = np.asarray(column)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "O":
        values = array.ravel().tolist()
        if all(isinstance(value, int) and abs(value) < 2**63 for value in values):
            return np.array(values, np.int64)
        if all(isinstance(value, int | float) or value is None for value in values):
            return np.array([np.nan if value is None else float(value) for value in values])
        return np.array(["" if value is None or value != value else _text(value) for value in values])
    return array


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _ids(column: np.ndarray, name: str, source: str) -> np.ndarray:
    """Ids as integers or strings; a missing one is an error, as it belongs to nobody."""
    if column.dtype.kind == "f":
        missing = ~np.isfinite(column)
        if not missing.any() and (column == np.floor(column)).all() and np.abs(column).max(initial=0) < 2**53:
            return column.astype(np.int64)
        broken = column[~missing][column[~missing] % 1 > 0]
        if not missing.any() and len(broken):
            raise DataError(f"{source}, column {name!r}: ids are fractions, such as {broken[0]}")
        if not missing.any():
            raise DataError(
                f"{source}, column {name!r}: ids such as {np.abs(column).max():.0f} are too large to be told "
                f"apart as numbers. Give them as text; from a text file: text=[{name!r}]."
            )
    elif column.dtype.kind == "U":
        missing = np.char.str_len(np.char.strip(column)) == 0
    elif column.dtype.kind in "iub":
        return column.astype(np.int64, copy=False)
    else:
        raise DataError(f"{source}, column {name!r}: {column.dtype} cannot be ids; give integers or strings")
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"{source}, column {name!r}: {len(rows)} of {len(column)} ids are missing, the first in row "
            f"{rows[0] + 1}. Drop those rows (`clean.drop_missing` on the table) or fill them in."
        )
    return column


def _numbers(column: np.ndarray, name: str, source: str) -> np.ndarray:
    """float32; text that is no number is an error.

    An empty cell becomes NaN, a number beyond float32 infinity; `clean.drop_bad_ratings` reports them.
    """
    if column.dtype.kind != "U":
        with np.errstate(over="ignore"):
            return column.astype(np.float32)
    filled = np.where(np.char.strip(column) == "", "nan", column)
    try:
        return filled.astype(np.float32)
    except ValueError:
        row = next(row for row, value in enumerate(filled) if not _is_number(value))
        raise DataError(
            f"{source}, row {row + 1}, column {name!r}: {str(column[row])!r} is not a number"
        ) from None


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
