"""AutoInt: columns that attend to one another.

Song, Shi, Xiao, Duan, Xu, Zhang, Tang: AutoInt: Automatic Feature Interaction Learning via
Self-Attentive Neural Networks, CIKM 2019, https://arxiv.org/abs/1810.11921, equations 5-9; with
`widths` it is AutoInt+ (section 5.4), whose network stands beside the attention.

A multi-valued column is the mean of its values, as in equation 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import field_vectors, joined
from rezoo.nn.interaction import FieldAttention
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Parts, Query


class AutoInt(Model):
    """Self-attention over the columns of a pair. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    _: KW_ONLY
    num_layers: Parts = 3
    heads: int = 2
    head_width: int = 16
    widths: Sequence[int] = ()
    """Layers of the network beside; none if empty."""
    dropout: float = 0.0
    """Of that network."""
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        e = v
        for _ in range(self.num_layers):
            e = FieldAttention(self.heads, self.head_width)(e)
        score = nn.Dense(1, name="output")(joined(e)).squeeze(-1)
        if not self.widths:
            return score
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        return score + nn.Dense(1, use_bias=False, name="deep")(mlp(joined(v))).squeeze(-1)
