"""Lists, ranks and scores of models whose tables are spread over devices, the same as on one device.

Each device makes the vectors of its share of the queries, is sent those of the others, and scores its own
items. What it sends are queries and what it found for them, which does not grow with the number of items.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from rezoo.devices import sharding
from rezoo.devices.meshes import in_blocks
from rezoo.devices.sharding.items import best_of_all, id_at, of_own_share, place_of
from rezoo.evaluation.chunks import best_in_chunks
from rezoo.metrics.counting import ahead, distinct, rank_of
from rezoo.nn import spread
from rezoo.nn.embedding import rows_or_zero
from rezoo.types import Query, Variables


def best(
    model: nn.Module,
    variables: Variables,
    rows: tuple[Query, Array],
    *,
    mesh: Mesh,
    axis: str,
    length: int,
    total: int,
    block: int,
    item_block: int,
    vectors: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The best items of each query but those to exclude, their scores, and how many scores are NaN.

    `vectors` are those of `item_vectors`, where they are there already.
    """

    def of_block(state: Array, vectors: Array, exclude: Array) -> tuple[Array, Array, Array]:
        def score_at(place: Array) -> Array:
            return jnp.einsum("bd,nd->bn", state, rows_or_zero(vectors, place))

        ids, top, nan = best_in_chunks(
            score_at,
            partial(id_at, axis=axis),
            place_of(exclude, axis),
            like=state,
            places=len(vectors),
            length=min(length, len(vectors)),
            total=total,
            chunk=item_block,
        )
        return *best_of_all(ids, top, length, axis), of_own_share(jax.lax.psum(nan, axis), axis)

    return _over_items(of_block, model, variables, rows, mesh, axis, block, vectors)


def ranked(
    model: nn.Module,
    variables: Variables,
    rows: tuple[Query, Array, Array],
    num_items: Any,
    *,
    mesh: Mesh,
    axis: str,
    block: int,
) -> tuple[Array, Array, Array]:
    """Of queries, targets and items to exclude: the rank of each target, whether it is excluded, and how many
    scores of each query are NaN.
    """

    def of_block(
        state: Array, vectors: Array, target: Array, exclude: Array, end: Array
    ) -> tuple[Array, Array, Array]:
        score = jnp.einsum("bd,nd->bn", state, vectors)
        known = (target > 0) & (target < end)
        place = jnp.where(known, place_of(target, axis), -1)

        def of_target(row: Array) -> Array:
            found = jnp.take_along_axis(row, jnp.maximum(place, 0), axis=1)
            return jax.lax.psum(jnp.where(place < 0, 0, found), axis)

        held, own = _marked(place_of(exclude, axis), len(vectors)), of_target(score)
        item = id_at(jnp.arange(len(vectors)), axis)[None]
        competes = (item > 0) & (item < end) & (~held | _marked(place, len(vectors)))
        asked = distinct(target, known)
        count = ahead(jnp.where(competes, score, jnp.nan), own, asked)
        nan = (jnp.isnan(score) & competes).sum(axis=1)
        count, nan = jax.lax.psum((count, nan), axis)
        rank = rank_of(count, own, asked)
        return jax.tree.map(partial(of_own_share, axis=axis), (rank, of_target(held) > 0, nan))

    total = spread.items_of(model, variables).count
    end = total if num_items is None else jnp.minimum(num_items, total)
    ends = jnp.full((len(rows[1]), 1), end, jnp.int32)
    return _over_items(of_block, model, variables, (*rows, ends), mesh, axis, block)


def _marked(place: Array, places: int) -> Array:
    """`[B places]`, True at the places of each row; those below 0 are none."""

    def of_row(place: Array) -> Array:
        return jnp.zeros(places, bool).at[jnp.where(place < 0, places, place)].set(True, mode="drop")

    return jax.vmap(of_row)(place)


def item_vectors(model: nn.Module, variables: Variables, mesh: Mesh, axis: str) -> Float[Array, " n R E"]:
    """The vectors of all items, where their tables are."""
    items = spread.items_of(model, variables)
    tables, others = spread.split(variables)
    spread.check_devices(tables, sharding.axis_of(mesh, axis).shape[axis])

    def local(tables: spread.Tables, others: Variables) -> Array:
        tables = {path: table[0] for path, table in tables.items()}
        return spread.own_vectors(model, tables, others, items, axis)[None]

    return _mapped(local, mesh, axis, PartitionSpec(axis), PartitionSpec())(tables, others)


def predicted(
    model: nn.Module,
    variables: Variables,
    rows: tuple[Query, Array],
    *,
    mesh: Mesh,
    axis: str,
    block: int,
    method: str | None,
) -> Any:
    """What the model gives for each query and its items: any model."""

    def of_share(tables: spread.Tables, others: Variables, rows: Any) -> Any:
        return (spread.of_inputs(model, tables, others, axis, *rows, method=method),)

    return _by_share(of_share, variables, rows, mesh, axis, block)[0]


def _over_items(
    of_block: Callable[..., Any],
    model: nn.Module,
    variables: Variables,
    rows: tuple[Query, *tuple[Array, ...]],
    mesh: Mesh,
    axis: str,
    block: int,
    vectors: Array | None = None,
) -> Any:
    """`of_block(vectors of the queries, of this device's items, the other rows)`, for all rows.

    What it is given has a row for each query of the block, what it returns one for each query of the
    device's share of the block.
    """
    if vectors is None:
        vectors = item_vectors(model, variables, mesh, axis)

    def of_share(tables: spread.Tables, others: Variables, rows: Any, vectors: Array) -> Any:
        query, *of_queries = rows
        state = spread.of_inputs(model, tables, others, axis, query, method="encode")
        state, *of_all = (jax.lax.all_gather(x, axis, tiled=True) for x in (state, *of_queries))
        return of_block(state, vectors, *of_all)

    return _by_share(of_share, variables, rows, mesh, axis, block, vectors)


def _by_share(
    function: Callable[..., Any],
    variables: Variables,
    rows: Any,
    mesh: Mesh,
    axis: str,
    block: int,
    *vectors: Array,
) -> Any:
    """`function(tables, other variables, rows, *vectors)` of each device's share, for all rows."""
    mesh = sharding.axis_of(mesh, axis)
    devices, over, everywhere = mesh.shape[axis], PartitionSpec(axis), PartitionSpec()
    tables, others = spread.split(variables)
    spread.check_devices(tables | dict(zip(["of item vectors"], vectors, strict=False)), devices)

    def local(tables: spread.Tables, vectors: Any, rows: Any, others: Variables) -> Any:
        tables, vectors = jax.tree.map(lambda x: x[0], (tables, vectors))
        return in_blocks(
            lambda rows: function(tables, others, rows, *vectors), rows, max(block // devices, 1)
        )

    count = len(jax.tree.leaves(rows)[0])
    rows = jax.tree.map(lambda x: sharding.evenly(x, mesh, axis), rows)
    found = _mapped(local, mesh, axis, over, over, over, everywhere)(tables, vectors, rows, others)
    found = jax.lax.with_sharding_constraint(found, NamedSharding(mesh, everywhere))
    return jax.tree.map(lambda x: x[:count], found)


def _mapped(function: Any, mesh: Mesh, axis: str, *places: PartitionSpec) -> Any:
    """`function` on every device; what it returns is spread."""
    mesh = sharding.axis_of(mesh, axis)
    return jax.shard_map(function, mesh=mesh, in_specs=places, out_specs=PartitionSpec(axis), check_vma=False)
