"""Sessions that are larger than memory: a folder of Parquet parts, read as packed rows to learn from.

    log = stream_sessions.find("prepared/train_sessions", length=50)
    steps = iter(stream_sessions.steps(log, chunks=8, seed=0, num_epochs=3))
    for columns in steps:
        state, metrics = step(state, stream_sessions.batch(columns))

A row of a part is a session: a list of item ids, oldest first, as `rezoo.data.beam` writes them, or any
writer of Parquet. The sessions of a row group are packed as `packing.next_item` packs those in memory, and
filled up to one number of rows; order, processes and positions are those of `rezoo.data.stream_parts`.

What else the parts have of each event, such as its type and time, is read beside the items where it is named:

    log = stream_sessions.find("clicks/", length=50, events=["type", "time"])
    model = GRU4Rec(num_items, event_features={"type": 4, "time": TimeGap})

Such a column has a list of numbers for each session, a value for each of its items, as training in memory has
them (`rezoo.data.sessions`): dense ids of categories, numbers, seconds, with 0 where they are unknown. Lists
of Arrow's timestamps become seconds, as by `sessions.seconds`, and lists of lists of one fixed size several
values of an event. `rezoo.data.beam` writes the items alone.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rezoo.arrays import offsets_of
from rezoo.data import batches, packing, stream_parts
from rezoo.data.ids import dense
from rezoo.data.packing import PackedNextItem
from rezoo.data.sessions import Sessions, of_rows
from rezoo.data.stream_parts import Chunk, Parts
from rezoo.errors import DataError
from rezoo.types import Batch


class SessionParts(NamedTuple):
    """A folder of sessions, and how they are packed."""

    parts: Parts
    """Their first column has the items, each other one is a column of events."""
    length: int
    """Events of a packed row."""
    rows: int
    """Packed rows of a chunk, padding included."""


def find(
    folder: str, length: int, *, column: str = "items", rows: int | None = None, events: Sequence[str] = ()
) -> SessionParts:
    """The Parquet parts of a folder.

    Args:
      folder: a path, or the URL of one that pyarrow knows.
      length: of packed rows; of longer sessions the newest `length` events and the item after them are used.
      column: of the lists.
      rows: into which the sessions of each row group fit; if not given, all lists are read once to count
        them.
      events: the columns of events to read, those of one session as many as its items.

    Raises:
      DataError: as `stream_parts.find`, so if the parts have not one of the columns; or if the items are not
        lists of integers, a column of events has not lists of numbers or times, or is named like what a step
        has besides (`history`, `target`, `where`, `segment`).

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pa.table({"items": [[5, 6, 7, 8], [9, 5], [6]]})
    ...     pyarrow.parquet.write_table(table, f"{folder}/0.parquet")
    ...     log = find(folder, length=4)
    ...     (columns,) = steps(log, chunks=1)
    >>> columns["history"].tolist(), columns["target"].tolist()
    ([[5, 6, 7, 9]], [[6, 7, 8, 5]])
    """
    if length < 1:
        raise DataError(f"length = {length}: a packed row has 1 event or more")
    for name in events:
        if name in (column, *PackedNextItem._fields):
            raise DataError(f"{folder}: {name!r} cannot be a column of events, for it is the sessions' own")
    parts = stream_parts.find(folder, [column, *dict.fromkeys(events)])
    kind = parts.schema.field(column).type
    if not _is_list(kind) or not pa.types.is_integer(kind.value_type):
        raise DataError(f"{folder}: column {column!r} is {kind}; sessions are lists of item ids")
    for name in parts.schema.names[1:]:
        kind = parts.schema.field(name).type
        if not _is_list(kind) or not _is_of_events(kind.value_type):
            raise DataError(
                f"{folder}: column {name!r} is {kind}; a column of events is lists of numbers or of times; "
                "texts become numbers by rezoo.data.features"
            )
    if rows is None:
        with ThreadPoolExecutor() as pool:
            groups = [(path, number) for path, number, _ in parts.groups]
            rows = max(pool.map(partial(_needed, parts, length), groups))
    return SessionParts(parts, length, max(rows, 1))


def steps(log: SessionParts, chunks: int, **options: Any) -> Any:
    """What this process reads: packed rows of `chunks` row groups over all processes for each step.

    Args:
      log: by `find`.
      chunks: of a step, over all processes, of which their number must be a divisor.
      **options: those of `stream_parts.steps`.

    Returns:
      A `grain.IterDataset` of the columns of `packing.PackedNextItem`, `[chunks / processes · log.rows,
      log.length]`, with `where` False in padding, and of those of the events in the history, int32 or float32
      `[… log.length …]`, 0 in padding; its iterators have `get_state` and `set_state`.

    Raises:
      DataError: if the processes do not divide `chunks`; and when it is read, if a part is torn or gone, an
        id is missing or not 1 … 2³¹ - 1, a column of events has another number of values than a session has
        items, a value that is missing or an integer beyond int32, or `rows` were given and are too few.
      ModuleNotFoundError: without Grain, which the extra `scale` installs.
    """
    return stream_parts.steps(log.parts, chunks, make=partial(_packed, log=log), **options)


def batch(columns: Chunk) -> Batch:
    """The rows of a step for models with `prefixes`, as `batches.next_items(…, packed=True)` gives them."""
    own = {name: columns[name] for name in PackedNextItem._fields}
    events = {name: column for name, column in columns.items() if name not in own}
    return batches.of_packed(PackedNextItem(**own), events)


def _packed(table: pa.Table, place: str, log: SessionParts) -> Chunk:
    sessions = _sessions(table, place)
    events = packing.next_events(sessions, log.length)
    count = len(events.items)
    if count > log.rows:
        raise DataError(f"{place}: its sessions fill {count:,} rows, more than rows={log.rows}; give {count}")
    made = packing.of_events(sessions, events)._asdict() | packing.event_columns(sessions, events)
    beyond = (0, log.rows - count)
    return {name: np.pad(one, (beyond, *((0, 0),) * (one.ndim - 1))) for name, one in made.items()}


def _sessions(table: pa.Table, place: str) -> Sessions:
    """Those of a table whose first column has the items, and each other one a column of events."""
    (column, items), *others = ((name, table[name].combine_chunks()) for name in table.column_names)
    values, lengths = items.flatten(), _lengths(items)
    if items.null_count or values.null_count:
        raise DataError(f"{place}, column {column!r}: a list or an item is missing; leave it out")
    for name, lists in others:
        differs = _lengths(lists) != lengths
        if differs.any():
            row = int(differs.argmax())
            raise DataError(
                f"{place}, row {row}, column {name!r}: {_lengths(lists)[row]} values for the {lengths[row]} "
                f"items in {column!r}: give one for each, 0 where it is unknown"
            )
    columns = {name: _values(lists.flatten(), f"{place}, column {name!r}") for name, lists in others}
    try:
        columns = of_rows(columns, len(values))
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    return Sessions(
        dense(values.to_numpy(), f"{place}, column {column!r}"), offsets_of(lengths), columns=columns
    )


def _values(values: Any, place: str) -> np.ndarray:
    """What a column has of some events, `[m …]`; times in seconds."""
    if values.null_count:
        raise DataError(f"{place}: a value is missing; write 0 where it is unknown")
    if pa.types.is_fixed_size_list(values.type):
        return _values(values.flatten(), place).reshape(-1, values.type.list_size)
    array = values.to_numpy(zero_copy_only=False)
    return array.astype("datetime64[s]").astype(np.int64) if array.dtype.kind == "M" else array


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_of_events(kind: pa.DataType) -> bool:
    """Whether values of this type can be a column of events."""
    if pa.types.is_fixed_size_list(kind):
        return _is_of_events(kind.value_type)
    types = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_timestamp
    return any(one(kind) for one in types)


def _lengths(lists: Any) -> np.ndarray:
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _needed(parts: Parts, length: int, group: tuple[str, int]) -> int:
    """Packed rows of a row group."""
    path, number = group
    table = stream_parts.read_group(parts.system, path, number, parts.schema.names[:1])
    lengths = _lengths(table.column(0).combine_chunks())
    return packing.rows_needed(np.maximum(lengths - 1, 0), length)
