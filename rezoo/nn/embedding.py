"""Embedding tables."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Embed(nn.Module):
    """A table with a row per id. Row 0 belongs to the unknown, and so does an id beyond the table.

    The looked-up rows are sown in the collection `rows`, so that an objective can regularise just
    those; where nobody reads them, they cost nothing.
    """

    num_embeddings: int
    features: int
    embedding_init: Callable[..., jax.Array] = nn.initializers.normal(0.05)

    def setup(self) -> None:
        self.embedding = self.param("embedding", self.embedding_init, (self.num_embeddings, self.features))

    def __call__(self, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The row of each id."""
        rows = self.embedding[jnp.where(ids < self.num_embeddings, ids, 0)]
        self.sow("rows", "rows", rows)
        return rows

    def table(self) -> Float[Array, " N D"]:
        """The whole table, for scoring a catalogue."""
        return self.embedding
