"""How a state and an item vector are compared: an argument of the session models."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Similarity(NamedTuple):
    """score = <state(h), item(v)>; item vectors are mapped where they are inputs, too."""

    state: Callable[[jax.Array], jax.Array]
    item: Callable[[jax.Array], jax.Array]


def unit(x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
    """Scale to length 1: x / |x|; zeros stay zeros."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12))


def at_most(x: Float[Array, " *B D"], length: float) -> Float[Array, " *B D"]:
    """Scale what is longer down to `length`.

    >>> at_most(jnp.array([[3.0, 4.0], [0.0, 0.5]]), 2.5).tolist()
    [[1.5, 2.0], [0.0, 0.5]]
    """
    square = jnp.square(x).sum(-1, keepdims=True)
    # The root's slope at 0 is infinite, and zeros are not too long.
    too_long = square > length**2
    return jnp.where(too_long, x * length / jnp.sqrt(jnp.where(too_long, square, 1.0)), x)


def cosine(scale: float = 16.0) -> Similarity:
    """`scale` × the cosine, so that popular items do not win by the length of their vectors.

    Gupta 2019, NISER, https://arxiv.org/abs/1909.04276, equation 5.
    """
    return Similarity(lambda h: scale * unit(h), unit)


DOT = Similarity(lambda h: h, lambda v: v)
"""The inner product."""
