"""Dropout at a quarter of the random numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Dropout(nn.Module):
    """Zeros at random while training, the rest scaled up (Srivastava 2014, JMLR 15:1929).

    Drawing the numbers costs more than using them, so each element takes a byte of them: the rate
    is rounded to 1/256. Without a `dropout` key nothing is dropped.

    Raises:
      ValueError: if the rate is not in [0, 1).
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, " *S"]) -> Float[Array, " *S"]:
        return dropped(x, self.rate, self.key())

    def key(self) -> Key[Array, ""] | None:
        """The key of the next draw, for `dropped`; None if nothing is to be dropped."""
        return self.make_rng("dropout") if _bytes(self.rate) and self.has_rng("dropout") else None


def dropped(x: Float[Array, " *S"], rate: float, key: Key[Array, ""] | None) -> Float[Array, " *S"]:
    """`Dropout` with a key of the caller's; None drops nothing.

    >>> dropped(jnp.ones(4), 0.5, None).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if key is None:
        return x
    words = jax.random.bits(key, (-(-x.size // 4),))
    draw = jax.lax.bitcast_convert_type(words, jnp.uint8).ravel()[: x.size].reshape(x.shape)
    return jnp.where(draw >= _bytes(rate), x * (256 / (256 - _bytes(rate))), 0.0)


def _bytes(rate: float) -> int:
    """Of 256, those that drop.

    Raises:
      ValueError: if the rate is none.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"a dropout of {rate}: give the share that is dropped, from 0 to below 1")
    return min(round(rate * 256), 255)
