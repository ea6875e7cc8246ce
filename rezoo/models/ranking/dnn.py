"""DNN: a network over the concatenated embeddings of all columns.

The deep part of Wide & Deep alone (Cheng 2016, https://arxiv.org/abs/1606.07792, equation 2), the
baseline that models of feature interactions are measured against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query


class DNN(Model):
    """Score = wᵀ MLP([e_1; e_2; …]) + b, a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        return nn.Dense(1, name="output")(mlp(joined(v))).squeeze(-1)
