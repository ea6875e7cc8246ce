"""The training step, and the state that it takes."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from rezoo.devices.meshes import everywhere, lookup
from rezoo.objectives.inputs import masked
from rezoo.training import step as dense_step
from rezoo.training.row_sparse import rounding
from rezoo.training.row_sparse.gradients import Calls, by_rows, flat, ids_of, join, looked_up_ids, split
from rezoo.training.row_sparse.optimizers import RowOptimizer
from rezoo.types import Aux, Batch, Objective, Scalars, Step, TrainState


class RowState(NamedTuple):
    """What is kept for a table that is trained by row."""

    optimizer: Any
    """The row optimizer's state: arrays with leading axis N."""
    slot: Int[Array, " N"]
    """Scratch of `sum_by_id`; its content means nothing between steps."""


class OptState(NamedTuple):
    """Both optimizers' states."""

    dense: Any
    """The optax optimizer's, for whatever is not in `rows`."""
    rows: dict[str, RowState]
    """By path of the table; the tables that stand here are trained by row."""


def init_state(
    key: jax.Array,
    model: nn.Module,
    dense_optimizer: optax.GradientTransformation,
    row_optimizer: RowOptimizer,
    batch: Batch,
    *,
    constants: Mapping[str, Any] | None = None,
    dense: Sequence[str] = (),
    table_dtype: Any = jnp.float32,
) -> TrainState:
    """The state before the first step; takes what `training.init_state` takes.

    Args:
      key: a typed key, `jax.random.key(seed)`.
      model: a `Scorer`.
      dense_optimizer: for all parameters but the tables.
      row_optimizer: for every `nn.embedding.Embed` that scoring looks up.
      batch: any batch of the data; only its shapes matter.
      constants: collections that the model reads and that are not trained.
      dense: names of modules whose tables are left to the dense optimizer, because the objective
        uses them as a whole (`table()`) or because they have few rows.
      table_dtype: of the numbers that tables trained by row are kept in. With bfloat16 they take half the
        memory: rows are read as float32, and written by `rounding.stochastic`, as most updates are less than
        half of the distance of two numbers, and the nearest one would be the old one. What an optimizer keeps
        is float32. A model is scored with these tables, or with all of them as float32.

    Raises:
      ValueError: if a name in `dense` is no module with a table, `table_dtype` is neither float32 nor
        bfloat16, or `row_optimizer` is not one of rows.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import row_sparse
    >>> batch = pairs([1], [2])
    >>> state = init_state(jax.random.key(0), MF(3, 5, dim=2), optax.sgd(0.1), row_sparse.sgd(0.1), batch)
    >>> sorted(state.opt_state.rows)  # the tables that are trained by row
    ['item/embedding', 'item_bias/embedding', 'user/embedding']
    """
    check_moves_rows(row_optimizer)
    state = dense_step.init_state(key, model, optax.identity(), batch, constants=constants)
    row = dense_step.blank_row(batch)
    _, sown = jax.eval_shape(
        lambda: model.apply(state.variables, row.query, row.item, mutable=["row_ids", "batch_stats"])
    )
    params = flat(state.params)
    tables = [path for path in looked_up_ids(Aux({}, sown), params) if params[path].ndim == 2]
    modules = {path: set(path.split("/")[:-1]) for path in tables}
    if unknown := set(dense).difference(*modules.values()):
        raise ValueError(f"no table has a name in {sorted(unknown)}; the tables are {tables}")
    rows = {
        path: RowState(row_optimizer.init(params[path]), jnp.zeros(len(params[path]), jnp.int32))
        for path in tables
        if not modules[path] & set(dense)
    }
    by_row, rest = split(state.params, rows)
    kept = {path: table.astype(rounding.checked(table_dtype)) for path, table in by_row.items()}
    return state._replace(params=join(rest, kept), opt_state=OptState(dense_optimizer.init(rest), rows))


def check_moves_rows(optimizer: Any) -> None:
    """Check that an optimizer is one of rows.

    Raises:
      ValueError: if it is of whole parameters, as where both were given in the other order.

    >>> check_moves_rows(optax.adam(1e-3))
    Traceback (most recent call last):
    ValueError: the optimizer of rows is a GradientTransformationExtraArgs: give one of row_sparse, ...
    """
    if not isinstance(optimizer, RowOptimizer):
        raise ValueError(
            f"the optimizer of rows is a {type(optimizer).__name__}: give one of row_sparse, such as "
            "row_sparse.lazy_adam(1e-3), after that of all other parameters"
        )


