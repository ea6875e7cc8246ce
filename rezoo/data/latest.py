"""Splits by time: what came last is for testing. `rezoo.data.split` has them beside the others."""

import numpy as np

from rezoo.data.interactions import Interactions
from rezoo.data.parts import Split, check_count, check_shares, parts
from rezoo.data.times import SECOND, YEARS
from rezoo.errors import DataError

Seconds = int | float


def leave_one_out(log: Interactions, *, valid: bool = False) -> Split:
    """Each user's last row for testing, and the last but one for validation if `valid`; see `leave_last`.

    >>> from rezoo.data.interactions import from_columns
    >>> table = {"user": [1, 1, 2, 2], "item": [7, 8, 7, 8], "time": [20, 10, 30, 40]}
    >>> log = from_columns(table, unit="order")
    >>> leave_one_out(log).test.tolist()  # the rows of times 20 and 40
    [0, 3]
    """
    return leave_last(log, test=1, valid=int(valid))


def leave_last(log: Interactions, *, test: int = 1, valid: int = 0) -> Split:
    """Each user's last `test` rows for testing, and the `valid` before them for validation.

    Last by time; of rows with one time, the later in the file. Without times the order of the
    file counts. Users keep at least one row for training: one with too few rows has fewer for
    validation, and then for testing. A user with id 0 is nobody: all such rows are for training.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": [1, 1, 1], "item": [7, 8, 9], "time": [30, 10, 20]}, unit="order")
    >>> [rows.tolist() for rows in leave_last(log, test=1, valid=1)]
    [[1], [2], [0]]
    """
    for name, rows in (("test", test), ("valid", valid)):
        check_count(name, rows, 0)
    return _last(log, np.full(log.num_users, test), np.full(log.num_users, valid))


def latest_per_user(log: Interactions, *, valid: float = 0.0, test: float = 0.2) -> Split:
    """As `ratio_per_user`, but of each user the latest rows are for testing, those before for validation.

    Ties, unknown users and the row that is kept for training are treated as in `leave_last`.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": [1, 1, 1, 1, 1, 2], "item": [1, 2, 3, 4, 5, 1]})
    >>> [rows.tolist() for rows in latest_per_user(log, valid=0.2, test=0.4)]
    [[0, 1, 5], [2], [3, 4]]
    """
    check_shares(valid, test)
    count = np.bincount(log.user, minlength=log.num_users)
    return _last(log, np.round(count * test), np.round(count * valid))


def by_time(log: Interactions, *, valid: float = 0.0, test: float = 0.2) -> Split:
    """The latest rows for testing, those before for validation, the earliest for training.

    Rows of one time stay together, in the later part, so that the shares are reached or exceeded
    and every training row is older than every validation row, and that than every test row.

    Raises:
      DataError: if there are no times, or so many are one that nothing remains for training or validation.

    >>> from rezoo.data.interactions import from_columns
    >>> table = {"user": [1, 1, 2, 2], "item": [7, 8, 7, 8], "time": [20, 10, 30, 40]}
    >>> log = from_columns(table, unit="order")
    >>> [rows.tolist() for rows in by_time(log, test=0.25)]
    [[0, 1, 2], [], [3]]
    """
    check_shares(valid, test)
    time, n = np.sort(_time(log)), log.num_rows
    tests, valids = round(n * test), round(n * valid)
    time = np.append(time, np.max(time, initial=0) + 1)  # from which on nothing is tested
    split = _cut(log, [int(time[n - tests - valids]), int(time[n - tests])])
    if not len(split.train):
        raise DataError(
            "no row is older than the test rows: the times are too much alike to split by them. "
            "Is it the right column (timestamp=…)?"
        )
    if valids and not len(split.valid):
        raise DataError(
            "no row is for validation: those before the test rows are of one time. "
            "Give another share, or times (`split.at_time`)."
        )
    return split


