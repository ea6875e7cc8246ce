"""JSON as columns: an object on each line, a list of objects, or Python's dicts, one a line."""

import ast
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rezoo.data.columns import plain
from rezoo.data.table import Table
from rezoo.errors import DataError

ENDINGS = (".json", ".jsonl", ".ndjson")


def is_json(head: bytes, kind: str) -> bool:
    """Whether the ending or the first line of a file says that it holds JSON or Python's dicts."""
    first = head.lstrip().partition(b"\n")[0].strip()
    return kind in ENDINGS or (
        first.startswith((b'{"', b"{'", b"{u'", b'[{"')) and first.endswith((b"}", b",", b"]"))
    )


def read(content: bytes, name: str) -> Table:
    """A column for each key; None where an object lacks it.

    A number is a number and a text is text, as the file says; a column that has both is text. Lists
    and objects stay as they are.

    Raises:
      DataError: if a line is not an object, or has a key twice.
    """
    if not content.strip():
        raise DataError(f"{name}: the file is empty")
    columns: dict[str, list[Any]] = {}
    rows: list[int] = []
    for row, one in _objects(content, name):
        for key in one.keys() - columns.keys():
            columns[key] = [None] * len(rows)
        for key, column in columns.items():
            column.append(one.get(key))
        rows.append(row)
    if not rows:
        raise DataError(f"{name}: there are no objects in it")
    table = {}
    for key in list(columns):
        try:
            table[key] = plain(columns.pop(key))
        except DataError as error:
            raise DataError(f"{name}, column {key!r}: {error}") from error
    dense = rows[-1] - rows[0] + 1 == len(rows)
    return Table(table, range(rows[0], rows[-1] + 1) if dense else np.array(rows))


def _objects(content: bytes, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if content.lstrip()[:1] == b"[":
        yield from enumerate(_listed(content, name), 1)
        return
    load: Callable[[str], Any] = _json
    for row, line in enumerate(content.decode("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            try:
                one = load(line)
            except ValueError:
                if load is _python or not line.lstrip().startswith(("{'", "{u'")):
                    raise
                load = _python
                one = load(line)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise DataError(
                f"{name}, row {row}: {line[:60]!r} is not one JSON object ({str(error)[:80]}). Write each "
                "row as an object on a line of its own, or convert the file to CSV or Parquet."
            ) from error
        if not isinstance(one, dict):
            raise DataError(f"{name}, row {row}: {line[:60]!r} is not an object with a key for each column")
        yield row, {str(key): value for key, value in one.items()}


def _listed(content: bytes, name: str) -> list[dict[str, Any]]:
    try:
        found = _json(content.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{name} is not a list of JSON objects ({error})") from error
    for row, one in enumerate(found, 1):
        if not isinstance(one, dict):
            raise DataError(
                f"{name}, element {row}: {str(one)[:60]!r} is not an object with a key for each column"
            )
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    one = dict(pairs)
    if len(one) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return one


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _python(text: str) -> Any:
    return ast.literal_eval(text.strip())
