"""Columns of the shop's table of items: their values for JSON, and which rows fulfil a condition.

| column holds | condition |
| --- | --- |
| text | a text, or a list of which it is one |
| several texts, such as `tea|green` | the same, for one of them |
| numbers | a number, a list of numbers, or `{"min": 5, "max": 20}`, both included, either left out |
| true and false | true or false |

A row without a value fulfils none.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from rezoo.data import feature_columns
from rezoo.data.columns import plain
from rezoo.data.missing import is_missing
from rezoo.data.spelling import EXACT, is_number
from rezoo.errors import DataError

MOST_SHOWN = 100
"""Distinct texts of a column that its description lists."""
ADVICE = {
    "text": "a text or a list of texts",
    "texts": "a text or a list of texts",
    "number": 'a number, a list of numbers, or {"min": 5, "max": 20}',
    "flag": "true or false",
}
FLAGS = {"true": True, "false": False}


class Column(NamedTuple):
    """One column."""

    kind: str
    """`text`, `texts` (a list of them in each row), `number` or `flag`."""
    values: list[Any]
    """For JSON, None where missing."""
    codes: np.ndarray
    """Numbers as they are, flags as 0 and 1, texts as their place in `words`; NaN or -1 where missing."""
    rows: np.ndarray
    """Of each code."""
    words: dict[str, int]

    def passing(self, wanted: Any) -> np.ndarray:
        """Which rows fulfil a condition: bool `[n]`.

        Raises:
          DataError: if it is no condition on such a column.

        >>> column([5, 20, None]).passing({"max": 20}).tolist()
        [True, True, False]
        >>> column(["tea|green", "cup"]).passing(["tea", "hat"]).tolist()
        [True, False]
        """
        if self.kind == "flag":
            fits = np.isin(self.codes, [_only(one, bool, self.kind) for one in _listed(wanted)])
        elif self.kind == "number" and isinstance(wanted, dict):
            if not wanted or not set(wanted) <= {"min", "max"}:
                raise _refused(wanted, self.kind)
            low, high = (_only(wanted.get(end, inf), float, self.kind) for end, inf in LIMITS)
            fits = (self.codes >= low) & (self.codes <= high)
        elif self.kind == "number":
            fits = np.zeros(len(self.codes), bool)
            for one in _listed(wanted):
                fits |= self.codes == _only(one, float, self.kind)
        else:
            chosen = np.zeros(len(self.words) + 1, bool)  # the last is for -1, the missing
            chosen[[self.words.get(_only(one, str, self.kind), -1) for one in _listed(wanted)]] = True
            chosen[-1] = False
            fits = chosen[self.codes]
        found = np.zeros(len(self.values), bool)
        found[self.rows[fits]] = True
        return found

    def describe(self) -> dict[str, Any]:
        """Its kind, and what its values are.

        >>> column([5, 20]).describe()
        {'kind': 'number', 'min': 5.0, 'max': 20.0}
        """
        if self.kind in ("text", "texts"):
            return {"kind": self.kind, "values": [*self.words][:MOST_SHOWN], "distinct": len(self.words)}
        known = self.codes[~np.isnan(self.codes)]
        limits = {"min": float(known.min()), "max": float(known.max())} if len(known) else {}
        return {"kind": self.kind} | (limits if self.kind == "number" else {})

    def from_text(self, text: str) -> Any:
        """The condition that stands in an address: texts between commas, true, 5, 5,6 or 5..20.

        Raises:
          DataError: if it is none.

        >>> column([5, 20]).from_text("..9"), column(["tea"]).from_text("tea,cup")
        ({'max': 9.0}, ['tea', 'cup'])
        """
        if self.kind == "flag" and text in FLAGS:
            return FLAGS[text]
        if self.kind != "number":
            return text.split(",")
        try:
            if ".." in text:
                ends = dict(zip(("min", "max"), text.split("..", 1), strict=True))
                return {name: _number(end) for name, end in ends.items() if end}
            return [_number(one) for one in text.split(",")]
        except ValueError:
            raise _refused(text, self.kind) from None


def _number(text: str) -> int | float:
    if not is_number(text) or not math.isfinite(number := float(text)):
        raise ValueError
    return (
        int(text)
        if abs(number) >= EXACT and number == int(number) and text.lstrip("+-").isdigit()
        else number
    )


LIMITS = (("min", -math.inf), ("max", math.inf))


def column(raw: Any) -> Column:
    """The column of any values.

    >>> column(["tea|green", "cup", ""]).values
    [['tea', 'green'], ['cup'], None]
    """
    array = plain(raw)
    rows = np.arange(len(array))
    if array.dtype.kind == "b":
        return Column("flag", array.tolist(), array.astype(float), rows, {})
    if array.dtype.kind in "iuf":
        known = np.isfinite(array)
        pairs = zip(array.tolist(), known.tolist(), strict=True)
        values = [one if real else None for one, real in pairs]
        codes = array if array.dtype.kind in "iu" else np.where(known, array, np.nan).astype(float)
        return Column("number", values, codes, rows, {})
    if array.dtype.kind == "O" or any("|" in one for one in array.astype(str).tolist()):
        lists = [list(map(str, one)) for one in feature_columns.lists(array, "|")]
        codes, words = _coded([one for texts in lists for one in texts])
        rows = np.repeat(rows, [len(one) for one in lists])
        return Column("texts", [one or None for one in lists], codes, rows, words)
    pairs = zip(array.astype(str).tolist(), is_missing(array).tolist(), strict=True)
    texts = [None if missing else one for one, missing in pairs]
    codes, words = _coded(texts)
    return Column("text", texts, codes, rows, words)


def _coded(texts: list[Any]) -> tuple[np.ndarray, dict[str, int]]:
    """The place of each text among the distinct ones, which are in alphabetical order."""
    words = {one: n for n, one in enumerate(sorted({one for one in texts if one is not None}))}
    return np.array([words.get(one, -1) for one in texts], np.int64), words


def _listed(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _only(value: Any, kind: type, of: str) -> Any:
    """The value, if it is of this type."""
    if kind is float and type(value) is int and abs(value) < 2**63:
        return value  # as a float it might be another
    if not isinstance(value, kind):
        raise _refused(value, of)
    return value


def _refused(wanted: Any, kind: str) -> DataError:
    return DataError(f"{str(wanted)[:50]!r} is no condition on it: give {ADVICE[kind]}")
