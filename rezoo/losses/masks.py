"""Types and masks that the losses share."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Scores = Float[Array, " *B"]
Mask = Bool[Array, " *B"]
PerList = Float[Array, " ..."]


def masked(value: Scores, where: Mask | None) -> Scores:
    """`value`, 0 where masked."""
    return value if where is None else jnp.where(where, value, 0.0)


def all_if_none(where: Mask | None, like: Scores) -> Mask:
    """The mask, or one that leaves everything in."""
    return jnp.ones(like.shape, bool) if where is None else where


def log_softmax(score: Scores, where: Mask | None) -> Scores:
    """Over the last axis, of what counts; 0 where masked, even if all is."""
    where = all_if_none(where, score)
    some = where.any(axis=-1, keepdims=True)
    kept = jnp.where(where, score, jnp.where(some, -jnp.inf, 0.0))
    return jnp.where(where, jax.nn.log_softmax(kept, axis=-1), 0.0)


def logsumexp(value: Scores, where: Mask) -> PerList:
    """Over the last axis, of what counts; 0 if nothing does."""
    some = where.any(axis=-1)
    kept = jnp.where(where, value, jnp.where(some[..., None], -jnp.inf, 0.0))
    return jnp.where(some, jax.nn.logsumexp(kept, axis=-1), 0.0)
