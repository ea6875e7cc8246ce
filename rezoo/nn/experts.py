"""What multi-task models are made of: experts beside each other, gates that mix them, towers."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo import arrays
from rezoo.nn.mlp import MLP


class Experts(nn.Module):
    """`num` networks of the same shape over the same input: `[*B D] -> [*B num widths[-1]]`."""

    num: int
    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B E H"]:
        beside = nn.vmap(
            MLP,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=None,  # pyright: ignore[reportArgumentType]
            out_axes=-2,
            axis_size=self.num,
        )
        return beside(self.widths, dropout=self.dropout, name="experts")(x)


class Gate(nn.Module):
    """Σ_e softmax(W x)_e · expert_e, the mixture that the input asks for."""

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"], experts: Float[Array, " *B E H"]) -> Float[Array, " *B H"]:
        share = arrays.softmax(nn.Dense(experts.shape[-2], use_bias=False, name="gate")(x))
        return jnp.einsum("...e,...eh->...h", share, experts)


class Tower(nn.Module):
    """A task's own layers and its score: `[*B D] -> [*B]`."""

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B"]:
        hidden = MLP(self.widths, dropout=self.dropout, name="mlp")(x)
        return nn.Dense(1, name="output")(hidden).squeeze(-1)
