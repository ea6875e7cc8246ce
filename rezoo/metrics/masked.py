"""The mean over what counts, of arrays of one shape."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def mean(value: Array, where: Array | None) -> Array:
    """Of the values where the mask is, 0 if nowhere; of all of them without a mask."""
    if where is None:
        return value.mean()
    return jnp.where(where, value, 0.0).sum() / jnp.maximum(where.sum(), 1)


def same_shape(**arrays: Any) -> None:
    """Arrays that belong together element by element; those that are None are left out.

    Otherwise `[n]` and `[n, 1]` would be broadcast to `[n, n]` in silence.

    Raises:
      ValueError: if two of them have different shapes.
    """
    shapes = {name: jnp.shape(array) for name, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"shapes differ: {told}; give one shape to all, such as by reshape(-1)")
