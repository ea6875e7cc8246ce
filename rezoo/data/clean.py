"""Cleaning: each step returns the data that is left and a report of what went, why, with examples.

log, report = clean.steps(log, clean.drop_duplicates, partial(clean.k_core, users=5, items=5))
print(report)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rezoo.data import raw
from rezoo.data.errors import DataError
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.missing import is_missing
from rezoo.data.place import keep, row_numbers


class Reason(NamedTuple):
    """Why rows went."""

    why: str
    rows: int
    examples: list[str]
    """The first few, in words; rows are counted from 1."""


class Report(NamedTuple):
    """What cleaning did."""

    before: int
    after: int
    reasons: list[Reason]

    def __add__(self, other: tuple) -> "Report":
        """This step, then the other."""
        following = Report(*other)
        return Report(self.before, following.after, [*self.reasons, *following.reasons])

    def __str__(self) -> str:
        lines = [f"{self.before:,} rows, {self.before - self.after:,} dropped, {self.after:,} left"]
        for reason in self.reasons:
            examples = f" (such as {'; '.join(reason.examples)})" if reason.examples else ""
            count = f"{reason.rows:,} " if reason.rows else ""
            lines.append(f"  {count}{reason.why}{examples}")
        return "\n".join(lines)


Step = Callable[[Interactions], tuple[Interactions, Report]]


def steps(data: Interactions, *functions: Step) -> tuple[Interactions, Report]:
    """One step after the other, and the sum of their reports."""
    report = Report(data.num_rows, data.num_rows, [])
    for function in functions:
        data, one = function(data)
        report = report + one
    return data, report


def drop_missing(
    columns: Mapping[str, np.ndarray], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], Report]:
    """A table without the rows where one of the columns `names` is empty, NaN or no time.

    >>> table, report = drop_missing({"user": np.array([1, np.nan]), "item": np.array([5, 6])}, ["user"])
    >>> table["item"].tolist()
    [5]
    >>> print(report)
    2 rows, 1 dropped, 1 left
      1 without a value of 'user' (such as row 2)

    Raises:
      DataError: if there is no such column.
    """
    total = len(next(iter(columns.values())))
    number = row_numbers(columns, total)
    kept, reasons = np.ones(total, bool), []
    for name in names:
        if name not in columns:
            raise DataError(f"there is no column {name!r}; there are {list(columns)}")
        missing = is_missing(raw.plain(columns[name])) & kept
        if missing.any():
            rows = number[missing]
            examples = [f"row {row}" for row in rows[:3]]
            reasons.append(Reason(f"without a value of {name!r}", len(rows), examples))
        kept &= ~missing
    left = keep(columns, kept)
    return left, Report(total, int(kept.sum()), reasons)


def drop_duplicates(data: Interactions, *, keep: str = "last") -> tuple[Interactions, Report]:
    """One row per (user, item): the `first` or the `last` by time, by the file's order without times."""
    if keep not in ("first", "last"):
        raise DataError(f"keep={keep!r} is not one of 'first' and 'last'")
    order = np.arange(data.num_rows)
    if data.timestamp is not None:
        order = np.argsort(data.timestamp, kind="stable")
    if keep == "last":
        order = order[::-1]
    code = data.user[order].astype(np.int64) * data.num_items + data.item[order]
    _, first = np.unique(code, return_index=True)
    kept = np.zeros(data.num_rows, bool)
    kept[order[first]] = True
    return _drop(data, ~kept, f"repeats of a user and an item, the {keep} is kept")


def drop_bad_ratings(data: Interactions, *, low: float, high: float) -> tuple[Interactions, Report]:
    """Without ratings that are NaN or infinite, and those outside low … high."""
    if data.rating is None:
        raise DataError("the log has no ratings: name its rating column with rating=…")
    finite = np.isfinite(data.rating)
    data, report = _drop(data, ~finite, "ratings that are missing, NaN or infinite", data.rating)
    assert data.rating is not None
    outside = (data.rating < low) | (data.rating > high)
    left, more = _drop(data, outside, f"ratings outside {low:g} … {high:g}", data.rating)
    return left, report + more


def k_core(data: Interactions, *, users: int = 1, items: int = 1) -> tuple[Interactions, Report]:
    """The largest part where every user has ≥ `users` rows and every item ≥ `items`.

    Dropping one can leave another with too few, so it is repeated until nothing changes.
    """
    kept = np.ones(data.num_rows, bool)
    rounds = 0
    while True:
        few_users = np.bincount(data.user[kept], minlength=data.num_users) < users
        few_items = np.bincount(data.item[kept], minlength=data.num_items) < items
        going = kept & (few_users[data.user] | few_items[data.item])
        if not going.any():
            break
        kept &= ~going
        rounds += 1
    why = f"of users with fewer than {users} rows or items with fewer than {items} ({rounds} rounds)"
    return _drop(data, ~kept, why)


def min_session_length(data: Interactions, *, length: int = 2) -> tuple[Interactions, Report]:
    """Without sessions of fewer than `length` events."""
    if data.session is None:
        raise DataError("the log has no sessions: name the session column, or make them from gaps in time")
    short = np.bincount(data.session) < length
    return _drop(data, short[data.session], f"of sessions with fewer than {length} events")


def reindex(data: Interactions) -> tuple[Interactions, Report]:
    """Dense ids anew, for those users and items that are left; the report counts those that are not."""
    users, user_row = data.users.only(data.user)
    items, item_row = data.items.only(data.item)
    left = data._replace(user=user_row[data.user], item=item_row[data.item], users=users, items=items)
    reasons = []
    for name, old, row in (("users", data.users, user_row), ("items", data.items, item_row)):
        gone = old.raw[row[1:] == 0]
        if len(gone):
            why = f"{len(gone):,} {name} have no rows left and lose their id"
            reasons.append(Reason(why, 0, [str(raw) for raw in gone[:3]]))
    return left, Report(data.num_rows, data.num_rows, reasons)


def _drop(
    data: Interactions, gone: np.ndarray, why: str, value: np.ndarray | None = None
) -> tuple[Interactions, Report]:
    if not gone.any():
        return data, Report(data.num_rows, data.num_rows, [])
    examples = []
    for row in np.flatnonzero(gone)[:3]:
        user, item = (ids.raw[dense[row] - 1] if dense[row] else "?" for ids, dense in _pairs(data))
        shown = "" if value is None else f", {value[row]:g}"
        examples.append(f"row {row + 1}: user {user}, item {item}{shown}")
    left = data.take(~gone)
    return left, Report(data.num_rows, left.num_rows, [Reason(why, int(gone.sum()), examples)])


def _pairs(data: Interactions) -> list[tuple[Ids, np.ndarray]]:
    return [(data.users, data.user), (data.items, data.item)]
