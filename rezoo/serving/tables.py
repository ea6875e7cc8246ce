"""Questions and answers as tables: CSV, Parquet and what else `rezoo.data.files` reads.

For models that read a history, a column `history` holds the raw ids of each row's past, oldest first,
and a column `history_rating` their ratings: lists, or texts such as 20|30. Columns of events that a model
reads are named likewise: `history_type`, `history_time`. Ids are read as the model's are spelt: where those
are text, a CSV's 0012 stays 0012.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from rezoo.data import files, roles
from rezoo.errors import DataError
from rezoo.nn.events import kinds
from rezoo.serving import separators
from rezoo.serving.answers import predict, recommend
from rezoo.serving.bundle import Saved
from rezoo.serving.reads import reads_history
from rezoo.serving.unknown import OnUnknown, warn
from rezoo.storage import durable

Columns = dict[str, np.ndarray]


def predict_table(
    saved: Saved,
    table: Any,
    *,
    user: str | None = None,
    item: str | None = None,
    separator: str | None = None,
    on_unknown: OnUnknown = warn,
) -> Columns:
    """The table with a column `prediction` more.

    Args:
      saved: the model.
      table: a path or a table, a pair in each row; columns named like features are those of the pair.
      user: name of the user column, if it is not one that `roles.ALIASES` knows.
      item: likewise.
      separator: between the ids of a history; if not given it is "|", or what `separators.find` is sure of.
      on_unknown: is told which ids are unknown, as in `answers.predict`.

    Raises:
      DataError: if there is no user or item column, one is named prediction, or as in `answers.predict`.

    >>> import jax.numpy as jnp
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> predict_table(shop, {"user": ["ann"], "item": ["tea"]})["prediction"].tolist()
    [1.0]
    """
    columns, names = _read(saved, table, {"user": user, "item": item})
    if "prediction" in columns:
        raise DataError("the table has a column 'prediction', which would be lost: rename it")
    who, what = columns[names["user"]], columns[names["item"]]
    past = _past(saved, columns, separator)
    return columns | {"prediction": predict(saved, who, what, columns, **past, on_unknown=on_unknown)}


def recommend_table(
    saved: Saved,
    table: Any,
    k: int = 10,
    *,
    user: str | None = None,
    separator: str | None = None,
    on_unknown: OnUnknown = warn,
) -> Columns:
    """The k best items for each distinct user of the table, as `answers.recommend` gives them.

    Raises:
      DataError: if two rows of a user have different histories, or as in `answers.recommend`.

    >>> import jax.numpy as jnp
    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> recommend_table(shop, {"user": ["ann"]}, k=1)["item"].tolist()
    ['hat']
    """
    columns, names = _read(saved, table, {"user": user})
    users = columns[names["user"]]
    dense = saved.users.encode(users)
    same = np.where(dense > 0, dense.astype(str), np.char.add("?", users.astype(str)))
    _, first, whose = np.unique(same, return_index=True, return_inverse=True)
    for name in {"history", "history_rating"} & columns.keys():
        told = np.array([str(value) for value in columns[name].tolist()])
        if (other := told != told[first][whose]).any():
            raise DataError(f"row {other.argmax() + 1}: {name!r} differs from that of the user's first row")
    rows = np.sort(first)
    columns = {name: column[rows] for name, column in columns.items()}
    past = _past(saved, columns, separator)
    return recommend(saved, users[rows], k, columns, **past, on_unknown=on_unknown)


def _read(saved: Saved, table: Any, given: dict[str, str | None]) -> tuple[Columns, dict[str, str]]:
    """The columns, ids of a text file as text where the model's are, and the names of those of each role."""
    named = [name for name in given.values() if name]
    columns = files.read_table(table, ids=named)
    chosen = roles.choose(columns, given, required=tuple(given))
    names = {role: one.column for role, one in chosen.items()}
    ids = {names["user"]: saved.users, names.get("item"): saved.items, "history": saved.items}
    text = [
        name
        for name, known in ids.items()
        if name in columns and known.raw.dtype.kind == "U" and columns[name].dtype.kind == "f"
    ]
    if text and isinstance(table, str | Path):
        columns = files.read_table(table, ids=named, text=text)
    return dict(columns), names


def write(columns: Columns, file: str | Path) -> None:
    """Write .parquet, or else CSV; a file of that name is there until the new one is whole.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write({"user": np.array(["ann"]), "rank": np.array([1])}, folder + "/lists.csv")
    ...     (Path(folder) / "lists.csv").read_text().splitlines()
    ['"user","rank"', '"ann",1']
    """
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


def _past(saved: Saved, columns: Columns, separator: str | None) -> dict[str, Any]:
    """The histories of the rows and what belongs to them, as `predict` and `recommend` take them."""
    if "history" not in columns or not reads_history(saved):
        return {}
    separator = separator or separators.find(columns["history"], saved.items)
    past: dict[str, Any] = {"histories": separators.lists(columns["history"], separator)}
    if "history_rating" in columns:
        past["ratings"] = separators.ratings(columns["history_rating"], separator)
    if names := [name for name in kinds(saved.model) if f"history_{name}" in columns]:
        past["events"] = {name: separators.lists(columns[f"history_{name}"], separator) for name in names}
    return past
