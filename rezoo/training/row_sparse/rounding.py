"""Tables of bfloat16, whose rows are moved by less than their numbers are apart."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float32, Key, UInt32

KEYS = 2**30
"""Number of the first key for rounding, beyond those that an objective draws from the same one."""


def checked(dtype: Any) -> jnp.dtype:
    """The type of a table's numbers.

    Raises:
      ValueError: if it is neither float32 nor bfloat16.

    >>> checked("float16")
    Traceback (most recent call last):
    ValueError: table_dtype = float16: give float32 or bfloat16
    """
    dtype = jnp.dtype(dtype)
    if dtype not in (jnp.float32, jnp.bfloat16):
        raise ValueError(f"table_dtype = {dtype.name}: give float32 or bfloat16")
    return dtype


def keys(key: Key[Array, ""], tables: Iterable[str]) -> dict[str, Key[Array, ""]]:
    """A key for each table, none of which an objective draws from the same one.

    >>> sorted(keys(jax.random.key(0), ["user", "item"]))
    ['item', 'user']
    """
    return {path: jax.random.fold_in(key, KEYS + number) for number, path in enumerate(tables)}


def stochastic(key: Key[Array, ""], x: Float32[Array, " *S"]) -> BFloat16[Array, " *S"]:
    """One of the two numbers of bfloat16 around each x, drawn so that its mean is x (Gupta 2015, section 3.1,
    https://arxiv.org/abs/1502.02551).

    What x has beyond the 16 bits of bfloat16 is a fraction of the step to the next number, and the
    probability of taking it. Numbers that are not finite stay as they are.

    >>> one = jnp.full(10_000, 1 + 2.0**-9)  # a quarter of the way from 1 to the next number
    >>> rounded = stochastic(jax.random.key(0), one)
    >>> sorted(set(rounded.tolist())), bool(abs((rounded > 1).mean() - 0.25) < 0.02)
    ([1.0, 1.0078125], True)
    """
    bits: UInt32[Array, " *S"] = jax.lax.bitcast_convert_type(x, jnp.uint32)
    carried = bits + jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
    up = jax.lax.bitcast_convert_type(carried & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), up, x).astype(jnp.bfloat16)
