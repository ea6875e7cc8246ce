"""Columns of a (query, item) pair, and how a model reads them.

Integer columns are categorical (0 = unknown), with a trailing axis if they are multi-valued
(0 = padding); float columns are numeric. Item columns live in the variable collection
`catalogue`, one row per item id, and are looked up by item: a longer catalogue with new
products can be scored by the parameters of the old one.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from rezoo.nn.embedding import Embed, or_unknown, rows_or_zero
from rezoo.types import Query


class OtherColumns(ValueError):
    """A pair has other columns than those that the model was fitted with."""


def repeat_for_items(x: Shaped[Array, " B D"], item: Int[Array, " B *C"]) -> Shaped[Array, " B *C D"]:
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
    for name, column in item_columns(item, catalogue).items():
        if name in columns:
            raise ValueError(f"item column {name!r} is also a user or context column: rename one of them")
        columns[name] = column
    return columns


def item_columns(item: Int[Array, " *S"], catalogue: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of each item, with leading axes `[*S]`; 0 for an item beyond the catalogue."""
    return {name: rows_or_zero(column, item) for name, column in catalogue.items()}


def catalogue_of(model: nn.Module) -> dict[str, Array]:
    """The columns of the collection `catalogue`; `{}` if there is none.

    They are those of the whole model, of which `model` may be a part.
    """
    scope = model.scope
    columns = {} if scope is None else scope.root.variables().get("catalogue", {})
    return {name: jnp.asarray(column) for name, column in columns.items()}


def catalogue_rows(variables: Mapping[str, Any], otherwise: int) -> int:
    """Rows of the collection `catalogue`, `otherwise` if it has no column."""
    columns = list(variables.get("catalogue", {}).values())
    return columns[0].shape[0] if columns else otherwise


def table_rows(sizes: Mapping[str, int], name: str) -> int:
    """The rows of a column's table.

    Raises:
      ValueError: if `sizes` does not have them.
    """
    if name not in sizes:
        raise ValueError(f"no table size for the column {name!r}: add it to `sizes` ({dict(sizes)})")
    return sizes[name]


class FieldEmbed(nn.Module):
    """One vector for each column: `{name: [*B ...]} -> {name: [*B D]}`.

    A categorical column is looked up, a multi-valued one is averaged over its values, a numeric
    one scales a learned vector. `sizes` gives the number of rows (unknown included) of each
    integer column's table.
    """

    sizes: Mapping[str, int]
    features: int

    @nn.compact
    def __call__(self, columns: Mapping[str, Array], leading: int | Mapping[str, int]) -> dict[str, Array]:
        """`leading` is the number of axes before a multi-valued column's own, of all columns or of each.

        Raises:
          OtherColumns: if a column of the fit is missing, or one is new or of the other type.
        """
        self._check(columns)
        vectors = {}
        for name, column in columns.items():
            if jnp.issubdtype(column.dtype, jnp.floating):
                scale = self.param(
                    f"{name}_scale", nn.initializers.normal(0.1), (self.features,), jnp.float32
                )
                scaled = column[..., None] * scale.reshape(*(1,) * column.ndim, -1)
                vectors[name] = scaled.astype(scale.dtype)
                continue
            vector = Embed(table_rows(self.sizes, name), self.features, name=name)(column)
            if column.ndim > (leading if isinstance(leading, int) else leading[name]):
                real = (column > 0)[..., None]
                vector = jnp.where(real, vector, 0).sum(-2) / jnp.maximum(real.sum(-2), 1)
            vectors[name] = vector
        return vectors

    def _check(self, columns: Mapping[str, Array]) -> None:
        if self.is_mutable_collection("params"):
            return
        found = {**self.variables.get("params", {}), **self.variables.get("given_rows", {})}
        tables = {name for name, value in found.items() if isinstance(value, Mapping)}
        numbers = {name.removesuffix("_scale") for name in found.keys() - tables}
        fitted = ", ".join(map(repr, sorted(tables | numbers))) or "none"
        if missing := sorted((tables | numbers) - columns.keys()):
            raise OtherColumns(f"there is no column {missing[0]!r}; the model was fitted with {fitted}")
        for name, column in columns.items():
            if name not in tables | numbers:
                raise OtherColumns(f"the column {name!r} is new; the model was fitted with {fitted}")
            if jnp.issubdtype(column.dtype, jnp.floating) != (name in numbers):
                kind = "floats" if name in numbers else "integers"
                raise OtherColumns(f"the column {name!r} is {column.dtype}; the model was fitted with {kind}")


