"""Recommendation lists over the whole catalogue."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, best_of, ids_of, same_rows
from rezoo.devices.meshes import along, in_blocks
from rezoo.devices.sharding import AXIS
from rezoo.evaluation import checks, spread
from rezoo.evaluation.chunks import best_in_chunks
from rezoo.evaluation.scoring import apply, compiled, is_retriever, rows_of_catalogue
from rezoo.nn.embedding import rows_or_zero
from rezoo.types import Query, Variables


def recommend(
    model: nn.Module,
    variables: Variables,
    query: Query,
    k: int,
    *,
    exclude: Int[Array | np.ndarray, " B S"] | None = None,
    num_items: int | None = None,
    block: int = 256,
    item_block: int = 65536,
    mesh: Mesh | None = None,
    axis: str = AXIS,
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
      num_items: rows of the catalogue, if neither its collection nor the model tells, or if there are rows to
        spare: only ids below it are recommended.
      block: queries at once.
      item_block: items at once; with `mesh`, on each device.
      mesh: the devices that the tables are spread over, as by `devices.sharding`; each ranks the items that
        it holds.
      axis: of the mesh, along which they are.

    Raises:
      ValueError: if k is below 1, the model is known to have fewer than `num_items`, or `exclude` has not a
        row for each query; with `mesh`, if the model has no `vectors`, or its tables are not spread over
        these devices.
      DataError: if an id of `exclude` is not a whole number within int32.

    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import Popularity
    >>> variables = {"params": {"count": jnp.array([0.0, 1, 2, 3])}}
    >>> query = queries([1])
    >>> ids, scores = recommend(Popularity(4), variables, query, 2, exclude=jnp.array([[3]]))
    >>> ids.tolist(), scores.tolist()
    ([[2, 1]], [[2.0, 1.0]])
    """
    at_least_1(k=k, num_items=num_items, block=block, item_block=item_block)
    if exclude is None:
        exclude = jnp.zeros((query.user.shape[0], 0), jnp.int32)
    (exclude,) = ids_of(exclude=exclude)
    same_rows(query=query)
    checks.rows(2, query=query.user, exclude=exclude)
    total = rows_of_catalogue(model, variables, mesh, num_items)
    checks.warn_of_unknown("exclude", exclude, total, checks.EXCLUDES, negative=False)
    ids, scores, nan = _best(
        model,
        variables,
        query,
        exclude,
        length=min(k, total),
        total=total,
        block=block,
        item_block=item_block,
        mesh=mesh,
        axis=axis,
    )
    checks.warn_of_nan(nan, "and their items in no list")
    return (ids, scores) if ids.shape[1] == k else best_of(ids, scores, k)


@compiled("length", "total", "block", "item_block", "mesh", "axis")
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
    mesh: Mesh | None,
    axis: str,
) -> tuple[Array, Array, Array]:
    """The best items of each query, their scores, and how many scores are NaN."""
    if mesh is not None:
        return spread.best(
            model,
            variables,
            (query, exclude),
            mesh=mesh,
            axis=axis,
            length=length,
            total=total,
            block=block,
            item_block=item_block,
        )
    retriever = is_retriever(model)
    table = apply(model, variables, method="table") if retriever else None

    def of_block(rows: tuple[Query, Array]) -> tuple[Array, Array, Array]:
        query, exclude = rows
        size = query.user.shape[0]
        state = apply(model, variables, query, method="encode") if retriever else None

        def score_at(item: Array) -> Array:
            if table is not None:
                return jnp.einsum("bd,nd->bn", state, rows_or_zero(table, item))
            slate = along(jnp.broadcast_to(item[None], (size, len(item))), query.user)
            return apply(model, variables, query, slate)

        return best_in_chunks(
            score_at,
            lambda place: place,
            exclude,
            like=query.user,
            places=total,
            length=length,
            total=total,
            chunk=item_block,
        )

    return in_blocks(of_block, (query, exclude), block)


def recommend_raw(ids: np.ndarray, items: Any) -> np.ndarray:
    """Raw item ids of a recommendation list; `items` maps dense ids back with `decode`.

    >>> from rezoo.data.ids import Ids
    >>> recommend_raw(np.array([[2, 1]]), Ids(np.array(["hat", "tea"]))).tolist()
    [['tea', 'hat']]
    """
    return items.decode(np.asarray(ids).ravel()).reshape(np.shape(ids))
