"""SVD++: matrix factorization that uses which items a user rated, besides the ratings.

Koren 2008, "Factorization meets the neighborhood", https://doi.org/10.1145/1401890.1401944,
equation 15:

    r̂_ui = μ + b_u + b_i + q_iᵀ (p_u + |N(u)|^-½ Σ_{j ∈ N(u)} y_j)

N(u) is `query.history`. The sum over N(u) is computed once for each row of the query, so the
model is trained on user-major batches, `user: [B]` beside `item: [B C]`, a user's ratings in one
row: `rezoo.training.bucketed` makes them. Koren takes one stochastic gradient step per rating, and so does
the sum |N(u)| times; here a user's ratings share one sum and one step, which is the difference
between O(Σ|N(u)|) and O(Σ|N(u)|²) an epoch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import across
from rezoo.nn.embedding import Embed
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class SVDpp(Model):
    """SVD++ for ratings. With an empty history it is `BiasedMF`.

    `mean` is μ, the mean of the training ratings. Tables: `user`, `item`, `implicit` (y_j), dim
    wide, `user_bias` and `item_bias`. A user who was not there in training (id 0) is still known by
    their history.
    """

    num_users: int
    num_items: int
    dim: int = 20
    mean: float | Array = 0.0

    def setup(self):
        self.user = Embed(self.num_users, self.dim)
        self.item = Embed(self.num_items, self.dim)
        self.implicit = Embed(self.num_items, self.dim)
        self.user_bias = Embed(self.num_users, 1)
        self.item_bias = Embed(self.num_items, 1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        b_u, b_i = self.user_bias(query.user)[:, 0], self.item_bias(item)[..., 0]
        return self.mean + across(b_u, b_i) + b_i + inner(self.taste(query), self.item(item))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.taste(query), self.mean + self.user_bias(query.user), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.item.table(), 1.0, self.item_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.item(item), 1.0, self.item_bias(item))

    def taste(self, query: Query) -> Float[Array, " B D"]:
        """p_u + |N(u)|^-½ Σ_{j ∈ N(u)} y_j."""
        real = (query.history > 0).astype(jnp.float32)
        scale = jax.lax.rsqrt(jnp.maximum(real.sum(axis=1, keepdims=True), 1.0))
        y = self.implicit(query.history)
        return self.user(query.user) + jnp.einsum("bl,bld->bd", real * scale, y)
