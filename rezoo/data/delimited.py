"""Delimited text as columns: what separates them, whether there is a header, which rows are broken."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from rezoo.data.arrow import Columns, from_arrow
from rezoo.data.errors import DataError
from rezoo.data.raw import is_number

MOVIELENS = ("user_id", "item_id", "rating", "timestamp")
HEAD = 2**20
"""Bytes that are looked at to tell how a text file is written."""


def read_text(
    head: bytes,
    content: bytes | Path,
    path: str,
    kind: str,
    names: Sequence[str] | None,
    delimiter: str | None,
    text: Sequence[str],
) -> Columns:
    """Columns of UTF-8 text, in memory or on disk, that starts with `head`."""
    name = Path(path).name
    if not head.strip():
        raise DataError(f"{path}: the file is empty")
    if kind in (".inter", ".user", ".item") and delimiter is None:
        delimiter = "\t"
    first = head.partition(b"\n")[0].decode("utf-8", "replace").strip("\r\n")
    delimiter = delimiter or _sniff(first, kind)
    if delimiter == "::":
        content = content.read_bytes() if isinstance(content, Path) else content
        _require_no(content, b"\t", name)
        content, delimiter = content.replace(b"::", b"\t"), "\t"
        names = names or MOVIELENS
    if names is None:
        header = [word.strip().strip('"') for word in first.split(delimiter)]
        doubled = sorted({word for word in header if header.count(word) > 1})
        if doubled:
            raise DataError(f"{name}: the header names {', '.join(map(repr, doubled))} twice; rename one")
        if all(is_number(word) for word in header):
            raise DataError(
                f"{name}: the first line, {first[:60]!r}, looks like data. If the file has no header, give "
                f"names=[…] for its {len(header)} columns."
            )
    if names is None and len(head) < HEAD and not head.partition(b"\n")[2].strip():
        raise DataError(f"{name}: there is a header ({first[:60]!r}) and no rows")
    columns = _parse(content, b'"' in head, name, delimiter, names, text)
    if kind in (".inter", ".user", ".item"):
        columns = {column.partition(":")[0]: values for column, values in columns.items()}
    return columns


def _parse(
    content: bytes | Path,
    quoted: bool,
    name: str,
    delimiter: str,
    names: Sequence[str] | None,
    text: Sequence[str],
) -> Columns:
    """The columns of UTF-8 text, read block by block so that little more than the result is held."""
    bad: list[str] = []

    def ragged(row: csv.InvalidRow) -> str:
        bad.append(
            f"{name}, row {row.number or '?'}: {row.actual_columns} columns where {row.expected_columns} are "
            f"expected: {row.text[:80]!r}. Correct the row, or give the right delimiter (now {delimiter!r})."
        )
        return "error"

    options = dict(
        read_options=csv.ReadOptions(column_names=list(names) if names else None, block_size=2**24),
        parse_options=csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted or delimiter != "\t" else False,
            newlines_in_values=quoted,
            invalid_row_handler=ragged,
        ),
        convert_options=csv.ConvertOptions(
            strings_can_be_null=False, column_types={column: pa.string() for column in text}
        ),
    )

    def source() -> Any:
        return pa.BufferReader(content) if isinstance(content, bytes) else str(content)

    try:
        try:
            return _joined(csv.open_csv(source(), **options), name)
        except pa.ArrowInvalid:  # a column's kind changes after its first block, or the row is bad
            bad.clear()
            return from_arrow(csv.read_csv(source(), **options), name)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        why = bad[0] if bad else f"{name} cannot be read as text with delimiter {delimiter!r}: {error}"
        raise DataError(why) from error


def _joined(blocks: Iterable[pa.RecordBatch], name: str) -> Columns:
    """The columns of all blocks, whole numbers in 32 bits where they fit."""
    parts: dict[str, list[np.ndarray]] = {}
    for block in blocks:
        for column, values in from_arrow(pa.Table.from_batches([block]), name).items():
            if values.dtype == np.int64 and np.abs(values).max(initial=0) < 2**31:
                values = values.astype(np.int32)
            parts.setdefault(column, []).append(values)
    return {column: np.concatenate(parts.pop(column)) for column in list(parts)}


def _sniff(first: str, kind: str) -> str:
    """The delimiter of the first line: the one that makes most columns."""
    if "::" in first:
        return "::"
    found = {mark: first.count(mark) for mark in (",", "\t", ";", "|")}
    best = max(found, key=lambda mark: found[mark])
    return best if found[best] else ("\t" if kind == ".tsv" else " " if " " in first.strip() else ",")


def _require_no(content: bytes, mark: bytes, name: str) -> None:
    if mark in content:
        raise DataError(f"{name} has both '::' and tabs: give the delimiter")


def utf8(content: bytes, encoding: str | None, name: str) -> bytes:
    """The text as UTF-8, without a byte order mark."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = encoding or "utf-16"
    if b"\0" in content[:4096] and encoding is None:
        raise DataError(
            f"{name} is no text file (it has zero bytes): name its kind by its ending, such as .parquet"
        )
    try:
        if encoding is None:
            content.decode("utf-8")
            return content.removeprefix(b"\xef\xbb\xbf")
        return content.decode(encoding).encode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            return content.decode("latin-1").encode("utf-8")
        raise DataError(f"{name} is not in {encoding}: byte {error.start} cannot be read") from error
    except LookupError as error:
        raise DataError(f"{name}: there is no encoding {encoding!r}") from error
