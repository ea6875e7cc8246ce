"""All columns of a (query, item) pair as one vector."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.nn.features import FieldEmbed, pair_columns
from rezoo.types import Query


class Inputs(nn.Module):
    """The columns' vectors end to end, in the order of their names: `[*B] -> [*B F·dim]`.

    The ids `user` and `item` are read only if `sizes` has a table for them, so that data without
    users or items (a census) need none.
    """

    sizes: Mapping[str, int]
    dim: int

    @nn.compact
    def __call__(
        self, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
    ) -> Float[Array, " B *C E"]:
        columns = pair_columns(query, item, catalogue)
        columns = {n: c for n, c in columns.items() if n in self.sizes or n not in ("user", "item")}
        return side_by_side(FieldEmbed(self.sizes, self.dim, name="fields")(columns, item.ndim))


def side_by_side(vectors: Mapping[str, Float[Array, " *B D"]]) -> Float[Array, " *B E"]:
    """Vectors end to end, in the order of their names."""
    return jnp.concatenate([vectors[name] for name in sorted(vectors)], axis=-1)
