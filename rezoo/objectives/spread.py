"""The softmax over a catalogue whose items are spread over devices."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from rezoo.devices import sharding
from rezoo.devices.sharding.items import of_own_share
from rezoo.losses.catalogue import spread_softmax
from rezoo.nn import spread
from rezoo.nn.embedding import has_row
from rezoo.objectives.forward import Weights, forward, mean, weight_of
from rezoo.types import Aux, Batch, Objective, Variables


def next_item_softmax(
    model: nn.Module, mesh: Mesh, axis: str, *, chunk: int | None, weights: Weights | None
) -> Objective:
    """As `objectives.next_item_softmax` with a mesh.

    Each device makes the vectors of its own items, and sums e^score over them for all positions of the batch:
    what is sent are states and sums.
    """
    mesh = sharding.axis_of(mesh, axis)
    devices, over, everywhere = mesh.shape[axis], PartitionSpec(axis), PartitionSpec()

    def over_devices(function: Any, *places: PartitionSpec) -> Any:
        return jax.shard_map(function, mesh=mesh, in_specs=places, out_specs=over, check_vma=False)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        items = spread.items_of(model, variables)
        tables, others = spread.split(variables)
        spread.check_devices(tables, devices)

        def read(path: str, ids: Array) -> Array:
            def rows(table: Array, ids: Array) -> Array:
                (found,) = sharding.together([sharding.gather_ids().fetch(table[0], ids, axis)], axis)
                return found.rows

            (flat,) = sharding.split([ids], mesh, axis)
            return sharding.joined(over_devices(rows, over, over)(tables[path], flat), ids)

        def states(variables: Variables) -> tuple[Array, Any]:
            return forward(model, variables, jax.random.clone(key), batch.query, method="prefixes")

        def loss(tables: Any, others: Any, key: jax.Array, state: Array, target: Array) -> Array:
            tables = {path: table[0] for path, table in tables.items()}
            rngs = {"dropout": jax.random.fold_in(key, jax.lax.axis_index(axis))}
            own = spread.own_vectors(model, tables, others, items, axis, rngs=rngs)
            state, target = (jax.lax.all_gather(x, axis, tiled=True) for x in (state, target))
            value = spread_softmax(state, own, target, num_items=items.count, axis=axis, chunk=chunk)
            return of_own_share(value, axis)

        state, sown = spread.with_rows(states, tables, others, read)
        where = batch.where & has_row(batch.item, items.count)
        state = jnp.where(where[..., None], state, 0.0)
        flat = (x.reshape(batch.item.size, *x.shape[2:]) for x in (state, batch.item))
        of_rows = (sharding.evenly(x, mesh, axis) for x in flat)
        places = over, everywhere, everywhere, over, over
        value = over_devices(loss, *places)(tables, others, key, *of_rows)
        value = value[: batch.item.size].reshape(batch.item.shape)
        value = mean(value, where, weight_of(weights, batch))
        return value, Aux({"loss": value}, sown)

    return objective
