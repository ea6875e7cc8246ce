"""How looked-up rows of a table move: optimizers whose state has a row for every row of the table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_0, below_1


class RowOptimizer(NamedTuple):
    """How looked-up rows move. Rates may be traced values: build it inside `train` and vmap."""

    init: Callable[[Float[Array, " N D"]], Any]
    """Table -> the optimizer's state: arrays with leading axis N."""
    update: Callable[[Float[Array, " M D"], Any, Int[Array, ""]], tuple[Float[Array, " M D"], Any]]
    """(gradients of some rows, these rows' state, number of the step from 1) -> (what to add, state)."""


def sgd(learning_rate: float | Array) -> RowOptimizer:
    """Stochastic gradient descent; the same as `optax.sgd`.

    >>> optimizer = sgd(0.5)
    >>> optimizer.update(jnp.array([[2.0, 4.0]]), optimizer.init(jnp.zeros((9, 2))), jnp.int32(1))[0].tolist()
    [[-1.0, -2.0]]
    """
    at_least_0(learning_rate=learning_rate)
    return RowOptimizer(lambda table: (), lambda grad, state, step: (-learning_rate * grad, state))


def adagrad(
    learning_rate: float | Array, initial_accumulator: float | Array = 0.1, eps: float | Array = 1e-7
) -> RowOptimizer:
    """Adagrad (Duchi 2011, https://jmlr.org/papers/v12/duchi11a.html); the same as `optax.adagrad`.

    For the rows of the batch: G ← G + g², θ ← θ - η g / √(G + ε), where PyTorch has √G + ε. With
    `momentum`, an accumulator of 0 and an ε of 1e-6 it is the optimizer of GRU4Rec's authors.

    >>> optimizer = adagrad(0.5, initial_accumulator=0.0, eps=0.0)
    >>> change, state = optimizer.update(jnp.array([[2.0, -4.0]]), jnp.zeros((1, 2)), jnp.int32(1))
    >>> change.tolist(), state.tolist()  # the first step is η in each direction
    ([[-0.5, 0.5]], [[4.0, 16.0]])
    """
    at_least_0(learning_rate=learning_rate, initial_accumulator=initial_accumulator, eps=eps)

    def update(grad: Array, total: Array, step: Array) -> tuple[Array, Array]:
        total = total + jnp.square(grad)
        return -learning_rate * grad * jnp.where(total > 0, jax.lax.rsqrt(total + eps), 0.0), total

    return RowOptimizer(lambda table: jnp.full_like(table, initial_accumulator), update)


def momentum(optimizer: RowOptimizer, decay: float | Array) -> RowOptimizer:
    """Rows that go on along what they were moved by: m ← μ m + update, θ ← θ + m.

    Absent rows rest and keep their m, as with the optimizer of GRU4Rec's authors; `optax.trace`, which
    is the same where every step sees every row, moves them along it.

    >>> optimizer, grad = momentum(sgd(1.0), 0.5), jnp.array([[2.0]])
    >>> first, state = optimizer.update(grad, optimizer.init(jnp.zeros((1, 1))), jnp.int32(1))
    >>> second, state = optimizer.update(grad, state, jnp.int32(2))
    >>> first.tolist(), second.tolist()  # -2 and -2 - ½ × 2
    ([[-2.0]], [[-3.0]])
    """
    below_1(decay=decay)

    def init(table: Array) -> tuple[Any, Array]:
        return optimizer.init(table), jnp.zeros_like(table)

    def update(grad: Array, state: tuple[Any, Array], step: Array) -> tuple[Array, tuple[Any, Array]]:
        change, inner = optimizer.update(grad, state[0], step)
        change = decay * state[1] + change
        return change, (inner, change)

    return RowOptimizer(init, update)


def row_wise_adagrad(learning_rate: float | Array, eps: float | Array = 1e-8) -> RowOptimizer:
    """Adagrad with one number a row: G ← G + mean(g²), θ ← θ - η g / (√G + ε).

    The state is D times smaller than the table (Naumov 2019, https://arxiv.org/abs/1906.00091).

    >>> optimizer = row_wise_adagrad(0.5, eps=0.0)
    >>> change, state = optimizer.update(jnp.array([[2.0, -2.0]]), jnp.zeros(1), jnp.int32(1))
    >>> change.tolist(), state.tolist()  # one number for the row
    ([[-0.5, 0.5]], [4.0])
    """
    at_least_0(learning_rate=learning_rate, eps=eps)

    def update(grad: Array, total: Array, step: Array) -> tuple[Array, Array]:
        total = total + jnp.square(grad).mean(axis=-1)
        return -learning_rate * grad / (jnp.sqrt(total) + eps)[:, None], total

    return RowOptimizer(lambda table: jnp.zeros(table.shape[0], table.dtype), update)


def lazy_adam(
    learning_rate: float | Array,
    b1: float | Array = 0.9,
    b2: float | Array = 0.999,
    eps: float | Array = 1e-8,
) -> RowOptimizer:
    """Adam for the rows of the batch alone. It is not Adam, it is another algorithm.

    Adam (Kingma 2015, https://arxiv.org/abs/1412.6980, algorithm 1) moves every row at every step:
    while a row is absent, its moments decay and it moves on by its momentum. Here rows that are not in
    the batch are not updated, and their moments are kept:

        m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  θ ← θ - η m̂ / (√v̂ + ε)
        m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)

    t counts all steps, the row's or not. Where every step sees every row it is `optax.adam`.

    `torch.optim.SparseAdam` has m̂ / (√v̂ + ε / √(1 - β₂ᵗ)): its ε stands beside the uncorrected √v, so in
    the first steps it weighs more, 32 times as much at the first one. `torch.optim.Adam` is as here.

    >>> optimizer = lazy_adam(0.5)
    >>> change, state = optimizer.update(jnp.array([[2.0, -4.0]]), jnp.zeros((1, 4)), jnp.int32(1))
    >>> print(change.round(4))  # the first step is η in each direction
    [[-0.5  0.5]]
    """
    at_least_0(learning_rate=learning_rate, eps=eps)
    below_1(b1=b1, b2=b2)

    def update(grad: Array, moments: Array, step: Array) -> tuple[Array, Array]:
        m, v = jnp.split(moments, 2, axis=1)
        m = b1 * m + (1 - b1) * grad
        v = b2 * v + (1 - b2) * jnp.square(grad)
        m_hat, v_hat = m / (1 - b1**step), v / (1 - b2**step)
        return -learning_rate * m_hat / (jnp.sqrt(v_hat) + eps), jnp.concatenate([m, v], axis=1)

    return RowOptimizer(lambda table: jnp.zeros_like(table, shape=(len(table), 2 * table.shape[1])), update)