class Looked(NamedTuple):
    """Rows that were read."""

    rows: Calls
    trips: dict[str, Any]
    """By path of the table, whatever `Tables.move` needs of how its rows were read."""
    lost: Scalars
    """Counts that are 0 where every row was read; a step where one is not writes nothing and halts."""


class Tables(NamedTuple):
    """Where tables lie, and so how their rows are read and moved: on one device, or spread over many."""

    read: Callable[[dict[str, Array], Calls], Looked]
    """(tables, ids by table)."""
    move: Callable[..., tuple[dict[str, Array], dict[str, RowState], Array]]
    """(`update_rows` of an optimizer, tables, their states, ids, gradients of their rows, trips, number of
    the step, whether it writes nothing, key) -> (tables that moved, their states, whether finite)."""


def _read(tables: dict[str, Array], ids: Calls) -> Looked:
    rows = {path: tuple(lookup(tables[path], one) for one in calls) for path, calls in ids.items()}
    return Looked(rows, {}, {})


def _move(
    update: Any,
    tables: Any,
    states: Any,
    ids: Calls,
    grads: Calls,
    trips: Any,
    step: Array,
    frozen: Array,
    key: Array,
) -> tuple[dict[str, Array], dict[str, RowState], Array]:
    moved, kept, finite, keys = {}, {}, [], rounding.keys(key, grads)
    for path, some in grads.items():
        calls, some = everywhere((ids[path], some))
        every_grad = jnp.concatenate([grad.reshape(-1, grad.shape[-1]) for grad in some])
        every_id = jnp.concatenate([one.ravel() for one in calls])
        moved[path], kept[path], ok = update(
            tables[path], states[path], every_id, every_grad, False, step, frozen, keys[path]
        )
        finite.append(ok)
    return moved, kept, jnp.array(finite).all()


HERE = Tables(_read, _move)


def make_step(
    objective: Objective,
    dense_optimizer: optax.GradientTransformation,
    row_optimizer: RowOptimizer,
    tables_on: Tables = HERE,
) -> Step:
    """One update of the looked-up rows, and of every parameter that is not in a table.

    Takes the state of this module's `init_state`; otherwise it is the step of
    `training.make_step`. A step whose loss is not finite writes no row.

    The objective must call the model once, and return the collection `row_ids` that the model
    writes in `Aux.sown`, as those of `rezoo.objectives` do. It is evaluated a second time for the ids alone.

    Args:
      objective: what is minimised.
      dense_optimizer: for all parameters but the tables.
      row_optimizer: for the rows that are looked up.
      tables_on: where the tables lie.

    Raises:
      ValueError: if `row_optimizer` is not one of rows; of the step, if the loss depends on a table otherwise
        than by its looked-up rows, or the state is not of this module.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> from rezoo.training import row_sparse
    >>> batch = pairs([1], [2])
    >>> model, optimizers = MF(3, 5, dim=2), (optax.sgd(0.1), row_sparse.sgd(0.1))
    >>> step = make_step(objectives.pointwise(model, losses.squared), *optimizers)
    >>> old = init_state(jax.random.key(0), model, *optimizers, batch)
    >>> new, metrics = step(old, batch)
    >>> moved = new.params["user"]["embedding"] != old.params["user"]["embedding"]
    >>> moved.any(axis=1).tolist()  # the row of user 1 alone
    [False, True, False]
    """
    check_moves_rows(row_optimizer)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        if not isinstance(state.opt_state, OptState):
            raise ValueError("the state is of training.init_state: give one of row_sparse.init_state")
        key, batch = jax.random.fold_in(state.key, state.step), masked(batch)
        tables, dense = split(state.params, state.opt_state.rows)
        rows = dict(state.opt_state.rows)
        # Both evaluations draw the same.
        draws = jax.random.clone(key)
        first, value = (
            by_rows(objective, state.constants, one, batch) for one in (jax.random.clone(key), key)
        )
        ids = ids_of(first, dense, tables)
        looked = tables_on.read(tables, ids)
        gradient = jax.value_and_grad(value, (0, 1), has_aux=True)
        rows_read = jax.tree.map(lambda row: row.astype(jnp.float32), looked.rows)
        (loss, aux), (grads, row_grads) = gradient(dense, rows_read)

        old = state._replace(params=dense, opt_state=state.opt_state.dense)
        updates, opt_state = dense_optimizer.update(grads, old.opt_state, dense)
        params = optax.apply_updates(dense, updates)
        complete = jnp.array([lost == 0 for lost in looked.lost.values()]).all()
        finite = [dense_step.all_finite((loss, params)), complete]
        now = state.step + 1, state.halted | ~jnp.isfinite(loss) | ~complete
        update = partial(update_rows, row_optimizer)
        moved, kept, ok = tables_on.move(update, tables, rows, ids, row_grads, looked.trips, *now, draws)
        finite.append(ok)
        new = old._replace(
            params=params,
            constants=dense_step.refreshed(state.constants, aux.sown),
            opt_state=opt_state,
            step=state.step + 1,
            halted=~jnp.array(finite).all(),
        )
        new = dense_step.unless_halted(old, new)
        new = new._replace(
            params=join(new.params, tables | moved), opt_state=OptState(new.opt_state, rows | kept)
        )
        return new, aux.metrics | looked.lost

    return step


