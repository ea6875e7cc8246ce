"""NFM: a network over the sum of all pairs of columns.

He and Chua: Neural Factorization Machines for Sparse Predictive Analytics, SIGIR 2017,
https://arxiv.org/abs/1708.05027, equations 3-9:

    ŷ = w_0 + Σ_f w_f + hᵀ MLP(Σ_{f<g} v_f ∘ v_g)

Without layers and with h = 1 it is FM. Dropout falls on the Bi-Interaction vector and on the layers,
and both are batch-normalised, as in section 3.4.

Differs from the paper: factors are not pre-trained by FM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.dropout import Dropout
from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, field_vectors
from rezoo.nn.interaction import bi_interaction
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.nn.norm import BatchNorm
from rezoo.types import Query


class NFM(Model):
    """Neural factorization machine, for ratings (with their `mean`) or clicks (a logit)."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (64,)
    _: KW_ONLY
    dropout: float = 0.0
    batch_norm: bool = True
    mean: float | Array = 0.0
    """Added to every score: the mean of the training ratings; 0 for logits."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        linear = Linear(self.sizes, name="linear")(query, item, catalogue)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        pooled = bi_interaction(v)
        pooled = BatchNorm(name="pooled_norm")(pooled) if self.batch_norm else pooled
        hidden = Dropout(self.dropout)(pooled)
        hidden = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")(hidden)
        return self.mean + linear + nn.Dense(1, use_bias=False, name="output")(hidden).squeeze(-1)
