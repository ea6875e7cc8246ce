"""Attention of several heads over the events of a history, a block with gates that is made of it, and a cache
of keys and values, with which one more event looks at each of those before it once.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import arrays
from rezoo.devices.backend import pick
from rezoo.devices.meshes import layout
from rezoo.errors import DataError
from rezoo.nn.dropout import Dropout, dropped
from rezoo.nn.masks import Mask, may_look, next_event


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

    def seen(self) -> Mask:
        """What the next event may look at: those before it, itself, and the slot."""
        return next_event(self.count, self.room, self.known)

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


WHOLE = 256
"""Events, up to which the scores of every two of them are kept for the gradient."""
AT_ONCE = 32
"""Events of longer histories, at least, that look at others at a time."""
SCORES = 2**20
"""Of two events, made at a time on a CPU, whose cache keeps them; an accelerator makes 64 times as many."""
PIECES, PIECE = 4, 50
"""Pieces of a causal history, at most, and events of a piece, at least."""


Span = tuple[int, int]
"""The first place, and the one behind the last."""


def attention(
    q: Float[Array, " B Q H E"],
    k: Float[Array, " B K H E"],
    v: Float[Array, " B K H E"],
    mask: Mask,
    drop: Dropout,
) -> Float[Array, " B Q D"]:
    """softmax(Q Kᵀ / √E) V of each head, side by side (Vaswani 2017, https://arxiv.org/abs/1706.03762).

    Its memory grows with Q + K: see `in_pieces`. On an NVIDIA GPU it is cuDNN's, for numbers of 16 bits, rows
    of one session and no dropout.

    Args:
      q: what asks.
      k: what is asked.
      v: what is answered.
      mask: which events each one may look at; what may look at none gets some finite answer.
      drop: of the weights.
    """
    key = drop.key()
    if key is None and fused_on_gpu(q, mask):
        answer = fused(q, k, v, mask, "cudnn")
    else:

        def answer_of(asking: Any, asked: Any, key: Array | None) -> Float[Array, " B Q H E"]:
            (q, who), (k, v, whom) = asking, asked
            score = jnp.einsum("bqhe,bkhe->bhqk", q, k) * q.shape[-1] ** -0.5
            share = arrays.softmax(jnp.where(may_look(who, whom)[:, None], score, -1e9))
            return jnp.einsum("bhqk,bkhe->bqhe", dropped(share, drop.rate, key), v)

        answer = in_pieces(answer_of, (q, mask.asking), (k, v, mask.asked), mask.causal, key)
    return answer.reshape(*answer.shape[:2], answer.shape[2] * answer.shape[3])


def fused_on_gpu(q: Float[Array, " B Q H E"], mask: Mask) -> bool:
    """Whether cuDNN has this attention, and it is the faster one."""
    if jax.default_backend() != "gpu" or mask.packed or layout(q) is not None:
        return False
    capability = getattr(jax.devices()[0], "compute_capability", None)  # of NVIDIA's alone
    modern = capability is not None and float(capability) >= 8.0
    return modern and q.dtype in (jnp.bfloat16, jnp.float16) and q.shape[3] % 8 == 0 and q.shape[3] <= 128


def fused(
    q: Float[Array, " B L H E"],
    k: Float[Array, " B L H E"],
    v: Float[Array, " B L H E"],
    mask: Mask,
    implementation: Literal["cudnn", "xla"],
) -> Float[Array, " B L H E"]:
    """The attention of rows of one session each, without dropout, by `jax.nn.dot_product_attention`."""
    count = jnp.maximum((mask.asked.segment > 0).sum(axis=1, dtype=jnp.int32), 1)
    return jax.nn.dot_product_attention(
        q, k, v, is_causal=mask.causal > 0, key_value_seq_lengths=count, implementation=implementation
    )


def in_pieces(
    answer: Any, asking: Any, asked: Any, causal: Any, key: Array | None
) -> Float[Array, " B Q H E"]:
    """`answer(asking, asked, key)`, of which each row of `asking` `[B Q ...]` has its own `[B Q H E]`.

    The array of every two, in between, is only made in pieces. Those of a causal history leave out what comes
    after them, which is nearly half of all scores; those of more than `WHOLE` events are made in turns, and
    once more for the gradient, in place of being kept (Chen 2016, https://arxiv.org/abs/1604.06174).

    Args:
      answer: a function of some rows of `asking`, those of `asked` that they need, and a key.
      asking: arrays `[B Q ...]`, the first of them `[B Q H E]`.
      asked: arrays `[B K ...]`.
      causal: as in `Mask`; lengths may be symbolic, as in an export, which then has one piece.
      key: for what is random; None for nothing.
    """
    queries, keys = jax.tree.leaves(asking)[0].shape[1], jax.tree.leaves(asked)[0].shape[1]
    if not isinstance(queries, int) or not isinstance(keys, int) or min(queries, keys) <= PIECE:
        return answer(asking, asked, key)
    pieces = max(min(PIECES, causal // PIECE), 1)
    ends = [causal * number // pieces for number in range(pieces + 1)]
    spans: list[tuple[Span, tuple[Span, ...]]] = [
        ((start, end), ((0, end), (causal, keys))) for start, end in pairwise(ends) if causal
    ]
    if queries > causal:
        spans.append(((causal, queries), ((causal, keys),)))
    draws = [key] * len(spans)
    if key is not None and len(spans) > 1:
        draws = [jax.random.fold_in(key, number) for number in range(len(spans))]

    def answers(rows: Span, seen: tuple[Span, ...], key: Array | None) -> Array:
        def of(some: Any, key: Array | None) -> Array:
            return answer(some, jax.tree.map(lambda x: _parts(x, seen), asked), key)

        some = jax.tree.map(lambda x: x[:, slice(*rows)], asking)
        if max(queries, keys) <= WHOLE:
            return of(some, key)
        return _in_turns(of, some, sum(end - start for start, end in seen), key)

    made = [answers(*span, draw) for span, draw in zip(spans, draws, strict=True)]
    return jnp.concatenate(made, axis=1) if len(made) > 1 else made[0]


def _parts(x: Array, spans: tuple[Span, ...]) -> Array:
    """These parts of [B K ...], side by side."""
    parts = [x[:, start:end] for start, end in spans if end > start]
    return jnp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _in_turns(function: Any, asking: Any, keys: int, key: Array | None) -> Array:
    """`function(asking, key)`, of some rows after others; nothing between is kept for the gradient."""
    size, queries, heads = jax.tree.leaves(asking)[0].shape[:3]
    scores = pick(cpu=SCORES, accelerator=64 * SCORES)
    most = max(AT_ONCE, scores // max(size * heads * keys, 1) if isinstance(size, int) else 0)
    turns = -(-queries // most)
    each = -(-queries // turns)
    if turns == 1:
        return jax.checkpoint(function)(asking, key)

    def split(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, turns * each - queries)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(x.shape[0], turns, each, *x.shape[2:]), 1, 0)

    def turn(some: tuple[Any, Array]) -> Array:
        return function(some[0], None if key is None else jax.random.fold_in(key, some[1]))

    once = jax.checkpoint(turn, prevent_cse=False)
    made = jnp.moveaxis(jax.lax.map(once, (jax.tree.map(split, asking), jnp.arange(turns))), 0, 1)
    return made.reshape(size, turns * each, *made.shape[3:])[:, :queries]


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
        self, x: Float[Array, " B L D"], mask: Mask, keep: Keep = of_events
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
        # Events in one row: the weights' gradients then need no transposed copies, a quarter of a step.
        y = nn.LayerNorm(name="feed_norm")(x).reshape(-1, d)
        opened, scale = (
            nn.Dense(self.widen * d, use_bias=False, name=name)(y) for name in ("feed_in", "feed_scale")
        )
        fed = nn.Dense(d, use_bias=False, name="feed_out")(drop(nn.silu(opened) * scale))
        return gated(x, "feed_gate", fed.reshape(x.shape))
