"""Times written as text: the format of a column, and each value in microseconds since 1970, UTC.

Texts without an offset are UTC. In dates such as 03/04/2024 the order of day and month is the same for the
whole column: a number above 12 tells which of them is the day.
"""

# pyright: reportAttributeAccessIssue=false
# (Arrow makes its compute functions when it is imported.)

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rezoo.data.place import Place
from rezoo.errors import DataError

ISO = "ISO8601"
"""The `time_format` of ISO 8601, with or without a time of day."""
CLOCK = (
    r"(?:(?:\s*[Tt,]\s*|\s+)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"(?:\s*(?P<p>[AaPp]\.?[Mm]\.?))?)?(?:\s*(?P<z>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
)
YEAR_FIRST = r"(?P<Y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})" + CLOCK
COMPACT = (
    r"(?P<Y>\d{4})(?P<m>\d{2})(?P<d>\d{2})T(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})(?P<z>Z|[+-]\d{2}:?\d{2})?"
)
YEAR_LAST = r"(?P<one>\d{1,2})[-/.](?P<two>\d{1,2})[-/.](?P<Y>\d{4})" + CLOCK
DAY_NAMED = r"(?:[A-Za-z]{3,9},?\s+)?(?P<d>\d{1,2})[-\s/]+(?P<b>[A-Za-z]{3,9})\.?[-\s/,]+(?P<Y>\d{4})" + CLOCK
NAMED_DAY = r"(?P<b>[A-Za-z]{3,9})\.?\s+(?P<d>\d{1,2}),?\s+(?P<Y>\d{4})" + CLOCK

DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d{2})", "m": r"(?P<m>\d{1,2})", "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3,9})\.?", "B": r"(?P<b>[A-Za-z]{3,9})", "a": r"[A-Za-z]+\.?", "A": r"[A-Za-z]+",
    "H": r"(?P<H>\d{1,2})", "I": r"(?P<H>\d{1,2})", "M": r"(?P<M>\d{1,2})", "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,9})", "p": r"(?P<p>[AaPp]\.?[Mm]\.?)", "%": "%",
    "z": r"(?P<z>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)", "Z": r"(?:Z|UTC|GMT)",
}  # fmt: skip
MONTHS = [
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
]  # fmt: skip


class Moments(NamedTuple):
    """Times read from texts by one pattern."""

    value: np.ndarray
    """int64 microseconds since 1970, UTC; 0 where not read."""
    read: np.ndarray
    """bool: which texts are times of this pattern."""
    zoned: np.ndarray
    """bool: which state an offset."""


