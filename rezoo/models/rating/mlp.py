"""MLP: a network over a user's and an item's embeddings, in the place of their inner product.

He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering, WWW 2017,
https://arxiv.org/abs/1708.05031, equation 10. Scores are logits: the loss applies σ.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.mlp import PairMLP
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes


class MLP(Model):
    """Score = hᵀ network([p_u ; q_i]) + b; the embeddings are half as wide as the first layer each."""

    num_users: int
    num_items: int
    widths: Sizes = (32, 16, 8)
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        last = hidden(self.num_users, self.num_items, self.widths, self.dropout, query, item)
        return nn.Dense(1, name="output")(last).squeeze(-1)


def hidden(
    num_users: int,
    num_items: int,
    widths: Sequence[int],
    dropout: float,
    query: Query,
    item: Int[Array, " B *C"],
) -> Float[Array, " B *C D"]:
    """The network's last layer, from tables `mlp_user`, `mlp_item` and layers `mlp` of the caller."""
    user = Embed(num_users, widths[0] // 2, name="mlp_user")(query.user)
    items = Embed(num_items, widths[0] // 2, name="mlp_item")(item)
    return PairMLP(widths, dropout, name="mlp")(user, items)
