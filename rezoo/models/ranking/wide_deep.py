"""Wide & Deep: a linear model that memorises crosses beside a network that generalises.

Cheng, Koc, Harmsen, Shaked et al.: Wide & Deep Learning for Recommender Systems, DLRS 2016,
https://arxiv.org/abs/1606.07792, equations 1-3.

Differs from the paper: cross-products are hashed into a table of `buckets` rows, and both parts
may be trained by one optimizer (the paper takes FTRL for the wide and Adagrad for the deep part).
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import Embed
from rezoo.nn.features import FieldEmbed, pair_columns
from rezoo.nn.mlp import MLP
from rezoo.types import Query


class WideDeep(nn.Module):
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
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        columns = pair_columns(query, item, self.variables.get("catalogue", {}))
        linear = FieldEmbed(self.sizes, 1, name="wide")(columns, item.ndim)
        wide = sum(vector.squeeze(-1) for vector in linear.values())
        for a, b in self.crosses:
            bucket = cross(columns[a], columns[b], self.sizes[b]) % self.buckets
            wide += Embed(self.buckets, 1, nn.initializers.zeros, name=f"{a}_x_{b}")(bucket).squeeze(-1)
        vectors = FieldEmbed(self.sizes, self.dim, name="deep")(columns, item.ndim)
        hidden = MLP(self.widths, dropout=self.dropout, name="mlp")(
            jnp.concatenate([vectors[name] for name in sorted(vectors)], axis=-1)
        )
        return wide + nn.Dense(1, name="output")(hidden).squeeze(-1)


def cross(a: Int[Array, " *B"], b: Int[Array, " *B"], size: int) -> Int[Array, " *B"]:
    """A number ≥ 0 for each pair of values: exact below 2³¹, folded beyond."""
    return (a.astype(jnp.uint32) * size + b.astype(jnp.uint32) & 0x7FFFFFFF).astype(jnp.int32)
