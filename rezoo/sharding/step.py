"""The training step over tables that are spread over devices."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from rezoo.sharding.layout import AXIS, axis_of
from rezoo.sharding.lookup import Route, all_to_all, cheapest, gather_ids, joined, split
from rezoo.training.row_sparse import RowOptimizer, RowState
from rezoo.training.row_sparse.gradients import Calls
from rezoo.training.row_sparse.step import Looked, Tables
from rezoo.training.row_sparse.step import make_step as make_row_step
from rezoo.types import Objective, Step


def make_step(
    objective: Objective,
    dense_optimizer: optax.GradientTransformation,
    row_optimizer: RowOptimizer,
    *,
    mesh: Mesh,
    axis: str = AXIS,
    routes: Sequence[Route] = (gather_ids(), all_to_all()),
) -> Step:
    """`row_sparse.make_step` for tables that are spread over the devices of a mesh.

    Takes the state of `init_state` and batches that are spread along `axis` (`spread`). It computes what one
    device would. Its metric `overflow` counts the ids that found no place on their route; a step that had
    any writes nothing and halts, as one whose loss is not finite.

    Args:
      objective: as for `row_sparse.make_step`.
      dense_optimizer: for all parameters that are not tables.
      row_optimizer: for the rows that are looked up.
      mesh: the devices.
      axis: of the mesh, along which batches and tables are spread.
      routes: of which each table takes the one that sends the fewest bytes.

    Raises:
      ValueError: if the mesh has no such axis, or the loss depends on a table otherwise than by its rows.
    """
    mesh = axis_of(mesh, axis)
    spread, everywhere = PartitionSpec(axis), PartitionSpec()

    def over_devices(function: Any, arguments: Any, results: Any) -> Any:
        return jax.shard_map(function, mesh=mesh, in_specs=arguments, out_specs=results)

    def route_of(table: Array, calls: Sequence[Array]) -> Route:
        devices = mesh.shape[axis]
        ids = sum(-(-one.size // devices) for one in calls)
        return cheapest(routes, ids, table.shape[-1], devices)

    def read(tables: dict[str, Array], ids: Calls) -> Looked:
        rows: Calls = {}
        trips, overflow = {}, jnp.int32(0)
        for path, calls in ids.items():
            fetch = route_of(tables[path], calls).fetch

            def local(table: Array, parts: tuple[Array, ...], fetch: Any = fetch) -> Any:
                found, trip, overflow = fetch(table[0], jnp.concatenate(parts), axis)
                ends = np.cumsum([len(part) for part in parts[:-1]], dtype=int)
                return tuple(jnp.split(found, ends)), trip, jax.lax.psum(overflow, axis)

            places = (spread, spread), (spread, spread, everywhere)
            found, trips[path], lost = over_devices(local, *places)(tables[path], split(calls, mesh, axis))
            rows[path] = tuple(joined(part, one) for part, one in zip(found, calls, strict=True))
            overflow += lost
        return Looked(rows, trips, {"overflow": overflow})

    def move(
        update: Any, table: Array, state: RowState, ids: Any, grads: Any, trip: Any, *now: Array
    ) -> tuple[Array, RowState, Array]:
        push = route_of(table, ids).push

        def local(table: Array, state: RowState, trip: Any, grads: Any, *now: Array) -> Any:
            own = push(jnp.concatenate(grads), trip, axis)
            one = jax.tree.map(lambda leaf: leaf[0], (table, state))
            *new, finite = update(*one, *own, *now)
            new = jax.tree.map(lambda leaf: leaf[None], tuple(new))
            return *new, jax.lax.psum(~finite, axis) == 0

        places = (spread, spread, spread, spread, everywhere, everywhere), (spread, spread, everywhere)
        flat = tuple(_rows_like(grad, one, mesh, axis) for grad, one in zip(grads, ids, strict=True))
        return over_devices(local, *places)(table, state, trip, flat, *now)

    return make_row_step(objective, dense_optimizer, row_optimizer, Tables(read, move))


def _rows_like(grad: Array, ids: Array, mesh: Mesh, axis: str) -> Array:
    """Gradients of a call's rows, spread as `split` has spread its ids."""
    flat = grad.reshape(-1, grad.shape[-1])
    flat = jnp.pad(flat, ((0, -len(flat) % mesh.shape[axis]), (0, 0)))
    return jax.lax.with_sharding_constraint(flat, jax.NamedSharding(mesh, PartitionSpec(axis)))
