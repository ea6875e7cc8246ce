"""All columns of a (query, item) pair: field by field, end to end, or weighed one by one.

A field is a column of the pair; its vector is what `nn.features.FieldEmbed` gives. Shape letter: F
fields.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.devices.meshes import alike
from rezoo.nn.features import FieldEmbed, item_columns, pair_columns, repeat_for_items
from rezoo.types import Query


class Inputs(nn.Module):
    """The columns' vectors end to end, in the order of their names: `[*B] -> [*B F·dim]`."""

    sizes: Mapping[str, int]
    dim: int

    @nn.compact
    def __call__(
        self, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
    ) -> Float[Array, " B *C E"]:
        return joined(field_vectors(FieldEmbed(self.sizes, self.dim, name="fields"), query, item, catalogue))


def field_vectors(
    embed: FieldEmbed,
    query: Query,
    item: Int[Array, " B *C"],
    catalogue: Mapping[str, Array],
    names: Sequence[str] | None = None,
) -> Float[Array, " B *C F D"]:
    """The vectors of a pair's columns in the order of `names`, or of `field_names` if none are given.

    Columns of the query are embedded once per query and then repeated for its items. The ids `user`
    and `item` are read only if `embed.sizes` has a table for them.
    """
    names = field_names(embed.sizes, query, catalogue) if names is None else names
    of_query = {"user": query.user, **query.features}
    columns = pair_columns(query, item, catalogue) | of_query
    asked = [name for name in names if name in of_query]
    leading = dict.fromkeys(asked, 1) | {name: item.ndim for name in names if name not in of_query}
    vectors = embed({name: columns[name] for name in leading}, leading)
    vectors |= {name: repeat_for_items(vectors[name], item) for name in asked}
    return jnp.stack(alike([vectors[name] for name in names]), axis=-2)


def joined(v: Float[Array, " *B F D"]) -> Float[Array, " *B E"]:
    """[v_1; …; v_F], the fields' vectors end to end."""
    return v.reshape(*v.shape[:-2], v.shape[-2] * v.shape[-1])


def field_names(sizes: Mapping[str, int], query: Query, catalogue: Mapping[str, Array]) -> list[str]:
    """The columns of a pair in the order of their vectors.

    Raises:
      ValueError: if there is none.
    """
    names = sorted([*{"user", "item"} & set(sizes), *query.features, *catalogue])
    if not names:
        raise ValueError(f"a pair has no column: give `sizes` ({dict(sizes)}) the rows of `item` or `user`")
    return names


def at_least_2(v: Float[Array, " *B F D"]) -> int:
    """F, the number of fields, of which there must be a pair.

    Raises:
      ValueError: if there is no pair.
    """
    if (number := v.shape[-2]) < 2:
        raise ValueError(f"pairs of columns are multiplied, and there is but {number}: give another column")
    return number


class Linear(nn.Module):
    """w_0 + Σ_f w_f: a weight for each value of each column; `[B *C]`."""

    sizes: Mapping[str, int]

    @nn.compact
    def __call__(
        self, query: Query, item: Int[Array, " B *C"], catalogue: Mapping[str, Array]
    ) -> Float[Array, " B *C"]:
        weights = field_vectors(FieldEmbed(self.sizes, 1, name="weights"), query, item, catalogue)
        return self.param("bias", nn.initializers.zeros, (), jnp.float32) + weights.sum((-2, -1))


def of_items(
    embed: FieldEmbed, ids: Int[Array, " *S"], catalogue: Mapping[str, Array]
) -> Float[Array, " *S E"]:
    """The vectors of items, their ids and their columns in the catalogue, end to end."""
    return side_by_side(embed({"item": ids, **item_columns(ids, catalogue)}, ids.ndim))


def of_query(embed: FieldEmbed, query: Query) -> list[Float[Array, " B E"]]:
    """The vectors of the query's columns end to end, in a list that is empty if there is none.

    The user's id is a column if `embed.sizes` has a table for it.
    """
    columns = {**({"user": query.user} if "user" in embed.sizes else {}), **query.features}
    vectors = embed(columns, 1)
    return [side_by_side(vectors)] if vectors else []


def side_by_side(vectors: Mapping[str, Float[Array, " *B D"]]) -> Float[Array, " *B E"]:
    """Vectors end to end, in the order of their names."""
    return jnp.concatenate(alike([vectors[name] for name in sorted(vectors)]), axis=-1)