def sum_by_id(
    ids: Int[Array, " M"], values: Float[Array, " M D"], slot: Int[Array, " N"]
) -> tuple[Float[Array, " M D"], Bool[Array, " M"], Int[Array, " N"]]:
    """The values summed over equal ids, without sorting them.

    Each id writes its place into `slot`, and the place that is left there stands for them all.
    Which of them that is, the device may choose; on CPU it is the last.

    Args:
      ids: row numbers, 0..N-1.
      values: what to sum.
      slot: scratch; its content does not matter.

    Returns:
      At one place of each id its sum, at the others 0; whether it is that place; the scratch, to
      be written in again by the next call.

    >>> ids, values = jnp.array([3, 1, 3]), jnp.array([[1.0], [2.0], [5.0]])
    >>> total, here, slot = sum_by_id(ids, values, jnp.zeros(9, jnp.int32))
    >>> {int(i): float(total[at, 0]) for at, i in enumerate(ids) if here[at]}
    {1: 2.0, 3: 6.0}
    """
    place = jnp.arange(len(ids), dtype=slot.dtype)
    slot = slot.at[ids].set(place)
    at = slot[ids]
    return jnp.zeros_like(values).at[at].add(values), at == place, slot


def update_rows(
    optimizer: RowOptimizer,
    table: Float[Array, " N D"],
    state: RowState,
    ids: Int[Array, " M"],
    grad: Float[Array, " M D"],
    once: bool,
    step: Int[Array, ""],
    frozen: Bool[Array, ""],
    key: Key[Array, ""],
) -> tuple[Float[Array, " N D"], RowState, Bool[Array, ""]]:
    """The table and its state after one update of the rows `ids`, and whether it was finite.

    `once` says that each row comes once only; N then stands for none. The
    key rounds the rows of a table of bfloat16.
    """
    here, slot = ids < len(table), state.slot
    if not once:
        grad, here, slot = sum_by_id(ids, grad, slot)
    old = jax.tree.map(operator.itemgetter(ids), state.optimizer)
    # Without the barrier XLA computes the update once for the table and once more for `isfinite`.
    update, new = jax.lax.optimization_barrier(optimizer.update(grad, old, step))
    beyond = table.shape[0] + jnp.arange(len(ids), dtype=ids.dtype)
    target = jnp.where(here & ~frozen, ids, beyond)
    write = {"mode": "drop", "unique_indices": True}
    if table.dtype == jnp.bfloat16:
        moved = rounding.stochastic(key, table[ids].astype(jnp.float32) + update)
        table = table.at[target].set(moved, **write)
    else:
        table = table.at[target].add(update, **write)
    new = jax.tree.map(lambda leaf, rows: leaf.at[target].set(rows, **write), state.optimizer, new)
    return table, RowState(new, slot), jnp.isfinite(update).all()
