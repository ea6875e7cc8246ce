"""Training steps whose cost does not grow with the embedding tables.

`make_step` is `training.make_step` for models with large tables. A batch looks up a few thousand
rows; only those rows of the table and of its optimizer's state are read and written, in place if
the state is donated. The table is never differentiated: each lookup's gradient arrives at a "tap"
of the lookup's own shape (see `nn.embedding.Embed`).

Sparse is the optimizer's choice, not the model's. Below some 10⁴ rows a dense optimizer is as fast.
"""

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Bool, Float, Int

from rezoo import training
from rezoo.types import Aux, Batch, Objective, Scalars, Step, TrainState


class RowOptimizer(NamedTuple):
    """How looked-up rows move. Rates may be traced values: build it inside `train` and vmap."""

    init: Callable[[Float[Array, " N D"]], Any]
    """Table -> the optimizer's state: arrays with leading axis N."""
    update: Callable[[Float[Array, " M D"], Any, Int[Array, ""]], tuple[Float[Array, " M D"], Any]]
    """(gradients of some rows, these rows' state, number of the step from 1) -> (what to add, state)."""


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


def sgd(learning_rate: float | Array) -> RowOptimizer:
    """Stochastic gradient descent; the same as `optax.sgd`."""
    return RowOptimizer(lambda table: (), lambda grad, state, step: (-learning_rate * grad, state))


def adagrad(
    learning_rate: float | Array, initial_accumulator: float = 0.1, eps: float = 1e-7
) -> RowOptimizer:
    """Adagrad (Duchi 2011, https://jmlr.org/papers/v12/duchi11a.html); the same as `optax.adagrad`."""

    def update(grad: Array, total: Array, step: Array) -> tuple[Array, Array]:
        total = total + jnp.square(grad)
        return -learning_rate * grad * jnp.where(total > 0, jax.lax.rsqrt(total + eps), 0.0), total

    return RowOptimizer(lambda table: jnp.full_like(table, initial_accumulator), update)


def row_wise_adagrad(learning_rate: float | Array, eps: float = 1e-8) -> RowOptimizer:
    """Adagrad with one number a row: the sum of the mean square of the row's gradients.

    The state is D times smaller than the table (Naumov 2019, https://arxiv.org/abs/1906.00091).
    """

    def update(grad: Array, total: Array, step: Array) -> tuple[Array, Array]:
        total = total + jnp.square(grad).mean(axis=-1)
        return -learning_rate * grad / (jnp.sqrt(total) + eps)[:, None], total

    return RowOptimizer(lambda table: jnp.zeros(table.shape[0], table.dtype), update)


def lazy_adam(
    learning_rate: float | Array, b1: float | Array = 0.9, b2: float | Array = 0.999, eps: float = 1e-8
) -> RowOptimizer:
    """Adam for the rows of the batch alone. It is not Adam, it is another algorithm.

    Adam (Kingma 2015, https://arxiv.org/abs/1412.6980, algorithm 1) moves every row at every step:
    while a row is absent, its moments decay and it goes on along its momentum. Here an absent row
    rests and its moments are kept. The bias correction counts all steps, the row's or not. Both are
    one where every step sees every row.
    """

    def update(grad: Array, moments: Array, step: Array) -> tuple[Array, Array]:
        m, v = jnp.split(moments, 2, axis=1)
        m = b1 * m + (1 - b1) * grad
        v = b2 * v + (1 - b2) * jnp.square(grad)
        m_hat, v_hat = m / (1 - b1**step), v / (1 - b2**step)
        return -learning_rate * m_hat / (jnp.sqrt(v_hat) + eps), jnp.concatenate([m, v], axis=1)

    return RowOptimizer(lambda table: jnp.zeros_like(table, shape=(len(table), 2 * table.shape[1])), update)


