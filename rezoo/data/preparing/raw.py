"""Parts of a raw log: where they are, and their chunks as numbers, cleaned as far as one chunk tells."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from rezoo.data import arrow, clean_table, log_columns, stream_parts, times
from rezoo.data.columns import plain
from rezoo.data.missing import is_missing
from rezoo.data.place import ROW, Place
from rezoo.data.preparing import notes, numbering
from rezoo.data.preparing.groups import take
from rezoo.data.preparing.notes import Notes
from rezoo.data.preparing.numbering import Counted
from rezoo.data.preparing.plan import LINES, Chunk, Plan, check, id_type
from rezoo.data.stream_parts import opened, read_group
from rezoo.errors import DataError
from rezoo.storage import fingerprint


class Raw(NamedTuple):
    """The parts of a log, in the order of their names."""

    folder: str
    schema: pa.Schema
    """Of the columns to read."""
    groups: list[tuple[str, int, int]]
    """Of Parquet: the part, the number of the row group, and the rows of the log before it."""
    texts: list[str]
    """CSV parts, of which the rows are not known before they are read."""
    identity: str
    """A digest of names, sizes and columns."""
    kinds: dict[str, str]
    """The types of raw ids, of users and of items."""


class Read(NamedTuple):
    """A chunk as it is read."""

    chunk: Chunk
    """With the keys of users and items."""
    ids: dict[str, Counted]
    notes: Notes


def find(folder: str, plan: Plan) -> Raw:
    """The Parquet or CSV parts of a folder.

    Raises:
      DataError: if there are none, they differ in their columns, or the plan does not fit them.

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pa.table({"user": ["ann", "bo"], "item": [7, 8]})
    ...     pyarrow.parquet.write_table(table, f"{folder}/0.parquet")
    ...     raw = find(folder, Plan())
    >>> raw.schema.names, [number for _, number, _ in raw.groups]
    (['user', 'item'], [0])
    """
    texts = stream_parts.listed(folder, LINES)
    if texts and stream_parts.listed(folder, (".parquet",)):
        raise DataError(f"{folder}: holds CSV and Parquet parts: move those that are not of the log")
    if not texts:
        parts = stream_parts.find(folder, plan.columns)
        check(plan, parts.schema, folder)
        begin = np.cumsum([0, *(rows for _, _, rows in parts.groups)]).tolist()
        groups = [(path, number, rows) for (path, number, _), rows in zip(parts.groups, begin, strict=False)]
        return Raw(folder, parts.schema, groups, [], parts.identity, _kinds(parts.schema, plan))
    schema = pa.schema([(name, _text_type(plan, name)) for name in plan.columns])
    check(plan, schema, folder)
    names = [path.removeprefix(opened(folder)[1]) for path, _ in texts]
    identity = fingerprint.of(names, [size for _, size in texts], str(schema))
    return Raw(folder, schema, [], [path for path, _ in texts], identity, _kinds(schema, plan))


def _kinds(schema: pa.Schema, plan: Plan) -> dict[str, str]:
    names = {"user": plan.user, "item": plan.item}
    return {role: str(id_type(schema.field(name).type)) for role, name in names.items()}


def _text_type(plan: Plan, name: str) -> pa.DataType:
    given = dict(plan.types)
    if name in given:
        try:
            return pa.type_for_alias(given[name])
        except ValueError as error:
            raise DataError(f"Plan(types=…), column {name!r}: {error}") from error
    if name in (plan.user, plan.item):
        return pa.large_string()
    if name == plan.timestamp:
        return pa.int64() if plan.unit else pa.large_string()
    return pa.float64()


def group(one: tuple[str, int, int], raw: Raw, plan: Plan) -> Iterator[Read]:
    """The chunks of a row group."""
    path, number, begin = one
    table = read_group(opened(raw.folder)[0], path, number, raw.schema.names)
    for first, rows in cut(table, begin, plan.chunk):
        yield read(rows, first, raw.schema, plan, path)


def rows_of(path: str, raw: Raw, plan: Plan) -> tuple[str, int]:
    """A CSV part, and its number of rows."""
    return path, sum(table.num_rows for table in _tables(path, raw, plan, raw.schema.names[:1]))


def text(path: str, raw: Raw, plan: Plan, rows: dict[str, int]) -> Iterator[Read]:
    """The chunks of a CSV part; `rows` are those of all parts."""
    begin = sum(rows[other] for other in raw.texts[: raw.texts.index(path)])
    for table in _tables(path, raw, plan, raw.schema.names):
        for first, some in cut(table, begin, plan.chunk):
            yield read(some, first, raw.schema, plan, path)
        begin += table.num_rows


def _tables(path: str, raw: Raw, plan: Plan, columns: list[str]) -> Iterator[pa.Table]:
    system, _ = opened(raw.folder)
    types = {name: raw.schema.field(name).type for name in columns}
    try:
        with csv.open_csv(
            system.open_input_stream(path),
            csv.ReadOptions(column_names=list(plan.names) or None, block_size=1 << 24, use_threads=False),
            csv.ParseOptions(delimiter=plan.delimiter),
            csv.ConvertOptions(column_types=types, include_columns=columns),
        ) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as CSV with the columns {columns} ({error})") from error


def cut(table: pa.Table, begin: int, size: int) -> Iterator[tuple[int, pa.Table]]:
    """Slices that do not reach over a multiple of `size`, as `begin` rows came before.

    >>> [(first, rows.num_rows) for first, rows in cut(pa.table({"a": [1, 2, 3]}), 3, 4)]
    [(3, 1), (4, 2)]
    """
    at = 0
    while at < table.num_rows:
        length = size - (begin + at) % size
        yield begin + at, table.slice(at, length)
        at += length


def read(table: pa.Table, first: int, schema: pa.Schema, plan: Plan, source: str) -> Read:
    """The columns of a chunk, before which `first` rows came, without rows that have no id or a bad time."""
    row = np.arange(first + 1, first + 1 + table.num_rows)
    names = {"user": plan.user, "item": plan.item}
    ids = {role: _coded(table[name]) for role, name in names.items()}
    columns = arrow.from_arrow(table.drop_columns(list(set(names.values()))), source) | {ROW: row}
    kept, found = _complete(columns, {names[role]: one for role, one in ids.items()}, plan, source)
    columns, row = take(columns, kept), row[kept]
    chunk, counts = {"row": row}, {}
    for role, name in names.items():
        place, kind = Place(source, name), id_type(schema.field(name).type)
        chunk[role], counts[role] = numbering.counted(
            ids[role].values, ids[role].code[kept], row, kind, place
        )
    if plan.timestamp is not None:
        place, unit = Place(source, plan.timestamp, row), plan.unit if plan.unit == times.ORDER else None
        chunk["timestamp"] = times.microseconds(columns[plan.timestamp], unit=unit, place=place)
    if plan.rating is not None:
        chunk["rating"] = log_columns.ratings(plain(columns[plan.rating]), Place(source, plan.rating, row))
    return Read(chunk | {name: columns[name] for name in plan.extra}, counts, found)


class _Coded(NamedTuple):
    """A column of ids."""

    values: np.ndarray
    """Distinct ones."""
    code: np.ndarray
    """Which of them a row has; -1 for none."""

    def missing(self) -> tuple[np.ndarray, dict[str, int]]:
        """Where a row has no id, and how those are written if they are text."""
        gone = np.append(is_missing(self.values), True)  # the last one is that of code -1
        if self.values.dtype.kind not in "UO":
            return gone[self.code], {}
        rows = np.bincount(self.code + 1, minlength=len(gone))
        words = Counter({"": int(rows[0])})
        for n in np.flatnonzero(gone[:-1]).tolist():
            words[str(self.values[n]).strip()] += int(rows[n + 1])
        return gone[self.code], dict(+words)


def _coded(column: pa.ChunkedArray) -> _Coded:
    kind = column.type
    plainly = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    coded = plainly.combine_chunks().dictionary_encode()
    return _Coded(arrow.to_numpy(coded.dictionary), coded.indices.fill_null(-1).to_numpy())


def _complete(
    columns: dict[str, np.ndarray], ids: dict[str, _Coded], plan: Plan, source: str
) -> tuple[np.ndarray, Notes]:
    """The rows that have ids and a time, and notes on the others; the times are replaced by `datetime64`."""
    row = columns[ROW]
    kept, found = np.ones(len(row), bool), notes.before(len(row))

    def drop(place: int, gone: np.ndarray, why: str, shown: Any = None, words: Any = None) -> None:
        index = np.flatnonzero(gone & kept)
        if len(index) or words:
            text = (lambda n: "") if shown is None else (lambda n: f": {shown[n]}")
            found.update(notes.note(place, why, row, text, words, index))
            kept[index] = False

    for place, name in enumerate((plan.user, plan.item), notes.MISSING):
        gone, words = ids[name].missing()
        drop(place, gone, f"without a value of {name!r}", words=words)
    for name in plan.extra:
        if (gone := is_missing(columns[name]) & kept).any():
            at = Place(source, name, row).at(int(gone.argmax()))
            raise DataError(f"{at}: a value is missing; fill it in, or leave the column out")
    if plan.timestamp is not None:
        limits = {"first": plan.first, "last": plan.last}
        written = {"unit": plan.unit, "time_format": plan.time_format}
        value, bad = clean_table.bad_times(columns, plan.timestamp, **written, **limits, source=source)
        columns[plan.timestamp] = value
        for place, (rows, why, shown) in enumerate(bad, notes.TIMES):
            drop(place, rows, why, shown)
    return kept, found
