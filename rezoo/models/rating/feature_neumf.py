"""NeuMF whose users and items are known by their features too, so that new ones are.

`NeuMF` (He et al. 2017, https://arxiv.org/abs/1708.05031, equations 8-12) in which each of the four
embeddings is the sum of an id's and its features' embeddings. An id is dropped at random in
training, for the GMF and the MLP part together: see `nn.features.FeatureEmbedding`.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FeatureEmbedding, catalogue_of, item_columns, repeat_for_items
from rezoo.nn.mlp import PairMLP
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes


class FeatureNeuMF(Model):
    """Score = hᵀ [p_G ∘ q_G ; MLP([p_M ; q_M])] for known and new users and items.

    User features are those columns of `query.features` that `user_features` names, item features
    those of the collection `catalogue` that `item_features` names.
    """

    num_users: int
    num_items: int
    user_features: Mapping[str, int | None]
    """Rows of each categorical feature's table, None for a number."""
    item_features: Mapping[str, int | None]
    dim: int = 16
    """Width of the GMF embeddings."""
    widths: Sizes = (32, 16, 8)
    """Layers of the MLP, whose embeddings are half as wide as its first layer each."""
    _: KW_ONLY
    dropout: float = 0.0
    id_dropout: float | Array = 0.5
    """How often an id is not told in training."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        width = self.dim + self.widths[0] // 2
        user = FeatureEmbedding(self.num_users, self.user_features, width, self.id_dropout, name="user")
        items = FeatureEmbedding(self.num_items, self.item_features, width, self.id_dropout, name="item")
        p = user(query.user, query.features)
        q = items(item, item_columns(item, catalogue_of(self)))
        gmf = repeat_for_items(p[:, : self.dim], item) * q[..., : self.dim]
        hidden = PairMLP(self.widths, self.dropout, name="mlp")(p[:, self.dim :], q[..., self.dim :])
        return nn.Dense(1, name="output")(jnp.concatenate([gmf, hidden], axis=-1)).squeeze(-1)
