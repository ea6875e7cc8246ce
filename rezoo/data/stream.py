"""Logs that are larger than memory: Parquet, a chunk of rows at a time.

    for chunk in stream.chunks("clicks.parquet", rows=1 << 18):
        state, metrics = epoch(state, batch(chunk))      # jitted; one shape, so compiled once

`epoch` shuffles within a chunk; a log that is sorted by anything but time should be shuffled when
it is written, or lie in a folder of parts, which `rezoo.data.stream_parts` shuffles and splits over
processes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rezoo.errors import DataError

WHERE = "where"


def chunks(
    path: str | Path, rows: int, columns: Sequence[str] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """The columns of a Parquet file, `rows` rows at a time.

    Every chunk has the same length; `chunk["where"]` is False in the rows of 0 that fill up the last.

    Args:
      path: the file.
      rows: of a chunk.
      columns: which to read; all if not given. They must be numbers without missing values.

    Raises:
      DataError: if the file is missing or not Parquet, a column is not there, is not a number or has missing
        values, or one is named `where`.

    >>> import tempfile, pyarrow.parquet
    >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
    ...     pyarrow.parquet.write_table(pa.table({"item": [7, 8, 9]}), file.name)
    ...     [(chunk["item"].tolist(), chunk["where"].tolist()) for chunk in chunks(file.name, 2)]
    [([7, 8], [True, True]), ([9, 0], [True, False])]
    """
    if rows < 1:
        raise DataError(f"a chunk must have at least one row, not {rows}")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error})") from error
    there = file.schema_arrow.names
    wanted = list(there if columns is None else columns)
    if absent := [name for name in wanted if name not in there]:
        raise DataError(f"{path}: no column {absent[0]!r}; there are {', '.join(there)}")
    if WHERE in wanted:
        raise DataError(f"{path}: a column is named {WHERE!r}, which says which rows are real: rename it")
    return _padded(file, str(path), rows, wanted)


def _padded(file: pq.ParquetFile, path: str, rows: int, wanted: list[str]) -> Iterator[dict[str, np.ndarray]]:
    held: list[pa.RecordBatch] = []
    count = done = 0
    with file:
        for piece in file.iter_batches(batch_size=rows, columns=wanted):
            held.append(piece)
            count += piece.num_rows
            while count >= rows:
                table = pa.Table.from_batches(held)
                yield to_chunk(table.slice(0, rows), path, done, rows)
                done += rows
                held, count = table.slice(rows).to_batches(), count - rows
    if count:
        yield to_chunk(pa.Table.from_batches(held), path, done, rows)


def to_chunk(table: pa.Table, path: str, done: int, rows: int) -> dict[str, np.ndarray]:
    """The columns of a table, filled up with rows of 0; `done` rows of `path` came before, for its errors.

    >>> chunk = to_chunk(pa.table({"item": [7, 8]}), "clicks.parquet", 0, 3)
    >>> {name: column.tolist() for name, column in chunk.items()}
    {'item': [7, 8, 0], 'where': [True, True, False]}
    """
    chunk: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table[name]
        if column.null_count:
            row = done + next(n for n, value in enumerate(column) if not value.is_valid)
            raise DataError(f"{path}, row {row}, column {name!r}: a value is missing; fill it in")
        values = column.to_numpy()
        if values.dtype.kind not in "iufb":
            raise DataError(f"{path}, column {name!r}: {column.type} is not a number; encode it first")
        if values.dtype.kind == "f" and (gone := np.isnan(values)).any():
            raise DataError(
                f"{path}, row {done + int(gone.argmax())}, column {name!r}: a value is NaN; fill it in"
            )
        chunk[name] = np.pad(values, (0, rows - table.num_rows))
    chunk[WHERE] = np.arange(rows) < table.num_rows
    return chunk
