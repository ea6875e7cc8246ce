"""Recipes of neural networks over pairs of a customer and an item: of ids, and of features."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rezoo import losses, objectives
from rezoo.data import batches, features, files, roles
from rezoo.data.columns import as_array
from rezoo.data.features import Categorical, FeatureSet, MultiValued, Numeric, Spec, Text
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.errors import DataError
from rezoo.models import NeuMF, WideDeep
from rezoo.recipes.fitting import checked, is_large, train, unbought
from rezoo.serving.bundle import NONE, Saved

FORGOTTEN = 0.1
"""Share of rows whose customer is the unknown one, so that features alone tell something."""
_log = logging.getLogger(__name__)


def neumf(
    log: Interactions,
    key: jax.Array,
    *,
    dim: int = 32,
    num_epochs: int = 20,
    rate: float = 2e-3,
    l2: float = 1e-4,
    **run: Any,
) -> Saved:
    """A network beside a product of embeddings (NCF), with four sampled negatives for each event."""
    model = NeuMF(checked(log).num_users, log.num_items, dim, (2 * dim, dim, dim // 2))
    objective = objectives.l2(objectives.sampled(model, losses.logistic, unbought(log), 4), l2)
    data, how = batches.pairs(log.user, log.item), dict(rate=rate, num_epochs=num_epochs)
    variables = train(key, model, objective, data, **how, by_row=is_large(log), **run)
    return Saved(model, variables, log.users, log.items)


def wide_deep(
    log: Interactions,
    key: jax.Array,
    *,
    users: Any = None,
    items: Any = None,
    specs: Mapping[str, Spec] | None = None,
    dim: int = 16,
    num_epochs: int = 10,
    rate: float = 2e-3,
    l2: float = 1e-3,
    **run: Any,
) -> Saved:
    """Wide & Deep over ids and features, with four sampled negatives; it also answers for new customers.

    Args:
      log: events.
      key: of the start, negatives, and the tenth of rows whose customer is hidden.
      users: a file or table with a row for each customer: an id column, and features.
      items: likewise of the products.
      specs: what to make of a column, by its name, where `kind_of` would choose another.
      dim: width of the vectors.
      num_epochs: passes over the log.
      rate: of Adam.
      l2: penalty of the vectors of customers and products.
      run: arguments of `training.loop.run`.

    Raises:
      DataError: if a table has no id column, an id twice, none of the log's ids, or a column of the other.

    >>> from rezoo.data.interactions import from_columns
    >>> from rezoo.serving import answers
    >>> log = from_columns({"user": ["ann", "bob"] * 9, "item": ["tea", "cup"] * 9})
    >>> ages = {"user": ["ann", "bob"], "age": [30.0, 50.0]}
    >>> shop = wide_deep(log, jax.random.key(0), users=ages, dim=2, num_epochs=1)
    >>> answers.recommend(shop, ["zoe"], 2, {"age": [31.0]})["item"].shape
    (2,)
    """
    of_users, user_columns = _features(users, checked(log).users, "user", specs or {}, log.user)
    of_items, catalogue = _features(items, log.items, "item", specs or {}, log.item)
    if both := set(of_users.fitted) & set(of_items.fitted):
        raise DataError(f"column {min(both)!r} is in the tables of users and of items: rename one of them")
    sizes = {"user": log.num_users, "item": log.num_items} | of_users.sizes | of_items.sizes
    model = WideDeep(sizes, dim=dim, widths=(8 * dim, 4 * dim))
    key, hidden = jax.random.split(key)
    known = np.asarray(jax.random.uniform(hidden, (log.num_rows,)) >= FORGOTTEN)
    mine = {name: column[log.user] for name, column in user_columns.items()}
    data = batches.pairs(np.where(known, log.user, 0), log.item, features=mine)
    objective = objectives.l2(
        objectives.sampled(model, losses.logistic, unbought(log), 4), {"user": l2, "item": l2}
    )
    constants = {"catalogue": catalogue} if catalogue else None
    how = dict(rate=rate, num_epochs=num_epochs, by_row=is_large(log), constants=constants)
    variables = train(key, model, objective, data, **how, **run)
    return Saved(model, variables, log.users, log.items, user_columns, of_users, of_items)


def kind_of(column: Any) -> Spec:
    """What to make of a column of features.

    Lists, and text with "|" between values, are several categories; text most of whose values differ is
    read by its words; numbers with decimals are numbers; other values are categories.

    >>> kind_of(np.array([1.5, 2.0])), kind_of(["a|b", "a"]), kind_of([1, 2, 2])
    (Numeric(log=False), MultiValued(separator='|', min_count=1), Categorical(min_count=1))
    """
    values = as_array(column)
    if values.dtype.kind == "f":
        return Numeric()
    some = [value for value in values[:1000].tolist() if value is not None]
    if any(isinstance(value, list | tuple | np.ndarray) or "|" in str(value) for value in some):
        return MultiValued()
    if any(isinstance(value, str) for value in some) and len(set(some)) > max(len(some) / 2, 100):
        return Text()
    return Categorical()


def _features(
    table: Any, ids: Ids, role: str, specs: Mapping[str, Spec], used: np.ndarray
) -> tuple[FeatureSet, dict[str, np.ndarray]]:
    """What is fitted to the columns of a table, and their features with a row for each dense id."""
    if table is None:
        return NONE, {}
    columns, source = files.read_table(table), f"the table of {role}s"
    name = roles.choose(columns, {role: None}, required=(role,), source=source)[role].column
    dense = ids.encode(columns[name])
    known = np.flatnonzero(dense)
    if not len(known):
        raise DataError(f"{source} has none of the log's {role}s in its column {name!r}")
    count = np.bincount(dense[known], minlength=ids.size)
    if count.max() > 1:
        twice = ids.decode([count.argmax()])[0]
        raise DataError(f"{source} has {count.max()} rows of {role} {twice}: give one row for each")
    if absent := int((count[np.unique(used[used > 0])] == 0).sum()):
        _log.warning("%s lacks %s of the log's %ss: their features are unknown", source, f"{absent:,}", role)
    chosen = {column: specs.get(column) or kind_of(columns[column]) for column in columns if column != name}
    fitted = features.fit(chosen, columns, rows=known)
    found = fitted.transform({column: as_array(columns[column])[known] for column in chosen})
    return fitted, {column: _by_id(values, dense[known], ids.size) for column, values in found.items()}


def _by_id(values: np.ndarray, dense: np.ndarray, size: int) -> np.ndarray:
    """A row for each dense id, 0 for those that are not there."""
    rows = np.zeros((size, *values.shape[1:]), values.dtype)
    rows[dense] = values
    return rows
