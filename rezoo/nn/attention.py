"""Attention of several heads over the events of a history, a block with gates that is made of it, and a cache
of keys and values, with which one more event looks at each of those before it once.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
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


Pair = tuple[Array, Array]
"""Keys and values of a block, `[B M H E]` each."""
Keep = Callable[[Array, Array], Pair]
"""(keys, values) of the events that a block is given -> those of all that they may look at."""


def of_events(key: Array, value: Array) -> Pair:
    """Attention to the block's own events: a `Keep`."""
    return key, value


class Cache(NamedTuple):
    """A session as an attentive model keeps it."""

    keys: tuple[Float[Array, " B M H E"], ...]
    """Of each block; event n stands at n, and at the end the slot of the user's features, if there is one."""
    values: tuple[Float[Array, " B M H E"], ...]
    count: Int[Array, " B"]
    """Events so far."""
    known: Bool[Array, " B S"]
    """Whether the slot may be looked at; S is 0 without user features."""
    user: Float[Array, " B U"]
    """What the model adds to every event; U is 0 if it adds nothing."""
    output: Float[Array, " B D"]
    """The model's state after the last event."""

    @property
    def room(self) -> int:
        """Events that it can hold."""
        return self.keys[0].shape[1] - self.known.shape[1]

    def with_room(self, events: int) -> "Cache":
        """The same sessions, with room for so many events, which are no fewer than now."""
        more = events - self.room

        def wider(x: Float[Array, " B M H E"]) -> Float[Array, " B N H E"]:
            of_events, slot = x[:, : self.room], x[:, self.room :]
            return jnp.concatenate([jnp.pad(of_events, ((0, 0), (0, more), (0, 0), (0, 0))), slot], axis=1)

        return self._replace(keys=tuple(map(wider, self.keys)), values=tuple(map(wider, self.values)))

    def seen(self) -> Bool[Array, " B 1 M"]:
        """What the next event may look at: those before it, itself, and the slot."""
        before = jnp.arange(self.room)[None] <= self.count[:, None]
        return jnp.concatenate([before, self.known], axis=1)[:, None]

    def keep(self, block: int, after: list[Pair]) -> Keep:
        """For this block, attention to what it has kept and to one more event; appends both to `after`."""

        def put(key: Array, value: Array) -> Pair:
            row = jnp.arange(len(self.count))
            at = self.keys[block].at[row, self.count], self.values[block].at[row, self.count]
            after.append((at[0].set(key[:, 0], mode="drop"), at[1].set(value[:, 0], mode="drop")))
            return after[-1]

        return put

    def following(self, after: list[Pair], output: Float[Array, " B D"]) -> "Cache":
        """With what `keep` appended, block by block, and the new state."""
        keys, values = zip(*after, strict=True)
        return self._replace(keys=keys, values=values, count=self.count + 1, output=output)


def noted(blocks: list[Pair]) -> Keep:
    """Attention to the block's own events, whose keys and values are appended to `blocks`."""

    def keep(key: Array, value: Array) -> Pair:
        blocks.append((key, value))
        return key, value

    return keep


def filled(
    blocks: list[Pair],
    history: Int[Array, " B L"],
    output: Float[Array, " B D"],
    *,
    known: Bool[Array, " B S"] | None = None,
    user: Float[Array, " B U"] | None = None,
) -> Cache:
    """The cache after a history, of the keys and values that `noted` found in it."""
    keys, values = zip(*blocks, strict=True)
    count = (history > 0).sum(axis=1, dtype=jnp.int32)
    nothing = jnp.zeros((len(count), 0))
    known, user = nothing > 0 if known is None else known, nothing if user is None else user
    return Cache(keys, values, count, known, user, output)


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
    share = arrays.softmax(jnp.where(mask[:, None], score, -1e9))
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
    def __call__(
        self, x: Float[Array, " B L D"], mask: Bool[Array, " B L M"], keep: Keep = of_events
    ) -> Float[Array, " B L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)

        def gated(x: Array, name: str, value: Array) -> Float[Array, " B L D"]:
            return x + nn.sigmoid(nn.Dense(d, name=name)(x)) * drop(value)

        y = nn.LayerNorm(name="attention_norm")(x)
        q, k, v = (
            split_heads(nn.Dense(d, name=name)(y), self.num_heads) for name in ("query", "key", "value")
        )
        answer = attention(q, *keep(k, v), mask, drop)
        x = gated(x, "attention_gate", nn.Dense(d, name="attention_out")(answer))
        y = nn.LayerNorm(name="feed_norm")(x)
        opened, scale = (
            nn.Dense(self.widen * d, use_bias=False, name=name)(y) for name in ("feed_in", "feed_scale")
        )
        fed = nn.Dense(d, use_bias=False, name="feed_out")(drop(nn.silu(opened) * scale))
        return gated(x, "feed_gate", fed)
