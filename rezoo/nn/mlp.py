"""Fully connected layers."""

from collections.abc import Callable, Sequence
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.nn.dropout import Dropout
from rezoo.nn.norm import BatchNorm


def linear(x: Array) -> Array:
    """No activation."""
    return x


Activation = Annotated[Callable[[Array], Array], linear, nn.relu, nn.tanh, nn.sigmoid, nn.gelu, nn.silu]
"""Of each unit of a layer."""


class MLP(nn.Module):
    """Dense layers, each followed by an activation and by dropout while training.

    Shapes: `[*B D] -> [*B widths[-1]]`.
    """

    widths: Sequence[int]
    activation: Activation = nn.relu
    dropout: float = 0.0
    batch_norm: bool = False
    """Whether each layer's sums are batch-normalised before the activation."""

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B E"]:
        for width in self.widths:
            x = nn.Dense(width, use_bias=not self.batch_norm)(x)
            x = self.activation(BatchNorm()(x) if self.batch_norm else x)
            x = Dropout(self.dropout)(x)
        return x


class PairMLP(nn.Module):
    """`MLP` over each `[row ; each]`, where a row's part of the first layer is computed once.

    A user is asked for many items at a time, in training with negatives as in serving.
    Shapes: `[B D], [B *C E] -> [B *C widths[-1]]`.
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, row: Float[Array, " B D"], each: Float[Array, " B *C E"]) -> Float[Array, " B *C F"]:
        width, parts = self.widths[0], row.shape[-1]
        shape = (parts + each.shape[-1], width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (width,), jnp.float32)
        first = (row @ kernel[:parts] + bias[None]).reshape(row.shape[0], *(1,) * (each.ndim - 2), width)
        x = nn.relu(first + each @ kernel[parts:])
        return MLP(self.widths[1:], dropout=self.dropout)(Dropout(self.dropout)(x))
