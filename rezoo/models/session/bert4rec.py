"""BERT4Rec: hidden events are told from what stands before and after them.

Sun, Liu, Wu, Pei, Lin, Ou, Jiang: BERT4Rec: Sequential Recommendation with Bidirectional Encoder
Representations from Transformer, CIKM 2019, https://arxiv.org/abs/1904.06690, section 3, equations 1 to 8:

    h⁰ = v + p, where a hidden event has a mask for its v
    y = LN(h + MH(h)),  block(h) = LN(y + W₂ GELU(W₁ y + b₁) + b₂),  W₁ four times as wide
    score_i = <GELU(W h + b), v_i> + b_i  at the place of the mask

It is trained by `objectives.cloze`. The next item is asked for by a mask behind the newest
`max_length - 1` events, so an event changes the state of all others: there are no `prefixes`, no loss after
each event, and live (`serving.live`) each click encodes the kept events, of which `length=max_length - 1` are
read, once more.

Differs from the paper: positions count from the first event, not from the left end of a padded window; the
vector of the user's features is added to every v and to the mask; what else is known of an event
(`event_features`) is hidden with its item.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.nn import events, items, masks, sequence
from rezoo.nn.attention import attention, split_heads
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import NORMAL, Embed
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.masks import Mask
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile, of_last
from rezoo.types import Parts, Query


class BERT4Rec(Model):
    """Score = <[GELU(W h + b) ; 1], [v_i ; b_i]>, h the blocks' output at the mask behind the last event."""

    num_items: int
    dim: int = 64
    _: KW_ONLY
    num_blocks: Parts = 2
    num_heads: int = 2
    max_length: int = 50
    """Positions that have a vector of their own, the mask's included; later events share the last one."""
    dropout: float = 0.0
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.bias = items.table(self.num_items, 1, self.item_features, self.id_dropout, nn.initializers.zeros)
        self.mask = self.param("mask", NORMAL, (1, 1, self.dim), jnp.float32)
        self.position = Embed(self.max_length, self.dim)
        self.blocks = [Block(self.num_heads, self.dropout) for _ in range(self.num_blocks)]
        self.head = nn.Dense(self.dim)
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def hidden_states(self, query: Query, hidden: Bool[Array, " B L"]) -> Float[Array, " B L E"]:
        """What is told of the item at every place, those of `hidden` being hidden, and a 1 for the bias."""
        segment, packed = sequence.segments(query), sequence.SEGMENT in query.features
        known = self.profile(query)[0] if self.user_features else None
        return self._states(query, known, hidden, segment, packed)

    def encode(self, query: Query) -> Float[Array, " B E"]:
        """What is told of the item behind the last event."""
        known = of_last(*self.profile(query), query)[0] if self.user_features else None
        recent = events.newest(query, self.event_features, self.max_length - 1)
        others = {name: column for name, column in recent.features.items() if name != sequence.SEGMENT}
        recent = recent._replace(features=others)
        count = (recent.history > 0).sum(axis=1, keepdims=True)
        place = jnp.arange(self.max_length)[None]
        recent = events.each(
            recent, self.event_features, lambda x: jnp.pad(x, [(0, 0), (0, 1)] + [(0, 0)] * (x.ndim - 2))
        )
        states = self._states(recent, known, place == count, (place <= count).astype(jnp.int32), False)
        return jnp.take_along_axis(states, count[..., None], axis=1).squeeze(1)

    def table(self) -> Float[Array, " N E"]:
        """Item vectors, each followed by its bias."""
        return with_columns(items.all_vectors(self, self.item), items.all_vectors(self, self.bias))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S E"]:
        """The rows of `table()` of some items."""
        return with_columns(*(items.vectors(self, rows, item) for rows in (self.item, self.bias)))

    def _states(
        self,
        query: Query,
        known: Float[Array, " B S D"] | None,
        hidden: Bool[Array, " B L"],
        segment: Int[Array, " B L"],
        packed: bool,
    ) -> Float[Array, " B L E"]:
        told = events.hidden(query, self.event_features, hidden)
        x = self.event(items.vectors(self, self.item, query.history), told)
        x = jnp.where(hidden[..., None], self.mask, x)
        x = x + self.position(jnp.minimum(sequence.positions(segment), self.max_length - 1))
        if known is not None:
            x = x + jnp.broadcast_to(known, x.shape)
        x = self.drop(x)
        mask = masks.session(segment, packed=packed)
        for block in self.blocks:
            x = block(x, mask)
        return with_columns(nn.gelu(self.head(x)), 1.0)


class Block(nn.Module):
    """The module's `block(h)`."""

    num_heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: Float[Array, " B L D"], mask: Mask) -> Float[Array, " B L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)
        q, k, v = (
            split_heads(nn.Dense(d, name=name)(x), self.num_heads) for name in ("query", "key", "value")
        )
        attended = nn.Dense(d, name="attention_out")(attention(q, k, v, mask, drop))
        y = nn.LayerNorm(name="attention_norm")(x + drop(attended))
        fed = nn.Dense(d, name="feed_out")(nn.gelu(nn.Dense(4 * d, name="feed_in")(y)))
        return nn.LayerNorm(name="feed_norm")(y + drop(fed))
