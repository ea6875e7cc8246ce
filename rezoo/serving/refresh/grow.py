"""A saved model made longer: ids, tables, features and histories of new users and new items.

A new row is the mean of its neighbours': of items that stand beside the new one in sequences, of users that
had the same items. Where the model knows items by their features, the new row is that of the unknown, and the
features (`cold_start.with_items`) place the item. Old rows stay as they are, bit for bit.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import unflatten_dict
from scipy import sparse

from rezoo import training
from rezoo.arrays import offsets_of
from rezoo.data import batches
from rezoo.data.ids import Ids
from rezoo.data.interactions import Interactions
from rezoo.data.sessions import Sessions, pad
from rezoo.evaluation.scoring import ByIdentity
from rezoo.serving import event_columns
from rezoo.serving.bundle import Saved
from rezoo.serving.cold_start import lengthened, whole, with_room
from rezoo.serving.refresh.events import Events
from rezoo.training.row_sparse.gradients import flat
from rezoo.types import Variables

ROWS = {"num_users": "user_features", "num_items": "item_features"}
"""Fields that say how many rows a model has, and those that say whether features place new ones."""
WINDOW = 5
"""Events on either side of a new item that are its neighbours."""


def capacity(rows: int) -> int:
    """Rows for so many that leave some to spare, at most a quarter: one of 4, 5, 6 or 7 × 2ⁿ.

    Tables of such lengths keep their length for a while, and programs that were compiled for it.

    >>> [capacity(rows) for rows in (3, 8, 9, 600, 1000, 1025)]
    [3, 8, 10, 640, 1024, 1280]
    """
    step = 1 << max(rows.bit_length() - 3, 0)
    return -(-rows // step) * step


def with_ids(saved: Saved, log: Interactions, least: int) -> Saved:
    """The same with ids for users and items that a log has and the model does not know.

    Their features are those of the unknown, and their histories empty; users are added where the model
    keeps something of each. Ids of another kind than the model's are left out.

    Args:
      saved: the model; its tables are left as they are.
      log: with its own id maps.
      least: events that an id must have there.
    """
    items = _longer(saved.items, log.items, log.item, least)
    more = items.size - saved.items.size
    catalogue = {
        name: _extended(column, more) for name, column in saved.variables.get("catalogue", {}).items()
    }
    variables = {**saved.variables, **({"catalogue": catalogue} if catalogue else {})}
    saved = saved._replace(items=items, variables=variables)
    if not getattr(saved.model, "num_users", 0) and saved.history is None:
        return saved
    users = _longer(saved.users, log.users, log.user, least)
    more = users.size - saved.users.size
    columns = {name: _extended(column, more) for name, column in saved.user_columns.items()}
    return with_room(saved, more)._replace(users=users, user_columns=columns)


def _longer(ids: Ids, others: Ids, column: np.ndarray, least: int) -> Ids:
    """The map with those of other ids that occur often enough in a column of the log."""
    often = np.bincount(column, minlength=others.size)[1:] >= least
    new = others.raw[often & (ids.encode(others.raw) == 0)]
    if ids.raw.dtype.kind in "iu":
        new = new[[whole(value) is not None for value in new.tolist()]]
    longer, _ = lengthened(ids, new)
    if longer.names is None or others.names is None:
        return longer
    dense = longer.encode(others.raw)
    came = dense >= ids.size
    names = longer.names.astype(object)
    names[dense[came] - 1] = others.names[came]
    return Ids(longer.raw, names.astype(str))


def _extended(column: Any, more: int) -> np.ndarray:
    """A column of features with the unknown's for further rows."""
    column = np.asarray(column)
    return np.concatenate([column, np.repeat(column[:1], more, axis=0)])


