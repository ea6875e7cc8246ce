"""Session popularity: what was clicked most in this session, then what everybody clicks.

S-POP of Hidasi 2016, https://arxiv.org/abs/1511.06939, section 4. Its variables are those of
`popularity.fit`.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.embedding import rows_or_zero
from rezoo.nn.model import Model
from rezoo.types import Query


class SessionPopularity(Model):
    """Score = clicks on the item in the history, plus its share of all clicks."""

    num_items: int

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        count = self.param("count", nn.initializers.zeros, (self.num_items,), jnp.float32)
        history = query.history.reshape(query.history.shape[0], *(1,) * (item.ndim - 1), -1)
        clicks = ((history == item[..., None]) & (item > 0)[..., None]).sum(-1)
        return clicks + rows_or_zero(count / (count.sum() + 1), item)
