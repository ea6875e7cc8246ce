"""NeuMF: neural matrix factorization.

He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering, WWW 2017,
https://arxiv.org/abs/1708.05031, equations 8-12.

Differs from the paper: scores are logits (the loss applies σ); weights start from normal(0.05)
for embeddings and Lecun's scheme for dense layers instead of normal(0.01) throughout, which
lets it learn without pre-training.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.features import over
from rezoo.nn.mlp import MLP
from rezoo.types import Query


class NeuMF(nn.Module):
    """Score = hᵀ [p_G ∘ q_G ; MLP([p_M ; q_M])], the GMF part beside the MLP part."""

    num_users: int
    num_items: int
    dim: int = 16
    """Width of the GMF embeddings."""
    widths: Sequence[int] = (32, 16, 8)
    """Layers of the MLP, whose embeddings are half as wide as its first layer each."""
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        half = self.widths[0] // 2
        gmf_user = Embed(self.num_users, self.dim, name="gmf_user")(query.user)
        gmf_item = Embed(self.num_items, self.dim, name="gmf_item")(item)
        mlp_user = Embed(self.num_users, half, name="mlp_user")(query.user)
        mlp_item = Embed(self.num_items, half, name="mlp_item")(item)
        pair = jnp.concatenate([over(mlp_user, item), mlp_item], axis=-1)
        hidden = MLP(self.widths, dropout=self.dropout, name="mlp")(pair)
        both = jnp.concatenate([over(gmf_user, item) * gmf_item, hidden], axis=-1)
        return nn.Dense(1, name="output")(both).squeeze(-1)