def with_rows(saved: Saved, events: Events) -> Saved:
    """The same with a row in every table for each of its ids, placed by neighbours or features.

    >>> from rezoo.models import MF
    >>> table = {"user": np.eye(2), "item": np.eye(3), "item_bias": np.ones((3, 1))}
    >>> params = {name: {"embedding": jnp.asarray(rows[:, :2])} for name, rows in table.items()}
    >>> shop = Saved(MF(2, 3, 2), {"params": params}, Ids(np.array(["ann"])), Ids(np.array([7, 8, 9])))
    >>> events = Events(*np.array([[1, 1, 1], [3, 1, 2], [1, 1, 1], [1, 1, 1]]))
    >>> longer = with_rows(shop, events)  # item 9 stands between 7 and 8
    >>> longer.model.num_items, longer.variables["params"]["item"]["embedding"][3].tolist()
    (4, [0.0, 0.5])
    """
    for field, features in ROWS.items():
        size = (saved.users if field == "num_users" else saved.items).size
        old = getattr(saved.model, field, 0)
        if not old or size <= old:
            continue
        place = _of_users(events, old, size) if field == "num_users" else _beside(events, old, size)
        if getattr(saved.model, features, None):
            place = functools.partial(_unknown, size - old)
        saved = _resized(saved, field, size, functools.partial(_extended_by, place))
    return saved


def _extended_by(place: Callable[[np.ndarray], np.ndarray], table: np.ndarray) -> np.ndarray:
    """A table with the rows that `place` makes of it."""
    return np.concatenate([table, place(table).astype(table.dtype)])


def _unknown(more: int, table: np.ndarray) -> np.ndarray:
    """So many times the row of the unknown."""
    return np.repeat(table[:1], more, axis=0)


def _resized(saved: Saved, field: str, size: int, change: Callable[[np.ndarray], np.ndarray]) -> Saved:
    """The same with another number of rows in the tables of a field."""
    params = flat(saved.variables["params"])
    for path in tables(saved, field):
        params[path] = jnp.asarray(change(np.asarray(params[path])))
    variables = {**saved.variables, "params": unflatten_dict(params, sep="/")}
    return saved._replace(model=_like(saved.model, {field: size}), variables=variables)


def _like(model: Any, fields: Mapping[str, int]) -> nn.Module:
    """A model with other fields."""
    return model.clone(**fields)


