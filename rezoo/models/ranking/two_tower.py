"""Two towers: a network for the user beside one for the item, multiplied element by element.

Huang, He, Gao, Deng, Acero, Heck: Learning deep structured semantic models for web search using
clickthrough data, CIKM 2013, https://doi.org/10.1145/2505515.2505665, for the two networks; the
product of their outputs, weighted and summed up, as in the generalized part of He 2017,
https://arxiv.org/abs/1708.05031, equation 9:

    score = wᵀ (f(user) ∘ g(item)) = ⟨w ∘ f(user), g(item)⟩

so that it is served by an inner product. Differs from the papers: towers read columns of any kind,
and there is no cosine.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed, once
from rezoo.nn.features import FieldEmbed, catalogue_of, table_rows
from rezoo.nn.inner import inner
from rezoo.nn.inputs import of_items, of_query
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.nn.sequence import mean_of
from rezoo.types import Query, Sizes


class TwoTower(Model):
    """A retriever whose item vectors come from the items' columns.

    The user's tower reads `query.features`, the mean of the history, and the user's id if `sizes`
    has a table for it; the item's reads its id and its columns in the collection `catalogue`.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `item` included."""
    dim: int = 16
    widths: Sizes = (64, 32)
    """Layers of either tower."""
    _: KW_ONLY
    dropout: float = 0.0

    def setup(self) -> None:
        self.users, self.items = FieldEmbed(self.sizes, self.dim), FieldEmbed(self.sizes, self.dim)
        self.watched = Embed(table_rows(self.sizes, "item"), self.dim)
        self.user_tower = MLP(self.widths[:-1], dropout=self.dropout)
        self.item_tower = MLP(self.widths[:-1], dropout=self.dropout)
        self.user_output, self.item_output = nn.Dense(self.widths[-1]), nn.Dense(self.widths[-1])
        self.weight = self.param("weight", nn.initializers.ones, (self.widths[-1],), jnp.float32)

    def encode(self, query: Query) -> Float[Array, " B D"]:
        parts = [mean_of(self.watched(query.history), query.history), *of_query(self.users, query)]
        user = self.user_output(self.user_tower(jnp.concatenate(parts, axis=-1)))
        return user * self.weight[None]

    def table(self) -> Float[Array, " N D"]:
        """A vector for every item that has a row in the table of ids or in the catalogue."""
        lengths = [len(column) for column in catalogue_of(self).values()]
        return once(self.vectors, jnp.arange(max([self.sizes["item"], *lengths]), dtype=jnp.int32))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return inner(self.encode(query), self.vectors(item))

    def vectors(self, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The rows of the table that belong to these items, without making the others."""
        return self.item_output(self.item_tower(of_items(self.items, ids, catalogue_of(self))))
