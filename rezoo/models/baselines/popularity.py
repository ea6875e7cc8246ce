"""Popularity: every shopper is shown what sells most."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import in_table, int32_of
from rezoo.nn.embedding import rows_or_zero
from rezoo.nn.model import Model
from rezoo.types import Query


class Popularity(Model):
    """Score = how often the item occurs in the training data, the same for every user."""

    num_items: int

    def setup(self) -> None:
        self.count = jnp.asarray(self.param("count", nn.initializers.zeros, (self.num_items,), jnp.float32))

    def encode(self, query: Query) -> Float[Array, " B 1"]:
        return jnp.ones((query.user.shape[0], 1), jnp.float32)

    def table(self) -> Float[Array, " N 1"]:
        return self.count[:, None]

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return rows_or_zero(self.count, item)


def fit(item: np.ndarray, num_items: int) -> dict[str, Any]:
    """The variables that score by the counts of `item`, whatever its shape; 0 and below are not counted.

    Raises:
      ValueError: if an item is beyond the catalogue.

    >>> fit(np.array([2, 2, 1, 0]), 4)["params"]["count"].tolist()
    [0.0, 1.0, 2.0, 0.0]
    """
    ids = np.ravel(int32_of("item", item))
    in_table("item", ids, num_items)
    count = np.bincount(ids[ids > 0], minlength=num_items).astype(np.float32)
    return {"params": {"count": jnp.asarray(count)}}
