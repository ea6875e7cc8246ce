"""Sums of sparse lists: of items, by those of a history, or by the users most like one.

Scoring everything goes through the lists of a row's owners alone, so its cost grows with their lengths and
not with the square of the catalogue.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import find
from rezoo.devices.backend import pick
from rezoo.devices.meshes import alike, along, cut, lookup
from rezoo.nn.bag import scores_of
from rezoo.nn.features import repeat_for_items

LONG = 256
"""Slates longer than this are scored by going through the lists, shorter ones by looking each pair up, unless
there are more pairs than items."""
PIECE = 64
"""Pairs of a list at a time."""
PIECES = 2**8, 2**14
"""Pieces at a time, on a CPU and on an accelerator."""


class Lists(NamedTuple):
    """A list of items, ascending, and of their weights for each of N owners; that of owner 0 is empty."""

    offset: Int[Array, " N+1"]
    member: Int[Array, " P"]
    weight: Float[Array, " P"]

    def score(
        self,
        owner: Int[Array, " B L"],
        item: Int[Array, " B *C"],
        num_items: int,
        scale: Float[Array, " B L"] | None = None,
    ) -> Float[Array, " B *C"]:
        """The sum of the weights of (j, item) over a row's owners j, times `scale` where it is given.

        An owner stands in a row once; 0 = padding.
        """
        if not self.weight.shape[0]:
            return along(jnp.zeros(item.shape, jnp.float32), item)
        sizes, size = (*owner.shape, *item.shape), math.prod(item.shape[1:])
        known = all(isinstance(one, int) for one in sizes)  # those of an export may be symbols
        few = not known or (size <= LONG and owner.shape[1] * size <= num_items)
        if few or cut(alike([owner, item])[0]):
            return self.sought(owner, item, scale)
        return scores_of(self.gathered(owner, num_items, scale), item)

    def sought(
        self, owner: Int[Array, " B L"], item: Int[Array, " B *C"], scale: Float[Array, " B L"] | None
    ) -> Float[Array, " B *C"]:
        """The same by looking up each (j, item)."""

        def add(number: Array, score: Array) -> Array:
            one = jax.lax.dynamic_index_in_dim(owner, number, axis=1)
            place = find(self.offset, self.member, repeat_for_items(one, item)[..., 0], item)
            value = jnp.where(place < 0, 0.0, lookup(self.weight, place))
            if scale is not None:
                times = jax.lax.dynamic_index_in_dim(scale, number, axis=1)
                value = value * repeat_for_items(times, item)[..., 0]
            return score + value

        place = jax.lax.broadcasted_iota(jnp.int32, owner.shape, 1) + 1
        longest = jnp.where(owner > 0, place, 0).max(initial=0)
        return jax.lax.fori_loop(0, longest, add, along(jnp.zeros(item.shape, jnp.float32), item))

    def gathered(
        self, owner: Int[Array, " B L"], num_items: int, scale: Float[Array, " B L"] | None
    ) -> Float[Array, " B N"]:
        """The score of every item, by adding up the lists of the owners."""
        start, end = (lookup(self.offset, owner + step).ravel() for step in (0, 1))
        pieces = -(-(end - start) // PIECE)
        until = jnp.cumsum(pieces)
        chunk = pick(cpu=PIECES[0], accelerator=PIECES[1])

        def add(number: Array, score: Array) -> Array:
            piece = number * chunk + jnp.arange(chunk, dtype=jnp.int32)
            event = jnp.searchsorted(until, piece, side="right")  # behind the last one there is none
            event = jnp.minimum(event, len(until) - 1)
            first = start[event] + (piece - until[event] + pieces[event]) * PIECE
            place = first[:, None] + jnp.arange(PIECE, dtype=jnp.int32)[None]
            real = (place < end[event][:, None]) & (piece < until[-1])[:, None]
            place = jnp.minimum(place, self.weight.shape[0] - 1)
            who = jnp.where(real, self.member[place], num_items)
            row = (event // owner.shape[1])[:, None]
            value = self.weight[place]
            if scale is not None:
                value = value * scale.ravel()[event][:, None]
            return score.at[row, who].add(value, mode="drop")

        score = jnp.zeros((owner.shape[0], num_items), jnp.float32)
        if not owner.size:
            return score
        return jax.lax.fori_loop(0, -(-until[-1] // chunk), add, score)
