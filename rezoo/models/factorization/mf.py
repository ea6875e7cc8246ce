"""Matrix factorization: a user and an item meet in one inner product.

Koren, Bell and Volinsky 2009, "Matrix factorization techniques for recommender systems",
https://doi.org/10.1109/MC.2009.263, equations 1 and 4; as a ranker trained by BPR, Rendle et al.
2009, https://arxiv.org/abs/1205.2618, section 4.3.1.

Both models fold their biases into the inner product (`nn.inner.with_columns`).
"""

from jaxtyping import Array, Float, Int

from rezoo.arrays import across
from rezoo.nn.embedding import Embed
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class MF(Model):
    """score = b_i + ⟨p_u, q_i⟩, for implicit feedback.

    A user bias would not change any ranking, and BPR gives it no gradient; the item bias is
    popularity. Tables: `user` [num_users dim], `item` [num_items dim], `item_bias` [num_items 1].
    """

    num_users: int
    num_items: int
    dim: int = 64

    def setup(self):
        self.user = Embed(self.num_users, self.dim)
        self.item = Embed(self.num_items, self.dim)
        self.item_bias = Embed(self.num_items, 1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        p = self.user(query.user)
        return inner(p, self.item(item)) + self.item_bias(item)[..., 0]

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.user(query.user), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.item.table(), self.item_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.item(item), self.item_bias(item))


class BiasedMF(Model):
    """r̂_ui = μ + b_u + b_i + ⟨p_u, q_i⟩, for ratings (Koren 2009, equation 4).

    `mean` is μ, the mean of the training ratings. Tables: `user`, `item` (dim wide), `user_bias`
    and `item_bias`. An unknown user or item is one whose row nothing was learnt for: row 0.
    """

    num_users: int
    num_items: int
    dim: int = 64
    mean: float | Array = 0.0

    def setup(self):
        self.user = Embed(self.num_users, self.dim)
        self.item = Embed(self.num_items, self.dim)
        self.user_bias = Embed(self.num_users, 1)
        self.item_bias = Embed(self.num_items, 1)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        p, b_u = self.user(query.user), self.user_bias(query.user)[:, 0]
        b_i = self.item_bias(item)[..., 0]
        return self.mean + across(b_u, b_i) + b_i + inner(p, self.item(item))

    def encode(self, query: Query) -> Float[Array, " B D"]:
        p, b_u = self.user(query.user), self.user_bias(query.user)
        return with_columns(p, self.mean + b_u, 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.item.table(), 1.0, self.item_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.item(item), 1.0, self.item_bias(item))
