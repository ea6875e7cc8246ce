"""NARM: a recurrent encoder that attends to its own past.

Li, Ren, Chen, Ren, Lian, Ma: Neural Attentive Session-based Recommendation, CIKM 2017,
https://arxiv.org/abs/1711.04725, sections 3.3 to 3.6:

    c_t = [h_t ; Σ_{j ≤ t} α_tj h_j],  α_tj = vᵀ σ(A₁ h_t + A₂ h_j),  S_i = emb_iᵀ B c_t

The encoder is `nn.recurrent.GRU`, with a bias.

Differs from the paper: every prefix of a session is trained in one pass, its attention masked; what
is known of the user is where the encoder starts.

The authors' code, https://github.com/lijingsdu/sessionRec_NARM, takes a softmax of α over the session,
which is `normalise=softmax`, and hard sigmoids in the attention and in the encoder:
`gate=nn.recurrent.hard_sigmoid`.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile
from rezoo.nn.recurrent import GRU, Gate
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Query


def unnormalised(alpha: Float[Array, " B Q L"], mask: Bool[Array, " B Q L"]) -> Float[Array, " B Q L"]:
    """α itself, as in the paper's equation; 0 where the mask is False."""
    return jnp.where(mask, alpha, 0.0)


def softmax(alpha: Float[Array, " B Q L"], mask: Bool[Array, " B Q L"]) -> Float[Array, " B Q L"]:
    """exp(α) over its sum, as in the authors' code; 0 where the mask is False."""
    return arrays.softmax(alpha, where=mask)


class NARM(Model):
    """Score = <B [h_t ; c_t], v_i>, c_t what the last state h_t finds in the states so far."""

    num_items: int
    dim: int = 50
    hidden: int = 100
    _: KW_ONLY
    dropout: float = 0.0
    """Of the item embeddings."""
    state_dropout: float = 0.0
    """Of c_t."""
    similarity: Similarity = DOT
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""
    normalise: Annotated[Callable[[Array, Array], Array], unnormalised, softmax] = unnormalised
    """`(α, mask) -> weights` of the states: `unnormalised` or `softmax`."""
    gate: Gate = nn.sigmoid
    """σ of the attention and of the encoder's gates: `nn.sigmoid` or `nn.recurrent.hard_sigmoid`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.gru = GRU(self.hidden, self.gate)
        self.of_query = nn.Dense(self.hidden, use_bias=False)
        self.of_key = nn.Dense(self.hidden, use_bias=False)
        self.weight = nn.Dense(1, use_bias=False)
        self.bilinear = nn.Dense(self.dim, use_bias=False)
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop_item, self.drop_state = Dropout(self.dropout), Dropout(self.state_dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.hidden)

    def start(self, query: Query) -> Float[Array, " B S H"] | None:
        """The state before the first event, if it is not zeros."""
        return jnp.tanh(self.profile(query)[0]) if self.user_features else None

    def states(self, query: Query) -> Float[Array, " B L H"]:
        """h_t after every event."""
        x = self.similarity.item(items.vectors(self, self.item, query.history))
        x = self.drop_item(self.event(x, query))
        first = sequence.first_events(sequence.segments(query))
        return self.gru(x, self.gru.initial(x.shape[0]), first, self.start(query))[1]

    def attend(
        self, now: Float[Array, " B Q H"], states: Float[Array, " B L H"], mask: Bool[Array, " B Q L"]
    ) -> Float[Array, " B Q D"]:
        """B c for each of the states `now`, looking where the mask allows."""
        pair = self.gate(self.of_query(now)[:, :, None] + self.of_key(states)[:, None])
        alpha = self.normalise(self.weight(pair)[..., 0], mask)
        c = jnp.concatenate([now, jnp.einsum("bqj,bjh->bqh", alpha, states)], axis=-1)
        return self.similarity.state(self.bilinear(self.drop_state(c)))

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """B c_t after every event."""
        states = self.states(query)
        return self.attend(states, states, sequence.past(sequence.segments(query)))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """B c after the last event; of an empty session by its user alone, or zeros."""
        states, start = self.states(query), self.start(query)
        now = sequence.at_last(states, query.history, None if start is None else start[:, 0])
        return self.attend(now, states, sequence.last_session(query)[:, None]).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Item vectors."""
        return self.similarity.item(items.all_vectors(self, self.item))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.item, item))
