"""Dropout at a quarter of the random numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Dropout(nn.Module):
    """Zeros at random while training, the rest scaled up (Srivastava 2014, JMLR 15:1929).

    Drawing the numbers costs more than using them, so each element takes a byte of them: the rate
    is rounded to 1/256. Without a `dropout` key nothing is dropped.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, " *S"]) -> Float[Array, " *S"]:
        dropped = round(self.rate * 256)
        if dropped == 0 or not self.has_rng("dropout"):
            return x
        words = jax.random.bits(self.make_rng("dropout"), (-(-x.size // 4),))
        draw = jax.lax.bitcast_convert_type(words, jnp.uint8).ravel()[: x.size].reshape(x.shape)
        return jnp.where(draw >= dropped, x * (256 / (256 - dropped)), 0.0)
