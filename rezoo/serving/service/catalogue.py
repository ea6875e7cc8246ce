"""The shop's own table of items: what they are called and cost, which may be shown, and which pass a filter.

    table = Catalogue.read("items.csv")           # item, title, price, category, stock, … any columns
    table.passing({"category": ["tea", "coffee"], "price": {"max": 20}})

A filter has conditions on some columns, as `rezoo.serving.service.columns` lists them, and an item passes if
it fulfils all. Columns called `available`, `in_stock`, `stock` or the like say what can be bought: numbers
above 0, true, yes. An item for which one of them is missing, or says no, is never recommended.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.data import files, roles, spelling
from rezoo.data.columns import plain
from rezoo.data.ids import Ids
from rezoo.data.missing import is_missing
from rezoo.errors import DataError
from rezoo.serving.service.columns import Column, column

AVAILABLE = frozenset(
    ["available", "availability", "isavailable", "instock", "stock", "onstock", "inventory", "库存", "有货"]
)
"""Names of columns that say what can be bought, as `roles.plain` gives them."""
YES, NO = (
    frozenset(["yes", "y", "true", "available", "instock", "是", "有"]),
    frozenset(["no", "n", "false", "outofstock", "否", "无"]),
)
"""Texts of such columns, as `roles.plain` gives them."""


class Catalogue:
    """A table of items.

    Args:
      items: raw ids, and names if there are any.
      columns: a value for each item.

    Raises:
      DataError: if a column of `AVAILABLE` says neither yes nor no.

    >>> table = Catalogue(Ids(np.array(["tea", "cup"])), {"price": np.array([3.0, 9.0])})
    >>> table.passing({"price": {"max": 5}}).tolist(), table.about(1)
    ([True, False], {'price': 9.0})
    """

    def __init__(self, items: Ids, columns: Mapping[str, Any]):
        self.items, self.find = items, items.finder()
        self.columns: dict[str, Column] = {}
        self.available = np.ones(len(items.raw), bool)
        for name, values in columns.items():
            with _naming(name):
                self.columns[name] = one = column(values)
                if roles.plain(name) in AVAILABLE:
                    self.available &= _available(one)
        self.described = {name: one.describe() for name, one in self.columns.items()}
        """What each column holds."""

    @classmethod
    def read(cls, table: Any) -> "Catalogue":
        """A table from a file, or any table that `rezoo.data.files.read_table` reads.

        Raises:
          DataError: as it does, or if there is no column of item ids, or one is missing or there twice.

        >>> table = Catalogue.read({"item": [7, 8], "title": ["tea", "cup"], "stock": [0, 3]})
        >>> table.items.names.tolist(), table.available.tolist()
        (['tea', 'cup'], [False, True])
        """
        source = Path(table).name if isinstance(table, str | Path) else "the table of items"
        columns = files.read_table(table)
        chosen = roles.choose(columns, {"item": None, "title": None}, required=("item",), source=source)
        taken = {role: one.column for role, one in chosen.items()}
        items = Ids(_once(plain(columns[taken["item"]]), source))
        if "title" in taken:
            items = items.named(np.arange(1, items.size), columns[taken["title"]])
        others = {name: values for name, values in columns.items() if name not in taken.values()}
        try:
            return cls(items, others)
        except DataError as error:
            raise DataError(f"{source}: {error}") from error

    def passing(self, filters: Mapping[str, Any]) -> np.ndarray:
        """Which items are available and pass the filters: bool `[n]`.

        Raises:
          DataError: if there is no such column, or no such condition on it.
        """
        return self.available & self._fulfilling(filters)

    def _fulfilling(self, filters: Mapping[str, Any]) -> np.ndarray:
        """Which items pass the filters, available or not."""
        found = np.ones(len(self.items.raw), bool)
        for name, wanted in filters.items():
            with _naming(name):
                found &= self.column(name).passing(wanted)
        return found

    def from_texts(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """The filters that stand in an address.

        Raises:
          DataError: if there is no such column, or no such condition on it.
        """
        found = {}
        for name, text in texts.items():
            with _naming(name):
                found[name] = self.column(name).from_text(text)
        return found

    def about(self, row: int) -> dict[str, Any]:
        """What stands in a row, without its id, its name, and what is missing."""
        found = ((name, one.values[row]) for name, one in self.columns.items())
        return {name: value for name, value in found if value is not None}

    def row(self, row: int) -> dict[str, Any]:
        """An item for JSON: its id, its name, and what stands in its row."""
        named = {} if self.items.names is None else {"name": self.items.names[row].item()}
        return {"item": self.items.raw[row].item()} | named | {"about": self.about(row)}

    def page(
        self, filters: Mapping[str, Any], ids: Sequence[Any] | None = None, start: int = 0, limit: int = 100
    ) -> dict[str, Any]:
        """Some items for JSON that pass the filters: available ones, or those of `ids`, available or not.

        Raises:
          DataError: as `passing`.

        >>> Catalogue.read({"item": [7, 8], "title": ["tea", "cup"]}).page({}, limit=1)["items"]
        [{'item': 7, 'name': 'tea', 'about': {}}]
        """
        if ids is None:
            rows = np.flatnonzero(self.passing(filters)).tolist()
        else:
            fits = self._fulfilling(filters)
            rows = [row for raw in ids if (row := self.find(raw) - 1) >= 0 and fits[row]]
        some = [self.row(row) for row in rows[start : start + limit]]
        told = {"items": some, "total": len(rows), "columns": self.described}
        return told if ids is None else told | {"unknown": [raw for raw in ids if not self.find(raw)]}

    def column(self, name: str) -> Column:
        if name not in self.columns:
            there = ", ".join(self.columns) or "none: serve a table of items (--items)"
            raise DataError(f"it is not there; there are {there}")
        return self.columns[name]


@contextlib.contextmanager
def _naming(column: str) -> Iterator[None]:
    """Errors name the column."""
    try:
        yield
    except DataError as error:
        raise DataError(f"column {column[:50]!r}: {error}") from error


def _once(raw: np.ndarray, source: str) -> np.ndarray:
    """Ids, each of which is there once."""
    missing = is_missing(raw)
    if missing.any():
        raise DataError(f"{source}: row {int(missing.argmax()) + 1} has no item id: give each row one")
    spelt = spelling.whole(raw.astype(str)) if raw.dtype.kind in "UO" else raw
    distinct, count = np.unique(spelt, return_counts=True)
    if (count > 1).any():
        twice = distinct[count.argmax()]
        raise DataError(f"{source}: item {twice} is there {count.max()} times: give one row for each")
    return raw


def _available(one: Column) -> np.ndarray:
    """Which items can be bought."""
    if one.kind != "text":
        return np.nan_to_num(one.codes) > 0 if one.kind != "texts" else _neither(one.values)
    words = [None if text is None else roles.plain(text) for text in one.values]
    odd = [text for text, word in zip(one.values, words, strict=True) if word and word not in YES | NO]
    return _neither(odd) if odd else np.array([word in YES for word in words], bool)


def _neither(values: Sequence[Any]) -> np.ndarray:
    raise DataError(
        f"{values[0]!r} does not say whether the item can be bought: write yes or no, or a number"
    )
