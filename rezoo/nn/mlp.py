"""Fully connected layers."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from rezoo.nn.dropout import Dropout
from rezoo.nn.norm import BatchNorm


class MLP(nn.Module):
    """Dense layers, each followed by an activation and by dropout while training.

    Shapes: `[*B D] -> [*B widths[-1]]`.
    """

    widths: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu
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
