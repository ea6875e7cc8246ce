"""The baseline without interaction: r̂_ui = μ + b_u + b_i, by alternating least squares.

Koren 2010, "Factor in the neighbors", https://doi.org/10.1145/1644873.1644874, section 2.1:

    min Σ (r_ui - μ - b_u - b_i)² + λ_u Σ b_u² + λ_i Σ b_i²

For fixed item biases each user's bias is a damped mean of what is left over, and the reverse, so
a few alternations solve it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from rezoo.arrays import across, at_least_0, at_least_1, in_table
from rezoo.nn.embedding import rows_or_zero
from rezoo.types import Batch, Query


def fit(
    data: Batch,
    num_users: int,
    num_items: int,
    *,
    user_damping: float | Array = 10.0,
    item_damping: float | Array = 5.0,
    rounds: int = 10,
) -> dict[str, Array]:
    """Global mean, user and item biases of `data`, whose items are pairs `[B]` or slates `[B C]`.

    Returns:
      `mean` [], `user_bias` [num_users] and `item_bias` [num_items]; a row without ratings has bias
      0. λ_u and λ_i are `user_damping` and `item_damping`, in numbers of ratings.

    Raises:
      ValueError: if a damping is below 0, there is no round, a label that counts is not finite, or an id is
        beyond its table; where ids are traced, their ratings are left out.
    """
    at_least_0(user_damping=user_damping, item_damping=item_damping)
    at_least_1(rounds=rounds)
    in_table("user", data.query.user, num_users)
    in_table("item", data.item, num_items)
    wrong = ~jnp.isfinite(data.label) & data.where
    if not isinstance(wrong, Tracer) and wrong.any():
        raise ValueError("a label that counts is not finite: leave its row out")
    user, where = jnp.broadcast_to(across(data.query.user, data.item), data.item.shape), data.where
    for ids, rows in ((user, num_users), (data.item, num_items)):
        where = where & (ids >= 0) & (ids < rows)
    label, where = jnp.where(where, data.label, 0.0), where.astype(jnp.float32)
    mean = jnp.vdot(where, label) / jnp.maximum(where.sum(), 1)

    def damped_mean(left: Array, row: Array, rows: int, damping: float | Array) -> Array:
        total = jnp.zeros(rows).at[row].add(left * where)
        return total / jnp.maximum(jnp.zeros(rows).at[row].add(where) + damping, 1e-9)

    def round_(_: Any, biases: tuple[Array, Array]) -> tuple[Array, Array]:
        b_u, _ = biases
        b_i = damped_mean(label - mean - b_u[user], data.item, num_items, item_damping)
        b_u = damped_mean(label - mean - b_i[data.item], user, num_users, user_damping)
        return b_u, b_i

    b_u, b_i = jax.lax.fori_loop(0, rounds, round_, (jnp.zeros(num_users), jnp.zeros(num_items)))
    return {"mean": mean, "user_bias": b_u, "item_bias": b_i}


def score(fitted: dict[str, Array], query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
    """μ + b_u + b_i; an id beyond its table has bias 0."""
    b_u = rows_or_zero(fitted["user_bias"], query.user)
    b_i = rows_or_zero(fitted["item_bias"], item)
    return fitted["mean"] + across(b_u, item) + b_i
