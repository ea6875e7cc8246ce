"""How the fields of a pair meet: sums over pairs of them, and layers that cross them.

A field is a column of the (query, item) pair; `nn.inputs.field_vectors` gives its vector. Shape
letter: F fields.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo import arrays


def bi_interaction(v: Float[Array, " *B F D"]) -> Float[Array, " *B D"]:
    """Σ_{i<j} v_i ∘ v_j = ½ ((Σ v_i)² - Σ v_i²), in O(F D) (Rendle 2010, lemma 3.1; He 2017, equation 4)."""
    return 0.5 * (jnp.square(v.sum(-2)) - jnp.square(v).sum(-2))


def pair_products(v: Float[Array, " *B F D"]) -> Float[Array, " *B P D"]:
    """v_i ∘ v_j for the P = F(F-1)/2 pairs i < j, (0, 1) first, then (0, 2)."""
    i, j = jnp.triu_indices(v.shape[-2], k=1)
    return v[..., i, :] * v[..., j, :]


class Cross(nn.Module):
    """x_{l+1} = x_0 ∘ (W x_l + b) + x_l (Wang 2021, https://arxiv.org/abs/2008.13535, equation 1)."""

    @nn.compact
    def __call__(self, x_0: Float[Array, " *B E"], x: Float[Array, " *B E"]) -> Float[Array, " *B E"]:
        return x_0 * nn.Dense(x.shape[-1])(x) + x


class GatedCross(nn.Module):
    """x_{l+1} = x_0 ∘ (W x_l + b) ∘ σ(W_g x_l) + x_l (GDCN, Wang 2023, https://arxiv.org/abs/2311.04635)."""

    @nn.compact
    def __call__(self, x_0: Float[Array, " *B E"], x: Float[Array, " *B E"]) -> Float[Array, " *B E"]:
        gate = nn.sigmoid(nn.Dense(x.shape[-1], use_bias=False, name="gate")(x))
        return x_0 * nn.Dense(x.shape[-1], name="cross")(x) * gate + x


class LowRankCross(nn.Module):
    """A mixture of low-rank crosses (Wang 2021, equations 2-4).

    x_{l+1} = Σ_k G_k(x_l) x_0 ∘ (U_k g(C_k g(V_kᵀ x_l)) + b) + x_l, with g = tanh and the gates G
    a softmax.
    """

    rank: int = 16
    experts: int = 4

    @nn.compact
    def __call__(self, x_0: Float[Array, " *B E"], x: Float[Array, " *B E"]) -> Float[Array, " *B E"]:
        width, init = x.shape[-1], nn.initializers.lecun_normal(batch_axis=0)
        v = self.param("v", init, (self.experts, width, self.rank), jnp.float32)
        c = self.param("c", init, (self.experts, self.rank, self.rank), jnp.float32)
        u = self.param("u", init, (self.experts, self.rank, width), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (width,), jnp.float32).reshape(
            *(1,) * (x.ndim - 1), width
        )
        gate = arrays.softmax(nn.Dense(self.experts, name="gate")(x))
        low = jnp.tanh(jnp.einsum("...d,kdr->...kr", x, v))
        low = jnp.tanh(jnp.einsum("...kr,krs->...ks", low, c))
        # The gates sum to 1, so that b may stand outside of the mixture.
        return x_0 * (jnp.einsum("...k,...kr,krd->...d", gate, low, u) + bias) + x


class FieldAttention(nn.Module):
    """Fields that attend to one another (Song 2019, https://arxiv.org/abs/1810.11921, equations 5-8).

    Each head h gives field m the sum Σ_k softmax_k ⟨Q_h e_m, K_h e_k⟩ V_h e_k; heads are
    concatenated, W e_m is added, and ReLU taken. Scores are not divided by √width, as in the paper.
    """

    heads: int
    width: int
    """Of each head."""

    @nn.compact
    def __call__(self, e: Float[Array, " *B F D"]) -> Float[Array, " *B F E"]:
        q, k, v = (nn.DenseGeneral((self.heads, self.width), use_bias=False, name=n)(e) for n in "qkv")
        weight = arrays.softmax(jnp.einsum("...mhd,...khd->...hmk", q, k))
        mixed = jnp.einsum("...hmk,...khd->...mhd", weight, v)
        mixed = mixed.reshape(*mixed.shape[:-2], self.heads * self.width)
        return nn.relu(mixed + nn.Dense(mixed.shape[-1], use_bias=False, name="residual")(e))
