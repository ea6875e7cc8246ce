"""How a delimited text is laid out: what separates its columns, their names, where its rows begin."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rezoo.data.missing import WORDS
from rezoo.data.spelling import is_number
from rezoo.errors import DataError

MOVIELENS = ("user_id", "item_id", "rating", "timestamp")
MARKS = (",", "\t", ";", "|")
RECBOLE = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*|\d{1,2}/\d{1,2}/\d{4}.*", re.ASCII)


class Header(NamedTuple):
    """The layout, as the first lines show it."""

    delimiter: str
    names: list[str]
    text: frozenset[str]
    """Columns whose type the file states to be text."""
    words: list[str] | None
    """The header as it stands; None if the names were given."""
    skip: int
    """Lines before the first row."""


def read(
    head: str,
    name: str,
    *,
    names: Sequence[str] | None,
    delimiter: str | None,
    quotes: bool | None,
    known: Callable[[str], bool],
) -> Header:
    """The layout of a text that starts with `head`.

    Args:
      head: the first lines, which end in newlines.
      name: of the file, for errors.
      names: of the columns, if the file has no header.
      delimiter: between columns; found if not given.
      quotes: whether quotation marks enclose text.
      known: whether a word is the name of a column that is looked for.

    Raises:
      DataError: if there is no header and no names, or the header is not that of a table.
    """
    lines = head.split("\n")
    skip = next((at for at, line in enumerate(lines) if line.strip()), 0)
    if said := re.fullmatch(r"sep=(.)", lines[skip].rstrip("\r"), re.IGNORECASE):  # a spreadsheet's
        delimiter, skip = delimiter or said[1], skip + 1
    body = "\n".join(lines[skip:])
    first = body.partition("\n")[0]
    delimiter = delimiter or _found(first, name)
    if len(delimiter) != 1:
        raise DataError(f"{name}: the delimiter {delimiter!r} is not one character")
    words, used = _record(body, delimiter, name, quotes)
    if names is not None:
        _fit(list(names), words, first, name, known, _next(body, used, delimiter, len(words)))
        return Header(delimiter, list(names), frozenset(), None, skip)
    types = [RECBOLE.fullmatch(word.strip()) for word in words]
    stated = [found for found in types if found] if all(types) else []
    columns = [found[1] for found in stated] or [word.strip() for word in words]
    columns = [column or f"column {at}" for at, column in enumerate(columns, 1)]
    _refuse(columns, first, name, known)
    text = frozenset(found[1] for found in stated if found[2] != "float")
    return Header(delimiter, columns, text, words, skip + used)


def _record(body: str, delimiter: str, name: str, quotes: bool | None) -> tuple[list[str], int]:
    """The values of the first record, and the lines that it takes."""
    if quotes is False:
        return body.partition("\n")[0].rstrip("\r").split(delimiter), 1
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    try:
        return next(reader), reader.line_num
    except (csv.Error, StopIteration) as error:
        raise DataError(f"{name}: the header cannot be read ({error}). Is it a table?") from error


def _next(body: str, used: int, delimiter: str, width: int, many: int = 20) -> list[list[str]]:
    """The values of the lines after the first record, of those that have as many."""
    lines = [line for line in body.split("\n")[used:-1] if line.strip()][:many]
    rows = (line.rstrip("\r").split(delimiter) for line in lines)
    return [[value.strip('" ') for value in row] for row in rows if len(row) == width]


def _found(first: str, name: str) -> str:
    """The delimiter of the first line: the one that makes most columns, or RecBole's `name:type` of all."""
    typed = [
        mark
        for mark in (*MARKS, " ")
        if mark in first and all(RECBOLE.fullmatch(word.strip()) for word in first.rstrip("\r").split(mark))
    ]
    if typed:
        return typed[0]
    best = max(MARKS, key=first.count)
    return best if best in first else "\t" if name.endswith(".tsv") else " " if " " in first.strip() else ","


def _refuse(columns: Sequence[str], first: str, name: str, known: Callable[[str], bool]) -> None:
    """Raise a DataError if the first line is data, or names a column twice."""
    year = [column for column in columns if re.fullmatch(r"(19|20)\d\d", column)]
    cells = [column for column in columns if is_number(column) or _MOMENT.fullmatch(column)]
    if len(cells) == len(columns) or (len(cells) > len(year) and not any(map(known, columns))):
        example = ["user", "item", *(f"column {at}" for at in range(3, len(columns) + 1))][: len(columns)]
        raise DataError(
            f"{name}: the first line, {first[:80]!r}, looks like data. If the file has no header, give "
            f"names=[…] for its {len(columns)} columns, such as names={example}."
        )
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise DataError(f"{name}: the header names {', '.join(map(repr, doubled))} twice; rename one")


def _names_of(words: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line has no number, and all rows below it have one in some column."""
    if not rows or any(is_number(word) or word.strip() in WORDS for word in words):
        return False
    return any(all(is_number(row[at]) for row in rows) for at in range(len(words)))


def _fit(
    names: list[str],
    words: Sequence[str],
    first: str,
    name: str,
    known: Callable[[str], bool],
    rows: Sequence[Sequence[str]],
) -> None:
    """Raise a DataError if the given names are not those of a file with such a first line."""
    doubled = sorted({column for column in names if names.count(column) > 1})
    if doubled:
        raise DataError(f"{name}: names has {', '.join(map(repr, doubled))} twice; rename one")
    if len(words) != len(names):
        raise DataError(
            f"{name}, row 1: {len(words)} columns where {len(names)} are expected, one for each of "
            f"names={names}: {first[:80]!r}"
        )
    if sum(known(word.strip()) for word in words) > 1 or _names_of(words, rows):
        raise DataError(f"{name}: the first line, {first[:80]!r}, is a header: leave names out")
