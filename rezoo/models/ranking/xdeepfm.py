"""xDeepFM: explicit products of columns, of every degree up to a bound, beside a network.

Lian, Zhou, Zhang, Chen, Xie, Sun: xDeepFM: Combining Explicit and Implicit Feature Interactions for
Recommender Systems, KDD 2018, https://arxiv.org/abs/1803.05170:

    x^0 = (v_1, …, v_F),   x^k_h = Σ_i Σ_j W^k_hij (x^{k-1}_i ∘ x^0_j),   p^k_h = Σ_d x^k_hd
    ŷ = w_0 + Σ_f w_f + w_cinᵀ [p^1 ; …; p^T] + wᵀ MLP([v_1; …; v_F])

Each x^k_h is a feature map, of products of k + 1 embeddings coordinate by coordinate.

Differs from the paper: the score is a logit. The authors' code, https://github.com/Leavingseason/xDeepFM,
can add a bias and an activation to the feature maps and pass half of them on; here, as in the equations, not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query, Sizes


class CompressedInteraction(nn.Module):
    """[p^1 ; …; p^T], the compressed interaction network: `[*B F D] -> [*B Σ maps]`."""

    maps: Sizes

    @nn.compact
    def __call__(self, v: Float[Array, " *B F D"]) -> Float[Array, " *B G"]:
        x_0 = x = v.swapaxes(-1, -2)
        pooled = []
        for number in self.maps:
            products = x[..., :, None] * x_0[..., None, :]
            products = products.reshape(*x.shape[:-1], x.shape[-1] * x_0.shape[-1])
            x = nn.Dense(number, use_bias=False)(products)
            pooled.append(x.sum(-2))
        return jnp.concatenate(pooled, axis=-1)


class XDeepFM(Model):
    """Extreme DeepFM. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    maps: Sizes = (32, 32)
    """Feature maps of each layer of the compressed interaction network."""
    dropout: float = 0.0
    """Of the network."""
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        linear = Linear(self.sizes, name="linear")(query, item, catalogue)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        cin = CompressedInteraction(self.maps, name="cin")(v)
        explicit = nn.Dense(1, use_bias=False, name="cin_output")(cin).squeeze(-1)
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        return linear + explicit + nn.Dense(1, use_bias=False, name="output")(mlp(joined(v))).squeeze(-1)