def read(texts: pa.Array, place: Place, time_format: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since 1970, UTC, 0 where there is none, and which texts are not times.

    Raises:
      DataError: if days and months cannot be told apart, some texts state an offset and others do not, or
        the format is invalid.
    """
    if time_format in (None, ISO) and (quick := _iso(texts)) is not None:
        return quick.fill_null(0).to_numpy(), quick.is_null().to_numpy(zero_copy_only=False)
    coded = texts.dictionary_encode()
    distinct, code = coded.dictionary, coded.indices.to_numpy()
    patterns = [YEAR_FIRST, COMPACT]
    if time_format is None:
        patterns += [YEAR_LAST, DAY_NAMED, NAMED_DAY]
    elif time_format != ISO:
        patterns = [pattern(time_format)]
    best = None
    for one in patterns:
        found = _moments(distinct, code, one, place)
        if best is None or found.read.sum() > best.read.sum():
            best = found
        if best.read.all():
            break
    assert best is not None
    value, known, zoned = (part[code] for part in best)
    mixed = [known & zoned, known & ~zoned]
    if all(part.any() for part in mixed):
        rows = [f"{texts[int(part.argmax())]} in row {place.row_of(int(part.argmax()))}" for part in mixed]
        raise DataError(
            f"{place}: some times state an offset ({rows[0]}) and others do not ({rows[1]}): write all of "
            "them one way"
        )
    return value, ~known


def pattern(time_format: str) -> str:
    """The regular expression of a format such as `%d.%m.%Y %H:%M`, as `datetime.strptime` writes them."""
    parts = re.split(r"(%.?)", time_format.strip().replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S"))
    out = ""
    for part in parts:
        if part.startswith("%"):
            if part[1:] not in DIRECTIVES:
                raise DataError(
                    f"time format {time_format!r}: {part!r} is not known; known are "
                    f"{', '.join('%' + name for name in DIRECTIVES)}, and {ISO}"
                )
            out += DIRECTIVES[part[1:]]
        else:
            out += r"\s+".join(map(re.escape, re.split(r"\s+", part)))
    named = re.findall(r"\?P<(\w)>", out)
    if len(set(named)) < len(named) or not {"Y", "y"} & set(named):
        raise DataError(
            f"time format {time_format!r} must name the year, and nothing twice; for example %d.%m.%Y %H:%M"
        )
    return out


def _iso(texts: pa.Array) -> pa.Array | None:
    """int64 microseconds where all texts that are not empty are of one kind of ISO 8601; else None."""
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    some = texts[:1000].drop_null()[:1]  # a cast that fails takes long, so one value is tried before all
    for old, new in (("", ""), (r"\s*(?:UTC|GMT)$", "Z"), (r"(\.\d{6})\d+", r"\1")):
        if old:
            texts, some = (pc.replace_substring_regex(one, old, new) for one in (texts, some))
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                some.cast(kind)
                return texts.cast(kind).cast(pa.int64())
            except pa.ArrowInvalid:
                continue
    return None


def _moments(texts: pa.Array, code: np.ndarray, pattern: str, place: Place) -> Moments:
    fields = pc.extract_regex(texts, pattern=rf"^(?:{pattern})$")
    whole = fields.is_valid().to_numpy(zero_copy_only=False)
    part = {field.name: fields.field(n).fill_null("") for n, field in enumerate(fields.type)}

    def number(name: str, default: int) -> np.ndarray:
        if name not in part:
            return np.full(len(texts), default)
        filled = pc.if_else(pc.equal(part[name], ""), str(default), part[name])
        return filled.cast(pa.int64()).to_numpy()

    year = number("Y", 0)
    if "y" in part:
        year = number("y", 0) + np.where(number("y", 0) < 69, 2000, 1900)
    month, day = number("m", 1), number("d", 1)
    if "b" in part:
        month = np.array([_month(name) for name in pc.utf8_lower(part["b"]).to_pylist()], np.int64)
    if "one" in part:
        one, two = number("one", 0), number("two", 0)
        day, month = (one, two) if _day_first(texts, code, one, two, whole, place) else (two, one)
    hour, minute, second = number("H", 0), number("M", 0), number("S", 0)
    whole &= (hour < 24) & (minute < 60) & (second < 60)
    if "p" in part:
        half = pc.utf8_slice_codeunits(pc.utf8_lower(part["p"]), 0, 1).to_numpy(zero_copy_only=False)
        whole &= (half == "") | ((hour >= 1) & (hour <= 12))
        hour = np.where(half == "", hour, hour % 12 + 12 * (half == "p"))
    first = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (day - 1)
    whole &= (month >= 1) & (month <= 12) & (day >= 1) & (date.astype("datetime64[M]") == first)
    offset, zoned = _offset(part.get("z"), len(texts))
    value = ((date.astype(np.int64) * 24 + hour) * 60 + minute) * 60 + second - offset
    value = value * 1_000_000 + _fraction(part.get("f"), len(texts))
    return Moments(np.where(whole, value, 0), whole, zoned)


def _month(name: str) -> int:
    """1 … 12 of the name of a month or its first letters, three or more; 0 of any other."""
    return next((n for n, whole in enumerate(MONTHS, 1) if len(name) > 2 and whole.startswith(name)), 0)


def _fraction(digits: pa.Array | None, count: int) -> np.ndarray:
    """Microseconds, from the digits after the point."""
    if digits is None:
        return np.zeros(count, np.int64)
    six = pc.utf8_rpad(pc.utf8_slice_codeunits(digits, 0, 6), 6, "0")
    return six.cast(pa.int64()).to_numpy()


def _offset(zones: pa.Array | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds east of UTC, and which texts state a zone."""
    if zones is None:
        return np.zeros(count, np.int64), np.zeros(count, bool)
    coded = zones.dictionary_encode()
    seconds = [_seconds(zone) for zone in coded.dictionary.to_pylist()]
    code = coded.indices.to_numpy()
    return np.array(seconds, np.int64)[code], pc.not_equal(zones, "").to_numpy(zero_copy_only=False)


def _seconds(zone: str) -> int:
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)


def _day_first(
    texts: pa.Array, code: np.ndarray, one: np.ndarray, two: np.ndarray, whole: np.ndarray, place: Place
) -> bool:
    """Whether the first of two numbers is the day, by those above 12."""
    day, month = whole & (one > 12) & (two <= 12), whole & (two > 12) & (one <= 12)

    def example(where: np.ndarray) -> str:
        row = int(where[code].argmax())
        return f"{texts[int(code[row])]} in row {place.row_of(row)}"

    if day.any() and month.any():
        raise DataError(
            f"{place}: the day comes first in some dates ({example(day)}) and the month in others "
            f"({example(month)}): write all of them one way"
        )
    unclear = whole & (one != two) & (one <= 12) & (two <= 12)
    if unclear.any() and not day.any() and not month.any():
        raise DataError(
            f"{place}: {example(unclear)} may be day/month or month/day, as every date of the column is "
            "ambiguous. Say which with time_format, for example time_format='%d/%m/%Y %H:%M' or "
            "'%m/%d/%Y %H:%M'."
        )
    return bool(day.any())
