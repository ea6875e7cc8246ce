"""A row of ids as one vector, and one vector against a row of ids: the two ends of an autoencoder.

Either end can gather the rows of its table that are asked for, or take one matrix product with the
whole table. Gathering touches less and is slower for each row it touches: on CPU cores, forward and
backward at ML-1M's size (3,707 rows, 600 wide, 500 users), a product takes 45 ms however many ids
a user has, gathering 11 ms for 25 ids, 43 ms for 57, and 138 ms for 194. So the number of ids
beside the number of rows, both known before anything runs, decides.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rezoo.arrays import products
from rezoo.nn.embedding import Embed, has_row, or_unknown
from rezoo.nn.inner import inner

XAVIER = nn.initializers.xavier_uniform()
ROWS_PER_ID = 64
"""Rows of the table for each id of a row from which on gathering is faster than a product."""


class Bag(nn.Module):
    """A weighted sum of a table's rows: a dense layer whose sparse input is given as ids.

    Ids that are 0 or beyond the table add nothing; an id that comes twice is added twice.
    """

    num_embeddings: int
    features: int
    embedding_init: nn.initializers.Initializer = XAVIER

    def setup(self) -> None:
        self.rows = Embed(self.num_embeddings, self.features, self.embedding_init)

    def __call__(self, ids: Int[Array, " B L"], weight: Float[Array, " B L"]) -> Float[Array, " B D"]:
        """Σ_l weight_bl · row(ids_bl)."""
        weight = jnp.where(has_row(ids, self.num_embeddings), weight, 0.0)
        if gathers(ids.shape[1], self.num_embeddings):
            rows = self.rows(ids)
            return jnp.einsum("bl,bld->bd", weight.astype(rows.dtype), rows)
        return self.dense(scattered(ids, weight, self.num_embeddings))

    def dense(self, x: Float[Array, " B N"]) -> Float[Array, " B D"]:
        """The same layer, of an input that is not sparse."""
        table = self.rows.table()
        return x.astype(table.dtype) @ table


def inner_with_rows(
    state: Float[Array, " B D"], rows: Embed, ids: Int[Array, " B *C"]
) -> Float[Array, " B *C"]:
    """⟨state_b, row(ids_bc)⟩; an id below 0 or beyond the table is row 0."""
    return inner_with(state, rows, rows.table, rows.num_embeddings, ids)


def inner_with(
    state: Float[Array, " B D"],
    vectors: Callable[[Array], Array],
    table: Callable[[], Array],
    size: int,
    ids: Int[Array, " B *C"],
) -> Float[Array, " B *C"]:
    """The same of a table of `size` rows, whose rows `vectors(ids)` gives without the others."""
    if gathers(math.prod(ids.shape[1:]), size):
        return inner(state, vectors(ids))
    return scores_of(products("bd,nd->bn", state, table()), ids)


def scores_of(score: Float[Array, " B N"], ids: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
    """Of each row's scores of all items those of its `ids`; an id below 0 or beyond them is item 0.

    >>> scores_of(jnp.array([[0.0, 5.0, 7.0]]), jnp.array([[2, 1, 9]])).tolist()
    [[7.0, 5.0, 0.0]]
    """
    known = or_unknown(ids, score.shape[1]).reshape(ids.shape[0], math.prod(ids.shape[1:]))
    return jnp.take_along_axis(score, known, axis=1).reshape(ids.shape)


def scattered(ids: Int[Array, " B L"], weight: Float[Array, " B L"], size: int) -> Float[Array, " B N"]:
    """The dense row that the ids stand for; what belongs to id 0 or beyond `size` must weigh 0."""
    return jax.vmap(lambda ids, weight: jnp.zeros(size, weight.dtype).at[ids].add(weight, mode="drop"))(
        ids, weight
    )


def multi_hot(ids: Int[Array, " B L"], size: int) -> Float[Array, " B N"]:
    """1 where an id is in the row; 0 is nowhere, nor is an id below it or beyond `size`.

    >>> multi_hot(jnp.array([[2, 2, 1, 0, -1, 4]]), 4).tolist()
    [[0.0, 1.0, 1.0, 0.0]]
    """
    return jax.vmap(lambda ids: jnp.zeros(size, jnp.float32).at[ids].set(1.0).at[0].set(0.0))(
        or_unknown(ids, size)
    )


def gathers(ids: Any, rows: int) -> bool:
    """Whether `ids` rows are better gathered from a table of `rows` than multiplied with all of it.

    A symbolic number of ids, of an export, is taken to be small.
    """
    return not isinstance(ids, int) or ids * ROWS_PER_ID <= rows
