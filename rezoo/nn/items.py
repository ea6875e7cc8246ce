"""The items of a session model: known by their ids alone, or by their features too, so that new ones are.

A model makes its tables of items by `table`, and looks them up by `vectors` and `all_vectors`. With
features a vector is `nn.features.FeatureEmbedding`'s: an id's embedding plus those of its features, which
are in the collection `catalogue`. New items of a longer catalogue are then ranked by their features; without
features an item that came after training is treated as unknown.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import shares
from rezoo.nn.embedding import NORMAL, Embed, once
from rezoo.nn.features import FeatureEmbedding, catalogue_of, catalogue_rows, item_columns

Items = Embed | FeatureEmbedding
"""A table of items."""


def table(
    num_items: int,
    dim: int,
    features: Mapping[str, int | None],
    drop: float | Array,
    init: Callable[..., Array] = NORMAL,
) -> Items:
    """A row for each item.

    Args:
      num_items: rows of the ids' table, 0 included.
      dim: width of the vectors.
      features: rows of each categorical feature's table, None for a number.
      drop: how often an id is not told in training, where there are features.
      init: of the ids' table, where there are none.

    Raises:
      ValueError: if `drop` is no share.
    """
    shares(id_dropout=drop)
    return FeatureEmbedding(num_items, features, dim, drop) if features else Embed(num_items, dim, init)


def vectors(model: nn.Module, items: Items, ids: Int[Array, " *S"]) -> Float[Array, " *S D"]:
    """The vector of each item; `model` is who holds the collection `catalogue`."""
    if isinstance(items, FeatureEmbedding):
        return items(ids, item_columns(ids, catalogue_of(model)))
    return items(ids)


def all_vectors(model: nn.Module, items: Items) -> Float[Array, " N D"]:
    """Those of the whole catalogue."""
    if isinstance(items, FeatureEmbedding):
        count = catalogue_rows({"catalogue": catalogue_of(model)}, items.size)
        return once(partial(vectors, model, items), jnp.arange(count, dtype=jnp.int32))
    return items.table()
