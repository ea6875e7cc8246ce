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


def cosine(scale: float = 16.0) -> Similarity:
    """`scale` × the cosine, so that popular items do not win by the length of their vectors.

    Gupta 2019, NISER, https://arxiv.org/abs/1909.04276, equation 5.
    """
    return Similarity(lambda h: scale * unit(h), unit)


DOT = Similarity(lambda h: h, lambda v: v)
"""The inner product."""
