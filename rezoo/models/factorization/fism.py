"""FISM: a user is the items that they took, so that there is nobody to learn by heart.

Kabbur, Ning, Karypis: FISM: factored item similarity models for top-N recommender systems, KDD 2013,
https://doi.org/10.1145/2487575.2487589, equation 3, with BPR's loss its FISMauc:

    r̂_ui = b_i + n^-α Σ_{j ∈ R_u, j ≠ i} ⟨p_j, q_i⟩,    n = how many items j there are

Differs: there is no user bias, which changes no ranking. Item i is left out of its own user's sum where
the model trains; in serving, what a user has is seldom asked for, and one vector serves all items.
"""

from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.bag import Bag
from rezoo.nn.embedding import Embed, has_row
from rezoo.nn.features import repeat_for_items
from rezoo.nn.inner import inner, with_columns
from rezoo.nn.model import Model
from rezoo.types import Query


class FISM(Model):
    """score = b_i + ⟨n^-α Σ_j p_j, q_i⟩ over the history; new users need no training.

    Tables: `taken` (p), `item` (q) and `item_bias`. A user without history is given popularity.
    """

    num_items: int
    dim: int = 64
    _: KW_ONLY
    alpha: float | Array = 0.5
    """0 adds the history's vectors up, 1 takes their mean."""

    def setup(self) -> None:
        self.taken = Bag(self.num_items, self.dim)
        self.item = Embed(self.num_items, self.dim)
        self.item_bias = Embed(self.num_items, 1, nn.initializers.zeros)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        q, bias = self.item(item), self.item_bias(item)[..., 0]
        if not self.has_rng("dropout"):
            return inner(self.profile(query), q) + bias
        total, count = self.total(query)
        same = (repeat_for_items(query.history, item) == item[..., None]) & (item > 0)[..., None]
        own = same.sum(-1).astype(q.dtype)
        others = repeat_for_items(total, item) - own[..., None] * self.taken.rows(item)
        scale = jnp.maximum(repeat_for_items(count[:, None], item)[..., 0] - own, 1.0) ** -self.alpha
        return scale * (others * q).sum(-1) + bias

    def encode(self, query: Query) -> Float[Array, " B D"]:
        return with_columns(self.profile(query), 1.0)

    def table(self) -> Float[Array, " N D"]:
        return with_columns(self.item.table(), self.item_bias.table())

    def vectors(self, item: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of `table()` of some items."""
        return with_columns(self.item(item), self.item_bias(item))

    def profile(self, query: Query) -> Float[Array, " B D"]:
        """n^-α Σ_j p_j."""
        total, count = self.total(query)
        return total * jnp.maximum(count, 1.0)[:, None] ** -self.alpha

    def total(self, query: Query) -> tuple[Float[Array, " B D"], Float[Array, " B"]]:
        """Σ_j p_j and n."""
        real = has_row(query.history, self.num_items).astype(jnp.float32)
        return self.taken(query.history, real), real.sum(1)
