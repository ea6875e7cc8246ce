"""A model in training, and the mean of what counts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.types import Variables

WRITABLE = ("batch_stats", "rows", "row_ids", "penalty")
"""Collections that a model may write while it trains."""


def forward(
    model: nn.Module,
    variables: Variables,
    key: jax.Array,
    *inputs: Any,
    method: Any = None,
    where: Bool[Array, " B *C"] | None = None,
) -> Any:
    """The model in training: with a key for dropout, and what it wrote beside its output.

    What counts of the batch stands in the collection `batch` as `where`, for models that take
    statistics of a batch.
    """
    variables = variables if where is None else {**variables, "batch": {"where": where}}
    return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=WRITABLE, method=method)


def mean(value: Float[Array, " *B"], where: Bool[Array, " B *C"]) -> Float[Array, ""]:
    """Mean of a loss over what counts: elements if it is pointwise, lists if it is listwise."""
    count = where if value.shape == where.shape else where.any(axis=-1)
    return value.sum() / jnp.maximum(count.sum(), 1)
