"""Times of every kind as seconds since 1970, UTC."""

from datetime import UTC, datetime

import numpy as np

from rezoo.data.errors import DataError

PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def seconds(
    values: np.ndarray, *, unit: str | None = None, source: str = "table", column: str = "timestamp"
) -> np.ndarray:
    """int64 seconds since 1970, UTC.

    Args:
      values: numbers, `datetime64`, or ISO 8601 text (with a zone, or UTC).
      unit: of numbers: "s", "ms", "us" or "ns". If not given it is told by their size: seconds
        have up to 11 digits, milliseconds 14, microseconds 17.
      source: what errors call the table.
      column: what errors call the column.

    Raises:
      DataError: if a value is missing or cannot be read.

    >>> seconds(np.array([1_600_000_000_000, 1_600_000_060_000])).tolist()
    [1600000000, 1600000060]
    >>> seconds(np.array(["2020-09-13T12:26:40Z", "2020-09-13 14:27:40+02:00"])).tolist()
    [1600000000, 1600000060]
    """
    if values.dtype.kind == "M":
        missing = np.isnat(values)
        _refuse(missing, values, source, column)
        return values.astype("datetime64[s]").astype(np.int64)
    if values.dtype.kind == "U":
        numeric = np.char.isnumeric(values)
        if numeric.all():
            values = values.astype(np.float64)
        else:
            return _from_text(values, source, column)
    if values.dtype.kind not in "iuf":
        raise DataError(f"{source}, column {column!r}: {values.dtype} is no kind of time")
    if values.dtype.kind == "f":
        _refuse(~np.isfinite(values), values, source, column)
    if unit is not None and unit not in PER_SECOND:
        raise DataError(f"{source}, column {column!r}: unit {unit!r} is not one of {list(PER_SECOND)}")
    if unit is None:
        size = max(abs(float(values.min(initial=0))), abs(float(values.max(initial=0))))
        unit = next((name for name, n in PER_SECOND.items() if size < 1e11 * n), "ns")
    return (values // PER_SECOND[unit]).astype(np.int64, copy=False)


def _from_text(values: np.ndarray, source: str, column: str) -> np.ndarray:
    distinct, inverse = np.unique(values, return_inverse=True)
    parsed = np.empty(len(distinct), np.int64)
    for index, text in enumerate(distinct):
        try:
            parsed[index] = _one(str(text))
        except ValueError:
            row = int(np.flatnonzero(inverse == index)[0])
            raise DataError(
                f"{source}, row {row + 1}, column {column!r}: {str(text)!r} is no time. Write ISO 8601, "
                "such as 2020-09-13T12:26:40Z, or numbers of seconds."
            ) from None
    return parsed[inverse]


def _one(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def _refuse(missing: np.ndarray, values: np.ndarray, source: str, column: str) -> None:
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"{source}, row {row + 1}, column {column!r}: the time is missing ({values[row]}). Drop "
            "such rows."
        )
