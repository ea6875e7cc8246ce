"""BST: a transformer over what a shopper did before and the product at hand.

Chen, Zhao, Li, Huang, Ou: Behavior Sequence Transformer for E-commerce Recommendation in Alibaba,
DLP-KDD 2019, https://arxiv.org/abs/1905.06874:

    x = ([e_1 ; p_L], …, [e_L ; p_1], [e_target ; p_0])
    y = LN(x + MultiHead(x)),   block(x) = LN(y + W_2 LeakyReLU(W_1 y + b_1) + b_2)
    ŷ = MLP([block(x) ; profile and context])

e are an item's id and columns, p_k is the vector of how far back an event is.

Differs from the paper: the score is a logit. How far back is counted in events, not in time. The network is
given the output at the target and the mean of those at the events, so that a history may have any length; the
paper's lays the outputs of its 20 events end to end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.devices.meshes import alike
from rezoo.nn.dropout import Dropout
from rezoo.nn.embedding import Embed
from rezoo.nn.features import FieldEmbed, catalogue_of, repeat_for_items
from rezoo.nn.inputs import of_items, of_query
from rezoo.nn.mlp import MLP
from rezoo.nn.model import Model
from rezoo.types import Parts, Query


class TransformerBlock(nn.Module):
    """The module's `block(x)`; events where `real` is False are not attended to."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: Float[Array, " B C L D"], real: Bool[Array, " B L"]) -> Float[Array, " B C L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)
        width = max(d // self.heads, 1)
        q, k, v = (nn.DenseGeneral((self.heads, width), use_bias=False, name=name)(x) for name in "qkv")
        score = jnp.einsum("bcqhe,bckhe->bchqk", q, k) * width**-0.5
        share = arrays.softmax(jnp.where(real[:, None, None, None], score, -1e9))
        mixed = jnp.einsum("bchqk,bckhe->bcqhe", share, v).reshape(*x.shape[:-1], self.heads * width)
        y = nn.LayerNorm(name="norm_in")(x + drop(nn.Dense(d, use_bias=False, name="heads_out")(mixed)))
        hidden = nn.leaky_relu(nn.Dense(d, name="feed_in")(y))
        return nn.LayerNorm(name="norm_out")(y + drop(nn.Dense(d, name="feed_out")(hidden)))


class BST(Model):
    """Behavior sequence transformer. The score is a logit.

    Items and profile are those of `DIN`: an item is its id and its columns in the collection `catalogue`;
    profile and context are all of `query.features`, and the user's id if `sizes` has a table for it.
    """

    sizes: Mapping[str, int]
    """Rows of each categorical column's table; `item` included."""
    dim: int = 16
    widths: Sequence[int] = (128, 64)
    _: KW_ONLY
    num_blocks: Parts = 1
    heads: int = 2
    max_length: int = 50
    """Events that have a position of their own; earlier ones share the last."""
    dropout: float = 0.0

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        real = query.history > 0
        count = real.sum(axis=1, keepdims=True)
        back = jnp.where(real, count - jnp.arange(real.shape[1], dtype=jnp.int32)[None], 0)
        catalogue = catalogue_of(self)
        items = FieldEmbed(self.sizes, self.dim, name="items")
        position = Embed(self.max_length + 1, self.dim, name="position")

        def tokens(ids: Int[Array, " *S"], place: Int[Array, " *S"]) -> Float[Array, " *S D"]:
            vectors = of_items(items, ids, catalogue)
            return jnp.concatenate([vectors, position(jnp.minimum(place, self.max_length))], axis=-1)

        history, target = tokens(query.history, back), tokens(item, jnp.zeros_like(item))
        slate = target.reshape(target.shape[0], -1, 1, target.shape[-1])
        events = jnp.broadcast_to(history[:, None], (*slate.shape[:2], *history.shape[1:]))
        x = jnp.concatenate(alike([events, slate]), axis=2)
        seen = jnp.pad(real, ((0, 0), (0, 1)), constant_values=True)
        for _ in range(self.num_blocks):
            x = TransformerBlock(self.heads, self.dropout)(x, seen)
        share = real.astype(x.dtype) / jnp.maximum(count, 1)
        mean = jnp.einsum("bl,bcld->bcd", share, x[:, :, :-1])
        read = jnp.concatenate([mean, x[:, :, -1]], axis=-1)
        parts = [read.reshape(*item.shape, read.shape[-1])]
        profile = FieldEmbed(self.sizes, self.dim, name="profile")
        parts += [repeat_for_items(known, item) for known in of_query(profile, query)]
        mlp = MLP(self.widths, nn.leaky_relu, dropout=self.dropout, name="mlp")
        return nn.Dense(1, name="output")(mlp(jnp.concatenate(alike(parts), axis=-1))).squeeze(-1)
