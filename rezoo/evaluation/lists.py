"""Recommendation lists over the whole catalogue."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, best_of, best_places, same_rows
from rezoo.devices.meshes import along, in_blocks
from rezoo.evaluation import checks
from rezoo.evaluation.scoring import apply, compiled, is_retriever, rows_of_catalogue
from rezoo.nn.embedding import has_row, rows_or_zero
from rezoo.types import Query, Variables


def recommend(
    model: nn.Module,
    variables: Variables,
    query: Query,
    k: int,
    *,
    exclude: Int[Array, " B S"] | None = None,
    num_items: int | None = None,
    block: int = 256,
    item_block: int = 65536,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best items of the whole catalogue for each query, best first.

    The catalogue is scored `item_block` items at a time for `block` queries at a time, so memory
    does not grow with either. Where fewer than k items can be recommended, the list ends with id 0
    and score -inf. An item whose score is NaN is in no list; outside of `jit` a warning says how many
    scores are NaN, and which ids of `exclude` the catalogue does not have.

    Args:
      model: any `Scorer`.
      variables: its variables.
      query: who asks.
      k: length of the lists.
      exclude: items that must not be recommended, 0 = padding.
      num_items: rows of the catalogue, if neither its collection nor the model tells.
      block: queries at once.
      item_block: items at once.

    Raises:
      ValueError: if k is below 1, or `exclude` has not a row for each query.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 1, 2, 3])}}
    >>> query = queries([1])
    >>> ids, scores = recommend(Popularity(4), variables, query, 2, exclude=jnp.array([[3]]))
    >>> ids.tolist(), scores.tolist()
    ([[2, 1]], [[2.0, 1.0]])
    """
    at_least_1(k=k)
    if exclude is None:
        exclude = jnp.zeros((query.user.shape[0], 0), jnp.int32)
    same_rows(query=query)
    checks.rows(2, query=query.user, exclude=exclude)
    total = num_items if num_items and not is_retriever(model) else rows_of_catalogue(model, variables)
    checks.warn_of_unknown("exclude", exclude, total, "they exclude nothing", negative=False)
    ids, scores, nan = _best(
        model,
        variables,
        query,
        exclude,
        length=min(k, total),
        total=total,
        block=block,
        item_block=item_block,
    )
    checks.warn_of_nan(nan, "and their items in no list")
    return (ids, scores) if ids.shape[1] == k else best_of(ids, scores, k)


@compiled("length", "total", "block", "item_block")
def _best(
    model: nn.Module,
    variables: Variables,
    query: Query,
    exclude: Array,
    *,
    length: int,
    total: int,
    block: int,
    item_block: int,
) -> tuple[Array, Array, Array]:
    """The best items of each query, their scores, and how many scores are NaN."""
    retriever = is_retriever(model)
    table = apply(model, variables, method="table") if retriever else None
    item_block = min(item_block, total)
    starts = jnp.arange(0, total, item_block, dtype=jnp.int32)

    def of_block(rows: tuple[Query, Array]) -> tuple[Array, Array, Array]:
        query, exclude = rows
        size = query.user.shape[0]
        state = apply(model, variables, query, method="encode") if retriever else None

        def merge(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], Array]:
            item = start + jnp.arange(item_block, dtype=jnp.int32)
            if table is None:
                slate = along(jnp.broadcast_to(item[None], (size, item_block)), query.user)
                score = apply(model, variables, query, slate)
            else:
                score = jnp.einsum("bd,nd->bn", state, rows_or_zero(table, item))
            real = has_row(item, total)
            nan = (jnp.isnan(score) & real[None]).sum(axis=1)
            score = along(jnp.where(real[None], score, -jnp.inf), query.user)
            place = jnp.where(
                (exclude >= start) & (exclude < start + item_block), exclude - start, item_block
            )
            score = jax.vmap(lambda score, place: score.at[place].set(-jnp.inf, mode="drop"))(score, place)
            place, top = best_places(jnp.concatenate([best[1], score], axis=1), length)
            kept = jnp.take_along_axis(best[0], jnp.minimum(place, length - 1), axis=1)
            ids = jnp.where(place < length, kept, start + place - length)
            return (jnp.where(jnp.isneginf(top), 0, ids), top), nan

        empty = jnp.zeros((size, length), jnp.int32), jnp.full((size, length), -jnp.inf, jnp.float32)
        best, nan = jax.lax.scan(merge, jax.tree.map(lambda x: along(x, query.user), empty), starts)
        return *best, nan.sum(axis=0)

    return in_blocks(of_block, (query, exclude), block)


def recommend_raw(ids: np.ndarray, items: Any) -> np.ndarray:
    """Raw item ids of a recommendation list; `items` maps dense ids back with `decode`.

    >>> from rezoo.data.ids import Ids
    >>> recommend_raw(np.array([[2, 1]]), Ids(np.array(["hat", "tea"]))).tolist()
    [['tea', 'hat']]
    """
    return items.decode(np.asarray(ids).ravel()).reshape(np.shape(ids))
