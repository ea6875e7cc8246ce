"""GMF: generalised matrix factorization, an inner product whose factors have weights.

He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering, WWW 2017,
https://arxiv.org/abs/1708.05031, equations 8-9. Scores are logits: the loss applies σ.
"""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.features import over
from rezoo.types import Query


class GMF(nn.Module):
    """Score = hᵀ (p_u ∘ q_i) + b."""

    num_users: int
    num_items: int
    dim: int = 16

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        both = product(self.num_users, self.num_items, self.dim, query, item)
        return nn.Dense(1, name="output")(both).squeeze(-1)


def product(
    num_users: int, num_items: int, dim: int, query: Query, item: Int[Array, " B *C"]
) -> Float[Array, " B *C D"]:
    """p_u ∘ q_i, from tables `gmf_user` and `gmf_item` of the module that calls."""
    user = Embed(num_users, dim, name="gmf_user")(query.user)
    return over(user, item) * Embed(num_items, dim, name="gmf_item")(item)
