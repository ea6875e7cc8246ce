"""Questions and answers as tables: CSV, Parquet and what else `rezoo.data.files` reads.

For models that read a history, a column `history` holds the raw ids of each row's past, oldest first,
and a column `history_rating` their ratings: lists, or texts such as 20|30.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from rezoo import durable
from rezoo.data import columns as reading
from rezoo.data import files, roles
from rezoo.data.errors import DataError
from rezoo.serving.answers import predict, recommend
from rezoo.serving.questions import reads_history
from rezoo.serving.saved import Saved

Columns = dict[str, np.ndarray]


def predict_table(saved: Saved, table: Any, *, user: str | None = None, item: str | None = None) -> Columns:
    """The table with a column `prediction` more.

    Args:
      saved: the model.
      table: a path or a table, a pair in each row; columns named like features are those of the pair.
      user: name of the user column, if it is not one that `roles.ALIASES` knows.
      item: likewise.

    Raises:
      DataError: if there is no user or item column, or as in `answers.predict`.
    """
    columns = files.read_table(table, ids=[name for name in (user, item) if name])
    chosen = roles.choose(columns, {"user": user, "item": item}, required=("user", "item"))
    who, what = columns[chosen["user"].column], columns[chosen["item"].column]
    stars = predict(saved, who, what, columns, **_past(saved, columns))
    return columns | {"prediction": stars}


def recommend_table(saved: Saved, table: Any, k: int = 10, *, user: str | None = None) -> Columns:
    """The k best items for each distinct user of the table, as `answers.recommend` gives them."""
    columns = files.read_table(table, ids=[user] if user else [])
    users = columns[roles.choose(columns, {"user": user}, required=("user",))["user"].column]
    rows = np.sort(np.unique(users, return_index=True)[1])
    columns = {name: column[rows] for name, column in columns.items()}
    return recommend(saved, users[rows], k, columns, **_past(saved, columns))


def write(columns: Columns, file: str | Path) -> None:
    """Write .parquet, or else CSV; a file of that name is there until the new one is whole."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    if Path(file).suffix in (".parquet", ".pq"):
        with durable.file(file) as partial:
            pyarrow.parquet.write_table(table, partial)
        return
    for at, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = ["|".join(map(str, row or [])) for row in table[field.name].to_pylist()]
            table = table.set_column(at, field.name, pa.array(texts))
    with durable.file(file) as partial:
        pyarrow.csv.write_csv(table, partial)


def _past(saved: Saved, columns: Columns) -> dict[str, list[list[Any]]]:
    """The histories of the rows and their ratings, as `predict` and `recommend` take them."""
    if "history" not in columns or not reads_history(saved):
        return {}
    past = {"histories": _lists(columns["history"])}
    if "history_rating" in columns:
        past["ratings"] = [_numbers(row) for row in _lists(columns["history_rating"])]
    return past


def _lists(column: np.ndarray) -> list[list[Any]]:
    """Each row's values; a column of numbers has one or none in each."""
    rows = [[value] for value in column.tolist()] if column.dtype.kind in "iuf" else column
    return reading.lists(rows, "|")


def _numbers(row: list[Any]) -> list[float]:
    try:
        return [float(value) for value in row]
    except ValueError as error:
        raise DataError(f"history_rating: {error}; give numbers, such as 5|3.5") from error
