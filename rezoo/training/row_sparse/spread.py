"""Tables that are spread over devices (`rezoo.devices.sharding`), in the place of those of one device."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from rezoo.devices import sharding
from rezoo.devices.sharding import AXIS, Route
from rezoo.training.loop import Checkpoints
from rezoo.training.row_sparse import rounding
from rezoo.training.row_sparse.gradients import Calls, join, split
from rezoo.training.row_sparse.optimizers import RowOptimizer
from rezoo.training.row_sparse.step import Looked, OptState, RowState, Tables, init_state
from rezoo.types import Batch, TrainState

BLOCK = 2**18
"""Rows that are drawn at a time."""


def rules(state: TrainState, axis: str = AXIS) -> TrainState:
    """Where each array of a run is to lie, for `sharding.sharded`.

    The tables that are trained by row, and what their optimizer keeps, are spread; all else is whole on
    every device.

    >>> import optax
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import row_sparse
    >>> batch = pairs([1], [2])
    >>> state = row_sparse.init_state(
    ...     jax.random.key(0), MF(3, 5), optax.sgd(0.1), row_sparse.sgd(0.1), batch, dense=["item_bias"]
    ... )
    >>> rules(state).params["item"]["embedding"], rules(state).params["item_bias"]["embedding"]
    (P('data',), P())
    """
    rows = state.opt_state.rows

    def rule(path: Any, _: Any) -> PartitionSpec:
        by_row = jax.tree_util.keystr(path, simple=True, separator="/") in rows
        return PartitionSpec(axis) if by_row else PartitionSpec()

    whole = jax.tree.map(lambda _: PartitionSpec(), state)
    spread = jax.tree.map(lambda _: PartitionSpec(axis), rows)
    params = jax.tree.map_with_path(rule, state.params)
    return whole._replace(params=params, opt_state=OptState(whole.opt_state.dense, spread))


def checkpoints_over(mesh: Mesh, logical: TrainState, axis: str = AXIS) -> Checkpoints:
    """How `training.loop.run` keeps states of tables that are spread: any number of devices can go on.

    Args:
      mesh: the devices that go on.
      logical: the state as on one device, or its shapes.
      axis: of the mesh, along which tables are spread.

    >>> import tempfile
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import loop, row_sparse
    >>> arguments = MF(3, 5, dim=2), optax.sgd(0.1), row_sparse.sgd(0.1), pairs([1], [2])
    >>> logical = jax.eval_shape(lambda: row_sparse.init_state(jax.random.key(0), *arguments))
    >>> def train(devices, folder):
    ...     mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    ...     epoch = lambda state: (state._replace(step=state.step + 1), {"loss": jnp.float32(0)})
    ...     start = lambda: init_spread(jax.random.key(0), *arguments, mesh)
    ...     kept = checkpoints_over(mesh, logical)
    ...     return loop.run(epoch, start, 2, folder=folder, identity="MF", checkpoints=kept).state
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [train(devices, folder).params["item"]["embedding"].shape for devices in (2, 1)]
    [(2, 3, 2), (1, 5, 2)]
    """
    state = rules(logical, axis), logical

    def of(tree: Any) -> tuple[Any, Any]:
        """Where the arrays of a state and of its best variables lie, and their shapes."""
        return tuple((one, one.variables if tree[1] else {}) for one in state)

    def save(folder: Any, epoch: int, tree: Any, notes: Any) -> None:
        sharding.save(folder, epoch, tree, *of(tree), notes)

    def restore(folder: Any, like: Any) -> Any:
        return sharding.restore(folder, *of(like), mesh)

    return Checkpoints(save, restore)


def init_spread(
    key: jax.Array,
    model: nn.Module,
    dense_optimizer: optax.GradientTransformation,
    row_optimizer: RowOptimizer,
    batch: Batch,
    mesh: Mesh,
    axis: str = AXIS,
    **options: Any,
) -> TrainState:
    """`init_state` over a mesh, of tables that no device could hold: each device draws its own rows.

    They are drawn by their tables' initializers, so not as on one device, and in blocks of `BLOCK` rows, so
    that nothing else is as large as a table; the scale of an initializer that looks at the number of rows,
    such as Glorot's, is that of a block.

    Args:
      key: as all up to `batch`, for `init_state`.
      model: a `Scorer`.
      dense_optimizer: for all parameters but the tables.
      row_optimizer: for the tables.
      batch: any batch; only its shapes matter.
      mesh: the devices.
      axis: of the mesh, along which tables are spread.
      options: `constants`, `dense` and `table_dtype` of `init_state`.

    Raises:
      ValueError: as `init_state`, and if the mesh has no such axis.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import row_sparse
    >>> mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    >>> optimizers = optax.sgd(0.1), row_sparse.sgd(0.1)
    >>> state = init_spread(jax.random.key(0), MF(3, 5, dim=2), *optimizers, pairs([1], [2]), mesh)
    >>> state.params["item"]["embedding"].shape  # two devices, each with three of six rows
    (2, 3, 2)
    """
    mesh, draws = sharding.axis_of(mesh, axis), {}

    def note(method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if hasattr(context.module, "embedding_init"):
            draws["/".join((*context.module.path, "embedding"))] = context.module.embedding_init
        return method(*args, **kwargs)

    init = partial(init_state, key, model, dense_optimizer, row_optimizer, batch, **options)
    with nn.intercept_methods(note):
        shapes = jax.eval_shape(init)
    tables = split(shapes.params, shapes.opt_state.rows)[0]

    def others() -> tuple[Any, TrainState]:
        state = init()
        rest = split(state.params, tables)[1]
        return rest, state._replace(params={}, opt_state=OptState(state.opt_state.dense, {}))

    def own(path: str, key: jax.Array) -> tuple[Array, RowState]:
        device = jax.lax.axis_index(axis)
        rows = -(-tables[path].shape[0] // mesh.shape[axis])
        table = _drawn(draws[path], jax.random.fold_in(key, device), rows, tables[path].shape[1], device == 0)
        kept = row_optimizer.init(table), jnp.zeros(rows, jnp.int32)
        table = table.astype(tables[path].dtype)
        return jax.tree.map(lambda leaf: leaf[None], (table, RowState(*kept)))

    spread = {"in_specs": PartitionSpec(), "out_specs": PartitionSpec(axis), "check_vma": False}
    rest, state = jax.jit(others, out_shardings=NamedSharding(mesh, PartitionSpec()))()
    made = {
        path: jax.jit(jax.shard_map(partial(own, path), mesh=mesh, **spread))(jax.random.fold_in(key, number))
        for number, path in enumerate(sorted(tables))
    }
    params = join(rest, {path: table for path, (table, _) in made.items()})
    rows = {path: row_state for path, (_, row_state) in made.items()}
    return state._replace(params=params, opt_state=OptState(state.opt_state.dense, rows))


def _drawn(draw: Any, key: jax.Array, rows: int, width: int, holds_unknown: Array) -> Array:
    """A device's rows; the first one is 0 if it is the unknown's."""
    block = min(rows, BLOCK)

    def write(number: Array, table: Array) -> Array:
        some = draw(jax.random.fold_in(key, number), (block, width), jnp.float32)
        begin = jnp.minimum(number * block, rows - block)
        unknown = holds_unknown & (begin + jnp.arange(block) == 0)
        return jax.lax.dynamic_update_slice(table, jnp.where(unknown[:, None], 0.0, some), (begin, 0))

    return jax.lax.fori_loop(0, -(-rows // block), write, jnp.zeros((rows, width)))


def spread_over(
    mesh: Mesh,
    axis: str = AXIS,
    routes: Sequence[Route] = (sharding.gather_ids(), sharding.all_to_all()),
) -> Tables:
    """Tables spread over the devices of a mesh, for `make_step`: its step computes what one device would.

    It takes a state by `sharding.sharded(state, rules(state), mesh)`, and batches by `sharding.spread`. Its
    metric `overflow` counts ids that found no place on their route, and rows that found none to merge their
    gradients; a step that had any writes nothing and halts, as one does whose loss is not finite.

    Args:
      mesh: the devices.
      axis: of the mesh, along which batches and tables are spread.
      routes: of which each table takes the one that sends the fewest bytes.

    Raises:
      ValueError: if the mesh has no such axis.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import row_sparse
    >>> mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    >>> model, optimizers = MF(3, 5, dim=2), (optax.sgd(0.1), row_sparse.sgd(0.1))
    >>> batch = sharding.spread(pairs([1, 2], [2, 4]), mesh)
    >>> state = init_spread(jax.random.key(0), model, *optimizers, batch, mesh)
    >>> objective = objectives.pointwise(model, losses.squared)
    >>> step = row_sparse.make_step(objective, *optimizers, spread_over(mesh))
    >>> int(jax.jit(step)(state, batch)[1]["overflow"])
    0
    """
    mesh = sharding.axis_of(mesh, axis)
    spread, everywhere = PartitionSpec(axis), PartitionSpec()

    def over_devices(function: Any, arguments: Any, results: Any) -> Any:
        return jax.shard_map(function, mesh=mesh, in_specs=arguments, out_specs=results)

    def route_of(table: Array, calls: Sequence[Array]) -> Route:
        devices = mesh.shape[axis]
        ids = sum(-(-one.size // devices) for one in calls)
        return sharding.cheapest(routes, ids, table.shape[-1], devices)

    def read(tables: dict[str, Array], ids: Calls) -> Looked:
        def local(tables: dict[str, Array], parts: Calls) -> Any:
            flat = {path: jnp.concatenate(calls) for path, calls in parts.items()}
            ways = [way[path].fetch(tables[path][0], one, axis) for path, one in flat.items()]
            found = dict(zip(flat, sharding.together(ways, axis), strict=True))
            lost = sum((one.overflow + one.unmerged for one in found.values()), jnp.int32(0))
            ends = {path: np.cumsum([*map(len, calls[:-1])], dtype=int) for path, calls in parts.items()}
            rows = {path: tuple(jnp.split(one.rows, ends[path])) for path, one in found.items()}
            return rows, {path: one.trip for path, one in found.items()}, jax.lax.psum(lost, axis)

        way = {path: route_of(tables[path], calls) for path, calls in ids.items()}
        own = {path: tables[path] for path in ids}
        parts = {path: sharding.split(calls, mesh, axis) for path, calls in ids.items()}
        places = (spread, spread), (spread, spread, everywhere)
        found, trips, lost = over_devices(local, *places)(own, parts)
        rows = {
            path: tuple(sharding.joined(part, one) for part, one in zip(found[path], calls, strict=True))
            for path, calls in ids.items()
        }
        return Looked(rows, trips, {"overflow": lost})

    def move(
        update: Any, tables: Any, states: Any, ids: Calls, grads: Calls, trips: Any, *now: Array
    ) -> tuple[dict[str, Array], dict[str, RowState], Array]:
        def local(
            tables: Any, states: Any, trips: Any, grads: Calls, step: Array, frozen: Array, key: Array
        ) -> Any:
            ways = [way[path].push(jnp.concatenate(some), trips[path], axis) for path, some in grads.items()]
            tables, states = jax.tree.map(lambda leaf: leaf[0], (tables, states))
            keys = rounding.keys(key, grads)
            finite = jnp.bool_(True)
            for path, own in zip(grads, sharding.together(ways, axis), strict=True):
                here = jax.random.fold_in(keys[path], jax.lax.axis_index(axis))
                tables[path], states[path], ok = update(tables[path], states[path], *own, step, frozen, here)
                finite &= ok
            new = jax.tree.map(lambda leaf: leaf[None], (tables, states))
            return *new, jax.lax.psum(~finite, axis) == 0

        way = {path: route_of(tables[path], ids[path]) for path in grads}
        moved = [{path: one[path] for path in grads} for one in (tables, states, trips)]
        flat = {
            path: tuple(sharding.evenly(grad.reshape(-1, grad.shape[-1]), mesh, axis) for grad in some)
            for path, some in grads.items()
        }
        places = (*[spread] * 4, *[everywhere] * 3), (spread, spread, everywhere)
        return over_devices(local, *places)(*moved, flat, *now)

    return Tables(read, move)
