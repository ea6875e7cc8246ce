"""Answers of a saved model to questions in raw ids: predictions for pairs, lists for users.

    film = saved.load("runs/film")
    predict(film, ["ann", "nobody"], [30, 20])        # stars, or whatever the scale says
    recommend(film, ["ann"], k=10)

Ids that training did not know are known by their features, if all of them are given with the question or
were added by `rezoo.serving.cold_start`. Without features they are id 0, the unknown, and the answer is the
prior: the model's score for an unknown user. Every answer counts such ids and calls `on_unknown`, which by
default warns, and raises where no id of the question is known (`rezoo.serving.unknown`).

A model that reads a history is given that of the question, else the one that was saved with it, in
which is empty for a user who came after training. Without either, `DataError` is raised.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rezoo import evaluation
from rezoo.data.columns import as_array
from rezoo.devices.meshes import in_blocks
from rezoo.errors import DataError
from rezoo.evaluation.scoring import apply, compiled
from rezoo.serving.asking import by_name, dense_ids, of_lists, queries, raw_ids
from rezoo.serving.bundle import Saved
from rezoo.serving.cold_start import with_items, with_users
from rezoo.serving.unknown import OnUnknown, Unknown, UnknownIds, ignore, refuse, strangers, warn
from rezoo.types import Variables

__all__ = ["Unknown", "UnknownIds", "ignore", "predict", "recommend", "refuse", "warn"]

BLOCK = 4096
"""Rows that are asked at once."""
Lists = Sequence[Sequence[Any] | np.ndarray]
"""For each row a list, or an array, of raw ids or of ratings."""


def predict(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    items: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Lists | None = None,
    ratings: Lists | None = None,
    events: Mapping[str, Lists] | None = None,
    on_unknown: OnUnknown = warn,
) -> np.ndarray:
    """The prediction for each pair (users[n], items[n]), on the original scale: float32 `[n]`.

    Args:
      saved: the model.
      users: raw ids.
      items: raw ids.
      columns: raw features of each row, by name; those of known users and items are
        ignored, others are represented by them. Columns of the context are required; further columns
        are ignored.
      histories: raw item ids of each row's past, oldest first, for models that read it; the saved
        ones by default.
      ratings: those of each row's past, as in training, for models that read `history_rating`.
      events: what else is known of the events of each row's past, by column: raw values beside the ids of
        `histories`, for models with `event_features`; times are seconds since 1970.
      on_unknown: is told which ids are unknown, before they are answered.

    Raises:
      DataError: if the lengths differ, a column is of another type than in training, or a column of the
        context, a history, its ratings or its events are missing, or if `on_unknown` raises it: by default
        where all users, all items or all items of the histories are unknown.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> predict(shop, ["ann", "ann"], ["tea", "hat"]).tolist()
    [1.0, 3.0]
    """
    users, items, columns = raw_ids("users", users), raw_ids("items", items), by_name("columns", columns)
    _same_lengths({"users": users, "items": items, **columns})
    if not len(users):
        return np.zeros(0, np.float32)
    placed = with_items(with_users(saved, users, columns, whole=False), items, columns, whole=False)
    user, item = (
        dense_ids(*pair) for pair in ((saved.users, placed.users, users), (saved.items, placed.items, items))
    )
    asked, query, unknown = queries(placed, users, user, columns, histories, ratings, events)
    unknown = unknown._replace(items=strangers(items, item, item == 0))
    if unknown:
        on_unknown(unknown)
    score = saved.link(_scores(placed.model, placed.variables, query, (asked, jnp.asarray(item))))
    stars = saved.scale.invert(np.asarray(score))
    return stars if saved.clip is None else np.clip(stars, *saved.clip).astype(np.float32)


def _same_lengths(columns: Mapping[str, Any]) -> None:
    lengths = {name: len(as_array(column)) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"every column must have a value per row, but their lengths are {lengths}")


@compiled()
def _scores(model: nn.Module, variables: Variables, query: Any, rows: tuple[Any, jax.Array]) -> jax.Array:
    def of_block(rows: tuple[Any, jax.Array]) -> tuple[jax.Array]:
        return (apply(model, variables, query(rows[0]), rows[1]),)

    return in_blocks(of_block, rows, BLOCK)[0]


def recommend(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    k: int = 10,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Lists | None = None,
    ratings: Lists | None = None,
    events: Mapping[str, Lists] | None = None,
    exclude: Lists | None = None,
    on_unknown: OnUnknown = warn,
) -> dict[str, np.ndarray]:
    """The k best items of the catalogue for each user, as columns `user`, `rank`, `item`, `score`.

    A user has fewer than k rows where fewer items can be recommended. The score is the model's own. Where
    the items have names (`saved.items.names`), they are a column `name`.

    Args:
      saved: the model.
      users: raw ids.
      k: length of the lists.
      columns: raw features of each user, and of the context, as in `predict`.
      histories: raw item ids of each user's past, oldest first, as in `predict`.
      ratings: those of each user's past, as in `predict`.
      events: what else is known of these events, as in `predict`.
      exclude: raw ids of items that each user must not be shown.
      on_unknown: as in `predict`.

    Raises:
      DataError: if k is less than 1, or as in `predict`.

    >>> from rezoo.data.ids import Ids
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 3, 1])}}
    >>> shop = Saved(Popularity(3), variables, Ids(np.array(["ann"])), Ids(np.array(["hat", "tea"])))
    >>> table = recommend(shop, ["ann"], k=2)
    >>> table["item"].tolist(), table["score"].tolist()
    (['hat', 'tea'], [3.0, 1.0])
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise DataError(f"k = {k}: a list has 1 place or more, a whole number")
    k = min(int(k), saved.items.size)  # no list is longer, and places take memory
    users, columns = raw_ids("users", users), by_name("columns", columns)
    _same_lengths({"users": users, **columns})
    placed = with_users(saved, users, columns, whole=False)
    user = dense_ids(saved.users, placed.users, users)
    asked, query, unknown = queries(placed, users, user, columns, histories, ratings, events)
    hidden = of_lists(saved.items, exclude, len(users))
    unknown = unknown._replace(exclude=hidden.unknown)
    if unknown:
        on_unknown(unknown)
    ids, scores = evaluation.recommend(
        placed.model,
        placed.variables,
        query(asked),
        k,
        exclude=jnp.asarray(hidden.items),
        num_items=saved.items.size,
    )
    ids, scores = np.asarray(ids), np.asarray(scores)
    real = ids > 0
    lists = {
        "user": np.broadcast_to(users[:, None], ids.shape)[real],
        "rank": np.broadcast_to(np.arange(1, k + 1), ids.shape)[real],
        "item": saved.items.decode(ids[real]),
        "score": scores[real],
    }
    return lists if saved.items.names is None else lists | {"name": saved.items.name(ids[real])}
