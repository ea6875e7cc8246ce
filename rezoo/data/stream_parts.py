"""Logs that are larger than memory: a folder of Parquet parts, read in random order by one or more processes.

    log = stream_parts.find("clicks/")                     # or "s3://bucket/clicks", "gs://…", "hdfs://…"
    steps = iter(stream_parts.steps(log, chunks=8, seed=0, num_epochs=3))
    for columns in steps:
        state, metrics = step(state, sharding.spread(batch(columns), mesh))
    steps.get_state()                                      # JSON; steps.set_state(…) goes on exactly there

A row group of a part is a chunk: it is read as a whole, so write parts with row groups of as many rows as
one chunk should have, by `pyarrow.parquet.write_table(table, file, row_group_size=1 << 16)`. Chunks are
shuffled over all parts, and rows within each chunk; threads read ahead. The rows of a step do not depend on
how many processes there are: each reads its share of them, by Grain (https://google-grain.readthedocs.io).

Parts in ArrayRecord are not read: its records are bytes without columns, types or numbers of rows, so neither
can be checked before training, and each row would be decoded by itself. Write such a log as Parquet once.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from rezoo.data.stream import WHERE, to_chunk
from rezoo.errors import DataError, needed
from rezoo.storage import fingerprint

Chunk = dict[str, np.ndarray]


class Parts(NamedTuple):
    """A folder of parts, of which the footers are read."""

    folder: str
    system: Any
    """The `pyarrow.fs.FileSystem`."""
    groups: list[tuple[str, int, int]]
    """Of each row group: its part, its number there, and its rows."""
    schema: pa.Schema
    """Of the columns to read."""
    rows: int
    """Of a chunk: those of the largest row group, unless more were asked for."""
    identity: str
    """A digest of names, sizes, columns and statistics of the parts, for `processes.agree`."""


def find(folder: str, columns: Sequence[str] | None = None, rows: int | None = None) -> Parts:
    """The Parquet files of a folder, in the order of their names; only their footers are read.

    Args:
      folder: a path, or the URL of one that pyarrow knows (s3, gs, hdfs …).
      columns: which to read; all if not given. They must be numbers without missing values.
      rows: of a chunk; smaller row groups are filled up, with `where` False.

    Raises:
      DataError: if there is no part, one cannot be read, one has other columns or types than the first, or a
        row group has more than `rows` rows. Names the part.

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pa.table({"item": [7, 8, 9]})
    ...     pyarrow.parquet.write_table(table, f"{folder}/0.parquet", row_group_size=2)
    ...     log = find(folder)
    >>> log.rows, [rows for _, _, rows in log.groups], log.schema.names
    (2, [2, 1], ['item'])
    """
    system, place = opened(str(folder))
    files = listed(str(folder), (".parquet",))
    if not files:
        names = (path for path, _ in listed(str(folder), ("",)))
        if other := next((name for name in names if re.search(r"\.array_?record", name)), None):
            raise DataError(
                f"{other}: is ArrayRecord, whose records have no columns: read its records and write them "
                "as Parquet, by pyarrow.parquet.write_table(table, file, row_group_size=1 << 16)"
            )
        raise DataError(f"{folder}: holds no file that ends in .parquet")
    groups, footers, schema = [], [], None
    for path, size in files:
        metadata, own = _footer(system, path)
        own = _chosen(own, columns, path)
        schema = schema or own
        if not own.equals(schema):
            raise DataError(
                f"{path}: its columns are {_said(own)}; in {files[0][0]} they are {_said(schema)}"
            )
        footers.append((PurePosixPath(path).relative_to(place).as_posix(), size, repr(metadata.to_dict())))
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        groups += [(path, n, size) for n, size in enumerate(sizes) if size]
    if not groups:
        raise DataError(f"{folder}: its parts have no rows")
    path, number, largest = max(groups, key=lambda group: group[2])
    if rows is not None and largest > rows:
        raise DataError(
            f"{path}: row group {number} has {largest:,} rows, more than the {rows:,} of a chunk: write it "
            f"with row_group_size={rows}, or give rows={largest}"
        )
    assert schema is not None
    return Parts(str(folder), system, groups, schema, rows or largest, fingerprint.of(footers))


def steps(
    parts: Parts,
    chunks: int,
    *,
    seed: int = 0,
    num_epochs: int = 1,
    begin: int = 0,
    process: tuple[int, int] | None = None,
    threads: int = 4,
    ahead: int = 4,
    make: Callable[[pa.Table, str], Chunk] | None = None,
) -> Any:
    """What this process reads: for each step the columns of its share of `chunks` chunks.

    All elements have `chunks` / processes · `parts.rows` rows. Rows that fill up chunks, and chunks that fill
    up an epoch's last step, are 0, with `where` False.

    Args:
      parts: by `find`.
      chunks: of a step, over all processes, of which their number must be a divisor.
      seed: of the order, which is another one in each epoch.
      num_epochs: how often each row is read.
      begin: steps that are left out, because they were made before.
      process: this process's number, and how many there are; those of JAX if not given.
      threads: that read.
      ahead: elements that are read before they are asked for.
      make: the columns of a row group, from its table and the name that errors call it; each of them must
        have the same shape in every chunk, and `where` one row for each of theirs. `to_chunk` if not given.

    Returns:
      A `grain.IterDataset`; its iterators have `get_state` and `set_state`.

    Raises:
      DataError: if the processes do not divide `chunks`; and when it is read, if a part is torn or gone, or a
        value is missing or not a number.
      ModuleNotFoundError: without Grain, which the extra `scale` installs.

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pa.table({"item": [7, 8, 9]})
    ...     pyarrow.parquet.write_table(table, f"{folder}/0.parquet", row_group_size=2)
    ...     read = [columns for columns in steps(find(folder), chunks=1)]
    >>> [len(columns["where"]) for columns in read]
    [2, 2]
    >>> sorted(item for columns in read for item in columns["item"][columns["where"]].tolist())
    [7, 8, 9]
    """
    grain = needed("grain")
    number, count = process or (jax.process_index(), jax.process_count())
    if chunks < 1 or chunks % count:
        raise DataError(f"{chunks} chunks of a step cannot be split over {count} processes: give a multiple")
    every = grain.MapDataset.source(_Chunks(parts, -(-len(parts.groups) // chunks) * chunks, make))
    shuffled = every.seed(seed).shuffle().repeat(num_epochs).random_map(_permuted)
    own = shuffled.batch(chunks // count, batch_fn=_joined)[number::count][begin:]
    return own.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead))


class _Chunks:
    """Chunks by number; those beyond the last row group are empty."""

    def __init__(self, parts: Parts, number: int, make: Callable[[pa.Table, str], Chunk] | None):
        self.parts, self.number = parts, number
        self.make = make or (lambda table, place: to_chunk(table, place, 0, parts.rows))

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Chunk:
        groups, schema = self.parts.groups, self.parts.schema
        if index >= len(groups):
            return self.make(schema.empty_table(), self.parts.folder)
        path, number, expected = groups[index]
        table = read_group(self.parts.system, path, number, schema.names)
        if table.num_rows != expected:
            raise DataError(f"{path}: changed while it was read; start again")
        return self.make(table, f"{path}, row group {number}")


def _permuted(chunk: Chunk, rng: np.random.Generator) -> Chunk:
    order = rng.permutation(len(chunk[WHERE]))
    return {name: column[order] for name, column in chunk.items()}


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def opened(folder: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of a path or a URL, and the path in it.

    Raises:
      DataError: if pyarrow does not know the URL.

    >>> opened("/tmp/clicks/")[1]
    '/tmp/clicks'
    """
    try:
        url = "://" in folder
        system, place = fs.FileSystem.from_uri(folder) if url else (fs.LocalFileSystem(), folder)
    except (OSError, pa.ArrowInvalid) as error:
        raise _no_folder(folder, error) from error
    return system, place.rstrip("/") or place


