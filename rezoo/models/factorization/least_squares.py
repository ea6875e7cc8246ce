"""Many small least-squares problems at once: what an alternation solves, exactly or nearly."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

P = ParamSpec("P")
T = TypeVar("T")


def full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, whose products are of whole float32 numbers, also where an accelerator would round them.

    A matrix that was rounded may have no Cholesky factor.
    """

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.default_matmul_precision("float32"):
            return function(*args, **kwargs)

    return inner


class Systems(NamedTuple):
    """R linear systems A x = b: A = Σ_l s_l s_lᵀ + every + penalty · I, b = Σ_l s_l.

    A row's vectors s stand in one or more pieces of L.
    """

    seen: Float[Array, " P L D"]
    """s, 0 where padded."""
    row: Int[Array, " P"]
    """Whose piece it is, 0 … R - 1, ascending."""
    every: Float[Array, " D D"]
    """α times the Gramian of the other side."""
    penalty: Float[Array, " R"]

    def total(self, pieces: Float[Array, " P *S"]) -> Float[Array, " R *S"]:
        """Sum over the pieces of each row."""
        return jax.ops.segment_sum(pieces, self.row, len(self.penalty), indices_are_sorted=True)


Solver = Callable[[Systems, Float[Array, " R D"]], Float[Array, " R D"]]
"""`(systems, start) -> x`."""


def cholesky(systems: Systems, start: Float[Array, " R D"]) -> Float[Array, " R D"]:
    """Exact; D³ per row and D² per interaction."""
    a = systems.total(jnp.einsum("pld,ple->pde", systems.seen, systems.seen)) + systems.every[None]
    a += systems.penalty[:, None, None] * jnp.eye(a.shape[-1])[None]
    factor = jax.lax.linalg.cholesky(a)
    b = systems.total(systems.seen.sum(1))[..., None]
    y = jax.lax.linalg.triangular_solve(factor, b, left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(factor, y, left_side=True, lower=True, transpose_a=True)[..., 0]


def conjugate_gradient(steps: int = 3) -> Solver:
    """`steps` steps from where the row was; D² per row and D per interaction each.

    Takács, Pilászy, Tikk 2011, https://doi.org/10.1145/2043932.2043987. The objective never rises,
    and as the alternations go on from where they were, few steps are enough.
    """

    def solve(systems: Systems, start: Array) -> Array:
        def fit(x: Array) -> Array:
            return jnp.einsum("pld,pd->pl", systems.seen, x[systems.row])

        def back(fitted: Array) -> Array:
            return systems.total(jnp.einsum("pld,pl->pd", systems.seen, fitted))

        def rest(x: Array) -> Array:
            return x @ systems.every + systems.penalty[:, None] * x

        def rate(square: Array, direction: Array, fitted: Array, others: Array) -> Array:
            return _ratio(square, systems.total((fitted**2).sum(1)) + (direction * others).sum(1))

        def step(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
            x, r, direction, square = state
            fitted, others = fit(direction), rest(direction)
            length = rate(square, direction, fitted, others)
            x, r = x + length * direction, r - length * (back(fitted) + others)
            new = (r * r).sum(1)
            return x, r, r + _ratio(new, square) * direction, new

        r = back(1 - fit(start)) - rest(start)  # b - A x, as b is what comes back of ones
        x, _, last, square = jax.lax.fori_loop(0, steps - 1, step, (start, r, r, (r * r).sum(1)))
        return x + rate(square, last, fit(last), rest(last)) * last  # its residual is not asked for

    return solve


CG3 = conjugate_gradient(3)


def _ratio(a: Float[Array, " R"], b: Float[Array, " R"]) -> Float[Array, " R 1"]:
    """The quotient a / b, and 0 where a row is solved."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 0.0)[:, None]
