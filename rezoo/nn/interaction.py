"""How the fields of a pair meet: sums over pairs of them, and layers that cross them.

A field is a column of the (query, item) pair; its vector is what `nn.features.FieldEmbed` gives.
Shape letter: F fields.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, over, pair_columns
from rezoo.types import Query


def field_vectors(
    embed: FieldEmbed, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
) -> Float[Array, " B *C F D"]:
    """The vectors of a pair's columns in the order of `field_names`.

    Columns of the query are embedded once per query and then repeated for its items. The ids `user`
    and `item` are read only if `embed.sizes` has a table for them.
    """
    names = field_names(embed.sizes, query, catalogue)
    columns = pair_columns(query, item, catalogue)
    of_query = {"user": query.user, **query.features}
    asked = embed({name: of_query[name] for name in names if name in of_query}, 1)
    vectors = {name: over(vector, item) for name, vector in asked.items()}
    vectors |= embed({name: columns[name] for name in names if name not in of_query}, item.ndim)
    return jnp.stack([vectors[name] for name in names], axis=-2)


def joined(v: Float[Array, " *B F D"]) -> Float[Array, " *B E"]:
    """[v_1; …; v_F], the fields' vectors end to end."""
    return v.reshape(*v.shape[:-2], v.shape[-2] * v.shape[-1])


def field_names(sizes: Mapping[str, int], query: Query, catalogue: Mapping[str, Array]) -> list[str]:
    """The columns of a pair in the order of their vectors."""
    return sorted([*{"user", "item"} & set(sizes), *query.features, *catalogue])


class Linear(nn.Module):
    """w_0 + Σ_f w_f: a weight for each value of each column; `[B *C]`."""

    sizes: Mapping[str, int]

    @nn.compact
    def __call__(
        self, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
    ) -> Float[Array, " B *C"]:
        weights = field_vectors(FieldEmbed(self.sizes, 1, name="weights"), query, item, catalogue)
        return self.param("bias", nn.initializers.zeros, ()) + weights.sum((-2, -1))


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
        v = self.param("v", init, (self.experts, width, self.rank))
        c = self.param("c", init, (self.experts, self.rank, self.rank))
        u = self.param("u", init, (self.experts, self.rank, width))
        bias = self.param("bias", nn.initializers.zeros, (width,)).reshape(*(1,) * (x.ndim - 1), width)
        gate = nn.softmax(nn.Dense(self.experts, name="gate")(x))
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
        weight = jax.nn.softmax(jnp.einsum("...mhd,...khd->...hmk", q, k), axis=-1)
        mixed = jnp.einsum("...hmk,...khd->...mhd", weight, v)
        mixed = mixed.reshape(*mixed.shape[:-2], self.heads * self.width)
        return nn.relu(mixed + nn.Dense(mixed.shape[-1], use_bias=False, name="residual")(e))
