"""Item co-occurrence: what came after the same click before.

The first-order Markov chain of Shani, Heckerman, Brafman 2005 ("An MDP-based recommender
system", https://jmlr.org/papers/v6/shani05a.html), counted over a window. Where nothing ever
followed, popularity decides, which also breaks ties.
"""

import math
from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1, find, in_table, int32_of
from rezoo.devices.meshes import alike, cut, lookup
from rezoo.nn.embedding import rows_or_zero
from rezoo.nn.features import repeat_for_items
from rezoo.nn.model import Model
from rezoo.types import Count, Query, SomeParts

LONG, AT_ONCE = 256, 64
"""Slates longer than this are counted by going through what followed, this many at once."""


class CoOccurrence(Model):
    """Score = Σ n(i → item) over the last `memory` events i of the history, plus a share < 1."""

    num_items: int
    num_pairs: Count
    """Distinct pairs that the fit counted."""
    _: KW_ONLY
    memory: SomeParts = 1

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        zeros = nn.initializers.zeros
        offset = self.param("offset", zeros, (self.num_items + 1,), jnp.int32)
        follower = self.param("follower", zeros, (self.num_pairs,), jnp.int32)
        count = self.param("count", zeros, (self.num_pairs,), jnp.float32)
        share = self.param("share", zeros, (self.num_items,), jnp.float32)
        pairs = Pairs(*map(jnp.asarray, (offset, follower, count)))
        length = (query.history > 0).sum(axis=1)
        score = rows_or_zero(share, item)
        for back in range(1, self.memory + 1):
            at = jnp.maximum(length - back, 0)[:, None]
            last = jnp.take_along_axis(query.history, at, axis=1)[:, 0]
            last = jnp.where((length >= back) & (last < self.num_items), last, 0)
            score += pairs.counts(last, item, self.num_items)
        return score


class Pairs(NamedTuple):
    """How often each item followed each, by the item that went before."""

    offset: Int[Array, " N+1"]
    follower: Int[Array, " P"]
    count: Float[Array, " P"]

    def counts(
        self, last: Int[Array, " B"], item: Int[Array, " B *C"], num_items: int
    ) -> Float[Array, " B *C"]:
        """The count of each (last, item), 0 if there is none."""
        size = math.prod(item.shape[1:])
        long = isinstance(size, int) and size > LONG and self.count.shape[0]
        if long and not cut(alike([last, item])[0]):
            return self.listed(last, item, num_items)
        return self.sought(last, item)

    def sought(self, last: Int[Array, " B"], item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        """The count of each (last, item), found by bisection."""
        if not self.count.shape[0]:  # nothing followed anything
            return jnp.zeros(item.shape, jnp.float32)
        place = find(self.offset, self.follower, repeat_for_items(last[:, None], item)[..., 0], item)
        return jnp.where(place < 0, 0.0, lookup(self.count, place))

    def listed(
        self, last: Int[Array, " B"], item: Int[Array, " B *C"], num_items: int
    ) -> Float[Array, " B *C"]:
        """The same by going through all that followed `last`, which is shorter than a long slate."""

        def one(row: tuple[Array, Array, Array]) -> Array:
            first, end, wanted = row

            def more(state: tuple[Array, Array]) -> tuple[Array, Array]:
                begin, found = state
                place = begin + jnp.arange(AT_ONCE)
                who = lookup(self.follower, place, mode="clip")
                who = jnp.where(place < end, who, num_items)
                count = lookup(self.count, place, mode="clip")
                return begin + AT_ONCE, found.at[who].add(count, mode="drop")

            start = first, jnp.zeros(num_items, jnp.float32)
            _, found = jax.lax.while_loop(lambda state: state[0] < end, more, start)
            return rows_or_zero(found, wanted)

        return jax.lax.map(one, (lookup(self.offset, last), lookup(self.offset, last + 1), item))


def fit(history: np.ndarray, num_items: int, *, window: int = 1) -> dict[str, Any]:
    """Count who follows whom within `window` events of each session in `history` `[S L]`.

    Returns:
      The variables of `CoOccurrence(num_items, num_pairs)`; `num_pairs` is the length of
      `variables["params"]["follower"]`.

    Raises:
      ValueError: if an item is beyond the catalogue, `history` is not `[S L]`, or `window` below 1.
    """
    at_least_1(window=window)
    history = np.asarray(int32_of("history", history))
    in_table("item", history, num_items)
    if history.ndim != 2:
        raise ValueError(f"history has the shape {list(history.shape)}: give a row for each session, [S L]")
    pairs = [
        np.stack([history[:, :-gap], history[:, gap:]], axis=-1).reshape(-1, 2)
        for gap in range(1, min(window, history.shape[1] - 1) + 1)
    ]
    pair = np.concatenate([*pairs, np.zeros((0, 2), history.dtype)])
    pair = pair[(pair > 0).all(axis=1)].astype(np.int64)
    code, count = np.unique(pair[:, 0] * num_items + pair[:, 1], return_counts=True)
    offset = np.searchsorted(code, np.arange(num_items + 1) * num_items)
    popular = np.bincount(history[history > 0], minlength=num_items)
    params = {
        "offset": jnp.asarray(offset, jnp.int32),
        "follower": jnp.asarray(code % num_items, jnp.int32),
        "count": jnp.asarray(count, jnp.float32),
        "share": jnp.asarray(popular / (popular.sum() + 1), jnp.float32),
    }
    return {"params": params}
