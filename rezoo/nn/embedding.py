"""Embedding tables."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from rezoo.devices.meshes import lookup

NORMAL = nn.initializers.normal(0.05)


def has_row(ids: Int[Array, " *S"], size: int) -> Bool[Array, " *S"]:
    """Which ids are known to a table of `size` rows, whose row 0 is the unknown's and padding's.

    >>> has_row(jnp.array([2, 3, 0, -1]), 3).tolist()
    [True, False, False, False]
    """
    return (ids > 0) & (ids < size)


def or_unknown(ids: Int[Array, " *S"], size: int) -> Int[Array, " *S"]:
    """The ids, with 0 in the place of those below 0 and of those beyond a table of `size` rows.

    >>> or_unknown(jnp.array([2, 3, -1]), 3).tolist()
    [2, 0, 0]
    """
    return jnp.where(has_row(ids, size), ids, 0)


def once(vectors: Callable[[Array], Array], ids: Int[Array, " n"]) -> Float[Array, " n D"]:
    """`vectors(ids)` of ids that all rows of a batch share.

    They are looked up as one row, by which `objectives.l2` tells them from those of a row of the batch each.

    >>> once(lambda ids: jnp.stack([ids, ids + 1.0], -1), jnp.array([3, 5])).tolist()
    [[3.0, 4.0], [5.0, 6.0]]
    """
    return vectors(ids[None])[0]


def rows_or_zero(
    table: Shaped[Array | np.ndarray, " N ..."], ids: Int[Array, " *S"]
) -> Shaped[Array, " ..."]:
    """The row of each id, of a table without a row for the unknown: 0 for an id below 0 or beyond it.

    >>> rows_or_zero(jnp.array([5.0, 6.0]), jnp.array([1, 2, -1])).tolist()
    [6.0, 0.0, 0.0]
    """
    return lookup(table, ids, mode="fill", fill_value=0, wrap_negative_indices=False)


class Embed(nn.Module):
    """A table with a row per id. Row 0 belongs to the unknown, and so does an id below 0 or beyond the table.

    Row 0 starts as zeros: where training never meets the unknown, it adds nothing to a score.

    What each call looks up is sown: the rows in the collection `rows`, so that an objective can
    regularise just those, and their ids in `row_ids`. Nobody pays for them who does not read them.

    The collection `given_rows`, where it is there, holds the rows of each call, and the table is not read:
    so `row_sparse` trains it without a gradient of its size, and `sharding` where no device holds all of it.
    Calls beyond those that it holds get zeros, as where only their ids are asked for.
    """

    num_embeddings: int
    features: int
    embedding_init: Callable[..., jax.Array] = NORMAL

    def setup(self) -> None:
        shape = self.num_embeddings, self.features
        if not self.has_variable("given_rows", "embedding"):
            self.embedding = jnp.asarray(self.param("embedding", self._init, shape, jnp.float32))

    def __call__(self, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        """The row of each id."""
        ids = or_unknown(ids, self.num_embeddings)
        rows = self._rows(ids)
        if not self.is_initializing():
            self.sow("row_ids", "embedding", ids)
            self.sow("rows", "rows", rows)
        return rows

    def table(self) -> Float[Array, " N D"]:
        """The whole table, for scoring a catalogue.

        Raises:
          ValueError: if only some rows are there.
        """
        if self.has_variable("given_rows", "embedding"):
            path = "/".join((*self.path, "embedding"))
            raise ValueError(
                f"the whole table {path!r} is used (a tied softmax, `table()`), so it can be neither trained "
                f"row by row nor spread: give dense=[{self.name!r}] to init_state or to sharding.rules"
            )
        return self.embedding

    def _rows(self, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
        if not self.has_variable("given_rows", "embedding"):
            return lookup(self.embedding, ids)
        given, call = (self.get_variable(name, "embedding", ()) for name in ("given_rows", "row_ids"))
        if len(given) > len(call):
            return given[len(call)]
        return jnp.zeros((*ids.shape, self.features), jnp.float32)

    def _init(self, key: jax.Array, shape: tuple[int, int], dtype: Any) -> Float[Array, " N D"]:
        return self.embedding_init(key, shape, dtype).at[0].set(0.0)
