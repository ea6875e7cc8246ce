"""FuXi-α: HSTU with a channel for what events are, one for where and one for when, and a network behind them.

Ye et al.: FuXi-α: Scaling Recommendation Model with Feature Interaction Enhanced Transformer, WWW 2025,
https://arxiv.org/abs/2502.03036, sections 3.3 and 3.4, with what the authors' code,
https://github.com/USTC-StarTeam/FuXi-alpha, adds to them (norms without parameters, dropout):

    U, V, Q, K = SiLU(W₁ RMS(x))
    S_ij = SiLU(q_i · k_j) / n,  P_ij = p_{i-j},  T_ij = w_{b(t_i - t_j)}  for j ≤ i, else 0
    y = x + W₂ (RMS([S V, P V, T V]) ∘ U) + b₂
    block(x) = y + W₅ (SiLU(W₃ RMS(y)) ∘ W₄ RMS(y))

HSTU adds p and w to the scores before their SiLU; here positions and times weigh the events by themselves.
T is left out where no times are read.

Differs from the authors' code: all that HSTU's frame does here, such as where a gap ends (see `HSTU`).
"""

from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rezoo.models.session.hstu import HSTU, SMALL, by_distance, by_gap
from rezoo.nn.attention import Keep, in_pieces, of_events, split_heads
from rezoo.nn.dropout import Dropout
from rezoo.nn.events import BUCKETS
from rezoo.nn.masks import Mask, may_look


class FuXi(HSTU):
    """Score = <x_t, v_i>, where x_t is the output of the blocks for the events up to t."""

    _: KW_ONLY
    widen: int = 1
    """How many times as wide as x the network of a block is."""

    def block(self) -> nn.Module:
        """A new one."""
        return Block(self.num_heads, self.max_length, self.dropout, self.widen)


class Block(nn.Module):
    """The module's `block(x)`; `time` is t."""

    num_heads: int
    max_length: int
    dropout: float
    widen: int

    @nn.compact
    def __call__(
        self,
        x: Float[Array, " B L D"],
        mask: Mask,
        time: Num[Array, " B L"] | None = None,
        keep: Keep = of_events,
    ) -> Float[Array, " B L D"]:
        d, drop = x.shape[-1], Dropout(self.dropout)
        norm = nn.RMSNorm(use_scale=False)

        def dense(width: int, name: str, **kwargs: Any) -> nn.Dense:
            kwargs = {"use_bias": False, "kernel_init": nn.initializers.xavier_uniform()} | kwargs
            return nn.Dense(width, name=name, **kwargs)

        all_channels = d * (2 if time is None else 3)
        mixed = nn.silu(dense(all_channels + 3 * d, "input", kernel_init=SMALL)(norm(x)))
        u, *others = jnp.split(mixed, [all_channels, all_channels + d, all_channels + 2 * d], axis=-1)
        v, q, k = (split_heads(one, self.num_heads) for one in others)
        k, v = keep(k, v)
        of_distance = self.param("of_distance", SMALL, (self.max_length,), jnp.float32)
        of_gap = None if time is None else self.param("of_gap", SMALL, (BUCKETS + 1,), jnp.float32)

        def summed(asking: Any, asked: Any, key: None) -> Float[Array, " B Q H C"]:
            (q, then, who), (k, v, before, whom) = asking, asked
            may = may_look(who, whom)
            score = nn.silu(jnp.einsum("bqhe,bkhe->bhqk", q, k)) / self.max_length
            made = [jnp.einsum("bhqk,bkhe->bqhe", jnp.where(may[:, None], score, 0.0), v)]
            weights = [by_distance(of_distance, who, whom)]
            if of_gap is not None:
                weights.append(by_gap(of_gap, then, before))
            made += [jnp.einsum("bqk,bkhe->bqhe", jnp.where(may, weight, 0.0), v) for weight in weights]
            return jnp.concatenate(made, axis=-1)

        asking, asked = (q, time, mask.asking), (k, v, time, mask.asked)
        sums = in_pieces(summed, asking, asked, mask.causal, None).reshape(*x.shape[:2], all_channels)
        y = x + dense(d, "output", use_bias=True)(drop(norm(sums) * u))
        z, inner = drop(norm(y)), self.widen * d
        return y + dense(d, "feed_out")(nn.silu(dense(inner, "feed_in")(z)) * dense(inner, "feed_scale")(z))