def init_state(
    key: jax.Array,
    model: nn.Module,
    dense_optimizer: optax.GradientTransformation,
    row_optimizer: RowOptimizer,
    batch: Batch,
    *,
    constants: Mapping[str, Any] | None = None,
    dense: Sequence[str] = (),
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

    Raises:
      ValueError: if a name in `dense` is no module with a table.
    """
    state = training.init_state(key, model, optax.identity(), batch, constants=constants)
    row = jax.tree.map(operator.itemgetter(slice(1)), batch)
    _, sown = jax.eval_shape(
        lambda: model.apply(state.variables, row.query, row.item, mutable=["row_ids", "batch_stats"])
    )
    params = _flat(state.params)
    tables = [path for path in _ids(Aux({}, sown), params) if params[path].ndim == 2]
    modules = {path: set(path.split("/")[:-1]) for path in tables}
    if unknown := set(dense).difference(*modules.values()):
        raise ValueError(f"no table has a name in {sorted(unknown)}; the tables are {tables}")
    rows = {
        path: RowState(row_optimizer.init(params[path]), jnp.zeros(len(params[path]), jnp.int32))
        for path in tables
        if not modules[path] & set(dense)
    }
    _, rest = _split(state.params, rows)
    return state._replace(opt_state=OptState(dense_optimizer.init(rest), rows))


def make_step(
    objective: Objective, dense_optimizer: optax.GradientTransformation, row_optimizer: RowOptimizer
) -> Step:
    """One update of the looked-up rows, and of every parameter that is not in a table.

    Takes the state of this module's `init_state`; otherwise it is the step of
    `training.make_step`. A step whose loss is not finite writes no row.

    The objective must call the model once, and return the collection `row_ids` that the model
    writes in `Aux.sown`, as those of `rezoo.objectives` do.

    Raises:
      ValueError: if the loss depends on a table otherwise than by its looked-up rows.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        key = jax.random.fold_in(state.key, state.step)
        tables, dense = _split(state.params, state.opt_state.rows)
        rows = dict(state.opt_state.rows)
        loss, aux, grads, row_grads = _gradients(objective, state.constants, key, batch, dense, tables)

        old = state._replace(params=dense, opt_state=state.opt_state.dense)
        updates, opt_state = dense_optimizer.update(grads, old.opt_state, dense)
        params = optax.apply_updates(dense, updates)
        finite = [training.all_finite((loss, params))]
        frozen = state.halted | ~jnp.isfinite(loss)
        for path, (ids, grad) in row_grads.items():
            tables[path], rows[path], ok = _update_rows(
                row_optimizer, tables[path], rows[path], ids, grad, state.step + 1, frozen
            )
            finite.append(ok)
        new = old._replace(
            params=params,
            constants=training.refreshed(state.constants, aux.sown),
            opt_state=opt_state,
            step=state.step + 1,
            halted=~jnp.array(finite).all(),
        )
        new = training.unless_halted(old, new)
        new = new._replace(params=_join(new.params, tables), opt_state=OptState(new.opt_state, rows))
        return new, aux.metrics

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
    """
    place = jnp.arange(len(ids), dtype=slot.dtype)
    slot = slot.at[ids].set(place)
    at = slot[ids]
    return jnp.zeros_like(values).at[at].add(values), at == place, slot


def _update_rows(
    optimizer: RowOptimizer,
    table: Float[Array, " N D"],
    state: RowState,
    ids: Int[Array, " M"],
    grad: Float[Array, " M D"],
    step: Int[Array, ""],
    frozen: Bool[Array, ""],
) -> tuple[Float[Array, " N D"], RowState, Bool[Array, ""]]:
    """The table and its state after one update of the rows `ids`, and whether it was finite."""
    grad, here, slot = sum_by_id(ids, grad, state.slot)
    old = jax.tree.map(operator.itemgetter(ids), state.optimizer)
    # Without the barrier XLA computes the update once for the table and once more for `isfinite`.
    update, new = jax.lax.optimization_barrier(optimizer.update(grad, old, step))
    beyond = table.shape[0] + jnp.arange(len(ids), dtype=ids.dtype)
    target = jnp.where(here & ~frozen, ids, beyond)
    write = {"mode": "drop", "unique_indices": True}
    table = table.at[target].add(update, **write)
    new = jax.tree.map(lambda leaf, rows: leaf.at[target].set(rows, **write), state.optimizer, new)
    return table, RowState(new, slot), jnp.isfinite(update).all()


def _gradients(
    objective: Objective, constants: Any, key: jax.Array, batch: Batch, dense: Any, tables: dict[str, Array]
) -> tuple[Array, Aux, Any, dict[str, tuple[Array, Array]]]:
    """(loss, aux, gradient of `dense`, {table: (ids, gradient of each id's row)})."""

    def value(dense: Any, taps: dict[str, Any], anchor: Array) -> tuple[Array, Aux]:
        held = {path: _only_looked_up(path, table, anchor) for path, table in tables.items()}
        taps = unflatten_dict(taps, sep="/")
        return objective({"params": _join(dense, held), **constants, "row_taps": taps}, key, batch)

    plain = {"params": _join(dense, tables), **constants}
    shapes = jax.eval_shape(objective, plain, key, batch)[1]
    if "row_ids" not in shapes.sown:
        raise ValueError("the objective must return the model's collection 'row_ids' in Aux.sown")
    calls = _ids(shapes, tables)
    taps = {
        path: tuple(jnp.zeros((*ids.shape, tables[path].shape[1]), tables[path].dtype) for ids in looked_up)
        for path, looked_up in calls.items()
    }
    (loss, aux), (grads, row_grads, _) = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(
        dense, taps, jnp.float32(0)
    )
    flat = {
        path: (
            jnp.concatenate([ids.reshape(-1) for ids in looked_up]),
            jnp.concatenate([grad.reshape(-1, grad.shape[-1]) for grad in row_grads[path]]),
        )
        for path, looked_up in _ids(aux, tables).items()
    }
    return loss, aux, grads, flat


def _ids(aux: Aux, tables: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What each call of each of the tables looked up."""
    calls = _flat(aux.sown.get("row_ids", {}))
    return {path: looked_up for path, looked_up in calls.items() if path in tables}


def _split(params: Any, tables: Collection[str]) -> tuple[dict[str, Array], Any]:
    """(tables by path, the other parameters)."""
    flat = _flat(params)
    rest = {path: leaf for path, leaf in flat.items() if path not in tables}
    return {path: flat[path] for path in tables}, unflatten_dict(rest, sep="/")


def _join(params: Any, tables: Mapping[str, Any]) -> Any:
    return unflatten_dict(_flat(params) | dict(tables), sep="/")


def _flat(tree: Any) -> dict[str, Any]:
    return cast(dict[str, Any], flatten_dict(tree, sep="/"))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _only_looked_up(path: str, table: Array, anchor: Array) -> Any:
    """`table`, refusing to be differentiated; through the anchor it counts as a variable."""
    return table


def _refuse(path: str, residual: None, cotangent: Array) -> NoReturn:
    raise ValueError(
        f"the loss depends on the whole table {path!r} (a tied softmax, `table()`), so it cannot be trained "
        f"row by row: leave it to the dense optimizer by init_state(…, dense=[{path.split('/')[-2]!r}])"
    )


_only_looked_up.defvjp(lambda path, table, anchor: (table, None), _refuse)
