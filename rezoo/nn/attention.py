"""Attention of several heads over the events of a history, and a block with gates that is made of it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.errors import DataError
from rezoo.nn.dropout import Dropout


def split_heads(x: Float[Array, " B L D"], num_heads: int) -> Float[Array, " B L H E"]:
    """Each vector as `num_heads` shorter ones.

    Raises:
      DataError: if the width is no multiple of `num_heads`.

    >>> split_heads(jnp.zeros((2, 3, 4)), 2).shape
    (2, 3, 2, 2)
    """
    width = x.shape[-1]
    if num_heads < 1 or width % num_heads:
        raise DataError(f"num_heads = {num_heads} cannot share dim = {width}: give a number that divides it")
    return x.reshape(*x.shape[:2], num_heads, width // num_heads)


def attention(
    q: Float[Array, " B Q H E"],
    k: Float[Array, " B L H E"],
    v: Float[Array, " B L H E"],
    mask: Bool[Array, " B Q L"],
    drop: Dropout,
) -> Float[Array, " B Q D"]:
    """softmax(Q Kᵀ / √E) V of each head, side by side (Vaswani 2017, https://arxiv.org/abs/1706.03762).

    Args:
      q: what asks.
      k: what is asked.
      v: what is answered.
      mask: which events each one may look at; what may look at none gets the mean of all.
      drop: of the weights.
    """
    score = jnp.einsum("bqhe,bkhe->bhqk", q, k) * q.shape[-1] ** -0.5
    share = nn.softmax(jnp.where(mask[:, None], score, -1e9), axis=-1)
    answer = jnp.einsum("bhqk,bkhe->bqhe", drop(share), v)
    return answer.reshape(*answer.shape[:2], answer.shape[2] * answer.shape[3])


class LiGR(nn.Module):
    """A block whose residual connections are gated: x + σ(W x + b) ∘ F(LN(x)), twice.

    F is attention, then SwiGLU: W₃ (SiLU(W₁ y) ∘ W₂ y), `widen` times as wide (Shazeer 2020,
    https://arxiv.org/abs/2002.05202). The gates are those of Borisyuk 2025, LiGR,
    https://arxiv.org/abs/2502.03417.
    """

    num_heads: int
    dropout: float
    widen: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, " B L D"], mask: Bool[Array, " B L L"]) -> Float[Array, " B L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)

        def gated(x: Array, name: str, value: Array) -> Float[Array, " B L D"]:
            return x + nn.sigmoid(nn.Dense(d, name=name)(x)) * drop(value)

        y = nn.LayerNorm(name="attention_norm")(x)
        q, k, v = (
            split_heads(nn.Dense(d, name=name)(y), self.num_heads) for name in ("query", "key", "value")
        )
        x = gated(x, "attention_gate", nn.Dense(d, name="attention_out")(attention(q, k, v, mask, drop)))
        y = nn.LayerNorm(name="feed_norm")(x)
        opened, scale = (
            nn.Dense(self.widen * d, use_bias=False, name=name)(y) for name in ("feed_in", "feed_scale")
        )
        fed = nn.Dense(d, use_bias=False, name="feed_out")(drop(nn.silu(opened) * scale))
        return gated(x, "feed_gate", fed)
