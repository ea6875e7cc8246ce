"""Rows of a table that is spread over devices, to where they are looked up, and their gradients back.

A table of N rows lies on n devices as `[n R D]`, R = ⌈N / n⌉: an id's row is at `[id % n, id // n]`. Each
device looks up the ids of its part of the batch. The functions of a `Route` run on every device, inside
of `jax.shard_map`; which of the two sends less is a matter of counting, as `cheapest` does. They are
generators, which yield what is to be exchanged: `together` runs those of several tables side by side, and
exchanges what they yield as one.
"""

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

T = TypeVar("T")
Way = Generator[Array, Array, T]
"""Yields what is to be `exchanged`, `[n ...]`, is sent what came, and returns its result."""
MERGED = 3 / 4
"""The holder merges what it received if that makes it at most so many times as long."""


class Fetched(NamedTuple):
    """What a device is sent for the ids that it looks up."""

    rows: Float[Array, " M D"]
    trip: Any
    """What `Route.push` needs to send gradients the same way: arrays."""
    overflow: Int[Array, ""]
    """Ids of this device that had no place."""
    unmerged: Int[Array, ""]
    """Rows of this device whose gradients `Route.push` would have no place for."""


class Pushed(NamedTuple):
    """What a device is sent for the rows that it holds."""

    rows: Int[Array, " K"]
    """R, whose gradient is 0, stands for none."""
    grads: Float[Array, " K D"]
    once: bool
    """Whether each row comes once only."""


class Route(NamedTuple):
    """A way of rows from the devices that hold them to those that look them up."""

    fetch: Callable[[Float[Array, " R D"], Int[Array, " M"], str], Way[Fetched]]
    """(this device's rows, ids that it looks up or -1, axis of the mesh)."""
    push: Callable[[Float[Array, " M D"], Any, str], Way[Pushed]]
    """(gradients of the rows that were fetched, trip, axis)."""
    sent: Callable[[int, int, int], int]
    """(ids that a device looks up, width, devices) -> bytes that it sends in both ways."""


