"""Guesses about an unrecognised column, from its name and its values."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ROWS = 100_000
"""How many of the first rows are looked at."""
SHOWN = 25
"""How many columns are listed."""
WRITTEN = re.compile(r"\s*\d{1,4}[-/.年]\s?\d{1,2}[-/.月]\s?\d{1,4}")
"""How a date begins."""


class Look(NamedTuple):
    """A summary of the values of a column."""

    kind: str
    """Its type, in words."""
    distinct: int
    rows: int
    example: str
    is_time: bool
    is_id: bool


def look(column: Any) -> Look:
    """The summary of a column's first rows."""
    values = np.asarray(column)[:ROWS]
    kind = {"M": "times", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "b": "yes or no"}.get(
        values.dtype.kind, "text"
    )
    if values.dtype.kind in "OSU":
        values = np.array([str(value) for value in values.tolist()])
    distinct = np.unique(values)
    example = str(values[0]) if len(values) else ""
    is_time = bool(len(values)) and _is_time(distinct)
    whole = values.dtype.kind != "f" or bool((distinct[np.isfinite(distinct)] % 1 == 0).all())
    short = values.dtype.kind != "U" or np.strings.str_len(distinct).mean() <= 40
    is_id = (
        not is_time
        and whole
        and bool(short)
        and (len(distinct) > 1 or len(values) == 1)
        and values.dtype.kind != "b"
    )
    return Look(kind, len(distinct), len(values), example[:30], is_time, is_id)


def listing(table: Mapping[str, Any]) -> str:
    """A line for each column; nothing for names without columns."""
    if not table or all(column is None for column in table.values()):
        return ""
    lines = []
    for name, column in list(table.items())[:SHOWN]:
        seen = look(column)
        guess = ": a time?" if seen.is_time else ": an id?" if seen.is_id else ""
        count = f"{seen.distinct:,} distinct in {seen.rows:,} rows"
        lines.append(f"\n  {name!r}: {seen.kind}, {count}, such as {seen.example!r}{guess}")
    more = f"\n  and {len(table) - SHOWN} more" if len(table) > SHOWN else ""
    return "".join(lines) + more


def best(table: Mapping[str, Any], role: str, words: Sequence[str]) -> str | None:
    """The column that most likely plays a role, or None.

    Args:
      table: the columns that play none yet.
      role: user, item, timestamp …
      words: that such a column's name may have in it.
    """
    points = {}
    for name, column in table.items():
        spelt = name.casefold()
        named = any(word in spelt for word in words if len(word) > 2 or not word.isascii())
        near = bool(difflib.get_close_matches(spelt, words, 1, 0.7))
        fits = repeats = False
        if column is not None:
            seen = look(column)
            fits = seen.is_time if role == "timestamp" else seen.is_id
            repeats = fits and seen.distinct < seen.rows
        if fits or ((named or near) and column is None):
            points[name] = 4 * named + 2 * near + repeats
    return max(points, key=lambda name: points[name], default=None)


def has_empty(column: Any) -> bool:
    """Whether a cell of a column is empty; False for None, where only the column's name is known."""
    if column is None:
        return False
    values = np.asarray(column)
    if values.dtype.kind in "fM":
        return bool(np.isnan(values).any() if values.dtype.kind == "f" else np.isnat(values).any())
    if values.dtype.kind == "U":
        return bool(((values == "") | np.strings.isspace(values)).any())
    if values.dtype.kind == "O":
        return any(value is None or value != value or str(value).strip() == "" for value in values.tolist())
    return False


def _is_time(distinct: np.ndarray) -> bool:
    if distinct.dtype.kind == "M":
        return True
    if distinct.dtype.kind == "U":
        some = distinct[:: max(len(distinct) // 100, 1)]
        return sum(WRITTEN.match(text) is not None for text in some.tolist()) > 0.9 * len(some)
    if distinct.dtype.kind not in "iuf":
        return False
    numbers = distinct[np.isfinite(distinct)].astype(float)
    if not len(numbers):
        return False
    days = (numbers > 1.9e7) & (numbers < 2.1e7) & (numbers % 10_000 < 1_300)
    middle = float(np.median(numbers))
    return bool(days.all()) or any(6e8 * unit <= middle <= 4e9 * unit for unit in (1, 1e3, 1e6, 1e9))
