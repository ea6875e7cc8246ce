"""Answers of a saved model to questions in raw ids: predictions for pairs, lists for users.

    film = saved.load("runs/film")
    predict(film, ["ann", "nobody"], [30, 20])        # stars, or whatever the scale says
    recommend(film, ["ann"], k=10)

Ids that training did not know are known by their features, if all of them are given with the
question or were added with `with_users` and `with_items`. Without features they are id 0, the
unknown, and the answer is the prior: what the model says of nobody in particular.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo import evaluation
from rezoo.data import columns as reading
from rezoo.data.errors import DataError
from rezoo.data.features import FeatureSet
from rezoo.data.ids import Ids
from rezoo.serving.saved import Saved
from rezoo.types import Batch, Query


def predict(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    items: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Sequence[Sequence[Any]] | None = None,
) -> np.ndarray:
    """The prediction for each pair (users[n], items[n]), on the original scale: float32 `[n]`.

    Args:
      saved: the model.
      users: raw ids.
      items: raw ids.
      columns: raw features of each row, by name; those of users and items that the model knows are
        passed over, those of others place them. Columns of the context must be there; further ones
        are passed over.
      histories: raw item ids of each row's past, oldest first, for models that read it.

    Raises:
      DataError: if the lengths differ, a column is of another type than in training, or a column
        of the context is missing.
    """
    users, items, columns = np.asarray(users), np.asarray(items), dict(columns or {})
    lengths = {"users": len(users), "items": len(items)} | {name: len(c) for name, c in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"every column must have a value per row, but their lengths are {lengths}")
    if not len(users):
        return np.zeros(0, np.float32)
    saved = with_users(saved, users, columns, whole=False)
    saved = with_items(saved, items, columns, whole=False)
    query = _query(saved, users, columns, histories)
    item = jnp.asarray(saved.items.encode(items))
    asked = Batch(query, item, jnp.zeros(len(item)), jnp.ones(len(item), bool))
    score = saved.link(evaluation.predict(saved.model, saved.variables, asked))
    stars = saved.scale.invert(np.asarray(score))
    return stars if saved.clip is None else np.clip(stars, *saved.clip).astype(np.float32)


def recommend(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    k: int = 10,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Sequence[Sequence[Any]] | None = None,
    exclude: Sequence[Sequence[Any]] | None = None,
) -> dict[str, np.ndarray]:
    """The k best items of the catalogue for each user, as columns `user`, `rank`, `item`, `score`.

    A user has fewer than k rows where fewer items can be recommended. The score is the model's own.

    Args:
      saved: the model.
      users: raw ids.
      k: length of the lists.
      columns: raw features of each user, and of the context, as in `predict`.
      histories: raw item ids of each user's past, oldest first.
      exclude: raw ids of items that each user must not be shown.

    Raises:
      DataError: if k is less than 1, or as in `predict`.
    """
    if k < 1:
        raise DataError(f"k = {k}: a list has 1 place or more")
    users, columns = np.asarray(users), dict(columns or {})
    saved = with_users(saved, users, columns, whole=False)
    query = _query(saved, users, columns, histories)
    hidden = jnp.asarray(_lists(saved, exclude, len(users)))
    ids, scores = evaluation.recommend(
        saved.model, saved.variables, query, k, exclude=hidden, num_items=saved.items.size
    )
    ids, scores = np.asarray(ids), np.asarray(scores)
    real = ids > 0
    return {
        "user": np.broadcast_to(users[:, None], ids.shape)[real],
        "rank": np.broadcast_to(np.arange(1, k + 1), ids.shape)[real],
        "item": saved.items.decode(ids[real]),
        "score": scores[real],
    }


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
    return saved._replace(users=users, user_columns=_longer(saved.user_columns, new))


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


def _query(saved: Saved, users: np.ndarray, columns: Mapping[str, Any], histories: Any) -> Query:
    dense = saved.users.encode(users)
    known = {name: column[dense] for name, column in saved.user_columns.items()}
    context = saved.context_features.transform(columns)
    history = jnp.asarray(_lists(saved, histories, len(users)))
    return Query(jnp.asarray(dense), history, jax.tree.map(jnp.asarray, {**known, **context}))


def _lists(saved: Saved, lists: Sequence[Sequence[Any]] | None, count: int) -> np.ndarray:
    """Raw ids as dense ones, padded with 0 at the end; unknown ones are left out."""
    lists = [[]] * count if lists is None else list(lists)
    if len(lists) != count:
        raise DataError(f"there are {count} users and {len(lists)} lists of items: give one to each")
    dense = [saved.items.encode(np.asarray(one)) if len(one) else np.zeros(0, np.int32) for one in lists]
    dense = [one[one > 0] for one in dense]
    padded = np.zeros((count, max(map(len, dense), default=0)), np.int32)
    for row, one in zip(padded, dense, strict=True):
        row[: len(one)] = one
    return padded
