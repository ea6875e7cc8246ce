"""Arrow tables as NumPy columns."""

# pyright: reportAttributeAccessIssue=false
# (the functions of pyarrow.compute are made when it is imported)

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rezoo.data.spelling import EXACT
from rezoo.errors import DataError

Columns = dict[str, np.ndarray]
SHORT = 64
"""Letters of the longest text that a NumPy array of fixed width is made for whatever the memory."""


def from_arrow(table: pa.Table, name: str) -> Columns:
    """The columns; two of one name in the table called `name` are an error."""
    names = table.column_names
    once(names, name)
    columns = {}
    for column in names:
        columns[column] = to_numpy(table.column(column))
        table = table.drop_columns([column])
    return columns


def once(names: list[str], name: str) -> None:
    """Raise a DataError if the table called `name` has two columns of one name."""
    doubled = sorted({column for column in names if names.count(column) > 1})
    if doubled:
        raise DataError(f"{name}: there are two columns {', '.join(map(repr, doubled))}; rename one")


def to_numpy(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Numbers and times as they are, text as text, and lists and the like as objects.

    Missing numbers are NaN, missing times NaT and missing text is empty. What would lose digits as a
    number (whole numbers with gaps beyond 2⁵³, long decimals) is text.
    """
    column, kind = _stored(column)
    is_ = pa.types
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_null(kind) or is_.is_string_view(kind):
        return texts(column)
    if is_.is_fixed_size_binary(kind):
        return texts([None if value is None else value.hex() for value in column.to_pylist()])
    if is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind):
        return decoded(column.to_pylist())
    if is_.is_decimal(kind):
        return _decimals(column)
    if is_.is_integer(kind) and column.null_count:
        top = max(abs(pc.min(column).as_py() or 0), abs(pc.max(column).as_py() or 0))
        return texts(column.cast(pa.string())) if top > EXACT else _numpy(column.cast(pa.float64()))
    if is_.is_time(kind) or is_.is_interval(kind):
        return texts([None if value is None else str(value) for value in column.to_pylist()])
    return _numpy(column)


def texts(values: Any) -> np.ndarray:
    """Text, "" where missing: `str` of fixed width, or Python strings where that takes too much memory.

    Raises:
      DataError: if a text ends in a zero byte, which NumPy would drop, or has half of a surrogate pair.
    """
    try:
        array = (
            values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, pa.large_string())
        )
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text {error.object!r} has half of a character, {error.object[error.start]!r}: correct it"
        ) from None
    array = array.cast(pa.large_string()).fill_null("")
    if pc.any(pc.ends_with(array, "\0")).as_py():
        raise DataError("a text ends in a zero byte, which would be lost: remove it")
    longest = pc.max(pc.utf8_length(array)).as_py() or 0
    objects = _numpy(array)
    return objects.astype(str) if longest <= SHORT or 4 * longest * len(array) < 2**26 else objects


def decoded(values: list[bytes | None]) -> np.ndarray:
    """Bytes as the text that they spell in UTF-8, or as hexadecimal digits if some do not."""
    try:
        return texts([None if value is None else value.decode("utf-8") for value in values])
    except UnicodeDecodeError:
        return texts([None if value is None else value.hex() for value in values])


def _stored(column: Any) -> tuple[Any, pa.DataType]:
    """A column of a type that Arrow knows itself: no dictionary, no run lengths, no extension."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            written = [None if value is None else str(value) for value in column.to_pylist()]
            return pa.array(written, pa.string()), pa.string()
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return _stored(pa.chunked_array([chunk.storage for chunk in chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _stored(column.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _stored(pc.run_end_decode(column))
    return column, kind


def _decimals(column: Any) -> np.ndarray:
    """Numbers where they lose nothing, or else text."""
    try:
        if column.type.scale == 0 and not column.null_count:
            return _numpy(column.cast(pa.int64()))
        floats = column.cast(pa.float64())
        if floats.cast(column.type).equals(column):
            return _numpy(floats)
    except pa.ArrowException:  # too many digits
        pass
    return texts([None if value is None else str(value) for value in column.to_pylist()])


def _numpy(column: Any) -> np.ndarray:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
