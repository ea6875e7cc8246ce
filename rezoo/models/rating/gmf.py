"""GMF: generalised matrix factorization, an inner product whose factors have weights.

He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering, WWW 2017,
https://arxiv.org/abs/1708.05031, equations 8-9. Scores are logits: the loss applies σ.

As hᵀ (p ∘ q) = ⟨h ∘ p, q⟩, it is a retriever.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.features import repeat_for_items
from rezoo.nn.inner import with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class GMF(Model):
    """Score = hᵀ (p_u ∘ q_i) + b. Tables: `gmf_user`, `gmf_item`; h and b are `output`."""

    num_users: int
    num_items: int
    dim: int = 16

    def setup(self) -> None:
        self.gmf_user = Embed(self.num_users, self.dim)
        self.gmf_item = Embed(self.num_items, self.dim)
        self.output = nn.Dense(1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return self.output(product(self.gmf_user, self.gmf_item, query, item)).squeeze(-1)

    def encode(self, query: Query) -> Float[Array, " B D"]:
        b = self.output(jnp.zeros((1, self.dim), jnp.float32))
        h = self.output(jnp.eye(self.dim, dtype=jnp.float32)) - b
        p = self.gmf_user(query.user)
        return with_columns(p * h[:, 0][None], jnp.broadcast_to(b, (p.shape[0], 1)))

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.gmf_item.table(), 1.0)

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.gmf_item(item), 1.0)


def product(
    user: Embed, item_table: Embed, query: Query, item: Int[Array, " B *C"]
) -> Float[Array, " B *C D"]:
    """p_u ∘ q_i."""
    return repeat_for_items(user(query.user), item) * item_table(item)
