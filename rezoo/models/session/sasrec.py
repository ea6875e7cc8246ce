"""SASRec: causal self-attention over the events of a session.

Kang, McAuley: Self-Attentive Sequential Recommendation, ICDM 2018,
https://arxiv.org/abs/1808.09781, section III, with the blocks of the authors' code,
https://github.com/kang205/SASRec:

    q = LN(x),  y = q + Attention(q, x, x),  z = LN(y),  block(x) = z + W₂ ReLU(W₁ z + b₁) + b₂
    F = LN(block(… block(√D v + p)))

Each residual connection adds the normalised value, q or z, and keys and values are computed from x before
the normalisation. (The paper writes x + g(LN(x)), which adds x itself.)

Differs from the authors' code: positions count from the session's first event, not from the left end of
a padded window; LN's ε is 1e-6, not 1e-8; the loss is the caller's choice; the user's features are
in a memory slot that every event attends to.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn import items, masks, sequence
from rezoo.nn.attention import Cache, Keep, LiGR, Pair, attention, filled, noted, of_events, split_heads
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner
from rezoo.nn.masks import Mask
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile, alone
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Parts, Query


class Block(nn.Module):
    """The module's `block(x)`; W₁ and W₂ are square."""

    num_heads: int
    dropout: float

    @nn.compact
    def __call__(
        self, x: Float[Array, " B L D"], mask: Mask, keep: Keep = of_events
    ) -> Float[Array, " B L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)
        asked = nn.LayerNorm()(x)

        def projected(source: Array, name: str) -> Float[Array, " B L H E"]:
            return split_heads(nn.Dense(d, name=name)(source), self.num_heads)

        q, k, v = projected(asked, "query"), projected(x, "key"), projected(x, "value")
        y = nn.LayerNorm()(asked + attention(q, *keep(k, v), mask, drop))
        hidden = drop(nn.relu(nn.Dense(d, name="feed_in")(y)))
        return y + drop(nn.Dense(d, name="feed_out")(hidden))


Blocks = Annotated[Callable[..., nn.Module], Block, LiGR]
"""Makes a block of so many heads and this dropout; a model is saved with one of these."""


class SASRec(Model):
    """Score = <F_t, v_i>, where F_t is the output of the blocks for the events up to t."""

    num_items: int
    dim: int = 50
    _: KW_ONLY
    num_blocks: Parts = 2
    num_heads: int = 1
    max_length: int = 50
    """Positions that have a vector of their own; later events share the last one."""
    dropout: float = 0.0
    similarity: Similarity = DOT
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""
    block: Blocks = Block
    """`Block`, or `nn.attention.LiGR`: see `eSASRec`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.position = Embed(self.max_length, self.dim)
        self.blocks = [self.block(self.num_heads, self.dropout) for _ in range(self.num_blocks)]
        self.norm = nn.LayerNorm()
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """F_t after every event."""
        return self.states(query)[0]

    def states(
        self, query: Query, keep: Keep = of_events
    ) -> tuple[Float[Array, " B L D"], Float[Array, " B D"] | None]:
        """F_t after every event, and that of an empty session with this user."""
        segment = sequence.segments(query)
        x = self.inputs(query.history, sequence.positions(segment), query)
        mask, known = masks.past(segment, packed=sequence.SEGMENT in query.features), None
        if self.user_features:
            slots, known = self.profile(query)
            x, mask = jnp.concatenate([x, slots], axis=1), masks.with_slots(mask, known)
        for block in self.blocks:
            x = block(x, mask, keep)
        x = self.similarity.state(self.norm(x))
        length = segment.shape[1]
        return x[:, :length], None if known is None else alone(x[:, length:][:, 0], known)

    def inputs(
        self, item: Int[Array, " B L"], position: Int[Array, " B L"], query: Query | None
    ) -> Float[Array, " B L D"]:
        """√D v + p of events, by how many there are before each in its session, and their features."""
        x = self.similarity.item(items.vectors(self, self.item, item)) * self.dim**0.5
        x = x + self.position(jnp.minimum(position, self.max_length - 1))
        return self.drop(self.event(x, query))

    def fill(self, query: Query) -> Cache:
        """The query's sessions, with room for as many events as the history has places."""
        blocks: list[Pair] = []
        states, empty = self.states(query, noted(blocks))
        output = sequence.at_last(states, query.history, empty).squeeze(1)
        known = self.profile(query)[1] if self.user_features else None
        return filled(blocks, query.history, output, known=known)

    def attend(self, cache: Cache, item: Int[Array, " B"], recent: Query | None = None) -> Cache:
        """The sessions after one more event, for which there must be room."""
        x = self.inputs(item[:, None], cache.count[:, None], recent)
        after: list[Pair] = []
        for number, block in enumerate(self.blocks):
            x = block(x, cache.seen(), cache.keep(number, after))
        return cache.following(after, self.similarity.state(self.norm(x))[:, 0])

    def state(self, cache: Cache) -> Float[Array, " B D"]:
        """What `encode` gives of the same events."""
        return cache.output

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """F after the last event; of an empty session that of its user, or zeros."""
        states, empty = self.states(query)
        return sequence.at_last(states, query.history, empty).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Item vectors."""
        return self.similarity.item(items.all_vectors(self, self.item))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.item, item))
