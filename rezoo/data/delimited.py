"""Delimited text as columns. Every value is read as text first; the values of a column decide its type."""

import mmap
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from rezoo.data import header, kinds, lines
from rezoo.data.header import Header
from rezoo.data.table import Rows, Table, row_at
from rezoo.errors import DataError

HEAD = 2**20
"""How many bytes at the start of a text file are looked at for its layout."""


class Wanted(NamedTuple):
    """What the caller states about a text file; see `files.read_table`."""

    names: Sequence[str] | None = None
    delimiter: str | None = None
    text: Collection[str] = ()
    quotes: bool | None = None
    decimal: str | None = None
    is_id: Callable[[str], bool] = lambda name: False
    known: Callable[[str], bool] = lambda name: False


class Facts(NamedTuple):
    """Facts about the bytes of a text, found in one pass."""

    count: int
    """Lines."""
    even: bool
    """There is no empty line, and all lines end alike."""
    marks: bool
    """There are quotation marks."""


def facts(pieces: Iterable[bytes]) -> Facts:
    """The facts about a text, given in pieces."""
    count, even, marks, last = 0, True, False, b""
    for piece in pieces:
        count += piece.count(b"\n")
        marks = marks or b'"' in piece
        joined = last[-3:] + piece if last else b"\n" + piece
        even = even and not any(two in joined for two in (b"\n\n", b"\n\r\n"))
        if b"\r" in piece:
            even = even and joined.count(b"\r") - joined.endswith(b"\r") == joined.count(b"\r\n")
        last = piece
    return Facts(count + (not last.endswith(b"\n")), even, marks)


def read_text(content: bytes | Path, name: str, about: Facts, wanted: Wanted) -> Table:
    """Columns of UTF-8 text, in memory or on disk."""
    head = content[:HEAD] if isinstance(content, bytes) else _first(content)
    if not head.strip():
        raise DataError(f"{name}: the file is empty")
    if wanted.delimiter in (None, "::") and b"::" in head.strip().partition(b"\n")[0]:
        content = content.read_bytes() if isinstance(content, Path) else content
        if b"\t" in content:
            raise DataError(f"{name} has both '::' and tabs: give the delimiter")
        content = content.replace(b"::", b"\t")
        head = content[:HEAD]
        wanted = wanted._replace(delimiter="\t", names=wanted.names or header.MOVIELENS, quotes=False)
    top = header.read(
        head.decode("utf-8", "ignore").replace("\r\n", "\n").replace("\r", "\n"),
        name,
        names=wanted.names,
        delimiter=wanted.delimiter,
        quotes=wanted.quotes,
        known=wanted.known,
    )
    quotes, spread, rows = _records(content, name, about, top, wanted.quotes)
    if not len(rows):
        raise DataError(f"{name}: there is a header ({', '.join(top.names)[:60]!r}) and no rows")
    return Table(_parse(content, name, top, wanted, quotes, spread, rows))


def _records(
    content: bytes | Path, name: str, about: Facts, top: Header, quotes: bool | None
) -> tuple[bool, bool, Rows]:
    """Whether marks enclose text, whether values have line breaks, and the line of each row."""
    if about.even and (not about.marks or quotes is False):
        return False, False, range(top.skip + 1, about.count + 1)
    whole = content if isinstance(content, bytes) else _mapped(content)
    quoted = about.marks and quotes is not False
    found = lines.find(whole, top.delimiter, quoted)
    bad = [
        s
        for s in found.spreads
        if not s.closed or lines.like_rows(whole, top.delimiter, found, s, len(top.names))
    ]
    if quotes is None and top.delimiter == "\t" and (bad or lines.loose(whole, top.delimiter, found)):
        quoted, found = False, found._replace(spreads=[])
    elif bad and (quotes is None or not bad[-1].closed):
        what = bad[0] if quotes is None else bad[-1]
        opens, closes = (_where(line, top.skip) for line in (what.first, what.last))
        reach = f"closed in {closes}, though the rows between look like rows of their own"
        raise DataError(
            f"{name}, {opens}: a quotation mark opens that is "
            f"{reach if what.closed else 'never closed'}. "
            "Correct the row; or say quotes=False, if marks are letters like others, or quotes=True, if they "
            "enclose text."
        )
    rows = found.rows()
    at = int(np.searchsorted(np.asarray(rows), top.skip, "right"))
    return quoted, bool(found.spreads), rows[at:]


def _where(line: int, skip: int) -> str:
    """How an error names a line, from 0, of a text whose rows begin after `skip` of them."""
    return row_at(line - skip, range(skip + 1, line + 2)) if line >= skip else f"header (line {line + 1})"


def _parse(
    content: bytes | Path, name: str, top: Header, wanted: Wanted, quotes: bool, spread: bool, rows: Rows
) -> dict[str, np.ndarray]:
    """The columns, read block by block so that little more than the result is held."""
    ragged: list[csv.InvalidRow] = []
    options = dict(
        parse_options=csv.ParseOptions(
            delimiter=top.delimiter,
            quote_char='"' if quotes else False,
            newlines_in_values=spread,
            invalid_row_handler=lambda row: ragged.append(row) or "error",
        ),
        convert_options=csv.ConvertOptions(
            strings_can_be_null=False, column_types=dict.fromkeys(top.names, pa.string())
        ),
    )

    def blocks(
        reader: Any = csv.open_csv, size: int = 2**24, threads: bool = True
    ) -> Iterator[pa.RecordBatch]:
        how = csv.ReadOptions(
            column_names=top.names, skip_rows=top.skip, block_size=size, use_threads=threads
        )
        source = pa.BufferReader(content) if isinstance(content, bytes) else str(content)
        opened = reader(source, read_options=how, **options)
        yield from opened if reader is csv.open_csv else opened.to_batches()

    spelt = kinds.Spelt(
        set(wanted.text) | top.text, wanted.is_id, wanted.decimal, top.delimiter != ",", top.words
    )
    try:
        columns, count = kinds.columns(blocks, spelt, name, rows)
    except pa.ArrowException as error:
        if not ragged and "straddling" in str(error):  # a row longer than a block
            columns, count = kinds.columns(lambda: blocks(csv.read_csv, 2**30), spelt, name, rows)
        elif not ragged:
            raise DataError(
                f"{name} cannot be read as text with delimiter {top.delimiter!r}: {error}"
            ) from error
        else:
            raise _ragged(lambda: blocks(csv.read_csv, 2**24, False), ragged, name, top, rows) from error
    if count != len(rows):
        raise DataError(
            f"{name}: {len(rows)} rows were counted but {count} read. Are its quotation marks closed, and is "
            f"{top.delimiter!r} its delimiter?"
        )
    return columns


def _ragged(
    again: Callable[[], Iterable[Any]], seen: list[csv.InvalidRow], name: str, top: Header, rows: Rows
) -> DataError:
    """The error for a row with too few or too many columns; its number is known where one thread reads."""
    row = seen[0]
    seen.clear()
    try:
        list(again())
    except pa.ArrowException:
        row = seen[0] if seen else row
    at = (row.number or 0) - 1 - top.skip
    where = row_at(at, rows) if 0 <= at < len(rows) else "row ?"
    return DataError(
        f"{name}, {where}: {row.actual_columns} columns where {row.expected_columns} are expected: "
        f"{row.text[:80]!r}. Correct the row, or give the right delimiter (now {top.delimiter!r})."
    )


def _first(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEAD)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