def at_time(log: Interactions, *, test: Seconds, valid: Seconds | None = None) -> Split:
    """Rows from `test` on for testing, those before from `valid` on for validation.

    Both are in seconds since 1970, UTC: `datetime(2020, 9, 13, tzinfo=UTC).timestamp()`.

    Raises:
      DataError: if the log has no times, or an order alone (`unit="order"`), `valid` comes after `test`, or
        one of them is not a time in seconds.

    >>> from rezoo.data.interactions import from_columns
    >>> log = from_columns({"user": [1, 1], "item": [7, 8], "timestamp": ["2024-05-01", "2024-05-03"]})
    >>> at_time(log, test=1_714_608_000).test.tolist()  # 2024-05-02
    [1]
    """
    return parts(np.searchsorted(cuts(test, valid), log.moments(), side="right"))


def cuts(test: Seconds, valid: Seconds | None) -> list[int]:
    """The timestamps at which validation and testing begin.

    Raises:
      DataError: if `valid` comes after `test`, or one of them is not a time in seconds.

    >>> cuts(3, 2.5)
    [2500000, 3000000]
    """
    valid = test if valid is None else valid
    for name, one in (("test", test), ("valid", valid)):
        if not YEARS[0] <= one < YEARS[1]:
            raise DataError(f"{name} = {one} is not a time: give seconds since 1970, UTC")
    if valid > test:
        raise DataError(f"valid = {valid} comes after test = {test}: give an earlier time")
    return [round(cut * SECOND) for cut in (valid, test)]


def rolling(
    log: Interactions, *, windows: int, width: Seconds, history: Seconds | None = None
) -> list[Split]:
    """Test parts are the last `windows` stretches of `width` seconds, oldest first.

    Each is trained on all that came before it, or on the last `history` seconds before it; later
    rows are in no part. The last stretch ends with the last row. A stretch without rows is empty.

    Raises:
      DataError: if the log has no times, or an order alone (`unit="order"`), there is no row before the
        windows, or a length of time is not above 0.

    >>> from rezoo.data.interactions import from_columns
    >>> times = ["2024-05-01", "2024-05-02", "2024-05-03"]
    >>> log = from_columns({"user": [1, 1, 1], "item": [7, 8, 9], "timestamp": times})
    >>> [(fold.train.tolist(), fold.test.tolist()) for fold in rolling(log, windows=2, width=86400)]
    [([0], [1]), ([0, 1], [2])]
    """
    check_count("windows", windows, 1)
    for name, one in (("width", width), ("history", 1 if history is None else history)):
        if not 0 < one < np.inf:
            raise DataError(f"{name} = {one}: give a length of time in seconds, above 0")
    time, ticks = log.moments(), round(width * SECOND)
    if ticks < 1 or time.max() + 1 - ticks * windows <= time.min():
        raise DataError(
            f"{windows} windows of {width} s leave nothing before them: the log spans "
            f"{np.ptp(time) / SECOND:g} s"
        )

    def window(start: int) -> Split:
        train = (time < start) & (history is None or time >= start - round(history * SECOND))
        return parts(np.select([train, (time >= start) & (time < start + ticks)], [0, 2], -1))

    return [window(int(time.max()) + 1 - ticks * n) for n in range(windows, 0, -1)]


def _last(log: Interactions, test: np.ndarray, valid: np.ndarray) -> Split:
    """Of each user so many last rows, but for the first."""
    order = np.lexsort((log.user,) if log.timestamp is None else (log.timestamp, log.user))
    user, count = log.user[order], np.bincount(log.user, minlength=log.num_users)
    nth_last = np.cumsum(count)[user] - 1 - np.arange(len(user))
    most = np.maximum(count - 1, 0) * (np.arange(log.num_users) > 0)
    tests = np.minimum(test, most)
    held = tests + np.minimum(valid, most - tests)
    part = np.zeros(log.num_rows, np.int32)
    part[order] = np.select([nth_last < tests[user], nth_last < held[user]], [2, 1], 0)
    return parts(part)


def _cut(log: Interactions, cuts: list[int]) -> Split:
    """Rows before, between and from two timestamps on."""
    return parts(np.searchsorted(cuts, _time(log), side="right"))


def _time(log: Interactions) -> np.ndarray:
    if log.timestamp is None:
        raise DataError("the log has no times: name its time column, or split in another way")
    return log.timestamp
