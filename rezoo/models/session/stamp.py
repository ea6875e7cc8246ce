"""STAMP: attention over the events of a session, combined with its last click.

Liu, Zeng, Mokhosi, Zhang: STAMP: Short-Term Attention/Memory Priority Model for Session-based
Recommendation, KDD 2018, https://doi.org/10.1145/3219819.3219950, section 3.4:

    α_j = W₀ σ(W₁ x_j + W₂ x_t + W₃ m_s + b_a),  m_s the mean of x_1 … x_t,  m_a = Σ_{j ≤ t} α_j x_j
    z_i = <tanh(W_s m_a + b_s) ∘ tanh(W_t x_t + b_t), x_i>

Differs from the paper: every prefix of a session is trained in one pass, its attention masked; the
softmax takes z itself, not σ(z), as in the authors' code; the user's features are one more x_j, which takes
the place of the last click in an empty session.

The authors' code, https://github.com/uestcnlp/STAMP, has tanh(W_s (m_a + m_s)), which is
`memory=plus_mean`, no biases b, and x of at most length 1 (Yoochoose) or 1.5 (Diginetica) where they are
read, though not where they are scored: `max_norm`.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import above_0
from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile, of_last, with_slots
from rezoo.nn.similarity import DOT, Similarity, at_most
from rezoo.types import Query


def attended(m_a: Float[Array, " B Q D"], m_s: Float[Array, " B Q D"]) -> Float[Array, " B Q D"]:
    """m_a alone, as in the paper's equation."""
    return m_a


def plus_mean(m_a: Float[Array, " B Q D"], m_s: Float[Array, " B Q D"]) -> Float[Array, " B Q D"]:
    """m_a + m_s, as in the authors' code."""
    return m_a + m_s


class STAMP(Model):
    """Score = <h_s ∘ h_t, x_i>: what the session is about, and what was clicked last."""

    num_items: int
    dim: int = 100
    _: KW_ONLY
    dropout: float = 0.0
    """Of the item embeddings."""
    similarity: Similarity = DOT
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""
    memory: Annotated[Callable[[Array, Array], Array], attended, plus_mean] = attended
    """What W_s is given of m_a and m_s: `attended` or `plus_mean`."""
    max_norm: float | None = None
    """The greatest length of an x that is read; longer ones are scaled down to it."""

    def __post_init__(self) -> None:
        above_0(max_norm=self.max_norm)
        super().__post_init__()

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.of_event = nn.Dense(self.dim, use_bias=False)
        self.of_last = nn.Dense(self.dim, use_bias=False)
        self.of_mean = nn.Dense(self.dim)
        self.weight = nn.Dense(1, use_bias=False)
        self.session, self.last = nn.Dense(self.dim), nn.Dense(self.dim)
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def events(self, query: Query) -> Float[Array, " B L D"]:
        """x_j of every event."""
        x = self.event(self.similarity.item(items.vectors(self, self.item, query.history)), query)
        return self.drop(x if self.max_norm is None else at_most(x, self.max_norm))

    def attend(
        self, last: Float[Array, " B Q D"], events: Float[Array, " B L D"], mask: Bool[Array, " B Q L"]
    ) -> Float[Array, " B Q D"]:
        """h_s ∘ h_t for each of the last clicks, remembering what the mask allows."""
        count = jnp.maximum(mask.sum(axis=-1, keepdims=True), 1)
        mean = jnp.einsum("bqj,bjd->bqd", mask.astype(events.dtype), events) / count
        asked = (self.of_last(last) + self.of_mean(mean))[:, :, None]
        alpha = self.weight(nn.sigmoid(self.of_event(events)[:, None] + asked))[..., 0]
        attended = jnp.einsum("bqj,bjd->bqd", jnp.where(mask, alpha, 0.0), events)
        state = jnp.tanh(self.session(self.memory(attended, mean))) * jnp.tanh(self.last(last))
        return self.similarity.state(jnp.where(mask.any(axis=-1, keepdims=True), state, 0.0))

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """h_s ∘ h_t after every event."""
        events, mask = self.events(query), sequence.past(sequence.segments(query))
        if not self.user_features:
            return self.attend(events, events, mask)
        return self.attend(events, *with_slots(events, mask, *self.profile(query)))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """h_s ∘ h_t after the last event; of an empty session by its user alone, or zeros."""
        events, mask = self.events(query), sequence.last_session(query)[:, None]
        last = sequence.at_last(events, query.history)
        if self.user_features:
            slot, known = of_last(*self.profile(query), query)
            last = sequence.at_last(events, query.history, slot[:, 0])
            events = jnp.concatenate([events, slot], axis=1)
            mask = jnp.concatenate([mask, known[:, None]], axis=2)
        return self.attend(last, events, mask).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Item vectors."""
        return self.similarity.item(items.all_vectors(self, self.item))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.item, item))
