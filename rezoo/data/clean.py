"""Cleaning: each step returns the data that is left and a report of what was dropped, why, with examples.

table, report = clean.drop_missing(files.read_table("log.csv"), ["user", "item"])
table, more = clean.drop_bad_times(table, "timestamp")
log, report = clean.steps(from_columns(table), clean.drop_duplicates, partial(clean.k_core, users=5, items=5),
                          report=report + more)
print(report)

Rows are counted from 1 as they stand in the file, whatever was dropped or sorted before. A step that
would leave nothing raises `NothingLeft`, whose message has the whole report.
"""

from collections.abc import Callable

import numpy as np

from rezoo.data.clean_table import drop_bad_times, drop_missing
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.reports import NothingLeft, Reason, Report, report_of
from rezoo.errors import DataError

__all__ = [
    "NothingLeft", "Reason", "Report", "Step", "drop_bad_ratings", "drop_bad_times", "drop_duplicates",
    "drop_missing", "k_core", "min_session_length", "reindex", "steps",
]  # fmt: skip


Step = Callable[[Interactions], tuple[Interactions, Report]]


def steps(data: Interactions, *functions: Step, report: Report | None = None) -> tuple[Interactions, Report]:
    """One step after the other, and the sum of their reports, after the `report` of what went before.

    Raises:
      NothingLeft: if a step drops the last row.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 7, 8]})
    >>> log, report = steps(log, drop_duplicates, reindex)
    >>> log.num_rows, report.before - report.after
    (2, 1)
    """
    report = report or Report(data.num_rows, data.num_rows, [])
    for function in functions:
        try:
            data, one = function(data)
        except NothingLeft as error:
            raise NothingLeft(report + error.report) from None
        report = report + one
    return data, report


def drop_duplicates(data: Interactions, *, keep: str = "last") -> tuple[Interactions, Report]:
    """One row per (user, item): the `first` or the `last` by time, by the file's order without times.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 7, 8], "rating": [1, 5, 3]})
    >>> drop_duplicates(log)[0].rating.tolist()
    [5.0, 3.0]
    """
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
    return _drop(data, (~kept, f"repeats of a user and an item, the {keep} is kept"))


def drop_bad_ratings(data: Interactions, *, low: float, high: float) -> tuple[Interactions, Report]:
    """Without ratings that are NaN or infinite, and those outside low … high.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 8, 8], "rating": [1, 50, None]})
    >>> drop_bad_ratings(log, low=1.0, high=5.0)[0].rating.tolist()
    [1.0]
    """
    if data.rating is None:
        raise DataError("the log has no ratings: name its rating column with rating=…")
    odd = ~np.isfinite(data.rating)
    outside = ~odd & ((data.rating < low) | (data.rating > high))
    reasons = [
        (odd, "ratings that are missing, NaN or infinite"),
        (outside, f"ratings outside {low:g} … {high:g}"),
    ]
    return _drop(data, *reasons, value=data.rating)


def k_core(data: Interactions, *, users: int = 1, items: int = 1) -> tuple[Interactions, Report]:
    """The largest part where every user has ≥ `users` rows and every item ≥ `items`.

    Dropping one can leave another with too few, so it is repeated until nothing changes.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 8, 8]})
    >>> k_core(log, users=2)[0].num_rows
    2
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
    return _drop(data, (~kept, why))


def min_session_length(data: Interactions, *, length: int = 2) -> tuple[Interactions, Report]:
    """Without sessions of fewer than `length` events.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "session": [1, 1, 2], "item": [7, 8, 8]})
    >>> min_session_length(log, length=2)[0].num_rows
    2
    """
    if data.session is None:
        raise DataError("the log has no sessions: name the session column, or make them from gaps in time")
    short = np.bincount(data.session) < length
    return _drop(data, (short[data.session], f"of sessions with fewer than {length} events"))


def reindex(data: Interactions) -> tuple[Interactions, Report]:
    """New dense ids for the users and items that are left; the report counts those that are not.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "b"], "item": [7, 8]}).take(np.array([1]))
    >>> reindex(log)[0].items.raw.tolist()
    [8]
    """
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
    data: Interactions, *reasons: tuple[np.ndarray, str], value: np.ndarray | None = None
) -> tuple[Interactions, Report]:
    """The log without the rows of each reason; `value` is shown with the examples."""

    def shown(row: int) -> str:
        user, item = (ids.raw[dense[row] - 1] if dense[row] else "?" for ids, dense in _pairs(data))
        more = "" if value is None else f", {value[row]:g}"
        return f"row {number[row]}: user {user}, item {item}{more}"

    number, kept = data.row_numbers, np.ones(data.num_rows, bool)
    found = []
    for gone, why in reasons:
        kept &= ~gone
        found.append(Reason(why, int(gone.sum()), [shown(row) for row in np.flatnonzero(gone)[:3].tolist()]))
    report = report_of(data.num_rows, found)
    return data if kept.all() else data.take(kept), report


def _pairs(data: Interactions) -> list[tuple[Ids, np.ndarray]]:
    return [(data.users, data.user), (data.items, data.item)]
