"""GRU4Rec: a recurrent network over the clicks of a session.

Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural
Networks, ICLR 2016, https://arxiv.org/abs/1511.06939, section 3.

Differs from the paper: inputs are embedded; every prefix of a padded session is trained at once
instead of session-parallel mini-batches, with the same loss (the gradient is that of the whole session,
where the official code, https://github.com/hidasib/GRU4Rec, cuts it after each event); the loss is the
caller's choice: BPR-max and TOP1-max, without the official code's ELU on scores, by
`objectives.next_item_sampled` with `corrected=False`; dropout is applied to the embeddings and
to the outputs of the layers, not to the recurrent state; the recurrence starts from the user's features.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from rezoo.nn import items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile
from rezoo.nn.recurrent import GRU, Cell
from rezoo.types import Query, SomeParts


class GRU4Rec(Model):
    """Score = <h_t, v_i> + b_i, with h_t the state after the session's last click.

    An empty session has the state 0, or that of its user, and is given each item's bias, its popularity.
    """

    num_items: int
    dim: int = 64
    _: KW_ONLY
    num_layers: SomeParts = 1
    cell: Cell = GRU
    """`nn.recurrent.GRU` or `nn.recurrent.LSTM`."""
    tied: bool = False
    """Whether the input embeddings are the output table too ("constrained embeddings")."""
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
        self.layers = [self.cell(self.dim) for _ in range(self.num_layers)]
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if not self.tied:
            self.output = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        self.bias = items.table(self.num_items, 1, self.item_features, self.id_dropout, nn.initializers.zeros)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim * self.num_layers)

    def prefixes(self, query: Query) -> Float[Array, " B L E"]:
        """The state after each event, and a 1 for the bias."""
        x = self.drop(self.event(items.vectors(self, self.item, query.history), query))
        first = sequence.first_events(sequence.segments(query))
        for layer, h in zip(self.layers, self.starts(query), strict=True):
            _, x = layer(x, layer.initial(x.shape[0]), first, h)
            x = self.drop(x)
        return with_columns(x, 1.0)

    def encode(self, query: Query) -> Float[Array, " B E"]:
        """The state after the last event that is not padding."""
        empty = self.state(self.begin(query))
        return sequence.at_last(self.prefixes(query), query.history, empty).squeeze(1)

    def starts(self, query: Query) -> list[Float[Array, " B S D"]] | list[None]:
        """The output of each layer before a session's first event, where there are user features."""
        if not self.user_features:
            return [None] * self.num_layers
        return jnp.split(jnp.tanh(self.profile(query)[0]), self.num_layers, axis=-1)

    def begin(self, query: Query) -> list[Any]:
        """The state of each layer before the first event."""
        size = query.user.shape[0]
        starts = [None if h is None else h[:, 0] for h in self.starts(query)]
        return [layer.initial(size, h) for layer, h in zip(self.layers, starts, strict=True)]

    def step(self, carry: list[Any], item: Int[Array, " B"], recent: Query | None = None) -> list[Any]:
        """The state of each layer after one more event."""
        x, after = self.event(items.vectors(self, self.item, item)[:, None], recent), []
        for layer, state in zip(self.layers, carry, strict=True):
            state, x = layer(x, state)
            after.append(state)
        return after

    def state(self, carry: list[Any]) -> Float[Array, " B E"]:
        """What `encode` gives, of the events that led to the state."""
        return with_columns(self.layers[-1].output(carry[-1]), 1.0)

    def table(self) -> Float[Array, " N E"]:
        """Item vectors, each followed by its bias."""
        return with_columns(items.all_vectors(self, self.scored()), items.all_vectors(self, self.bias))

    def scored(self) -> items.Items:
        """The table that states are held against."""
        return self.item if self.tied else self.output

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S E"]:
        """The rows of `table()` of some items."""
        return with_columns(*(items.vectors(self, rows, item) for rows in (self.scored(), self.bias)))


def adagrad(
    learning_rate: optax.ScalarOrSchedule, momentum: float = 0.0, eps: float = 1e-6
) -> optax.GradientTransformation:
    """The official code's optimizer for dense weights: G ← G + g², m ← μ m - η g / √(G + ε), θ ← θ + m.

    It updates only those rows of a table that a batch looks up: a row that is not in the batch is not
    updated and keeps its m, where this one is still moved by it. Without momentum the two agree; with it
    the official rows are those of `row_sparse.momentum(row_sparse.adagrad(η, 0.0, ε), μ)`, which
    `row_sparse.make_step` takes beside this one. (A row that a batch looks up twice is there moved once, by
    the sum of its gradients; the official code adds the movements of both.)
    """
    return optax.chain(
        optax.scale_by_rss(0.0, eps), optax.trace(momentum), optax.scale_by_learning_rate(learning_rate)
    )
