"""DeepFM: a factorization machine beside a network, over the same embeddings.

Guo, Tang, Ye, Li, He: DeepFM: A Factorization-Machine based Neural Network for CTR Prediction,
IJCAI 2017, https://arxiv.org/abs/1703.04247, equations 1-4:

    ŷ = w_0 + Σ_f w_f + Σ_{f<g} ⟨v_f, v_g⟩ + wᵀ MLP([v_1; …; v_F])

Differs from the paper: the score is a logit (the loss applies σ), or a rating if `mean` is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, field_vectors, joined
from rezoo.nn.interaction import bi_interaction
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query


class DeepFM(Model):
    """FM + network, for clicks (a logit) or ratings (with their `mean`)."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    dropout: float = 0.0
    batch_norm: bool = False
    mean: float | Array = 0.0
    """Added to every score: the mean of the training ratings; 0 for logits."""

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        linear = Linear(self.sizes, name="linear")(query, item, catalogue)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        deep = nn.Dense(1, use_bias=False, name="output")(mlp(joined(v))).squeeze(-1)
        return self.mean + linear + bi_interaction(v).sum(-1) + deep
