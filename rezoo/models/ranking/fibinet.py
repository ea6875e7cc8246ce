"""FiBiNET: columns weighed by a network over all of them, and bilinear products of all pairs.

Huang, Zhang, Zhang: FiBiNET: Combining Feature Importance and Bilinear feature Interaction for
Click-Through Rate Prediction, RecSys 2019, https://arxiv.org/abs/1905.09433:

    a = ReLU(W_2 ReLU(W_1 z)),  z_f = mean(v_f),   u_f = a_f v_f
    ŷ = w_0 + Σ_f w_f + wᵀ MLP([v_i W ∘ v_j for all i < j ; u_i W ∘ u_j for all i < j])

W is one matrix for all pairs, one for each i, or one for each pair: `Shared`, `ByField`, `ByPair`. The
products of v and of u have the same matrices, as in FuxiCTR and DeepCTR; the paper leaves it open.

Differs from the paper: the score is a logit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import Linear, at_least_2, field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query

MATRICES = nn.initializers.lecun_normal(batch_axis=0)


class FieldWeights(nn.Module):
    """u_f = a_f v_f, the squeeze-and-excitation layer: `[*B F D] -> [*B F D]`."""

    reduction: int

    @nn.compact
    def __call__(self, v: Float[Array, " *B F D"]) -> Float[Array, " *B F D"]:
        fields = v.shape[-2]
        hidden = nn.Dense(max(fields // self.reduction, 1), use_bias=False, name="squeeze")(v.mean(-1))
        a = nn.relu(nn.Dense(fields, use_bias=False, name="excite")(nn.relu(hidden)))
        return v * a[..., None]


class Shared(nn.Module):
    """v_i W of each pair, with one matrix ("field-all"): `[*B F D], [P] -> [*B P D]`."""

    @nn.compact
    def __call__(self, v: Float[Array, " *B F D"], i: Int[Array, " P"]) -> Float[Array, " *B P D"]:
        return nn.Dense(v.shape[-1], use_bias=False)(v)[..., i, :]


class ByField(nn.Module):
    """v_i W_i of each pair, with a matrix for each column ("field-each"): `[*B F D], [P] -> [*B P D]`."""

    @nn.compact
    def __call__(self, v: Float[Array, " *B F D"], i: Int[Array, " P"]) -> Float[Array, " *B P D"]:
        w = self.param("matrices", MATRICES, (v.shape[-2], v.shape[-1], v.shape[-1]), jnp.float32)
        return jnp.einsum("...fd,fde->...fe", v, w)[..., i, :]


class ByPair(nn.Module):
    """v_i W_ij of each pair, with a matrix for each ("field-interaction"): `[*B F D], [P] -> [*B P D]`."""

    @nn.compact
    def __call__(self, v: Float[Array, " *B F D"], i: Int[Array, " P"]) -> Float[Array, " *B P D"]:
        w = self.param("matrices", MATRICES, (len(i), v.shape[-1], v.shape[-1]), jnp.float32)
        return jnp.einsum("...pd,pde->...pe", v[..., i, :], w)


class FiBiNET(Model):
    """Feature importance and bilinear feature interaction. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    matrices: Annotated[Callable[..., nn.Module], Shared, ByField, ByPair] = Shared
    """`Shared`, `ByField` or `ByPair`."""
    reduction: int = 3
    """Columns over units of the hidden layer that weighs them."""
    dropout: float = 0.0
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        linear = Linear(self.sizes, name="linear")(query, item, catalogue)
        v = field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue)
        i, j = jnp.triu_indices(at_least_2(v), k=1)
        bilinear = self.matrices(name="bilinear")
        products = [
            joined(bilinear(x, i) * x[..., j, :])
            for x in (v, FieldWeights(self.reduction, name="field_weights")(v))
        ]
        mlp = MLP(self.widths, dropout=self.dropout, batch_norm=self.batch_norm, name="mlp")
        hidden = mlp(jnp.concatenate(products, axis=-1))
        return linear + nn.Dense(1, use_bias=False, name="output")(hidden).squeeze(-1)