class FeatureEmbedding(nn.Module):
    """A vector for each user or item: its id's embedding plus the sum of its features' embeddings.

    In training the id is replaced by 0, the unknown, with probability `drop`
    (DropoutNet, Volkovs 2017, https://papers.nips.cc/paper/7081, drops a preference vector in the
    same way). So row 0 and the features learn to score without the ids, and a user or item that came after
    training is represented by its features alone. Without features no id is dropped.
    """

    size: int
    """Rows of the id's table."""
    features: Mapping[str, int | None]
    """Rows of each categorical feature's table, None for a number; other columns are ignored."""
    dim: int
    drop: float | Array = 0.0

    @nn.compact
    def __call__(self, ids: Int[Array, " *S"], columns: Mapping[str, Array]) -> Float[Array, " *S D"]:
        """Columns have the leading axes of the ids.

        Raises:
          ValueError: if a feature has no column, or a column of the other type.
        """
        if self.features and self.has_rng("dropout"):
            dropped = jax.random.bernoulli(self.make_rng("dropout"), self.drop, ids.shape)
            ids = jnp.where(dropped, 0, ids)
        vector = Embed(self.size, self.dim, name="id")(ids)
        chosen = {name: checked_column(columns, name, rows) for name, rows in self.features.items()}
        sizes = {name: rows for name, rows in self.features.items() if rows is not None}
        fields = FieldEmbed(sizes, self.dim, name="feature")(chosen, ids.ndim)
        return vector + sum(fields.values())


def checked_column(columns: Mapping[str, Array], name: str, rows: int | None) -> Array:
    """The column of a feature.

    Raises:
      ValueError: if there is none, or one of the other type.
    """
    if name not in columns:
        raise ValueError(
            f"there is no column of the feature {name!r}; there are {', '.join(columns) or 'none'}"
        )
    if jnp.issubdtype(columns[name].dtype, jnp.floating) != (rows is None):
        expected = "floats, as it is a number" if rows is None else f"integers below {rows}"
        raise ValueError(f"the column of {name!r} is {columns[name].dtype}; the model takes {expected}")
    return columns[name]


def known_fields(
    features: Mapping[str, int | None], columns: Mapping[str, Array], dim: int, leading: int
) -> tuple[Float[Array, " *B D"], Bool[Array, " *B"]]:
    """The sum of the vectors of what is known, and whether anything is; called by a module that is compact.

    A value of 0 is unknown, also of a number: it is the mean of what `data.features.Numeric` makes. So are
    NaN and a category that the table has no row for.

    Args:
      features: at least one: rows of each categorical feature's table, None for a number.
      columns: of each feature, as `checked_column` gives them.
      dim: width of the vectors.
      leading: axes before a multi-valued column's own.
    """
    sizes = {name: rows for name, rows in features.items() if rows is not None}
    columns = {
        name: or_unknown(column, sizes[name]) if name in sizes else jnp.where(column == column, column, 0)
        for name, column in columns.items()
    }
    vectors = FieldEmbed(sizes, dim, name="feature")(columns, leading)
    told = {name: (column != 0).any(tuple(range(leading, column.ndim))) for name, column in columns.items()}
    total = sum(jnp.where(told[name][..., None], vector, 0.0) for name, vector in vectors.items())
    return jnp.asarray(total), jnp.stack(list(told.values())).any(0)
