"""FinalMLP: two networks over the same columns, each with gates of its own, that meet in a bilinear form.

Mao, Zhu, Su, Cai, Li, Dong: FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction, AAAI 2023,
https://arxiv.org/abs/2304.00902:

    e = [v_1; …; v_F],   h_s = 2 σ(MLP(context_s)) ∘ e,   o_s = MLP_s(h_s),   s = 1, 2
    ŷ = b + w_1ᵀ o_1 + w_2ᵀ o_2 + Σ_k o_1kᵀ W_k o_2k

o_sk is the k-th of `heads` equal parts of o_s. The context of a stream are some of the columns, such as the
user's for one and the item's for the other, with embeddings of their own, as in the authors' code,
https://github.com/reczoo/FuxiCTR.

Differs from the paper: the score is a logit. A stream without a context has no gates; the paper's are
constant then, which is no more than other weights of the stream's first layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.errors import DataError
from rezoo.nn.features import FieldEmbed, catalogue_of
from rezoo.nn.inputs import field_names, field_vectors, joined
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Query


class FeatureGate(nn.Module):
    """2 σ(MLP(context)), a weight between 0 and 2 for each of `features` numbers."""

    sizes: Mapping[str, int]
    dim: int
    context: Sequence[str]
    """Names of columns."""
    widths: Sequence[int]
    features: int

    @nn.compact
    def __call__(
        self, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
    ) -> Float[Array, " B *C E"]:
        known = field_names(self.sizes, query, catalogue)
        if unknown := sorted(set(self.context) - set(known)):
            raise DataError(f"FinalMLP.gates: there is no column {unknown[0]!r}; there are {known}")
        embed = FieldEmbed(self.sizes, self.dim, name="factors")
        context = joined(field_vectors(embed, query, item, catalogue, self.context))
        hidden = MLP(self.widths, name="mlp")(context)
        return 2 * nn.sigmoid(nn.Dense(self.features, name="output")(hidden))


class BilinearFusion(nn.Module):
    """b + w_1ᵀ x + w_2ᵀ y + Σ_k x_kᵀ W_k y_k over `heads` parts: `[*B D], [*B E] -> [*B]`."""

    heads: int

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"], y: Float[Array, " *B E"]) -> Float[Array, " *B"]:
        first, second = (self._parts(width) for width in (x.shape[-1], y.shape[-1]))
        linear = nn.Dense(1, name="first")(x) + nn.Dense(1, use_bias=False, name="second")(y)
        init = nn.initializers.lecun_normal(batch_axis=0)
        w = self.param("bilinear", init, (self.heads, first, second), jnp.float32)
        x = x.reshape(*x.shape[:-1], self.heads, first)
        y = y.reshape(*y.shape[:-1], self.heads, second)
        return linear.squeeze(-1) + jnp.einsum("...hd,hde,...he->...", x, w, y)

    def _parts(self, width: int) -> int:
        if self.heads < 1 or width % self.heads:
            raise DataError(
                f"FinalMLP.heads = {self.heads} does not divide {width}, the width of a stream's last layer: "
                "change one of them"
            )
        return width // self.heads


class FinalMLP(Model):
    """Two gated streams and their bilinear fusion. The score is a logit."""

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `user` and `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    """Layers of the first stream."""
    _: KW_ONLY
    second_widths: Sequence[int] = (128, 64)
    """Layers of the second stream."""
    gates: tuple[Sequence[str], Sequence[str]] = (("user",), ("item",))
    """The columns that set each stream's gates; a stream with none is not gated."""
    gate_widths: Sequence[int] = (64,)
    """Layers of the network that makes the gates."""
    heads: int = 2
    """Must divide the last width of both streams."""
    dropout: float = 0.0
    """Of the streams."""
    batch_norm: bool = False

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        e = joined(field_vectors(FieldEmbed(self.sizes, self.dim, name="factors"), query, item, catalogue))

        def stream(name: str, context: Sequence[str], widths: Sequence[int]) -> Array:
            h = e
            if context:
                gate = FeatureGate(
                    self.sizes, self.dim, context, self.gate_widths, e.shape[-1], name=f"{name}_gate"
                )
                h = jnp.multiply(*alike([gate(query, item, catalogue), e]))
            return MLP(widths, dropout=self.dropout, batch_norm=self.batch_norm, name=name)(h)

        o_1 = stream("first", self.gates[0], self.widths)
        o_2 = stream("second", self.gates[1], self.second_widths)
        return BilinearFusion(self.heads, name="fusion")(o_1, o_2)
