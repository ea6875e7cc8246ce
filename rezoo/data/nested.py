"""Columns of lists as rows of their own."""

import ast
import contextlib
import json
from typing import Any

import numpy as np

from rezoo.data.columns import plain
from rezoo.data.place import Place
from rezoo.data.table import Table
from rezoo.errors import DataError


def explode(table: Table, name: str) -> Table:
    """A row for each value of the lists in the column `name`; the other columns are repeated.

    Objects in the lists become columns, in place of the column `name`. A text that begins with "[" is a list
    in JSON or Python, any other is split at its blanks. Rows with an empty list, or without one, are dropped.

    >>> clicks = [[{"aid": 5, "ts": 1}, {"aid": 6, "ts": 2}], [{"aid": 5, "ts": 3}]]
    >>> table = Table({"session": np.array([1, 2]), "events": plain(clicks)})
    >>> {name: column.tolist() for name, column in explode(table, "events").items()}
    {'session': [1, 1, 2], 'aid': [5, 6, 5], 'ts': [1, 2, 3]}

    Raises:
      DataError: if there is no such column, a value is not a list, or a key is the name of another column.
    """
    if name not in table:
        raise DataError(f"there is no column {name!r} to explode; there are {list(table)}")
    place = Place(column=name, row=table.rows)
    lists = [_values(value, place.at(row)) for row, value in enumerate(table[name].tolist())]
    flat = [value for values in lists for value in values]
    index = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
    if not flat:
        raise DataError(f"the column {name!r} has no values to explode")
    left = table.take(index)
    del left[name]
    if not all(isinstance(value, dict) for value in flat):
        left[name] = plain(flat)
        return left
    keys = list(dict.fromkeys(str(key) for value in flat for key in value))
    if doubled := sorted(set(keys) & left.keys()):
        raise DataError(f"{doubled[0]!r} is a column and a key of the objects in {name!r}; rename one")
    for key in keys:
        left[key] = plain([value.get(key) for value in flat])
    return left


def _values(value: Any, where: str) -> list[Any]:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if isinstance(value, str):
        return _listed(value, where) if value.lstrip().startswith("[") else value.split()
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    raise DataError(f"{where}: {str(value)[:60]!r} is not a list")


def _listed(text: str, where: str) -> list[Any]:
    """The values of a list that is written as text."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            made = read(text.strip())
            if isinstance(made, list):
                return made
    raise DataError(f"{where}: {text[:60]!r} begins like a list, but is none of JSON or Python: correct it")
