"""Caser: convolutions over the matrix of the last events' embeddings.

Tang, Wang: Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding,
WSDM 2018, https://arxiv.org/abs/1809.07426, section 3: horizontal filters of every height 1 … L,
max-pooled over their places, beside vertical filters; z = φ(W [o ; õ] + b); score = W' [z ; p_u] + b'.

Differs from the paper: every prefix is trained in one pass; without user ids there is no p_u;
the vector of the user's features is added to it.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn import events, items, sequence
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed
from rezoo.nn.events import NO_EVENT_FEATURES, EventFeature, EventFeatures
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.mlp import Activation
from rezoo.nn.model import Model
from rezoo.nn.profile import NO_FEATURES, Profile, of_last
from rezoo.types import Count, Query, SomeParts


class Caser(Model):
    """Score = <[z_t ; p_u ; 1], [w_i ; b_i]>, z_t of the last `window` events up to t."""

    num_items: int
    dim: int = 50
    _: KW_ONLY
    num_users: Count = 0
    """Rows of the users' table; 0 if sessions have no users."""
    window: SomeParts = 5
    horizontal: int = 16
    """Filters of each height."""
    vertical: int = 4
    dropout: float = 0.0
    activation: Activation = nn.relu
    user_features: Mapping[str, int | None] = NO_FEATURES
    """As in `nn.profile.Profile`."""
    event_features: Mapping[str, EventFeature] = NO_EVENT_FEATURES
    """As in `nn.events.EventFeatures`."""
    item_features: Mapping[str, int | None] = NO_FEATURES
    id_dropout: float | Array = 0.5
    """Both as in `nn.items`."""

    def setup(self) -> None:
        self.item = items.table(self.num_items, self.dim, self.item_features, self.id_dropout)
        width = self.dim * (2 if self.num_users or self.user_features else 1)
        self.output = items.table(self.num_items, width, self.item_features, self.id_dropout)
        self.bias = items.table(self.num_items, 1, self.item_features, self.id_dropout, nn.initializers.zeros)
        self.heights = [nn.Dense(self.horizontal) for _ in range(self.window)]
        self.columns = nn.Dense(self.vertical)
        self.hidden = nn.Dense(self.dim)
        self.event = EventFeatures(self.event_features, self.dim)
        self.drop = Dropout(self.dropout)
        if self.num_users:
            self.user = Embed(self.num_users, self.dim)
        if self.user_features:
            self.profile = Profile(self.user_features, self.dim)

    def prefixes(self, query: Query) -> Float[Array, " B L E"]:
        """[z_t ; p_u ; 1] after every event."""
        z = self._local(query, sequence.segments(query))
        return self._with_user(z, query, self.profile(query)[0] if self.user_features else None)

    def encode(self, query: Query) -> Float[Array, " B E"]:
        """[z ; p_u ; 1] after the last event, of which z is 0 if there is none."""
        # With one event more than it reads, each of those that it reads has its gap.
        columns = (*self.event_features, *({sequence.SEGMENT} & query.features.keys()))
        recent = events.newest(query, columns, self.window + bool(self.event_features))
        z = sequence.at_last(self._local(recent, sequence.segments(recent)), recent.history)
        known = of_last(*self.profile(query), query)[0] if self.user_features else None
        return self._with_user(z, query, known).squeeze(1)

    def table(self) -> Float[Array, " N E"]:
        """Item vectors, each followed by its bias."""
        return with_columns(items.all_vectors(self, self.output), items.all_vectors(self, self.bias))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S E"]:
        """The rows of `table()` of some items."""
        return with_columns(*(items.vectors(self, rows, item) for rows in (self.output, self.bias)))

    def _local(self, query: Query, segment: Int[Array, " B L"]) -> Float[Array, " B L D"]:
        """z_t after every event."""
        x = self.event(items.vectors(self, self.item, query.history), query)
        steps = range(self.window - 1, -1, -1)
        picture = jnp.stack([sequence.back(x, segment, step) for step in steps], axis=2)
        pooled = []
        for height, dense in enumerate(self.heights, start=1):
            places = range(self.window - height + 1)
            cut = jnp.stack([picture[:, :, at : at + height] for at in places], axis=2)
            cut = cut.reshape(*cut.shape[:3], height * self.dim)
            pooled.append(self.activation(dense(cut)).max(axis=2))
        columns = self.columns(picture.swapaxes(2, 3)).reshape(*x.shape[:2], self.dim * self.vertical)
        return self.activation(self.hidden(self.drop(jnp.concatenate([*pooled, columns], axis=-1))))

    def _with_user(
        self, z: Float[Array, " B L D"], query: Query, known: Float[Array, " B S D"] | None
    ) -> Float[Array, " B L E"]:
        """With p_u, of the user's id and of what is `known` of them."""
        users = []
        if self.num_users:
            users.append(jnp.broadcast_to(self.user(query.user)[:, None], z.shape))
        if known is not None:
            users.append(jnp.broadcast_to(known, z.shape))
        return with_columns(jnp.concatenate([z, sum(users)], axis=-1) if users else z, 1.0)
