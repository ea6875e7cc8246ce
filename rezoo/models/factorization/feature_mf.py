"""Matrix factorization with features of users and items, so that new ones have vectors.

The model of `MF` (Rendle et al. 2009, https://arxiv.org/abs/1205.2618) with each vector the sum of
an id's and its features' embeddings, as in Kula 2015, "Metadata embeddings for user and item
cold-start recommendations" (LightFM), https://arxiv.org/abs/1507.08439, section 3:

    score = b_i + ⟨p_u, q_i⟩,   p_u = e_u + Σ_{f ∈ u} e_f,   (q_i, b_i) = e_i + Σ_{f ∈ i} e_f

Differs from the paper: ids are dropped at random in training (`nn.features.FeatureEmbedding`), without which
the features of known users and items learn little; several values of one feature count as their mean.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import once
from rezoo.nn.features import FeatureEmbedding, catalogue_of, catalogue_rows, item_columns
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class FeatureMF(Model):
    """A retriever for known and new users and items.

    User features are those columns of `query.features` that `user_features` names, item features
    those of the collection `catalogue` that `item_features` names; a longer catalogue is scored,
    and retrieved from, as it is. `(q_i, b_i)` is one row, `dim + 1` wide.
    """

    num_users: int
    num_items: int
    user_features: Mapping[str, int | None]
    """Rows of each categorical feature's table, None for a number."""
    item_features: Mapping[str, int | None]
    dim: int = 64
    _: KW_ONLY
    id_dropout: float | Array = 0.5
    """How often an id is not told in training."""

    def setup(self):
        self.user = FeatureEmbedding(self.num_users, self.user_features, self.dim, self.id_dropout)
        self.item = FeatureEmbedding(self.num_items, self.item_features, self.dim + 1, self.id_dropout)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def encode(self, query: Query) -> Float[Array, " B E"]:
        return with_columns(self.user(query.user, query.features), 1.0)

    def table(self) -> Float[Array, " N E"]:
        count = catalogue_rows(self.variables, self.num_items)
        return once(self.vectors, jnp.arange(count, dtype=jnp.int32))

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S E"]:
        """(q_i, b_i)."""
        return self.item(item, item_columns(item, catalogue_of(self)))
