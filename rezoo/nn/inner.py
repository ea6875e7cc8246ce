"""Inner products of a query and its items, and what is folded into them.

A bias, or a constant, goes into the product as one more column, so that `encode(query) · table()[item]`
is the score itself and retrieval needs nothing else.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.arrays import products
from rezoo.devices.meshes import alike


def inner(query: Float[Array, " B D"], item: Float[Array, " B *C D"]) -> Float[Array, " B *C"]:
    """⟨query_b, item_bc⟩ for each row b and each of its items c, summed in float32 at least."""
    return products("bd,b...d->b...", query, item)


def with_columns(x: Float[Array, " *S D"], *columns: float | Float[Array, " *S 1"]) -> Float[Array, " *S E"]:
    """`x` with further columns; a number is a constant column.

    >>> with_columns(jnp.array([[3.0, 4.0]]), 1.0).tolist()
    [[3.0, 4.0, 1.0]]
    """
    shape = (*x.shape[:-1], 1)
    return jnp.concatenate(alike([x, *(jnp.broadcast_to(column, shape) for column in columns)]), axis=-1)