def listed(folder: str, endings: tuple[str, ...]) -> list[tuple[str, int]]:
    """The files below a folder that end so, in the order of their names, and their bytes.

    Raises:
      DataError: if there is no such folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     listed(folder, (".parquet",))
    []
    """
    system, place = opened(folder)
    try:
        found = system.get_file_info(fs.FileSelector(place, recursive=True))
    except (OSError, pa.ArrowInvalid) as error:
        raise _no_folder(folder, error) from error
    names = ((info, PurePosixPath(info.path).name) for info in found if info.is_file)
    parts = [info for info, name in names if name.endswith(endings) and not name.startswith((".", "_"))]
    return sorted((info.path, info.size) for info in parts)


def read_group(system: Any, path: str, number: int, columns: Sequence[str]) -> pa.Table:
    """The columns of a row group of a part.

    Raises:
      DataError: if it is torn or gone.

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
    ...     pyarrow.parquet.write_table(pa.table({"item": [7, 8, 9]}), file.name, row_group_size=2)
    ...     read_group(fs.LocalFileSystem(), file.name, 1, ["item"])["item"].to_pylist()
    [9]
    """
    try:
        with pq.ParquetFile(path, filesystem=system) as file:
            return file.read_row_group(number, columns=list(columns), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: row group {number} cannot be read ({_reason(error)}); put the part back as it was, "
            "or write the folder again"
        ) from error


def _no_folder(folder: str, error: Exception) -> DataError:
    return DataError(f"{folder}: cannot be read as a folder of parts ({_reason(error)})")


def _footer(system: Any, path: str) -> tuple[Any, pa.Schema]:
    try:
        with pq.ParquetFile(path, filesystem=system) as file:
            return file.metadata, file.schema_arrow.remove_metadata()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as Parquet ({_reason(error)}); it may be torn: write it again"
        ) from error


def _chosen(schema: pa.Schema, columns: Sequence[str] | None, path: str) -> pa.Schema:
    wanted = schema.names if columns is None else list(columns)
    if absent := [name for name in wanted if name not in schema.names]:
        raise DataError(f"{path}: no column {absent[0]!r}; there are {', '.join(schema.names)}")
    if WHERE in wanted:
        raise DataError(f"{path}: a column is named {WHERE!r}, which says which rows are real: rename it")
    return pa.schema([pa.field(name, schema.field(name).type) for name in wanted])


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _said(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
