"""DIEN: how the interests of a shopper evolved, as far as they concern the product at hand.

Zhou, Mou, Fan, Pi, Bian, Zhou, Zhu, Gai: Deep Interest Evolution Network for Click-Through Rate
Prediction, AAAI 2019, https://arxiv.org/abs/1809.03672:

    h = GRU(e_1 … e_L),   a_t = softmax_t(h_tᵀ W e_target),   s_t = AUGRU(s_{t-1}, h_t, a_t)
    ŷ = MLP([s_L ; e_target ; profile and context])

AUGRU is a GRU whose update gate is multiplied by the weight a_t, so that events that do not concern the
target leave the state as it is. The auxiliary loss, by which h_t tells the next event from a random item,

    -mean_t [log σ(⟨h_t, e_{t+1}⟩) + log(1 - σ(⟨h_t, e_random⟩))],

is sown as `penalty/auxiliary` in training: `objectives.penalised(…, α)` adds it.

Differs from the paper: the score is a logit; the GRU is `nn.recurrent.GRU`; Dice is not used. The authors'
code, https://github.com/mouna99/dien, puts a network between h_t and e in the auxiliary loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.devices.backend import pick
from rezoo.devices.meshes import alike, along, matmul
from rezoo.nn.features import FieldEmbed, catalogue_of, repeat_for_items
from rezoo.nn.inputs import of_items, of_query
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.nn.recurrent import GRU, KERNEL, RECURRENT, UNROLL
from rezoo.types import Query


class AUGRU(nn.Module):
    """s' = (1 - a z) ∘ s + a z ∘ tanh(W x + U (r ∘ s) + b), the last state: `[B L D], [B C L] -> [B C D]`."""

    @nn.compact
    def __call__(self, x: Float[Array, " B L D"], a: Float[Array, " B C L"]) -> Float[Array, " B C D"]:
        d = x.shape[-1]
        projected = nn.Dense(3 * d, kernel_init=KERNEL, name="input")(x).swapaxes(0, 1)
        gates = self.param("gates", RECURRENT, (d, 2 * d), jnp.float32)
        candidate = self.param("candidate", RECURRENT, (d, d), jnp.float32)

        def event(s: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
            x, weight = at
            z, r = jnp.split(nn.sigmoid(x[:, : 2 * d] + matmul(s, gates)), 2, axis=-1)
            z = weight[:, None] * z
            return (1 - z) * s + z * jnp.tanh(x[:, 2 * d :] + matmul(r * s, candidate)), None

        def last(weights: Float[Array, " B L"]) -> Float[Array, " B D"]:
            start = along(jnp.zeros_like(x, shape=(x.shape[0], d)), x)
            events = projected, weights.swapaxes(0, 1)
            return jax.lax.scan(event, start, events, unroll=pick(cpu=1, accelerator=UNROLL))[0]

        return jax.vmap(last, in_axes=1, out_axes=1)(a)


class DIEN(Model):
    """Deep interest evolution network. The score is a logit.

    Items and profile are those of `DIN`: an item is its id and its columns in the collection `catalogue`;
    profile and context are all of `query.features`, and the user's id if `sizes` has a table for it.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `item` included."""
    dim: int = 16
    widths: Sequence[int] = (80, 40)
    _: KW_ONLY
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        catalogue = catalogue_of(self)
        embed = FieldEmbed(self.sizes, self.dim, name="items")

        def vectors(ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
            return of_items(embed, ids, catalogue)

        real, e, target = query.history > 0, vectors(query.history), vectors(item)
        extractor = GRU(e.shape[-1], name="extractor")
        h = extractor(e, extractor.initial(e.shape[0]))[1]
        if self.has_rng("dropout"):
            drawn = jax.random.randint(
                self.make_rng("dropout"), real.shape, 1, max(self.sizes["item"], 2), jnp.int32
            )
            other = vectors(along(drawn, query.history))
            self.sow("penalty", "auxiliary", auxiliary(h[:, :-1], e[:, 1:], other[:, 1:], real[:, 1:]))
        slate = target.reshape(target.shape[0], -1, target.shape[-1])
        score = jnp.einsum("bld,bcd->bcl", h, nn.Dense(h.shape[-1], use_bias=False, name="attention")(slate))
        a = arrays.softmax(score, where=real[:, None])
        interest = AUGRU(name="evolution")(h, a).reshape(target.shape)
        parts = [interest, target]
        profile = FieldEmbed(self.sizes, self.dim, name="profile")
        parts += [repeat_for_items(known, item) for known in of_query(profile, query)]
        mlp = MLP(self.widths, dropout=self.dropout, name="mlp")
        return nn.Dense(1, name="output")(mlp(jnp.concatenate(alike(parts), axis=-1))).squeeze(-1)


def auxiliary(
    h: Float[Array, " B L D"],
    following: Float[Array, " B L D"],
    other: Float[Array, " B L D"],
    real: Bool[Array, " B L"],
) -> Float[Array, " B"]:
    """-mean_t [log σ(⟨h_t, following_t⟩) + log(1 - σ(⟨h_t, other_t⟩))] over the real t, 0 without any."""
    loss = nn.softplus(-(h * following).sum(-1)) + nn.softplus((h * other).sum(-1))
    return jnp.where(real, loss, 0.0).sum(1) / jnp.maximum(real.sum(1), 1)
