"""How a state and an item vector are compared: an argument of the session models."""

import functools
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.arrays import above_0


def same(x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
    """The vector as it is."""
    return x


def unit(x: Float[Array, " *B D"], length: float = 1.0) -> Float[Array, " *B D"]:
    """Scale to `length`: length · x / |x|; zeros stay zeros."""
    return length * (x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-12)))


Map = Annotated[Callable[[jax.Array], jax.Array], same, unit]
"""Of vectors; a model is saved with one of these."""


class Similarity(NamedTuple):
    """score = <state(h), item(v)>; item vectors are mapped where they are inputs, too."""

    state: Map
    item: Map


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
    above_0(scale=scale)
    return Similarity(functools.partial(unit, length=scale), unit)


DOT = Similarity(same, same)
"""The inner product."""
