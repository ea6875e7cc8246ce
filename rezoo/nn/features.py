"""Columns of a (query, item) pair, and how a model reads them.

Integer columns are categorical (0 = unknown), with a trailing axis if they are multi-valued
(0 = padding); float columns are numeric. Item columns live in the variable collection
`catalogue`, one row per item id, and are looked up by item: a longer catalogue with new
products can be scored by the parameters of the old one.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from rezoo.nn.embedding import Embed
from rezoo.types import Query


def over(x: Shaped[Array, " B D"], item: Int[Array, " B *C"]) -> Shaped[Array, " B *C D"]:
    """A vector per query, repeated for each of its items."""
    ones = (1,) * (item.ndim - 1)
    return jnp.broadcast_to(x.reshape(x.shape[0], *ones, x.shape[-1]), (*item.shape, x.shape[-1]))


def pair_columns(query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]) -> dict[str, Array]:
    """Every column of each (query, item) pair, with leading axes `[B *C]`.

    Raises:
      ValueError: if a column is named like another or like the ids.
    """
    columns: dict[str, Array] = {"item": item}
    for name, column in {"user": query.user, **query.features}.items():
        shape = (column.shape[0], *(1,) * (item.ndim - 1), *column.shape[1:])
        columns[name] = jnp.broadcast_to(column.reshape(shape), (*item.shape, *column.shape[1:]))
    for name, column in catalogue.items():
        if name in columns:
            raise ValueError(f"item column {name!r} is also a user or context column: rename one of them")
        columns[name] = column.at[item].get(mode="fill", fill_value=0)
    return columns


class FieldEmbed(nn.Module):
    """One vector for each column: `{name: [*B ...]} -> {name: [*B D]}`.

    A categorical column is looked up, a multi-valued one is averaged over its values, a numeric
    one scales a learned vector. `sizes` gives the number of rows (unknown included) of each
    integer column's table.
    """

    sizes: Mapping[str, int]
    features: int

    @nn.compact
    def __call__(self, columns: Mapping[str, Array], leading: int) -> dict[str, Array]:
        """`leading` is the number of axes before a multi-valued column's own."""
        vectors = {}
        for name, column in columns.items():
            if jnp.issubdtype(column.dtype, jnp.floating):
                scale = self.param(f"{name}_scale", nn.initializers.normal(0.1), (self.features,))
                vectors[name] = column[..., None] * scale.reshape(*(1,) * column.ndim, -1)
                continue
            if name not in self.sizes:
                raise ValueError(
                    f"no table size for the column {name!r}: add it to `sizes` ({dict(self.sizes)})"
                )
            vector = Embed(self.sizes[name], self.features, name=name)(column)
            if column.ndim > leading:
                real = (column > 0)[..., None]
                vector = jnp.where(real, vector, 0).sum(-2) / jnp.maximum(real.sum(-2), 1)
            vectors[name] = vector
        return vectors
