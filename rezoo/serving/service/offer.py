"""The table of items in the ids of a model: which of its items may be listed, and what is told of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rezoo.errors import DataError
from rezoo.serving.bundle import Saved
from rezoo.serving.service.catalogue import Catalogue

KEPT = 64
"""Filters whose items are remembered."""


class Offer:
    """What a shop has of the items that a model knows; all of them, if there is no table.

    Args:
      saved: the model.
      rows: how many items it ranks, 0 included.
      table: the shop's; items that are not in it are not listed.
      version: of the models and the table.

    Raises:
      DataError: if the model knows no item of the table.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> shop = Saved(Popularity(3), {}, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> offer = Offer(shop, 3, Catalogue.read({"item": ["cup", "tea"], "price": [9, 3]}))
    >>> offer.base.tolist(), offer.listed(np.array([2]), np.array([0.5]))
    ([False, False, True], [{'item': 'tea', 'score': 0.5, 'about': {'price': 3}}])
    """

    def __init__(self, saved: Saved, rows: int, table: Catalogue | None = None, version: str = ""):
        self.is_bare, self._items, self.version = table is None, saved.items, version
        self.table = Catalogue(saved.items, {}) if table is None else table
        dense = saved.items.encode(self.table.items.raw)
        if not dense.any():
            raise DataError(
                "the model knows none of the items of the table: are the ids spelt as in training?"
            )
        here = dense > 0
        self._row = np.full(max(saved.items.size, rows), -1, np.int64)
        self._row[dense[here]] = np.flatnonzero(here)
        self._rows, self._kept = rows, {}
        self._names = self._called()
        self.base = self._of_model(self.table.available)
        """Which items may be listed, `[rows]`."""
        self.told = {"listed": int(self.base.sum())}
        """How many items may be listed, and how many the model and the table do not share."""
        if not self.is_bare:
            self.told["only_in_model"] = int((self._row[1 : saved.items.size] < 0).sum())
            self.told["only_in_table"] = int((~here).sum())

    def allowed(self, filters: Mapping[str, Any]) -> np.ndarray:
        """Which items may be listed and pass the filters, bool `[rows]`.

        Raises:
          DataError: if the table has no such column, or it takes no such condition.
        """
        if not filters:
            return self.base
        key = json.dumps(filters, sort_keys=True)
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self._of_model(self.table.passing(filters))
        return self._kept[key]

    def listed(self, ids: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        """A list for JSON."""
        told = {"item": self._items.decode(ids).tolist(), "score": scores.tolist()}
        if self._names is not None:
            told["name"] = [self._names[item] for item in ids.tolist()]
        if not self.is_bare:
            told["about"] = [self.table.about(row) for row in self._row[ids].tolist()]
        return [dict(zip(told, row, strict=True)) for row in zip(*told.values(), strict=True)]

    def _called(self) -> list[str] | None:
        """What the items are called, by the table, else by the model; "" where neither says."""
        own, theirs = self._items.names, self.table.items.names
        if own is None and theirs is None:
            return None
        names = ["", *([""] * len(self._items.raw) if own is None else own.tolist())]
        for item, row in enumerate(self._row[: len(names)].tolist()):
            if theirs is not None and row >= 0:
                names[item] = theirs[row].item() or names[item]
        return names

    def event(self, item: int) -> dict[str, Any]:
        """An item of a session for JSON."""
        told = {"item": self._items.raw[item - 1].item()}
        return told if self._names is None else told | {"name": self._names[item]}

    def values(self, column: str, ids: np.ndarray) -> list[Any]:
        """What stands in a column of the table, for each of some items.

        Raises:
          DataError: if there is no such column.
        """
        values = self.table.column(column).values
        return [values[row] if row >= 0 else None for row in self._row[ids].tolist()]

    def with_values(self, column: str, values: Sequence[Any]) -> np.ndarray:
        """Which of the model's items have one of these values in a column, bool `[rows]`."""
        return self._of_model(self.table.column(column).passing([*values]))

    def _of_model(self, of_table: np.ndarray) -> np.ndarray:
        """A value for each of the model's items of one for each row of the table."""
        row = self._row[: self._rows]
        return (row >= 0) & of_table[row]
