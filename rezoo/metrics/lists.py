"""Beyond accuracy: what the lists of all users are like, `ids` `[U k]`."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.metrics.masked import mean


def coverage(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """The share of the catalogue that is recommended to anyone; id 0 is no item."""
    return (_exposure(ids, num_items)[1:] > 0).mean()


def gini(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """How unequally the places are shared among items: 0 all alike, towards 1 one item has all."""
    exposure = jnp.sort(_exposure(ids, num_items)[1:])
    n = num_items - 1
    weight = 2 * jnp.arange(1.0, n + 1) - n - 1
    return jnp.vdot(weight, exposure) / jnp.maximum(n * exposure.sum(), 1)


def mean_popularity(ids: Int[Array, " U k"], popularity: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean popularity (any unit) of the recommended items."""
    return mean(popularity[ids], ids > 0)


def novelty(ids: Int[Array, " U k"], share: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean self-information -log₂ share of the recommended items, in bits (Zhou 2010).

    `share` is each item's share of the training events; an item without any counts as the rarest.
    """
    rarest = jnp.min(jnp.where(share > 0, share, jnp.inf))
    return mean(-jnp.log2(jnp.where(share > 0, share, rarest))[ids], ids > 0)


def intra_list_diversity(ids: Int[Array, " U k"], vector: Float[Array, " N D"]) -> Float[Array, ""]:
    """Mean of 1 - cosine over the pairs of each list (Ziegler 2005), then over lists with a pair."""
    unit = vector / jnp.maximum(jnp.linalg.norm(vector, axis=1, keepdims=True), 1e-12)
    x = unit[ids]
    real = ids > 0
    pair = real[:, :, None] & real[:, None, :] & ~jnp.eye(ids.shape[1], dtype=bool)[None]
    apart = jnp.where(pair, 1 - jnp.einsum("uid,ujd->uij", x, x), 0.0).sum((1, 2))
    count = pair.sum((1, 2))
    return mean(apart / jnp.maximum(count, 1), count > 0)


def _exposure(ids: Array, num_items: int) -> Array:
    return jnp.zeros(num_items).at[ids.ravel()].add(1.0).at[0].set(0.0)
