"""Training in mixed precision: products of bfloat16, everything that is kept or summed up in float32."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rezoo.types import Aux, Batch, Objective, Variables

READ = ("params", "given_rows", "catalogue")
"""Collections whose numbers a model multiplies."""


def mixed(objective: Objective, dtype: Any = jnp.bfloat16) -> Objective:
    """`objective`, of a model whose products are of `dtype`, as Micikevicius 2018 trains.

    Parameters, their optimizer's state and gradients stay float32, and so do scores that are inner products,
    softmaxes, statistics of norms and losses. bfloat16 has the range of float32: no loss needs to be scaled.
    Numbers among a query's features are read as they are. https://arxiv.org/abs/1710.03740, section 3.

    Args:
      objective: any.
      dtype: of 16 bits; float16 has a smaller range, in which gradients may vanish.

    >>> from rezoo import losses, objectives
    >>> from rezoo.data.batches import pairs
    >>> from rezoo.models import MF
    >>> batch = pairs([1], [2])
    >>> objective = mixed(objectives.pointwise(MF(3, 3, dim=2), losses.squared))
    >>> ones = jax.tree.map(jnp.ones_like, MF(3, 3, dim=2).init(jax.random.key(0), batch.query, batch.item))
    >>> value, _ = jax.jit(objective)(ones, jax.random.key(1), batch)
    >>> float(value), value.dtype.name  # (1 + 1 + 1 - 1)²
    (4.0, 'float32')
    """

    def low(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, tree)

    def in_low(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        read = {name: low(tree) if name in READ else tree for name, tree in variables.items()}
        value, aux = objective(read, key, batch)
        return value.astype(jnp.float32), aux

    return in_low
