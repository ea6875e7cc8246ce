"""The mean over what counts."""

import jax.numpy as jnp
from jaxtyping import Array


def mean(value: Array, where: Array | None) -> Array:
    """Of the values where the mask is, 0 if nowhere; of all of them without a mask."""
    if where is None:
        return value.mean()
    return jnp.where(where, value, 0.0).sum() / jnp.maximum(where.sum(), 1)


def error(value: Array, where: Array | None) -> Array:
    """The mean of what is better the smaller it is: NaN, not 0, if the mask is nowhere.

    >>> float(error(jnp.ones(2), jnp.zeros(2, bool)))
    nan
    """
    found = mean(value, where)
    return found if where is None else jnp.where(where.any(), found, jnp.nan)
