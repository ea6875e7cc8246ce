"""The lines of a delimited text: which are records, and which quotation marks enclose text.

A quotation mark encloses text where it is the first character of a value; a doubled one inside stands
for itself (RFC 4180). Marks elsewhere are letters like others.
"""

import mmap
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rezoo.data.table import Rows

Content = bytes | mmap.mmap
PIECE = 2**24
_CLOSED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+("?+)')


class Spread(NamedTuple):
    """A record that stands on several lines, counted from 0, as a quoted value has line breaks."""

    first: int
    last: int
    closed: bool
    """False if the quotation mark is never closed."""


class Lines(NamedTuple):
    """Where the lines of a text are."""

    start: np.ndarray
    """The first byte of each line."""
    end: np.ndarray
    """The byte after its last one; the line break is not part of it."""
    spreads: list[Spread]

    def rows(self) -> Rows:
        """The line of each record, counted from 1. Empty lines are not records."""
        first = self.end > self.start
        for spread in self.spreads:
            first[spread.first + 1 : spread.last + 1] = False
        rows = np.flatnonzero(first) + 1
        dense = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
        return range(int(rows[0]), int(rows[-1]) + 1) if dense else rows


def find(content: Content, delimiter: str, quotes: bool) -> Lines:
    """The lines of a text, and the records that stand on several of them if marks are `quotes`."""
    start, end = _split(content)
    if not quotes:
        return Lines(start, end, [])
    return Lines(start, end, list(_spreads(content, delimiter.encode(), start, end)))


def like_rows(content: Content, delimiter: str, lines: Lines, spread: Spread, columns: int) -> bool:
    """Whether every line of a spread record reads as a row of its own."""
    mark = delimiter.encode()
    return all(
        content[lines.start[line] : lines.end[line]].count(mark) == columns - 1
        for line in range(spread.first, spread.last + 1)
        if lines.end[line] > lines.start[line]
    )


def _split(content: Content) -> tuple[np.ndarray, np.ndarray]:
    r"""Starts and ends of lines, which end in \n, \r\n or \r."""
    letters = np.frombuffer(content, np.uint8)
    breaks, returns = positions(content, b"\n"), positions(content, b"\r")
    lone = returns[letters[np.minimum(returns + 1, len(letters) - 1)] != ord("\n")]
    if len(lone):
        breaks = np.sort(np.concatenate([breaks, lone]))
    start, end = np.concatenate([[0], breaks + 1]), np.append(breaks, len(content))
    if len(returns):  # the \r of \r\n is not part of its line
        pair = (
            (letters[breaks] == ord("\n")) & (breaks > 0) & (letters[np.maximum(breaks - 1, 0)] == ord("\r"))
        )
        end[:-1] -= pair
    return (start[:-1], end[:-1]) if start[-1] == len(content) else (start, end)


def positions(content: Content, mark: bytes) -> np.ndarray:
    """Where a byte stands."""
    found = [
        np.flatnonzero(np.frombuffer(content[at : at + PIECE], np.uint8) == mark[0]) + at
        for at in range(0, len(content), PIECE)
        if mark in content[at : at + PIECE]
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _spreads(content: Content, delimiter: bytes, start: np.ndarray, end: np.ndarray) -> Iterator[Spread]:
    opening = re.compile(rb'(?:(?<=[\r\n%b])|\A)"' % re.escape(delimiter))
    done = -1
    for suspect in _unbalanced(content, delimiter, start, end):
        if suspect <= done:
            continue
        line, at, closed = int(suspect), int(start[suspect]), True
        while (found := opening.search(content, at, int(end[line]) + 1)) is not None:
            value = _CLOSED.match(content, found.start())
            assert value is not None
            at, closed = value.end(), value[1] == b'"'
            line = int(np.searchsorted(start, at - 1, "right")) - 1
            if not closed:
                break
        if line > suspect:
            yield Spread(int(suspect), line, closed)
        elif not closed:
            yield Spread(int(suspect), int(suspect), closed)
        done = line


def _unbalanced(content: Content, delimiter: bytes, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Lines whose marks are not plainly pairs around whole values: these alone can be left open."""
    marks = positions(content, b'"')
    if not len(marks):
        return marks
    line = np.searchsorted(start, marks, "right") - 1
    nth = np.arange(len(marks)) - np.searchsorted(line, line, "left")
    letters, edge = np.frombuffer(content, np.uint8), np.zeros(256, bool)
    edge[[*delimiter, ord('"')]] = True
    opens = (marks == start[line]) | edge[letters[np.maximum(marks - 1, 0)]]
    closes = (marks + 1 == end[line]) | edge[letters[np.minimum(marks + 1, len(letters) - 1)]]
    odd = nth % 2 == 1
    last = np.append(line[1:] != line[:-1], True)
    return np.unique(line[(odd & ~closes) | (~odd & ~opens) | (last & ~odd)])


def loose(content: Content, delimiter: str, lines: Lines) -> bool:
    """Whether marks stand elsewhere than around whole values, which no program that quotes text writes."""
    within = {line for spread in lines.spreads for line in range(spread.first, spread.last + 1)}
    return any(
        int(line) not in within for line in _unbalanced(content, delimiter.encode(), lines.start, lines.end)
    )
