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
from rezoo.data.parts import check_count
from rezoo.data.reports import NothingLeft, Reason, Report, report_of
from rezoo.errors import DataError

__all__ = [
    "NothingLeft", "Reason", "Report", "Step", "drop_bad_ratings", "drop_bad_times", "drop_duplicates",
    "drop_missing", "k_core", "min_session_length", "reindex", "steps",
]  # fmt: skip


Step = Callable[[Interactions], tuple[Interactions, Report]]
REPEATS = "repeats of a user and an item, the {} is kept"
FEW = "of users with fewer than {} rows or items with fewer than {} ({} rounds)"
NO_ROWS = "{:,} {} have no rows left and lose their id"


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
    return _drop(data, (repeats(data.user, data.item, data.timestamp, keep), REPEATS.format(keep)))


def repeats(user: np.ndarray, item: np.ndarray, time: np.ndarray | None, keep: str) -> np.ndarray:
    """Where `drop_duplicates` drops a row.

    Raises:
      DataError: if `keep` is neither "first" nor "last".
    """
    if keep not in ("first", "last"):
        raise DataError(f"keep={keep!r} is not one of 'first' and 'last'")
    order = np.arange(len(user)) if time is None else np.argsort(time, kind="stable")
    if keep == "last":
        order = order[::-1]
    code = user[order].astype(np.int64) * (int(item.max(initial=0)) + 1) + item[order]
    _, first = np.unique(code, return_index=True)
    gone = np.ones(len(user), bool)
    gone[order[first]] = False
    return gone


def drop_bad_ratings(data: Interactions, *, low: float, high: float) -> tuple[Interactions, Report]:
    """Without ratings that are NaN or infinite, and those outside low … high.

    Raises:
      DataError: if the log has no ratings, or the scale no ends.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 8, 8], "rating": [1, 50, None]})
    >>> drop_bad_ratings(log, low=1.0, high=5.0)[0].rating.tolist()
    [1.0]
    """
    if data.rating is None:
        raise DataError("the log has no ratings: name its rating column with rating=…")
    return _drop(data, *bad_ratings(data.rating, low, high), value=data.rating)


def bad_ratings(rating: np.ndarray, low: float, high: float) -> list[tuple[np.ndarray, str]]:
    """Where `drop_bad_ratings` drops a row, and why."""
    if not low <= high:
        raise DataError(f"low={low} must not be above high={high}: give the ends of the scale")
    odd = ~np.isfinite(rating)
    return [
        (odd, "ratings that are missing, NaN or infinite"),
        (~odd & ((rating < low) | (rating > high)), f"ratings outside {low:g} … {high:g}"),
    ]


def k_core(data: Interactions, *, users: int = 1, items: int = 1) -> tuple[Interactions, Report]:
    """The largest part where every user has ≥ `users` rows and every item ≥ `items`.

    Dropping one can leave another with too few, so it is repeated until nothing changes.

    Raises:
      DataError: if `users` or `items` is not a whole number, 1 or more.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "item": [7, 8, 8]})
    >>> k_core(log, users=2)[0].num_rows
    2
    """
    check_count("users", users, 1)
    check_count("items", items, 1)
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
    return _drop(data, (~kept, FEW.format(users, items, rounds)))


def min_session_length(data: Interactions, *, length: int = 2) -> tuple[Interactions, Report]:
    """Without sessions of fewer than `length` events.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": ["a", "a", "b"], "session": [1, 1, 2], "item": [7, 8, 8]})
    >>> min_session_length(log, length=2)[0].num_rows
    2
    """
    if data.session is None:
        raise DataError("the log has no sessions: name the session column, or make them from gaps in time")
    check_count("length", length, 1)
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
            why = NO_ROWS.format(len(gone), name)
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
