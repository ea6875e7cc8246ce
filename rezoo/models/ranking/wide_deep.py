"""Wide & Deep: a linear model that memorises crosses beside a network that generalises.

Cheng, Koc, Harmsen, Shaked et al.: Wide & Deep Learning for Recommender Systems, DLRS 2016,
https://arxiv.org/abs/1606.07792, equations 1-3.

Differs from the paper: cross-products are hashed into a table of `buckets` rows, and both parts
may be trained by one optimizer (the paper takes FTRL for the wide and Adagrad for the deep part).
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.features import FieldEmbed, catalogue_of, pair_columns
from rezoo.nn.inputs import Linear, field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query


class WideDeep(Model):
    """Score = wᵀ [x ; φ(x)] + MLP([e_1 ; e_2 ; …]) + b over the pair's columns.

    Reads the user, the item, all of `query.features` and the item columns in the collection
    `catalogue`. The score is a logit.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    crosses: Sequence[tuple[str, str]] = ()
    """Pairs of single-valued categorical columns whose values are memorised together."""
    buckets: int = 10_000
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        wide = Linear(self.sizes, name="wide")(query, item, catalogue)
        columns = pair_columns(query, item, catalogue)
        for a, b in self.crosses:
            bucket = cross(columns[a], columns[b], self.sizes[b]) % self.buckets
            wide += Embed(self.buckets, 1, nn.initializers.zeros, name=f"{a}_x_{b}")(bucket).squeeze(-1)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="deep"), query, item, catalogue)
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        return wide + nn.Dense(1, use_bias=False, name="output")(mlp(joined(v))).squeeze(-1)


def cross(a: Int[Array, " *B"], b: Int[Array, " *B"], size: int) -> Int[Array, " *B"]:
    """A number ≥ 0 for each pair of values: exact below 2³¹, folded beyond."""
    return (a.astype(jnp.uint32) * size + b.astype(jnp.uint32) & 0x7FFFFFFF).astype(jnp.int32)
