"""Tables that are in memory: pandas, polars, Arrow and dicts, as NumPy columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rezoo.data import arrow
from rezoo.data.columns import plain
from rezoo.data.table import Table
from rezoo.errors import DataError


def read(table: Any) -> Table:
    """The columns of a table.

    Raises:
      DataError: if it is none, or has two columns of one name.
    """
    if isinstance(table, Table):
        return table
    if isinstance(table, Mapping):
        arrow.once([str(name) for name in table], "dict")
        return Table({str(name): plain(column) for name, column in table.items()})
    try:
        if isinstance(table, pa.Table):
            return Table(arrow.from_arrow(table, "Arrow table"))
        if hasattr(table, "get_columns"):
            return Table({column.name: _from_polars(column) for column in table.get_columns()})
        if hasattr(table, "iloc") and hasattr(table, "columns"):
            return Table(_from_pandas(table))
    except DataError:
        raise
    except Exception as error:  # Arrow, pandas and polars have errors of their own
        raise DataError(f"{type(table).__name__} cannot be read as columns: {error}") from error
    hint = "; call collect() first" if hasattr(table, "collect") else ""
    raise DataError(
        f"{type(table).__name__} is not a table: give a path, a dict of columns, pandas, polars, Arrow{hint}"
    )


def _from_polars(column: Any) -> np.ndarray:
    """Objects are converted by `str`: Arrow would write their addresses in memory."""
    if str(column.dtype) == "Object":
        return plain(column.to_list())
    return arrow.to_numpy(column.to_arrow())


def _from_pandas(table: Any) -> dict[str, np.ndarray]:
    """Objects, periods and intervals are converted by `str`: Arrow refuses or recodes them."""
    names = [str(name) for name in table.columns]
    arrow.once(names, "pandas table")
    columns = {}
    for at, name in enumerate(names):
        column = table.iloc[:, at]
        try:
            made = None if column.dtype == object else pa.Array.from_pandas(column)
        except (pa.ArrowException, TypeError, OverflowError):
            made = None
        if made is None or isinstance(made.type, pa.BaseExtensionType):
            columns[name] = plain(np.asarray(column, object))
        else:
            columns[name] = arrow.to_numpy(made)
    return columns
