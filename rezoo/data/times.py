"""Times of every kind as microseconds since 1970, UTC: numbers, texts and `datetime64`."""

# pyright: reportAttributeAccessIssue=false
# (Arrow makes its compute functions when it is imported.)

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rezoo.data import dates
from rezoo.data.missing import is_missing
from rezoo.data.place import Place
from rezoo.errors import DataError

SECOND = 1_000_000
"""Timestamps are in microseconds; this many are a second."""
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
ORDER = "order"
"""The unit of numbers that are not times and only give the order of events."""
YEARS = tuple(int(np.datetime64(year, "s").astype(int)) for year in ("0001", "10000"))
"""Seconds since 1970 at which the times that are read begin and end."""
TICKS = {
    ".NET ticks (100 ns since the year 1)": (
        (621_355_968 * 10**9, 663_000_000 * 10**9), "(values - 621_355_968_000_000_000) // 10"
    ),
    "Windows' file times (100 ns since 1601)": (
        (116_444_736 * 10**9, 158_000_000 * 10**9), "(values - 116_444_736_000_000_000) // 10"
    ),
}  # fmt: skip
"""Whole numbers that would be taken for nanoseconds: from 1970 to 2100, and how they become microseconds."""
PACKED = {10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""The formats of dates with hours written as one whole number, by its digits."""
PLAUSIBLE = tuple(int(np.datetime64(year, "us").astype(int)) for year in ("1971", "2100"))
"""Timestamps between which those of a log are expected."""
NUMBER = r"^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"


class Times(NamedTuple):
    """A column of times."""

    value: np.ndarray
    """int64 microseconds since 1970, UTC; 0 where there is none."""
    unread: np.ndarray
    """bool: where a time is missing or cannot be read."""
    kind: str
    """What the values were taken for, in words."""


def microseconds(
    values: np.ndarray,
    *,
    unit: str | None = None,
    time_format: str | None = None,
    place: Place = Place(),  # noqa: B008
) -> np.ndarray:
    """int64 microseconds since 1970, UTC; fractions of a microsecond are cut off.

    Args:
      values: numbers, `datetime64`, or text as `rezoo.data.dates` reads it: ISO 8601, dates of day, month
        and year, numbers. Text without an offset is UTC.
      unit: of numbers: "s", "ms", "us" or "ns"; by the size of most of them if not given. "order": the
        numbers are not times and only give the order; they are kept as they are, and lengths of time
        mean nothing then.
      time_format: of text and of whole numbers such as 20200913, as `datetime.strptime` takes it
        ("%d.%m.%Y %H:%M"), or "ISO8601".
      place: what errors call the column and its rows.

    Where neither unit nor format is given, times before 1971 or after 2099 are an error that asks for one.

    Raises:
      DataError: if a time is missing, cannot be read or is not plausible; it names the row.

    >>> microseconds(np.array([1_600_000_000_000, 1_600_000_060_500])).tolist()
    [1600000000000000, 1600000060500000]
    >>> microseconds(np.array(["2020-09-13T12:26:40Z", "2020-09-13 14:27:40.5+02:00"])).tolist()
    [1600000000000000, 1600000060500000]
    """
    found = read(values, unit=unit, time_format=time_format, place=place)
    if found.unread.any():
        index = int(found.unread.argmax())
        if is_missing(values[index : index + 1])[0]:
            raise DataError(
                f"{place.at(index)}: the time is missing ({values[index]}). Drop such rows "
                "(`clean.drop_bad_times`) or fill them in."
            )
        raise DataError(
            f"{place.at(index)}: {values[index].item()!r} is not a time; the column is read as {found.kind}. "
            "Correct it, drop such rows (`clean.drop_bad_times`), or give the unit or the time_format. "
            "Supported are ISO 8601, such as 2020-09-13T12:26:40Z, dates such as 31.12.2020 8:30 PM, and "
            "numbers of seconds, ms, us or ns."
        )
    if unit is None and time_format is None and len(values):
        _question(values, found, place)
    return found.value


def read(
    values: np.ndarray,
    *,
    unit: str | None = None,
    time_format: str | None = None,
    place: Place = Place(),  # noqa: B008
) -> Times:
    """As `microseconds`, but with the rows that have no time counted instead of refused.

    Raises:
      DataError: if the whole column cannot be times, or days and months, or times with and without an
        offset, cannot be told apart.

    >>> found = read(np.array(["1970-01-01", "", "1970-01-02"]))
    >>> found.value.tolist(), found.unread.tolist()
    ([0, 0, 86400000000], [False, True, False])
    """
    if unit not in (None, ORDER, *PER_SECOND):
        raise DataError(f"{place}: unit {unit!r} is not one of {[*PER_SECOND, ORDER]}")
    kind = values.dtype.kind
    if kind not in "MUiuf":
        raise DataError(f"{place}: {values.dtype} is not a kind of time")
    if kind == "M":
        year = values.astype("datetime64[Y]").astype(np.int64) + 1970
        unread = np.isnat(values) | (year < 1) | (year > 9999)
        moments = np.where(unread, np.datetime64(0, "us"), values).astype("datetime64[us]")
        return Times(moments.astype(np.int64), unread, "dates")
    if time_format is not None:
        texts = _trimmed(values if kind == "U" else _digits(values))
        return Times(*dates.read(texts, place, time_format), f"written as {time_format}")
    if kind == "U":
        texts = _trimmed(values)
        numeric = pc.match_substring_regex(texts, NUMBER).to_numpy(zero_copy_only=False)
        if not numeric.any() or 2 * numeric.sum() < (~is_missing(values)).sum():
            return Times(*dates.read(texts, place), "dates")
        values = _parsed(texts, numeric)
    if values.dtype in (np.float16, np.float32):
        _refuse_rounded(values, place)
    return _order(values, place) if unit == ORDER else _numbers(values, unit)


def _refuse_rounded(values: np.ndarray, place: Place) -> None:
    """Refuse whole numbers beyond those that the floats of a column tell apart: of float32 16,777,216."""
    exact = 2 ** (np.finfo(values.dtype).nmant + 1)
    large = np.isfinite(values) & (np.abs(values) > exact)
    if large.any():
        index = int(large.argmax())
        raise DataError(
            f"{place.at(index)}: {values[index]:.0f} is rounded, as {values.dtype} tells whole numbers "
            f"apart up to {exact:,}: give times as int64 or float64"
        )


def _numbers(values: np.ndarray, unit: str | None) -> Times:
    finite = np.isfinite(values)
    if unit is None:
        some = np.abs(values[finite][:: 1 + len(values) // 100_000].astype(np.float64))
        size = float(np.quantile(some, 0.5, method="lower")) if len(some) else 0.0
        unit = next((name for name, n in PER_SECOND.items() if size < 1e11 * n), "ns")
    per = PER_SECOND[unit]
    first, last = max(YEARS[0] * per, -(2**63)), min(YEARS[1] * per, 2**63)
    inside = finite & (values >= first) & (values < last)
    known = np.where(inside, values, 0)
    whole = (
        np.floor(known).astype(np.int64) if known.dtype.kind == "f" else known.astype(np.int64, copy=False)
    )
    out = whole * (SECOND // per) if per <= SECOND else whole // (per // SECOND)
    if known.dtype.kind == "f" and per < SECOND:
        out += np.rint((known - whole) * (SECOND // per)).astype(np.int64)
    return Times(out, ~inside, f"{NAMES[unit]} since 1970")


def _order(values: np.ndarray, place: Place) -> Times:
    inside = np.isfinite(values) & (values >= -(2**63)) & (values < 2**63)
    known = np.where(inside, values, 0)
    broken = known != np.floor(known)
    if broken.any():
        index = int(broken.argmax())
        raise DataError(f"{place.at(index)}: {known[index]} is not a whole number, as unit='order' needs")
    return Times(known.astype(np.int64), ~inside, "numbers of an order")


def _trimmed(values: np.ndarray) -> pa.Array:
    texts = pa.array(values).cast(pa.large_string())
    return pc.utf8_trim_whitespace(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)


def _parsed(texts: pa.Array, numeric: np.ndarray) -> np.ndarray:
    """Integers where all are, so that nanoseconds keep their digits; NaN where `numeric` is not."""
    if numeric.all():
        try:
            return texts.cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            pass
    return pc.if_else(pa.array(numeric), texts, "nan").cast(pa.float64()).to_numpy()


def _digits(values: np.ndarray) -> np.ndarray:
    """Whole numbers as text, such as 20200913; empty where there is none."""
    if values.dtype.kind != "f":
        return values.astype(str)
    whole = np.isfinite(values) & (np.abs(values) < 2**53) & (values == np.floor(values))
    return np.where(whole, np.where(whole, values, 0).astype(np.int64).astype(str), "")


def _question(values: np.ndarray, found: Times, place: Place) -> None:
    """Ask for the unit if times are before 1971 or after 2099."""
    low, high = int(found.value.argmin()), int(found.value.argmax())
    if found.kind != "dates":
        _refuse_other_counts(values, place)
    if found.value[low] >= PLAUSIBLE[0] and found.value[high] < PLAUSIBLE[1]:
        return
    ends = [
        f"{np.datetime64(int(found.value[index]), 'us').astype('datetime64[s]')} ({values[index]} in row "
        f"{place.row_of(index)})"
        for index in (low, high)
    ]
    if found.kind == "dates":
        written = "unit='us'" if values.dtype.kind == "M" else f"time_format={dates.ISO!r} or the like"
        right = f"if they are right, say how they are written: {written}"
    else:
        right = (
            "if they only give the order, as weeks 1 … 53 do, give unit='order'; if they are dates "
            "such as 20200913, time_format='%Y%m%d'; if they are right, the unit ('s', 'ms', 'us' or 'ns')"
        )
    raise DataError(
        f"{place}: taken for {found.kind}, the times run from {ends[0]} to {ends[1]}. Is that so? If some "
        f"stand for a missing time, drop them: clean.drop_bad_times(table, {place.column!r}, "
        f"first='2000-01-01', last='2030-01-01'); {right}."
    )


def _refuse_other_counts(values: np.ndarray, place: Place) -> None:
    """Ask about whole numbers that are dates written without marks, or count from another year than 1970."""
    known = values[~is_missing(values)]
    if known.dtype.kind == "U":
        known = _parsed(_trimmed(known), np.ones(len(known), bool))
    first = float(known[0])
    for name, ((low, high), right) in TICKS.items():
        if low <= first < high and (known >= low).all() and (known < high).all():
            raise DataError(
                f"{place}: {known[0]} and the others look like {name}, not like nanoseconds since 1970. Give "
                f"{right} with unit='us', or unit='ns' if they are nanoseconds."
            )
    written = PACKED.get(len(f"{first:.0f}"))
    if written is None or (known != np.floor(known)).any() or (known <= 0).any():
        return
    if all(_are_dates(some, written) for some in (known[:100], known)):  # seldom beyond the first
        raise DataError(
            f"{place}: {known[0]:.0f} and the others look like dates; if they are, give "
            f"time_format={written!r}, if not, the unit ('s', 'ms', 'us' or 'ns')"
        )


def _are_dates(values: np.ndarray, written: str) -> bool:
    """Whether numbers are dates from 1971 to 2099 in a format."""
    read, unread = dates.read(_trimmed(_digits(values)), Place(), written)
    return not unread.any() and bool(read.min() >= PLAUSIBLE[0] and read.max() < PLAUSIBLE[1])
