"""Cleaning of a table before it becomes a log: rows without an id, without a time, or with an odd one."""

from collections.abc import Mapping, Sequence

import numpy as np

from rezoo.data import times
from rezoo.data.missing import counted, is_missing
from rezoo.data.place import Place, keep, row_numbers
from rezoo.data.reports import Reason, Report, report_of
from rezoo.errors import DataError

Table = dict[str, np.ndarray]
Gone = tuple[np.ndarray, str, np.ndarray | None]
"""Which rows are dropped, why, and the column whose values show it."""


def drop_missing(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[Table, Report]:
    """A table without the rows where one of the columns `names` is missing, as `missing.is_missing` says.

    >>> table, report = drop_missing({"user": np.array(["ann", "NULL"]), "item": np.array([5, 6])}, ["user"])
    >>> table["item"].tolist()
    [5]
    >>> print(report)
    2 rows, 1 dropped, 1 left
      1 without a value of 'user': 1 'NULL' (such as row 2)

    Raises:
      DataError: if there is no such column.
      NothingLeft: if every row would go.
    """
    steps = []
    for name in names:
        column = _named(columns, name)
        gone = is_missing(column)
        words = counted(column, gone) if gone.any() and column.dtype.kind in "UO" else ""
        steps.append((gone, f"without a value of {name!r}" + f": {words}" * bool(words), None))
    return _dropped(columns, steps)


def drop_bad_times(
    columns: Mapping[str, np.ndarray],
    name: str,
    *,
    unit: str | None = None,
    time_format: str | None = None,
    first: str | None = None,
    last: str | None = None,
    source: str = "table",
) -> tuple[Table, Report]:
    """A table without the rows whose time is missing, cannot be read, or is not from `first` to `last`.

    The column is `datetime64[us]` afterwards, or int64 if the unit is "order".

    Args:
      columns: the table.
      name: of the column of times.
      unit: of numbers, as `times.microseconds` takes it; likewise `time_format`.
      first: the earliest time that is kept, in ISO 8601 and UTC, such as 2000-01-01.
      last: the latest.
      source: what errors call the table, such as the file's name.

    Raises:
      DataError: if there is no such column, or it cannot be times at all.
      NothingLeft: if every row would go.

    >>> made = {"time": np.array(["2020-09-13", "soon", "1900-01-01"])}
    >>> table, report = drop_bad_times(made, "time", first="2000-01-01")
    >>> print(report)
    3 rows, 2 dropped, 1 left
      1 whose 'time' is missing or cannot be read (such as row 2: soon)
      1 whose 'time' is before 2000-01-01 (such as row 3: 1900-01-01)
    """
    value, gone = bad_times(
        columns, name, unit=unit, time_format=time_format, first=first, last=last, source=source
    )
    return _dropped({**columns, name: value}, gone)


def bad_times(
    columns: Mapping[str, np.ndarray],
    name: str,
    *,
    unit: str | None = None,
    time_format: str | None = None,
    first: str | None = None,
    last: str | None = None,
    source: str = "table",
) -> tuple[np.ndarray, list[Gone]]:
    """The times of a column, and the rows that `drop_bad_times` drops: see there."""
    column = _named(columns, name)
    place = Place(source, name, row_numbers(columns, len(column)))
    found = times.read(column, unit=unit, time_format=time_format, place=place)
    gone: list[Gone] = [(found.unread, f"whose {name!r} is missing or cannot be read", column)]
    if unit == times.ORDER:
        return found.value, gone
    value = found.value.astype("datetime64[us]")
    if first is not None:
        gone.append((value < _moment(first), f"whose {name!r} is before {first}", column))
    if last is not None:
        gone.append((value > _moment(last), f"whose {name!r} is after {last}", column))
    return value, gone


def _named(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in columns:
        raise DataError(f"there is no column {name!r}; there are {list(columns)}")
    return np.asarray(columns[name])


def _moment(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "us")
    except ValueError as error:
        raise DataError(
            f"{text!r} is not a time in ISO 8601, such as 2020-09-13 or 2020-09-13T12:26:40"
        ) from error


def _dropped(columns: Mapping[str, np.ndarray], steps: Sequence[Gone]) -> tuple[Table, Report]:
    """The table without the rows of each step."""
    rows = len(next(iter(columns.values())))
    if ragged := [name for name, column in columns.items() if len(column) != rows]:
        counts = f"{len(columns[ragged[0]]):,} rows, where {next(iter(columns))!r} has {rows:,}"
        raise DataError(f"column {ragged[0]!r} has {counts}")
    number, kept, reasons = row_numbers(columns, rows), np.ones(rows, bool), []
    for gone, why, shown in steps:
        going = np.flatnonzero(gone & kept)
        examples = [f"row {number[n]}" + ("" if shown is None else f": {shown[n]}") for n in going[:3]]
        reasons.append(Reason(why, len(going), examples))
        kept[going] = False
    report = report_of(rows, reasons)
    return dict(columns) if kept.all() else keep(columns, kept), report
