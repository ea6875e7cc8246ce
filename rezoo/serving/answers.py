"""Answers of a saved model to questions in raw ids: predictions for pairs, lists for users.

    film = saved.load("runs/film")
    predict(film, ["ann", "nobody"], [30, 20])        # stars, or whatever the scale says
    recommend(film, ["ann"], k=10)

Ids that training did not know are known by their features, if all of them are given with the
question or were added by `rezoo.serving.newcomers`. Without features they are id 0, the
unknown, and the answer is the prior: what the model says of nobody in particular.

A model that reads a history is given that of the question, else the one that was saved with it, in
which whoever training did not know has none. Where there is neither, it is not asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rezoo import evaluation
from rezoo.data.errors import DataError
from rezoo.evaluation.scoring import apply, in_blocks
from rezoo.serving.newcomers import with_items, with_users
from rezoo.serving.questions import rates_history, reads_history
from rezoo.serving.saved import Saved
from rezoo.types import Query

BLOCK = 4096
"""Rows that are asked at once."""


def predict(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    items: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Sequence[Sequence[Any]] | None = None,
    ratings: Sequence[Sequence[Any]] | None = None,
) -> np.ndarray:
    """The prediction for each pair (users[n], items[n]), on the original scale: float32 `[n]`.

    Args:
      saved: the model.
      users: raw ids.
      items: raw ids.
      columns: raw features of each row, by name; those of users and items that the model knows are
        passed over, those of others place them. Columns of the context must be there; further ones
        are passed over.
      histories: raw item ids of each row's past, oldest first, for models that read it; the saved
        ones by default.
      ratings: those of each row's past, as in training, for models that read `history_rating`.

    Raises:
      DataError: if the lengths differ, a column is of another type than in training, or a column
        of the context, a history or its ratings are missing.
    """
    users, items, columns = np.asarray(users), np.asarray(items), dict(columns or {})
    lengths = {"users": len(users), "items": len(items)} | {name: len(c) for name, c in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"every column must have a value per row, but their lengths are {lengths}")
    if not len(users):
        return np.zeros(0, np.float32)
    saved = with_users(saved, users, columns, whole=False)
    saved = with_items(saved, items, columns, whole=False)
    asked, query = _queries(saved, users, columns, histories, ratings)
    item = jnp.asarray(saved.items.encode(items))

    def of_block(rows: tuple[Any, jax.Array]) -> tuple[jax.Array]:
        return (apply(saved.model, saved.variables, query(rows[0]), rows[1]),)

    score = saved.link(in_blocks(of_block, (asked, item), BLOCK)[0])
    stars = saved.scale.invert(np.asarray(score))
    return stars if saved.clip is None else np.clip(stars, *saved.clip).astype(np.float32)


def recommend(
    saved: Saved,
    users: Sequence[Any] | np.ndarray,
    k: int = 10,
    columns: Mapping[str, Any] | None = None,
    *,
    histories: Sequence[Sequence[Any]] | None = None,
    ratings: Sequence[Sequence[Any]] | None = None,
    exclude: Sequence[Sequence[Any]] | None = None,
) -> dict[str, np.ndarray]:
    """The k best items of the catalogue for each user, as columns `user`, `rank`, `item`, `score`.

    A user has fewer than k rows where fewer items can be recommended. The score is the model's own.

    Args:
      saved: the model.
      users: raw ids.
      k: length of the lists.
      columns: raw features of each user, and of the context, as in `predict`.
      histories: raw item ids of each user's past, oldest first, as in `predict`.
      ratings: those of each user's past, as in `predict`.
      exclude: raw ids of items that each user must not be shown.

    Raises:
      DataError: if k is less than 1, or as in `predict`.
    """
    if k < 1:
        raise DataError(f"k = {k}: a list has 1 place or more")
    k = min(k, saved.items.size)  # no list is longer, and places take memory
    users, columns = np.asarray(users), dict(columns or {})
    saved = with_users(saved, users, columns, whole=False)
    asked, query = _queries(saved, users, columns, histories, ratings)
    hidden = jnp.asarray(_lists(saved, exclude, len(users))[0])
    ids, scores = evaluation.recommend(
        saved.model, saved.variables, query(asked), k, exclude=hidden, num_items=saved.items.size
    )
    ids, scores = np.asarray(ids), np.asarray(scores)
    real = ids > 0
    return {
        "user": np.broadcast_to(users[:, None], ids.shape)[real],
        "rank": np.broadcast_to(np.arange(1, k + 1), ids.shape)[real],
        "item": saved.items.decode(ids[real]),
        "score": scores[real],
    }


def _queries(
    saved: Saved, users: np.ndarray, columns: Mapping[str, Any], histories: Any, ratings: Any
) -> tuple[Any, Callable[[Any], Query]]:
    """What stands in each row, and what makes queries of some of the rows.

    Histories are looked up as late as that: a user's is long, and may be asked for in many rows.
    """
    dense = saved.users.encode(users)
    known = {name: column[dense] for name, column in saved.user_columns.items()}
    context = saved.context_features.transform(columns)
    history, rated, whose = _past(saved, dense, histories, ratings)
    asked, history, rated = jax.tree.map(jnp.asarray, ((dense, whose, {**known, **context}), history, rated))

    def query(rows: Any) -> Query:
        user, whose, features = rows
        return Query(user, history[whose], features | {name: one[whose] for name, one in rated.items()})

    return asked, query


def _past(
    saved: Saved, dense: np.ndarray, histories: Any, ratings: Any
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Histories, `history_rating` for a model that reads it, and which of them is each row's."""
    model, each = type(saved.model).__name__, np.arange(len(dense))
    if histories is not None:
        history, rating = _lists(saved, histories, len(dense), ratings)
        if not rates_history(saved):
            return history, {}, each
        if ratings is None:
            raise DataError(
                f"{model} weighs each event by its rating: give ratings=[[…], …] beside the histories "
                "(in a table the column history_rating), as in training"
            )
        return history, {"history_rating": rating}, each
    if ratings is not None:
        raise DataError("ratings are of no histories: give histories=[[…], …] too")
    if saved.history is None:
        if reads_history(saved):
            raise DataError(
                f"{model} reads a history, and there is none: give histories=[[…], …] (in a table a column "
                "history, such as 20|30), or save the users' with Saved(…, history=…)"
            )
        return np.zeros((len(dense), 0), np.int32), {}, each
    rated = {} if saved.history_rating is None else {"history_rating": saved.history_rating}
    return saved.history, rated, dense


def _lists(
    saved: Saved, lists: Sequence[Sequence[Any]] | None, count: int, ratings: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Raw ids as dense ones, and their ratings, padded with 0 at the end; unknown ids are left out."""
    lists = [[]] * count if lists is None else list(lists)
    if len(lists) != count:
        raise DataError(f"there are {count} users and {len(lists)} lists of items: give one to each")
    ratings = [np.zeros(len(one)) for one in lists] if ratings is None else list(ratings)
    if list(map(len, ratings)) != list(map(len, lists)):
        raise DataError("ratings must be as many as the histories, and each as long as its history")
    dense = [saved.items.encode(np.asarray(one)) if len(one) else np.zeros(0, np.int32) for one in lists]
    shape = count, max([1, *(int((one > 0).sum()) for one in dense)])
    padded, rated = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for row, (one, rating) in enumerate(zip(dense, ratings, strict=True)):
        known = one > 0
        padded[row, : known.sum()] = one[known]
        rated[row, : known.sum()] = np.asarray(rating, np.float32)[known]
    return padded, rated