def gather_ids() -> Route:
    """Every device is told all ids, and gives the rows that it holds; their sum is sent to who asked.

    What is sent grows with the number of devices: for few of them.
    """

    def fetch(table: Array, ids: Array, axis: str) -> Way[Fetched]:
        yield from ()
        size = jax.lax.axis_size(axis)
        every = jax.lax.all_gather(ids, axis)
        here = (every >= 0) & (every % size == jax.lax.axis_index(axis))
        own = jnp.where(here, every // size, len(table))
        rows = table.at[own].get(mode="fill", fill_value=0)
        found = jax.lax.psum_scatter(rows, axis, scatter_dimension=0)
        return Fetched(found, (own, here), overflow=jnp.int32(0), unmerged=jnp.int32(0))

    def push(grads: Array, trip: tuple[Array, Array], axis: str) -> Way[Pushed]:
        yield from ()
        own, here = trip
        every = jnp.where(here[..., None], jax.lax.all_gather(grads, axis), 0)
        return Pushed(own.ravel(), every.reshape(-1, grads.shape[1]), once=False)

    def sent(ids: int, width: int, devices: int) -> int:
        return 4 * ids * (2 * width + 1) * (devices - 1)

    return Route(fetch, push, sent)


def all_to_all(spare: float = 4.0) -> Route:
    """Each id that a device looks up is sent once, to the device that holds it, which sends the row back.

    Between each two devices there are m + `spare` · √m + 4 places, m = ids of a device / devices: seldom too
    few for different ids in random order. An id takes one place however often a device looks it up; one that
    finds none is counted in `overflow`. Over many devices most places stay empty, as m is small; the holder
    then merges what it received into each row once, for which it has places by the same rule, m = ids of a
    device, so that its optimizer works on no empty ones.
    """

    def places(mean: int | float) -> int:
        return math.ceil(mean + spare * mean**0.5) + 4

    def room(ids: int, devices: int) -> int:
        return min(ids, places(ids / devices))

    def fetch(table: Array, ids: Array, axis: str) -> Way[Fetched]:
        size, rows = jax.lax.axis_size(axis), len(table)
        each = room(len(ids), size)
        # Sorted by holder, and equal ids side by side; what fills up goes to a holder that is not there.
        holder_and_row = jnp.where(ids >= 0, ids % size * rows + ids // size, size * rows)
        ordered, origin, new, number = _grouped(holder_and_row)
        holder = ordered // rows
        before = jnp.zeros(size, number.dtype).at[holder].add(new)
        place = number - (jnp.cumsum(before) - before)[holder]
        fits = (place < each) & (holder < size)
        at = jnp.where(fits, holder * each + place, size * each)
        wanted = jnp.full(size * each, rows, ids.dtype).at[at].set(ordered % rows, mode="drop")
        wanted = yield wanted.reshape(size, each)
        found = yield table.at[wanted].get(mode="fill", fill_value=0)
        at = jnp.zeros_like(at).at[origin].set(at)
        rows_of_ids = found.reshape(size * each, -1).at[at].get(mode="fill", fill_value=0)
        overflow = (new & ~fits & (holder < size)).sum(dtype=jnp.int32)
        own, merged, unmerged = _merged(wanted.ravel(), rows, places(len(ids)))
        return Fetched(rows_of_ids, (own, merged, at), overflow, unmerged)

    def push(grads: Array, trip: tuple[Array, Array, Array], axis: str) -> Way[Pushed]:
        own, merged, at = trip
        summed = jnp.zeros((merged.size, grads.shape[1]), grads.dtype).at[at].add(grads, mode="drop")
        back = yield summed.reshape(jax.lax.axis_size(axis), -1, grads.shape[1])
        back = back.reshape(summed.shape)
        if len(own) == len(merged):
            return Pushed(own, back, once=False)
        added = jnp.zeros((len(own), grads.shape[1]), grads.dtype).at[merged].add(back, mode="drop")
        return Pushed(own, added, once=True)

    def sent(ids: int, width: int, devices: int) -> int:
        return 4 * room(ids, devices) * (2 * width + 1) * (devices - 1)

    return Route(fetch, push, sent)


def _grouped(x: Int[Array, " M"]) -> tuple[Array, Array, Array, Array]:
    """Sorted numbers, where each stood, whether it differs from the one before, and how many did so far."""
    ordered, origin = jax.lax.sort((x, jnp.arange(len(x))), num_keys=1)
    new = jnp.append(True, ordered[1:] != ordered[:-1])
    return ordered, origin, new, jnp.cumsum(new) - 1


def _merged(wanted: Int[Array, " K"], none: int, most: int) -> tuple[Array, Array, Array]:
    """Each wanted row once, at which of these each wanted one is, and how many rows found no place.

    There are `most` places. Where that is not much less than K, nothing is merged.
    """
    if most > MERGED * len(wanted):
        return wanted, jnp.arange(len(wanted)), jnp.int32(0)
    ordered, origin, new, place = _grouped(wanted)
    own = jnp.full(most, none, wanted.dtype).at[jnp.where(new, place, most)].set(ordered, mode="drop")
    lost = new & (place >= most) & (ordered < none)
    return own, jnp.zeros_like(place).at[origin].set(place), lost.sum(dtype=jnp.int32)


def together(ways: Sequence[Way[T]], axis: str) -> list[T]:
    """The results of ways that are gone side by side; what they yield at a time is exchanged as one."""
    results: dict[int, T] = {}
    given: dict[int, Any] = dict.fromkeys(range(len(ways)))
    while given:
        asked: dict[int, Array] = {}
        for number, one in given.items():
            try:
                asked[number] = ways[number].send(one)
            except StopIteration as end:
                results[number] = end.value
        given = dict(zip(asked, _exchanged_as_one([*asked.values()], axis), strict=True))
    return [results[number] for number in range(len(ways))]


def _exchanged_as_one(some: Sequence[Array], axis: str) -> list[Array]:
    """`exchanged`, each of them."""
    if len(some) < 2:
        return [exchanged(x, axis) for x in some]
    flat = [x.reshape(len(x), -1) for x in some]
    ends = np.cumsum([x.shape[1] for x in flat[:-1]])
    parts = jnp.split(exchanged(jnp.concatenate(flat, axis=1), axis), ends, axis=1)
    return [part.reshape(x.shape).astype(x.dtype) for part, x in zip(parts, some, strict=True)]


def exchanged(x: Array, axis: str) -> Array:
    """Part i of each device's `[n ...]` on device i, in the order of the devices."""
    return jax.lax.all_to_all(x, axis, 0, 0, tiled=True)


def cheapest(routes: Sequence[Route], ids: int, width: int, devices: int) -> Route:
    """The route on which a device sends the fewest bytes."""
    return min(routes, key=lambda route: route.sent(ids, width, devices))


def split(calls: Sequence[Int[Array, " ..."]], mesh: Mesh, axis: str) -> tuple[Int[Array, " S"], ...]:
    """The ids of each call in one row, filled up with -1 to be spread evenly over the devices."""
    return tuple(evenly(ids.ravel(), mesh, axis, fill=-1) for ids in calls)


def evenly(x: Shaped[Array, " S ..."], mesh: Mesh, axis: str, fill: int = 0) -> Shaped[Array, " P ..."]:
    """The rows of `x`, filled up to be spread evenly over the devices."""
    beyond = ((0, -len(x) % mesh.shape[axis]), *[(0, 0)] * (x.ndim - 1))
    filled = jnp.pad(x, beyond, constant_values=fill)
    return jax.lax.with_sharding_constraint(filled, NamedSharding(mesh, PartitionSpec(axis)))


def joined(rows: Float[Array, " S D"], ids: Int[Array, " *C"]) -> Float[Array, " *C D"]:
    """The rows of a call of `split`, in the shape of its ids."""
    return rows[: ids.size].reshape(*ids.shape, rows.shape[1])
