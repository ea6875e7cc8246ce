"""Users and items that came after a saved model's training, known by their features.

film = newcomers.with_users(film, ["zoe"], {"age": [25]})
film = newcomers.with_items(film, [4711], {"genre": ["Comedy"]})   # it is in the lists from now on
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo.data import columns as reading
from rezoo.data.errors import DataError
from rezoo.data.features import FeatureSet
from rezoo.data.ids import Ids
from rezoo.serving.questions import PAST
from rezoo.serving.saved import Saved


def with_users(saved: Saved, raw: Any, columns: Mapping[str, Any], *, whole: bool = True) -> Saved:
    """The same with further users, known by their features; those it knows are left as they are.

    Args:
      saved: the model.
      raw: raw ids; of an id that is there twice the first row counts.
      columns: raw features, a row for each id.
      whole: refuse columns that are not all there; otherwise the users then stay unknown.

    Raises:
      DataError: if a column is missing or of another type than in training.
    """
    added = _added(saved.users, raw, saved.user_features, columns, whole)
    if added is None:
        return saved
    users, new = added
    empty = [(0, users.size - saved.users.size), (0, 0)]
    past = {name: None if (one := getattr(saved, name)) is None else np.pad(one, empty) for name in PAST}
    return saved._replace(users=users, user_columns=_longer(saved.user_columns, new), **past)


def with_items(saved: Saved, raw: Any, columns: Mapping[str, Any], *, whole: bool = True) -> Saved:
    """The same with a longer catalogue, whose new items are known by their features; as `with_users`."""
    added = _added(saved.items, raw, saved.item_features, columns, whole)
    if added is None:
        return saved
    items, new = added
    catalogue = jax.tree.map(jnp.asarray, _longer(saved.variables.get("catalogue", {}), new))
    return saved._replace(items=items, variables={**saved.variables, "catalogue": catalogue})


def _added(
    ids: Ids, raw: Any, fitted: FeatureSet, columns: Mapping[str, Any], whole: bool
) -> tuple[Ids, dict[str, np.ndarray]] | None:
    """The longer id map and the new rows of features; None if nobody is new or nothing is known of them."""
    missing = [name for name in fitted.fitted if name not in columns]
    if missing and whole:
        raise DataError(f"there is no column {missing[0]!r}; there are {', '.join(columns) or 'none'}")
    if missing or not fitted.fitted:
        return None
    raw = np.asarray(raw)
    _, first = np.unique(raw, return_index=True)
    rows = np.sort(first[ids.encode(raw[first]) == 0])
    if not len(rows):
        return None
    new = fitted.transform({name: reading.objects(columns[name])[rows] for name in fitted.fitted})
    text = ids.raw.dtype.kind == "U" or raw.dtype.kind == "U"
    both = [part.astype(str) if text else part for part in (ids.raw, raw[rows])]
    return Ids(np.concatenate(both)), new


def _longer(columns: Mapping[str, Any], new: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([np.asarray(columns[name]), column]) for name, column in new.items()}
