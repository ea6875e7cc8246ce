"""Fully connected layers."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from rezoo.nn.dropout import Dropout


class MLP(nn.Module):
    """Dense layers, each followed by an activation and by dropout while training.

    Shapes: `[*B D] -> [*B widths[-1]]`.
    """

    widths: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B E"]:
        for width in self.widths:
            x = self.activation(nn.Dense(width)(x))
            x = Dropout(self.dropout)(x)
        return x
