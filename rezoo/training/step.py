"""Training as three pure functions, one inside the other: step < epoch < fit.

None is jitted here: `jit` and `vmap` stand in the caller's code, so the same functions train one
model, a batch of seeds or a grid of learning rates. `rezoo.training.loop.run` is the host's loop around a
jitted `epoch`, with progress, early stopping and checkpoints.

Randomness goes by address: step s draws from `fold_in(key, s)` and the shuffle before it from
`fold_in(key, 2³² - 1 - s)`, so a run that is stopped and resumed draws what it would have drawn.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from rezoo.arrays import across, at_least_1, same_rows, whole_at_least_0
from rezoo.devices.meshes import along, lookup, parts
from rezoo.objectives.inputs import masked
from rezoo.types import Batch, Objective, Scalars, Step, TrainState, Variables


def init_state(
    key: jax.Array,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    batch: Batch,
    *,
    constants: Mapping[str, Any] | None = None,
) -> TrainState:
    """The state before the first step.

    Args:
      key: a typed key, `jax.random.key(seed)`.
      model: a `Scorer`.
      optimizer: gives the shape of the optimizer's state.
      batch: any batch of the data; only its shapes matter, and one row is enough.
      constants: collections that the model reads and that are not trained, such as `{"catalogue": …}`.

    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([0], [1])
    >>> state = init_state(jax.random.key(0), Popularity(3), optax.sgd(0.5), batch)
    >>> state.params["count"].tolist(), int(state.step)
    ([0.0, 0.0, 0.0], 0)
    """
    init_key, run_key = jax.random.split(key)
    row = blank_row(batch)
    constants = dict(constants or {})
    _, made = model.apply(
        constants, row.query, row.item, rngs={"params": init_key}, mutable=["params", "batch_stats"]
    )
    params = made["params"]
    if "batch_stats" in made:
        constants["batch_stats"] = made["batch_stats"]
    return TrainState(params, constants, optimizer.init(params), run_key, jnp.int32(0), jnp.bool_(False))


def blank_row(batch: Batch) -> Batch:
    """A row of zeros like those of the batch, for what only its shapes matter to.

    >>> from rezoo.data.batches import pairs
    >>> row = blank_row(pairs([7, 8], [1, 2]))
    >>> row.query.user.tolist(), row.where.tolist()
    ([0], [False])
    """
    return jax.tree.map(lambda x: jnp.zeros((1, *x.shape[1:]), x.dtype), batch)


def make_step(objective: Objective, optimizer: optax.GradientTransformation) -> Step:
    """One update of every parameter by an optax optimizer.

    A step whose loss or whose new parameters are not finite is the last one: it sets `halted`,
    and further steps leave the state as it is, so that `loop.diagnosis` can say what broke and where.
    What does not count (`where` False) may be NaN. Labels of another shape than the items are a ValueError.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> batch = pairs([0], [1])
    >>> model, optimizer = Popularity(3), optax.sgd(0.5)
    >>> step = make_step(objectives.pointwise(model, losses.squared), optimizer)
    >>> state, metrics = step(init_state(jax.random.key(0), model, optimizer, batch), batch)
    >>> float(metrics["loss"]), state.params["count"].tolist()  # the gradient was -2
    (1.0, [0.0, 1.0, 0.0])
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Scalars]:
        key, batch = jax.random.fold_in(state.key, state.step), masked(batch)

        def value(params: Any) -> Any:
            return objective({"params": params, **state.constants}, key, batch)

        (loss, aux), grads = jax.value_and_grad(value, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = state._replace(
            params=params,
            constants=refreshed(state.constants, aux.sown),
            opt_state=opt_state,
            step=state.step + 1,
            halted=~all_finite((loss, params)),
        )
        return unless_halted(state, new), aux.metrics

    return step


def epoch(step: Step, state: TrainState, data: Batch, batch_size: int) -> tuple[TrainState, Scalars]:
    """One pass over the data in random order, as one `lax.scan`.

    The last batch is filled up with rows whose `where` is False; no row is dropped.

    Returns:
      The state and each metric's mean over the rows seen.

    Raises:
      ValueError: if there is no row, or `batch_size` is below 1.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> data = pairs([0, 0], [1, 2])
    >>> model, optimizer = Popularity(3), optax.sgd(0.5)
    >>> step = make_step(objectives.pointwise(model, losses.squared), optimizer)
    >>> start = init_state(jax.random.key(0), model, optimizer, data)
    >>> state, metrics = epoch(step, start, data, batch_size=1)
    >>> float(metrics["loss"]), state.params["count"].tolist(), int(state.step)
    (1.0, [0.0, 1.0, 1.0], 2)
    """
    rows = data.item.shape[0]
    if not rows or batch_size < 1:
        raise ValueError(
            f"there are {rows} rows to learn from in batches of {batch_size}: give one or more of each"
        )
    at_least_1(batch_size=batch_size)
    batch_size = min(batch_size, rows)
    order = shuffle(shuffle_key(state), rows)
    order = jnp.pad(order, (0, -rows % batch_size), constant_values=-1).reshape(-1, batch_size)

    def body(state: TrainState, index: Array) -> tuple[TrainState, tuple[Scalars, Array]]:
        batch = take(data, index)
        state, metrics = step(state, batch)
        return state, (metrics, batch.where.sum(dtype=jnp.float32))

    state, (metrics, weight) = jax.lax.scan(body, state, order)
    return state, jax.tree.map(lambda x: jnp.vdot(x, weight) / jnp.maximum(weight.sum(), 1), metrics)


def fit(
    step: Step,
    state: TrainState,
    data: Batch,
    evaluate: Callable[[Variables], Scalars] | None = None,
    *,
    num_epochs: int,
    batch_size: int,
) -> tuple[TrainState, Scalars]:
    """`num_epochs` epochs, each followed by `evaluate(variables)`, as one pure function.

    Returns:
      The state and the history: every metric with a leading axis of epochs.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import Popularity
    >>> data = pairs([0, 0], [1, 2])
    >>> model, optimizer = Popularity(3), optax.sgd(0.5)
    >>> step = make_step(objectives.pointwise(model, losses.squared), optimizer)
    >>> start = init_state(jax.random.key(0), model, optimizer, data)
    >>> state, history = fit(step, start, data, num_epochs=2, batch_size=1)
    >>> history["loss"].tolist()
    [1.0, 0.0]
    """
    whole_at_least_0(num_epochs=num_epochs)

    def body(state: TrainState, _: None) -> tuple[TrainState, Scalars]:
        state, metrics = epoch(step, state, data, batch_size)
        return state, metrics | (evaluate(state.variables) if evaluate else {})

    return jax.lax.scan(body, state, length=num_epochs)


def num_steps(rows: int, batch_size: int) -> int:
    """Steps of one epoch, for schedules.

    >>> num_steps(10, 4), num_steps(3, 4)
    (3, 1)
    """
    at_least_1(batch_size=batch_size)
    return -(-rows // batch_size)


def take(data: Batch, index: Int[Array, " B"]) -> Batch:
    """The rows `index` of a batch; a row asked for as -1 is all zeros and `where` False.

    Raises:
      ValueError: if the arrays of the batch differ in their number of rows.

    >>> from rezoo.data.batches import pairs
    >>> rows = take(pairs([7, 8], [1, 2]), jnp.array([1, -1]))
    >>> rows.query.user.tolist(), rows.where.tolist()
    ([8, 0], [True, False])
    """
    same_rows(data=data)

    def pick(column: Array) -> Array:
        place = along(index, column) if index.shape[0] % parts(column) == 0 else index
        chosen = lookup(column, place)
        return jnp.where(across(place >= 0, chosen), chosen, jnp.zeros_like(chosen))

    return jax.tree.map(pick, data)


def shuffle(key: jax.Array, n: int) -> Int[Array, " n"]:
    """A random order of 0 … n-1, without a sort (30 times `jax.random.permutation` on a CPU).

    Each round maps b-bit numbers one to one onto themselves: times an odd number, plus a number,
    exclusive-or with its own upper half. Where 2ᵇ > n, a number beyond n is mapped again until it
    is not ("cycle walking", Black and Rogaway 2002, https://doi.org/10.1007/3-540-45760-7_9).

    >>> sorted(shuffle(jax.random.key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    bits = max((n - 1).bit_length(), 1)
    mask = jnp.uint32(2**bits - 1)
    factors, terms = jax.random.bits(key, (2, 6))

    def mix(x: Array) -> Array:
        for factor, term in zip(factors, terms, strict=True):
            x = (x * (factor | 1) + term) & mask
            x = x ^ (x >> (bits + 1) // 2)
        return x

    walked = jax.lax.while_loop(
        lambda x: jnp.any(x >= n),
        lambda x: jnp.where(x < n, x, mix(x)),
        mix(jnp.arange(n, dtype=jnp.uint32)),
    )
    return walked.astype(jnp.int32)


def shuffle_key(state: TrainState) -> jax.Array:
    """The key of the shuffle that precedes the state's next step.

    >>> state = TrainState({}, {}, (), jax.random.key(0), jnp.int32(0), jnp.bool_(False))
    >>> bool(shuffle_key(state) == shuffle_key(state._replace(step=jnp.int32(1))))
    False
    """
    return jax.random.fold_in(state.key, jnp.uint32(2**32 - 1) - state.step.astype(jnp.uint32))


def all_finite(tree: Any) -> jax.Array:
    """Whether no number in the tree is NaN or infinite."""
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def unless_halted(old: TrainState, new: TrainState) -> TrainState:
    """The old state if it had halted, else the new one."""
    kept = jax.tree.map(
        lambda a, b: jnp.where(old.halted, a, b), old._replace(key=None), new._replace(key=None)
    )
    return kept._replace(key=old.key)


def refreshed(constants: dict[str, Any], sown: Mapping[str, Any]) -> dict[str, Any]:
    """The constants with those that the model rewrote (batch statistics) brought up to date."""
    return {name: sown.get(name, value) for name, value in constants.items()}
