"""Users and items that came after a saved model's training, known by their features.

film = cold_start.with_users(film, ["zoe"], {"age": [25]})
film = cold_start.with_items(film, [4711], {"genre": ["Comedy"]})   # it is in the lists from now on
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.data.columns import as_array, plain
from rezoo.data.features import FeatureSet
from rezoo.data.ids import Ids
from rezoo.data.missing import is_missing
from rezoo.errors import DataError
from rezoo.serving.bundle import PAST, Saved


def with_users(saved: Saved, raw: Any, columns: Mapping[str, Any], *, whole: bool = True) -> Saved:
    """The same with further users, known by their features; those it knows are left as they are.

    Args:
      saved: the model.
      raw: raw ids; of an id that is there twice the first row counts.
      columns: raw features, a row for each id.
      whole: refuse what cannot be added: users of a model without user features, columns that are not all
        there or that it does not know, ids of another kind than its own; otherwise they stay unknown, and
        further columns are ignored, and an id that is there twice must have the same features.

    Raises:
      DataError: if so, if an id is missing, or a column is of another type than in training.

    >>> from rezoo.data.features import Categorical, fit
    >>> from rezoo.models import FeatureMF
    >>> jobs = fit({"job": Categorical()}, {"job": ["cook", "king"]})
    >>> model = FeatureMF(2, 2, {"job": 3}, {})
    >>> shop = Saved(model, {}, Ids(np.array(["ann"])), Ids(np.array([7])), {"job": np.array([0, 1])}, jobs)
    >>> more = with_users(shop, ["bo"], {"job": ["king"]})
    >>> more.users.raw.tolist(), more.user_columns["job"].tolist()
    (['ann', 'bo'], [0, 1, 2])
    """
    added = _added("users", saved, saved.users, raw, saved.user_features, columns, whole)
    if added is None:
        return saved
    users, new = added
    saved = with_room(saved, users.size - saved.users.size)
    return saved._replace(users=users, user_columns=_longer(saved.user_columns, new))


def with_room(saved: Saved, more: int) -> Saved:
    """The same with empty histories for so many more users.

    >>> from rezoo.models import GRU4Rec
    >>> users, items = Ids(np.array(["ann"])), Ids(np.array([7]))
    >>> with_room(Saved(GRU4Rec(2), {}, users, items, history=np.array([[0], [1]])), 1).history.tolist()
    [[0], [1], [0]]
    """

    def longer(past: Any) -> np.ndarray:
        return np.pad(past, [(0, more), *[(0, 0)] * (np.ndim(past) - 1)])

    past = {name: one for name in PAST if (one := getattr(saved, name)) is not None}
    return saved._replace(**jax.tree.map(longer, past | {"history_columns": dict(saved.history_columns)}))


def with_items(saved: Saved, raw: Any, columns: Mapping[str, Any], *, whole: bool = True) -> Saved:
    """The same with a longer catalogue, whose new items are known by their features; as `with_users`.

    >>> from rezoo.data.features import Categorical, fit
    >>> from rezoo.models import FeatureMF
    >>> kinds = fit({"kind": Categorical()}, {"kind": ["hat"]})
    >>> variables = {"catalogue": {"kind": np.array([0, 1])}}
    >>> users, items, model = Ids(np.array(["ann"])), Ids(np.array([7])), FeatureMF(2, 2, {}, {"kind": 2})
    >>> shop = Saved(model, variables, users, items, item_features=kinds)
    >>> more = with_items(shop, [8], {"kind": ["hat"]})
    >>> more.items.raw.tolist(), more.variables["catalogue"]["kind"].tolist()
    ([7, 8], [0, 1, 1])
    """
    added = _added("items", saved, saved.items, raw, saved.item_features, columns, whole)
    if added is None:
        return saved
    items, new = added
    catalogue = jax.tree.map(jnp.asarray, _longer(saved.variables.get("catalogue", {}), new))
    return saved._replace(items=items, variables={**saved.variables, "catalogue": catalogue})


def _added(
    what: str, saved: Saved, ids: Ids, raw: Any, fitted: FeatureSet, columns: Mapping[str, Any], whole: bool
) -> tuple[Ids, dict[str, np.ndarray]] | None:
    """The longer id map and the new rows of features; None if nobody is new or nothing is known of them."""
    wanted = fitted.fitted
    raw = plain(raw)
    if whole:
        _check(what, raw, wanted, columns)
    elif any(name not in columns for name in wanted) or not wanted:
        return None
    nameless = is_missing(raw)
    if not whole:  # who has no value of any feature is placed by none
        nameless |= np.all([is_missing(as_array(columns[name])) for name in wanted], axis=0)
    rows = np.flatnonzero((ids.encode(raw) == 0) & ~nameless)
    longer, first = lengthened(ids, raw[rows])
    if not len(rows):
        return None
    if not wanted:
        raise DataError(
            f"{type(saved.model).__name__} was saved without features of {what}, so nothing can be known of "
            f"new ones, such as {raw[rows[0]]}: train it again with them in the log, or a model that reads "
            f"features of {what}"
        )
    new = fitted.transform({name: as_array(columns[name])[rows] for name in wanted})
    if not whole and len(first) < len(rows):
        _check_once(what, raw[rows], longer.encode(raw[rows]) - ids.size, new, first)
    new = {name: column[first] for name, column in new.items()}
    if whole and longer.raw.dtype.kind == "U" and ids.raw.dtype.kind in "iu":
        raise DataError(
            f"the {what} of this model are integers, such as {ids.raw[0]}, but not all of the new ones, such "
            f"as {', '.join(map(str, raw[rows][:3]))}"
        )
    return longer, new


def lengthened(ids: Ids, new: np.ndarray) -> tuple[Ids, np.ndarray]:
    """The map with further ids, and the rows of `new` that they are: the first of each.

    Integers stay integers if all new ids are some; otherwise all become text.

    Args:
      ids: the map.
      new: raw ids that it does not know.

    >>> ids, rows = lengthened(Ids(np.array([7, 5])), np.array(["9", "8", "9"]))
    >>> ids.raw.tolist(), rows.tolist()
    ([7, 5, 9, 8], [0, 1])
    """
    if not len(new):
        return ids, np.zeros(0, np.int64)
    spelt = _spelt(ids, new)
    first = np.sort(np.unique(spelt, return_index=True)[1])
    old = ids.raw.astype(np.int64 if spelt.dtype.kind == "i" else str)
    names = None if ids.names is None else np.append(ids.names, np.full(len(first), ""))
    return Ids(np.concatenate([old, spelt[first]]), names), first


def _check(what: str, raw: np.ndarray, wanted: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """All columns that are wanted and no others, with a value for each id."""
    names = ", ".join(wanted) or "none"
    for name in wanted:
        if name not in columns:
            raise DataError(f"there is no column {name!r}; there are {', '.join(columns) or 'none'}")
    for name, column in columns.items():
        if wanted and name not in wanted:
            raise DataError(f"column {name!r} is not a feature of the {what} of this model; they are {names}")
        if len(column) != len(raw):
            raise DataError(
                f"column {name!r} has {len(column)} values for {len(raw)} {what}: give one for each"
            )
    missing = is_missing(raw)
    if missing.any():
        raise DataError(f"the id of row {int(missing.argmax()) + 1} of the new {what} is missing")


def _check_once(
    what: str, raw: np.ndarray, which: np.ndarray, new: Mapping[str, np.ndarray], first: np.ndarray
) -> None:
    """Refuse two values of a feature of one id, of which `which` is the number among the new ones."""
    for name, column in new.items():
        differs = (column != column[first][which]).reshape(len(column), -1).any(axis=1)
        if differs.any():
            one = raw[int(differs.argmax())]
            raise DataError(f"{what}: {one} has two values of {name!r}, in rows of its own: give one")


def _spelt(ids: Ids, new: np.ndarray) -> np.ndarray:
    """New ids as integers, if the known ones are and all of them can be; else as text."""
    numbers = [whole(value) for value in new.tolist()] if ids.raw.dtype.kind in "iu" else [None]
    return new.astype(str) if None in numbers or not len(new) else np.array(numbers, np.int64)


def whole(value: Any) -> int | None:
    """The integer in 64 bits that a number or a text spells.

    >>> whole(" 12.0"), whole("012")
    (12, None)
    """
    text = str(value).strip()
    found = re.fullmatch(r"(-?(?:0|[1-9]\d{0,18}))(?:\.0+)?", text, re.ASCII)
    number = int(found[1]) if found else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _longer(columns: Mapping[str, Any], new: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([np.asarray(columns[name]), column]) for name, column in new.items()}
