"""Arrow tables as NumPy columns."""

import numpy as np
import pyarrow as pa

from rezoo.data.errors import DataError

Columns = dict[str, np.ndarray]


def from_arrow(table: pa.Table, name: str) -> Columns:
    """The columns; two of one name in the table called `name` are an error."""
    names = table.column_names
    doubled = sorted({column for column in names if names.count(column) > 1})
    if doubled:
        raise DataError(f"{name}: there are two columns {', '.join(map(repr, doubled))}; rename one")
    columns = {}
    for column in names:
        columns[column] = _to_numpy(table.column(column))
        table = table.drop_columns([column])
    return columns


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers and times as they are, missing numbers as NaN, everything else as text or objects."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string()).fill_null("").to_numpy().astype(str)
    return column.to_numpy()
