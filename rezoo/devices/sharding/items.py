"""Items that are spread over devices: which are a device's own, and the best of all.

Like a table's rows (`sharding.lookup`), item i is the one at place i // n of device i % n. The functions here
run on every device, inside of `jax.shard_map`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rezoo.arrays import best_of
from rezoo.devices.sharding.lookup import exchanged


def places_of(count: int, axis: str) -> int:
    """Places for items on each device, if there are `count` of them."""
    return -(-count // jax.lax.axis_size(axis))


def id_at(place: Int[Array, " *S"], axis: str) -> Int[Array, " *S"]:
    """The items at these places of this device."""
    return place * jax.lax.axis_size(axis) + jax.lax.axis_index(axis)


def place_of(ids: Int[Array, " *S"], axis: str) -> Int[Array, " *S"]:
    """Where these items are on this device; below 0 for those of others, and for ids below 0."""
    devices = jax.lax.axis_size(axis)
    return jnp.where(ids % devices == jax.lax.axis_index(axis), ids // devices, -1)


def best_of_all(
    ids: Int[Array, " B l"], score: Float[Array, " B l"], k: int, axis: str
) -> tuple[Int[Array, " b k"], Float[Array, " b k"]]:
    """The k best of what each device found for B queries, for those of this device's share, b = B / n.

    Of equal scores the smaller id comes first, as where one device has all items.
    """
    devices = jax.lax.axis_size(axis)

    def of_share(x: Array) -> Array:
        found = exchanged(x.reshape(devices, -1, x.shape[1]), axis)
        return found.swapaxes(0, 1).reshape(found.shape[1], -1)

    ids, score = of_share(ids), of_share(score)
    order = jnp.argsort(ids, axis=1)
    ids, score = (jnp.take_along_axis(x, order, axis=1) for x in (ids, score))
    return best_of(ids, score, k)


def of_own_share(x: Shaped[Array, " B ..."], axis: str) -> Shaped[Array, " b ..."]:
    """The rows of this device's share, of what is the same on every device."""
    return x.reshape(jax.lax.axis_size(axis), -1, *x.shape[1:])[jax.lax.axis_index(axis)]
