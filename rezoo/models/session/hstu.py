"""HSTU: attention without a softmax, biased by positions and times, and gated.

Zhai et al.: Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations, ICML 2024, https://arxiv.org/abs/2402.17152, equations 1 to 3, with what the authors' code,
https://github.com/facebookresearch/generative-recommenders, adds to them (LN of the input, 1 / n, + x):

    U, V, Q, K = SiLU(W₁ LN(x)),  A_ij = SiLU(q_i · k_j + p_{i-j} + w_{b(t_i - t_j)}) / n  for j ≤ i, else 0
    block(x) = x + W₂ (LN(A V) ∘ U) + b₂

in heads, with n = `max_length`, LN without parameters and b(Δ) = ⌊ln max(|Δ|, 1) / 0.301⌋, at most 128. A
sum in place of a mean keeps how much of a taste there is in a history.

Differs from the authors' code: a gap ends at the event itself, where theirs ends at the event that is to be
predicted; keys are as wide as values; scores are inner products (theirs are `similarity=cosine(20.0)`, but
for the items of the input); the loss is the caller's choice; the vector of the user's features is added to
every x.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from rezoo.devices.meshes import lookup
from rezoo.errors import DataError
from rezoo.nn import items, masks, sequence
from rezoo.nn.attention import Cache, Keep, Pair, filled, in_pieces, noted, of_events, split_heads
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed
from rezoo.nn.events import (
    BUCKETS,
    NO_EVENT_FEATURES,
    EventFeature,
    EventFeatures,
    buckets,
    distance,
    known,
    signed,
)
from rezoo.nn.inner import inner
from rezoo.nn.masks import Asked, Asking, Mask, may_look
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Parts, Query

SMALL = nn.initializers.normal(0.02)


class HSTU(Model):
    """Score = <x_t, v_i>, where x_t is the output of the blocks for the events up to t."""

    num_items: int
    dim: int = 50
    _: KW_ONLY
    num_blocks: Parts = 2
    num_heads: int = 1
    max_length: int = 50
    """Positions, and distances of two events, that have a parameter of their own; what is further away shares
    the last one."""
    time: str | None = None
    """The column of `query.features` with the time of each event, `[B L]`, in seconds; None = none is read.
    Integers, or floats that count from nearby: a float32 of seconds since 1970 is up to a minute off. Where
    time goes back, a gap counts as if it went forward."""
    dropout: float = 0.0
    similarity: Similarity = DOT
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.position = Embed(self.max_length, self.dim)
        self.blocks = [self.block() for _ in range(self.num_blocks)]
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def block(self) -> nn.Module:
        """A new one."""
        return Block(self.num_heads, self.max_length, self.dropout)

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """x_t after every event.

        Raises:
          DataError: if the column `time` is missing, or has not a value for each event.
        """
        return self.states(query, of_events)

    def states(self, query: Query, keep: Keep) -> Float[Array, " B L D"]:
        """x_t after every event; `keep` sees the keys and values of each block."""
        segment = sequence.segments(query)
        x = self.inputs(query.history, sequence.positions(segment), query)
        if self.user_features:
            x = x + jnp.broadcast_to(self.profile(query)[0], x.shape)
        x, mask, time = self.drop(x), masks.past(segment), self.times(query)
        for block in self.blocks:
            x = block(x, mask, time, keep)
        return self.similarity.state(x)

    def inputs(
        self, item: Int[Array, " B L"], position: Int[Array, " B L"], query: Query | None
    ) -> Float[Array, " B L D"]:
        """√D v + p, and the features of the event, of events with so many before each in its session."""
        x = self.similarity.item(items.vectors(self, self.item, item)) * self.dim**0.5
        return self.event(x + self.position(jnp.minimum(position, self.max_length - 1)), query)

    def times(self, query: Query) -> Num[Array, " B L"] | None:
        """Of every event, if times are read."""
        if self.time is None:
            return None
        time = query.features.get(self.time)
        if time is None or time.shape != query.history.shape:
            found = "no such column" if time is None else f"its shape is {list(time.shape)}"
            raise DataError(
                f"HSTU reads the time of each event, {list(query.history.shape)}, in the column "
                f"{self.time!r} of the query's features: {found}; give it, or make the model with time=None"
            )
        return signed(time)

    def fill(self, query: Query) -> Cache:
        """The query's sessions, with room for as many events as the history has places.

        Raises:
          DataError: if the model reads times, which a cache does not keep.
        """
        if self.time is not None:
            raise DataError(f"no cache is kept of an HSTU that reads times: time={self.time!r}")
        blocks: list[Pair] = []
        states, user = self.states(query, noted(blocks)), self.user(query)
        empty = None if user is None else self.similarity.state(user)
        output = sequence.at_last(states, query.history, empty).squeeze(1)
        return filled(blocks, query.history, output, user=user)

    def attend(self, cache: Cache, item: Int[Array, " B"], recent: Query | None = None) -> Cache:
        """The sessions after one more event, for which there must be room."""
        x = self.inputs(item[:, None], cache.count[:, None], recent)
        if self.user_features:
            x = x + cache.user[:, None]
        after: list[Pair] = []
        for number, block in enumerate(self.blocks):
            x = block(x, cache.seen(), None, cache.keep(number, after))
        return cache.following(after, self.similarity.state(x)[:, 0])

    def state(self, cache: Cache) -> Float[Array, " B D"]:
        """What `encode` gives of the same events."""
        return cache.output

    def user(self, query: Query) -> Float[Array, " B D"] | None:
        """The vector of the user's features, if any are read."""
        return self.profile(query)[0][:, 0] if self.user_features else None

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """The last output, x; of an empty session the user's vector, or zeros."""
        user = self.user(query)
        empty = None if user is None else self.similarity.state(user)
        return sequence.at_last(self.prefixes(query), query.history, empty).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Item vectors."""
        return self.similarity.item(items.all_vectors(self, self.item))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.item, item))


def by_distance(
    of_distance: Float[Array | np.ndarray, " n"], who: Asking, whom: Asked
) -> Float[Array, " C Q K"]:
    """p_{i-j}; what is further away than there are parameters shares the last one."""
    apart = who.place[:, :, None] - whom.place[:, None]
    return lookup(of_distance, jnp.clip(apart, 0, of_distance.shape[0] - 1))


def by_gap(
    of_gap: Float[Array | np.ndarray, " b"], then: Num[Array, " B Q"], before: Num[Array, " B K"]
) -> Float[Array, " B Q K"]:
    """w_{b(t_i - t_j)}; w_0, as of no time, where one of the two is unknown."""
    told = known(then)[:, :, None] & known(before)[:, None]
    return lookup(of_gap, jnp.where(told, buckets(distance(then[:, :, None], before[:, None])), 0))


class Block(nn.Module):
    """The module's `block(x)`; `time` is t."""

    num_heads: int
    max_length: int
    dropout: float

    @nn.compact
    def __call__(
        self,
        x: Float[Array, " B L D"],
        mask: Mask,
        time: Num[Array, " B L"] | None = None,
        keep: Keep = of_events,
    ) -> Float[Array, " B L D"]:
        d, norm = x.shape[-1], nn.LayerNorm(use_bias=False, use_scale=False)
        mixed = nn.silu(nn.Dense(4 * d, use_bias=False, kernel_init=SMALL, name="input")(norm(x)))
        u, *others = jnp.split(mixed, 4, axis=-1)
        v, q, k = (split_heads(one, self.num_heads) for one in others)
        k, v = keep(k, v)
        of_distance = self.param("of_distance", SMALL, (self.max_length,), jnp.float32)
        of_gap = None if time is None else self.param("of_gap", SMALL, (BUCKETS + 1,), jnp.float32)

        def summed(asking: Any, asked: Any, key: None) -> Float[Array, " B Q H E"]:
            (q, then, who), (k, v, before, whom) = asking, asked
            score = jnp.einsum("bqhe,bkhe->bhqk", q, k) + by_distance(of_distance, who, whom)[:, None]
            if of_gap is not None:
                score = score + by_gap(of_gap, then, before)[:, None]
            weight = jnp.where(may_look(who, whom)[:, None], nn.silu(score) / self.max_length, 0.0)
            return jnp.einsum("bhqk,bkhe->bqhe", weight, v)

        asking, asked = (q, time, mask.asking), (k, v, time, mask.asked)
        sums = in_pieces(summed, asking, asked, mask.causal, None).reshape(x.shape)
        gated = Dropout(self.dropout)(norm(sums) * u)
        return x + nn.Dense(d, kernel_init=nn.initializers.xavier_uniform(), name="output")(gated)
