"""Questions and answers as tables: CSV, Parquet and what else `rezoo.data.files` reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from rezoo.data import files
from rezoo.data.errors import DataError
from rezoo.data.interactions import ALIASES, KNOWN
from rezoo.serving.answers import predict, recommend
from rezoo.serving.saved import Saved

Columns = dict[str, np.ndarray]


def predict_table(saved: Saved, table: Any, *, user: str | None = None, item: str | None = None) -> Columns:
    """The table with a column `prediction` more.

    Args:
      saved: the model.
      table: a path or a table, a pair in each row; columns named like features are those of the pair.
      user: name of the user column, if it is not one that `interactions.ALIASES` knows.
      item: likewise.

    Raises:
      DataError: if there is no user or item column, or as in `answers.predict`.
    """
    columns = files.read_table(table)
    who, what = (_named(columns, role, name) for role, name in (("user", user), ("item", item)))
    return columns | {"prediction": predict(saved, columns[who], columns[what], columns)}


def recommend_table(saved: Saved, table: Any, k: int = 10, *, user: str | None = None) -> Columns:
    """The k best items for each distinct user of the table, as `answers.recommend` gives them."""
    columns = files.read_table(table)
    users = columns[_named(columns, "user", user)]
    rows = np.sort(np.unique(users, return_index=True)[1])
    return recommend(saved, users[rows], k, {name: column[rows] for name, column in columns.items()})


def write(columns: Columns, file: str | Path) -> None:
    """Write .parquet, or else CSV."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    if Path(file).suffix in (".parquet", ".pq"):
        pyarrow.parquet.write_table(table, file)
    else:
        pyarrow.csv.write_csv(table, file)


def _named(columns: Columns, role: str, name: str | None) -> str:
    if name is not None and name in columns:
        return name
    found = [
        column for column in columns if KNOWN.get(column.replace("_", "").replace(" ", "").lower()) == role
    ]
    if name is not None or len(found) != 1:
        raise DataError(
            f"no {role} column {name!r} among {list(columns)}"
            if name is not None
            else f"{len(found)} columns of {list(columns)} look like the {role}: name one with {role}=… "
            f"(recognised are {ALIASES[role]})"
        )
    return found[0]