def _beside(events: Events, old: int, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Places items: the mean of the known ones that stand at most `WINDOW` events from it."""
    order = np.argsort(events.sequence, kind="stable")
    item, sequence = events.item[order], events.sequence[order]
    pairs = []
    for gap in range(1, WINDOW + 1):
        same = sequence[:-gap] == sequence[gap:]
        pairs += [(item[:-gap][same], item[gap:][same]), (item[gap:][same], item[:-gap][same])]
    new, near = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return _mean_of(_counts(new, near, old, size))


def _of_users(events: Events, old: int, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Places users: the mean over their items of the mean of the known users that had the item."""
    known = events.take(events.item > 0)
    one = np.ones(len(known.user), np.float32)
    shape = size, int(known.item.max(initial=0)) + 1
    had: Any = sparse.csr_array((one, (known.user, known.item)), shape=shape)
    of_item = _mean_of(had[1:old].T.tocsr())
    of_user = had[old:]

    def place(table: np.ndarray) -> np.ndarray:
        return _mean_of(of_user, start=0)(of_item(table))

    return place


def _counts(new: np.ndarray, near: np.ndarray, old: int, size: int) -> sparse.csr_array:
    """How often each known id (1 … old - 1) stands beside each new one (old … size - 1)."""
    kept = (new >= old) & (near > 0) & (near < old)
    one = np.ones(int(kept.sum()), np.float32)
    return sparse.csr_array((one, (new[kept] - old, near[kept] - 1)), shape=(size - old, old - 1))


def _mean_of(weight: sparse.csr_array, start: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """`table -> rows`: means of its rows from `start` on by these weights; of all, where there are none."""
    total = np.asarray(weight.sum(axis=1)).reshape(-1)

    def place(table: np.ndarray) -> np.ndarray:
        known = table[start:].reshape(len(table) - start, -1)
        rows = weight @ known / np.maximum(total, 1)[:, None]
        rows = np.where(total[:, None] > 0, rows, known.mean(axis=0))
        return rows.reshape(len(rows), *table.shape[1:])

    return place


def tables(saved: Saved, field: str) -> list[str]:
    """Paths of the parameters that have a row for each user or item: they are longer where a model has more.

    >>> from rezoo.models import MF
    >>> shop = Saved(MF(2, 3), {"params": {}}, Ids(np.array(["ann"])), Ids(np.array([7, 8])))
    >>> tables(shop, "num_items")
    ['item/embedding', 'item_bias/embedding']
    """
    if not getattr(saved.model, field, 0):
        return []
    few = {name: 4 for name in ROWS if getattr(saved.model, name, 0)}
    small = as_before(_like(saved.model, few))
    if (key := (ByIdentity(small), field)) not in _TABLES:
        now, more = (_shapes(saved, model) for model in (small, _like(small, {field: 5})))
        _TABLES[key] = sorted(path for path, shape in now.items() if shape != more[path])
    return _TABLES[key]


_TABLES: dict[tuple[ByIdentity, str], list[str]] = {}


def _shapes(saved: Saved, model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's parameters by their paths."""
    zero = np.zeros(1, np.int32)
    nobody = {name: np.asarray(column)[:1] for name, column in saved.user_columns.items()}
    nobody |= event_columns.nothing(saved, 1, 1)
    row = batches.pairs(zero, zero, history=zero[:, None], features=nobody)
    constants = constants_of(saved.variables)
    made: Any = jax.eval_shape(
        lambda: training.init_state(jax.random.key(0), model, optax.identity(), row, constants=constants)
    )
    return {path: leaf.shape for path, leaf in flat(made.params).items()}


def as_before(model: nn.Module) -> nn.Module:
    """The first model that was equal to this one, so that what was compiled for it is found again.

    >>> from rezoo.models import MF
    >>> as_before(MF(3, 4)) is as_before(MF(3, 4))
    True
    """
    try:
        return _first(model)
    except TypeError:  # a field of it is a dict, which has no hash
        return model


@functools.cache
def _first(model: nn.Module) -> nn.Module:
    return model


def constants_of(variables: Variables) -> dict[str, Any]:
    """The collections that are not trained."""
    return {name: one for name, one in variables.items() if name != "params"}


def sized(saved: Saved, rows: Callable[[int], int] | Mapping[str, int]) -> Saved:
    """The same with other lengths of its tables, by field or as a function of those now; what is added is 0.

    >>> from rezoo.models import MF
    >>> sizes = {"user": 9, "item": 3, "item_bias": 3}
    >>> params = {name: {"embedding": jnp.ones((rows, 1))} for name, rows in sizes.items()}
    >>> shop = Saved(MF(9, 3, 1), {"params": params}, Ids(np.arange(8)), Ids(np.array([7, 8])))
    >>> sized(shop, capacity).variables["params"]["user"]["embedding"].shape
    (10, 1)
    """
    for field in ROWS:
        if not (now := getattr(saved.model, field, 0)):
            continue
        size = rows[field] if isinstance(rows, Mapping) else rows(now)
        change = functools.partial(_of_length, size)
        saved = _resized(saved, field, size, change)
        if field == "num_items" and "catalogue" in saved.variables:
            columns = saved.variables["catalogue"].items()
            catalogue = {name: jnp.asarray(change(np.asarray(column))) for name, column in columns}
            saved = saved._replace(variables={**saved.variables, "catalogue": catalogue})
    return saved


def _of_length(size: int, table: np.ndarray) -> np.ndarray:
    """The first rows of a table, filled up with 0."""
    table = table[:size]
    return np.pad(table, [(0, size - len(table))] + [(0, 0)] * (table.ndim - 1))


def with_histories(saved: Saved, events: Events, most: int) -> Saved:
    """The same with the fresh events of its users at the end of their histories, `most` of each at most.

    With them come the columns of events that the model reads.

    >>> from rezoo.models import GRU4Rec
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array([7, 8]))
    >>> shop = Saved(GRU4Rec(3), {}, users, items, history=np.array([[0, 0], [1, 2]]))
    >>> with_histories(shop, Events(*np.array([[1, 1], [1, 1], [1, 1], [1, 1]])), 3).history.tolist()
    [[0, 0, 0], [2, 1, 1]]
    """
    if saved.history is None:
        return saved
    new = events.take(events.fresh.astype(bool) & (events.user > 0) & (events.item > 0))
    who, place = np.nonzero(saved.history)
    user = np.concatenate([who, new.user])
    item = np.concatenate([saved.history[who, place], new.item]).astype(np.int32)
    count = np.bincount(user, minlength=saved.users.size)
    width = max(saved.history.shape[1], min(int(count.max()), most))
    order = np.argsort(user, kind="stable")
    told = {
        name: np.concatenate([saved.history_columns[name][who, place], column]).astype(column.dtype)[order]
        for name, column in new.columns.items()
    }
    made = Sessions(item[order], offsets_of(count), columns=told)
    return saved._replace(
        history=pad(made, width), history_columns={name: pad(made, width, name) for name in told}
    )
