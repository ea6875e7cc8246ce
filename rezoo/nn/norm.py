"""Batch normalisation in which rows that do not count do not count."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """(x - mean) / √(var + ε) · scale + bias for each feature (Ioffe 2015, https://arxiv.org/abs/1502.03167).

    While training (with a `dropout` key) mean and variance are those of the batch's rows whose
    `where` is True, which objectives hand over in the collection `batch`; so padding changes
    neither the other rows nor the running statistics, and a batch of padding alone changes nothing.
    Without a `where` every row counts. Scoring takes the running statistics, kept in `batch_stats`.
    """

    momentum: float = 0.9
    """How much of the running statistics a step keeps."""
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
        """Statistics are over all axes but the last."""
        width = x.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (width,))
        var = self.variable("batch_stats", "var", jnp.ones, (width,))
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        centre, spread = mean.value, var.value
        if self.has_rng("dropout"):
            weight = self._weight(x)
            total = jnp.maximum(weight.sum(), 1)
            rows, weight = x.reshape(-1, width), weight.reshape(-1, 1)
            centre = (rows * weight).sum(0) / total
            spread = (jnp.square(rows - centre[None]) * weight).sum(0) / total
            if self.is_mutable_collection("batch_stats"):
                keep = jnp.where(weight.any(), self.momentum, 1.0)
                mean.value = jax.lax.stop_gradient(keep * mean.value + (1 - keep) * centre)
                var.value = jax.lax.stop_gradient(keep * var.value + (1 - keep) * spread)
        shape = (1,) * (x.ndim - 1) + (width,)
        factor = scale * jax.lax.rsqrt(spread + self.epsilon)
        return (x - centre.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)

    def _weight(self, x: Array) -> Array:
        """1 where a row counts; `[*B]`."""
        assert self.scope is not None
        where = self.scope.root.get_variable("batch", "where")
        lead = x.shape[:-1]
        if where is None:
            return jnp.ones(lead)
        return jnp.broadcast_to(where.reshape(*where.shape, *(1,) * (len(lead) - where.ndim)), lead) * 1.0
