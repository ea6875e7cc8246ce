"""Sessions that are larger than memory: a folder of Parquet parts, read as packed rows to learn from.

    log = stream_sessions.find("prepared/train_sessions", length=50)
    steps = iter(stream_sessions.steps(log, chunks=8, seed=0, num_epochs=3))
    for columns in steps:
        state, metrics = step(state, stream_sessions.batch(columns))

A row of a part is a session: a list of item ids, oldest first, as `rezoo.data.beam` writes them, or any
writer of Parquet. The sessions of a row group are packed as `packing.next_item` packs those in memory, and
filled up to one number of rows; order, processes and positions are those of `rezoo.data.stream_parts`.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rezoo.arrays import offsets_of
from rezoo.data import batches, packing, stream_parts
from rezoo.data.ids import dense
from rezoo.data.packing import PackedNextItem
from rezoo.data.sessions import Sessions
from rezoo.data.stream_parts import Chunk, Parts
from rezoo.errors import DataError
from rezoo.types import Batch


class SessionParts(NamedTuple):
    """A folder of sessions, and how they are packed."""

    parts: Parts
    length: int
    """Events of a packed row."""
    rows: int
    """Packed rows of a chunk, padding included."""


def find(folder: str, length: int, *, column: str = "items", rows: int | None = None) -> SessionParts:
    """The Parquet parts of a folder.

    Args:
      folder: a path, or the URL of one that pyarrow knows.
      length: of packed rows; of longer sessions the newest `length` events and the item after them are used.
      column: of the lists.
      rows: into which the sessions of each row group fit; if not given, all lists are read once to count
        them.

    Raises:
      DataError: as `stream_parts.find`; or if the column does not hold lists of integers.

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
    parts = stream_parts.find(folder, [column])
    kind = parts.schema.field(column).type
    if not hasattr(kind, "value_type") or not pa.types.is_integer(kind.value_type):
        raise DataError(f"{folder}: column {column!r} is {kind}; sessions are lists of item ids")
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
      log.length]`, with `where` False in padding; its iterators have `get_state` and `set_state`.

    Raises:
      DataError: if the processes do not divide `chunks`; and when it is read, if a part is torn or gone, an
        id is missing or not 1 … 2³¹ - 1, or `rows` were given and are too few.
      ModuleNotFoundError: without Grain, which the extra `scale` installs.
    """
    return stream_parts.steps(log.parts, chunks, make=partial(_packed, log=log), **options)


def batch(columns: Chunk) -> Batch:
    """The rows of a step for models with `prefixes`, as `batches.next_items(…, packed=True)` gives them."""
    return batches.of_packed(PackedNextItem(**columns))


def _packed(table: pa.Table, place: str, log: SessionParts) -> Chunk:
    made = packing.next_item(_sessions(table, place), log.length)
    count = len(made.history)
    if count > log.rows:
        raise DataError(f"{place}: its sessions fill {count:,} rows, more than rows={log.rows}; give {count}")
    beyond = ((0, log.rows - count), (0, 0))
    return {name: np.pad(column, beyond) for name, column in made._asdict().items()}


def _sessions(table: pa.Table, place: str) -> Sessions:
    (name,) = table.column_names
    lists = table[name].combine_chunks()
    values = lists.flatten()
    if lists.null_count or values.null_count:
        raise DataError(f"{place}, column {name!r}: a list or an item is missing; leave it out")
    return Sessions(dense(values.to_numpy(), f"{place}, column {name!r}"), offsets_of(_lengths(lists)))


def _lengths(lists: Any) -> np.ndarray:
    return lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _needed(parts: Parts, length: int, group: tuple[str, int]) -> int:
    """Packed rows of a row group."""
    path, number = group
    table = stream_parts.read_group(parts.system, path, number, parts.schema.names)
    lengths = _lengths(table.column(0).combine_chunks())
    return packing.rows_needed(np.maximum(lengths - 1, 0), length)
