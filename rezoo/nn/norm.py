"""Statistics of a batch in which rows that do not count do not count, and normalisation by them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo.arrays import at_least_float32
from rezoo.devices.meshes import layout


class Moments(nn.Module):
    """Mean and variance of each feature, over all axes but the last: `[*B D] -> ([D], [D])`.

    While training (with a `dropout` key) they are those of the batch's rows whose `where` is True,
    which objectives hand over in the collection `batch`; so padding changes neither the other rows
    nor the running statistics. Without a `where` every row counts. Scoring, and a batch of padding
    alone, takes the running statistics, kept in `batch_stats`.
    """

    momentum: float = 0.9
    """How much of the running statistics a step keeps."""

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        width = x.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (width,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (width,), jnp.float32)
        if not self.has_rng("dropout"):
            return jnp.asarray(mean.value), jnp.asarray(var.value)
        x = x.astype(at_least_float32(x.dtype))
        weight = self._weight(x).ravel()
        rows, share, some = x.reshape(-1, width), weight / jnp.maximum(weight.sum(), 1), weight.any()
        centre = jnp.where(some, jnp.matmul(share, rows, out_sharding=layout(rows)), mean.value)
        spread = jnp.where(
            some, jnp.matmul(share, jnp.square(rows - centre[None]), out_sharding=layout(rows)), var.value
        )
        if self.is_mutable_collection("batch_stats"):
            keep = jnp.where(some, self.momentum, 1.0)
            mean.value = jax.lax.stop_gradient(keep * mean.value + (1 - keep) * centre)
            var.value = jax.lax.stop_gradient(keep * var.value + (1 - keep) * spread)
        return centre, spread

    def _weight(self, x: Array) -> Array:
        """1 where a row counts; `[*B]`."""
        assert self.scope is not None
        where = self.scope.root.get_variable("batch", "where")
        lead = x.shape[:-1]
        if where is None:
            return jnp.ones(lead, x.dtype)
        return jnp.broadcast_to(where.reshape(*where.shape, *(1,) * (len(lead) - where.ndim)), lead).astype(
            x.dtype
        )


class BatchNorm(nn.Module):
    """(x - mean) / √(var + ε) · scale + bias for each feature (Ioffe 2015, https://arxiv.org/abs/1502.03167)."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, " *B D"]) -> Float[Array, " *B D"]:
        row = (*(1,) * (x.ndim - 1), x.shape[-1])
        scale = self.param("scale", nn.initializers.ones, row[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, row[-1:], jnp.float32)
        mean, var = Moments(name="moments")(x)
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        normal = (x - mean.reshape(row)) * factor.reshape(row) + bias.reshape(row)
        return normal.astype(x.dtype)
