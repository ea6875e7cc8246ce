"""NextItNet: dilated causal convolutions over the events of a session.

Yuan, Karatzoglou, Arapakis, Jose, He: A Simple Convolutional Generative Network for Next Item
Recommendation, WSDM 2019, https://arxiv.org/abs/1808.05163, section 3.3 and figure 3b:

    F(x) = x + LN-ReLU of conv_{2l}(LN-ReLU of conv_l(x)),  kernel 3, dilations l and 2l

Differs from the paper: the loss is the caller's choice; the vector of the user's features is added to every
x.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile
from rezoo.nn.similarity import DOT, Similarity
from rezoo.types import Query, SomeParts


class NextItNet(Model):
    """Score = <E_t, w_i>, E_t what the convolutions make of the events up to t."""

    num_items: int
    dim: int = 64
    _: KW_ONLY
    dilations: Sequence[int] = (1, 4)
    """l of each residual block; its second convolution has 2l."""
    kernel: SomeParts = 3
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
        self.item, self.output = (
            items.table(self.num_items, self.dim, self.item_features, self.id_dropout) for _ in range(2)
        )
        self.blocks = [Residual(dilation, self.kernel) for dilation in self.dilations]
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def prefixes(self, query: Query) -> Float[Array, " B L D"]:
        """E_t after every event."""
        segment = sequence.segments(query)
        x = self.drop(self.event(self.similarity.item(items.vectors(self, self.item, query.history)), query))
        if self.user_features:
            x = x + jnp.broadcast_to(self.profile(query)[0], x.shape)
        for block in self.blocks:
            x = block(x, segment)
        return self.similarity.state(self.drop(x))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        """E after the last event; of an empty session the user's vector, or zeros."""
        empty = self.similarity.state(self.profile(query)[0][:, 0]) if self.user_features else None
        return sequence.at_last(self.prefixes(query), query.history, empty).squeeze(1)

    def table(self) -> Float[Array, " N D"]:
        """Output item vectors."""
        return self.similarity.item(items.all_vectors(self, self.output))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return self.similarity.item(items.vectors(self, self.output, item))


class Residual(nn.Module):
    """x + two causal convolutions that stay within a session, each normalised and rectified."""

    dilation: int
    kernel: SomeParts

    @nn.compact
    def __call__(self, x: Float[Array, " B L D"], segment: Int[Array, " B L"]) -> Float[Array, " B L D"]:
        y = x
        for dilation in (self.dilation, 2 * self.dilation):
            taps = [sequence.back(y, segment, dilation * step) for step in range(self.kernel)]
            y = nn.relu(nn.LayerNorm()(nn.Dense(x.shape[-1])(jnp.concatenate(taps, axis=-1))))
        return x + y
