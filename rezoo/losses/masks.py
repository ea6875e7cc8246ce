"""Types, masks and bounds that the losses share."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import at_least_float32, same_shape

Scores = Float[Array, " *B"]
Mask = Bool[Array, " *B"]
PerList = Float[Array, " ..."]

LARGEST = 1e15
"""Scores are held below it, so that their squares and the sums of these are finite in float32."""


def inputs(score: Scores, label: Scores, where: Mask | None) -> tuple[Scores, Scores, Mask]:
    """What every loss begins with: shapes that are the same, and numbers that no loss makes infinite.

    What is masked becomes 0 before anything is computed of it: a NaN there would get into the gradient
    even if its loss were masked. A score beyond ±1e15 counts as ±1e15, in value and gradient. Losses are
    computed in float32 at least.

    Raises:
      ValueError: if the shapes differ.
    """
    same_shape(score=score, label=label, where=where)
    where = all_if_none(where, score)
    score, label = (x.astype(at_least_float32(x.dtype)) for x in (score, label))
    return bounded(jnp.where(where, score, 0.0)), jnp.where(where, label, 0.0), where


@jax.custom_jvp
def bounded(score: Scores) -> Scores:
    """Within ±`LARGEST`; the gradient passes, so that a score beyond is drawn back.

    Infinity stays what it is: it is no score, and has to stop the run.
    """
    return jnp.where(jnp.isinf(score), score, jnp.clip(score, -LARGEST, LARGEST))


bounded.defjvp(lambda primals, tangents: (bounded(*primals), *tangents))


def masked(value: Scores, where: Mask) -> Scores:
    """`value`, 0 where masked."""
    return jnp.where(where, value, 0.0)


def all_if_none(where: Mask | None, like: Scores) -> Mask:
    """The mask, or one that leaves everything in."""
    return jnp.ones(like.shape, bool) if where is None else where


def log_softmax(score: Scores, where: Mask) -> Scores:
    """Over the last axis, of what counts; 0 where masked, even if all is."""
    some = where.any(axis=-1, keepdims=True)
    kept = jnp.where(where, score, jnp.where(some, -jnp.inf, 0.0))
    return jnp.where(where, jax.nn.log_softmax(kept, axis=-1), 0.0)


def logsumexp(value: Scores, where: Mask) -> PerList:
    """Over the last axis, of what counts; 0 if nothing does."""
    some = where.any(axis=-1)
    kept = jnp.where(where, value, jnp.where(some[..., None], -jnp.inf, 0.0))
    return jnp.where(some, jax.nn.logsumexp(kept, axis=-1), 0.0)


def largest(value: Float[Array, " *B C"], k: int) -> Int[Array, " *B k"]:
    """Where the k largest of the last axis are, the first of equal ones; NaN is the largest of all.

    `jax.lax.top_k` finds the same, but XLA gathers its input from all devices, even where each has lists
    of its own.
    """
    at = jax.lax.broadcasted_iota(jnp.int32, value.shape, value.ndim - 1)

    def step(left: Float[Array, " *B C"], _: None) -> tuple[Float[Array, " *B C"], Int[Array, " *B"]]:
        most = left.max(-1, keepdims=True)
        place = jnp.where(left == most, at, value.shape[-1]).min(-1)
        return jnp.where(at == place[..., None], -jnp.inf, left), place

    above_taken = jnp.nan_to_num(value, nan=jnp.inf, posinf=jnp.inf)  # -inf is the least finite number
    return jnp.moveaxis(jax.lax.scan(step, above_taken, length=k, unroll=min(k, 8))[1], 0, -1)
