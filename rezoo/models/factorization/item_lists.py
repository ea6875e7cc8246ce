"""Item-item models whose weights are a sparse list for each item, for catalogues whose square is too large.

Scoring everything goes through the lists of the history's items alone, so its cost grows with their
lengths and not with the square of the catalogue.
"""

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse

from rezoo.arrays import at_least_1
from rezoo.models.factorization.item_item import BLOCK, events
from rezoo.nn.embedding import or_unknown
from rezoo.nn.lists import Lists
from rezoo.nn.model import Model
from rezoo.types import Count, Query

PAIRS = 2**23
"""Pairs weighed at a time by a fit, or those of one item if there are more."""
Matrix = Any
"""A `scipy.sparse.csr_array`; what its products are is not known to a type checker."""
Weigh = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""`(items, other items, how much is shared) -> weights`, of pairs."""


class ItemLists(Model):
    """Score = Σ_{j in the history} w(j, item), of the pairs that have a weight.

    A history with an event twice counts it once. A user is known by their history alone, so new users need
    no training; without a history every score is 0.
    """

    num_items: int
    num_pairs: Count
    """Pairs of items with a weight."""

    def setup(self) -> None:
        zeros = nn.initializers.zeros
        self.offset = self.param("offset", zeros, (self.num_items + 1,), jnp.int32)
        self.neighbour = self.param("neighbour", zeros, (self.num_pairs,), jnp.int32)
        self.weight = self.param("weight", zeros, (self.num_pairs,), jnp.float32)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        lists = Lists(*map(jnp.asarray, (self.offset, self.neighbour, self.weight)))
        return lists.score(once(query.history, self.num_items), item, self.num_items)


def once(history: Int[Array, " B L"], num_items: int) -> Int[Array, " B L"]:
    """Each row's items, the largest id first; 0 where an id is unknown or stands a second time.

    >>> once(jnp.array([[2, 5, 2, 9, 0]]), 6).tolist()
    [[5, 2, 0, 0, 0]]
    """
    ordered = -jnp.sort(-or_unknown(history, num_items), axis=1)
    before = jnp.pad(ordered, ((0, 0), (1, 0)))[:, :-1]
    return jnp.where(ordered == before, 0, ordered)


def taken(history: Any, num_items: int) -> Matrix:
    """The binary matrix `[U N]` of a history `[U L]`, 0 = padding.

    Raises:
      ValueError: if there is no event in it, or an item beyond the catalogue.
    """
    known = events(history, num_items)
    row, column = np.nonzero(known > 0)
    x: Matrix = sparse.csr_array((np.ones(len(row)), (row, known[row, column])), (len(known), num_items))
    x.sum_duplicates()
    x.data[:] = 1.0
    return x


def weighed(x: Matrix, user_exponent: float) -> Matrix:
    """The matrix `[U N]`, each user's row times `weights`.

    >>> weighed(sparse.csr_array(np.array([[0, 1, 1, 1], [0, 1, 0, 0]])), 1.0).toarray().round(2).tolist()
    [[0.0, 0.67, 0.67, 0.67], [0.0, 2.0, 0.0, 0.0]]
    """
    return x.multiply(weights(x.sum(axis=1), user_exponent)[:, None]).tocsr()


def weights(size: np.ndarray, user_exponent: float) -> np.ndarray:
    """(n / n_u)^a of users with n_u items, n on average; 0 of those who took nothing.

    So that with a > 0 users count for less who took much, and a penalty in numbers of interactions keeps its
    meaning.

    Raises:
      ValueError: if a is not finite, or so far from 0 that a weight is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = power(size / size[size > 0].mean(), -user_exponent).astype(np.float32)
    if not (np.isfinite(found).all() and np.isfinite(user_exponent)):
        raise ValueError(f"user_exponent must be between 0 and 1 or so, but is {user_exponent}")
    return found


def power(degree: np.ndarray, exponent: float) -> np.ndarray:
    """degree^exponent, 0 where the degree is 0.

    >>> power(np.array([0, 4]), -0.5).tolist()
    [0.0, 0.5]
    """
    return np.where(degree > 0, np.where(degree > 0, degree, 1.0) ** exponent, 0.0)


def shared(
    x: Matrix, user: np.ndarray, weigh: Weigh, *, most: int | None = None, itself: bool = False
) -> Matrix:
    """The weights of all pairs of items that someone took both, of each row the `most` largest.

    Made some rows at a time, of at most `PAIRS` pairs, so that all of them are never there at once.

    Args:
      x: `[U N]`, binary.
      user: weights `[U]`.
      weigh: gives a pair's weight from Σ_u user_u x_ui x_uj.
      most: entries of a row that are kept; all if None. Of equal ones any.
      itself: whether the diagonal is kept.
    """
    by_item, by_user = x.T.tocsr(), x.multiply(user[:, None]).tocsr()

    def rows(start: int, end: int) -> Matrix:
        w = by_item[start:end] @ by_user
        row = np.repeat(np.arange(start, start + w.shape[0]), np.diff(w.indptr))
        w.data = weigh(row, w.indices, w.data)
        if not itself:
            w.data[w.indices == row] = 0.0
        w.eliminate_zeros()
        return (w if most is None else strongest(w, most)).astype(np.float32)

    most_pairs = np.minimum(by_item @ x.sum(axis=1), x.shape[1])
    return sparse.vstack([rows(*ends) for ends in runs(most_pairs, PAIRS)], format="csr")


def on_both_sides(of_item: np.ndarray) -> Weigh:
    """Weighs what is shared by a number of each item."""
    return lambda i, j, both: of_item[i] * both * of_item[j]


def runs(size: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """The ends of runs of rows, whose sizes add up to at most `most`; a larger row is one of its own.

    >>> list(runs(np.array([2, 2, 9, 1, 1]), 4))
    [(0, 2), (2, 3), (3, 5)]
    """
    until, start = np.cumsum(size), 0
    while start < len(size):
        before = until[start] - size[start]
        end = max(int(np.searchsorted(until, before + most, side="right")), start + 1)
        yield start, end
        start = end


def strongest(w: Matrix, most: int) -> Matrix:
    """The `most` largest entries of each row; `w` itself is changed.

    >>> strongest(sparse.csr_array(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 5.0]])), 2).toarray().tolist()
    [[0.0, 3.0, 2.0], [0.0, 0.0, 5.0]]
    """
    for row in np.flatnonzero(np.diff(w.indptr) > most):
        entries = w.data[w.indptr[row] : w.indptr[row + 1]]
        entries[np.argpartition(-entries, most)[most:]] = 0.0
    w.eliminate_zeros()
    return w


def params(w: Matrix) -> dict[str, Any]:
    """The parameters of `ItemLists(num_items, num_pairs)`, of the weights (j, item) `[N N]`.

    Raises:
      ValueError: if a weight is not finite.
    """
    w.sort_indices()
    if not np.isfinite(w.data).all():
        raise ValueError("the item weights are not finite: take smaller exponents, or a larger l2")
    return {
        "offset": jnp.asarray(w.indptr, jnp.int32),
        "neighbour": jnp.asarray(w.indices, jnp.int32),
        "weight": jnp.asarray(w.data, jnp.float32),
    }


def shortened(weight: Float[Array | np.ndarray, " N N"], most: int) -> dict[str, Any]:
    """The variables of `ItemLists(num_items, num_pairs)` that score nearly as a dense `ItemItem` does.

    A question then reads the lists of its history, and not the square of the catalogue.

    Args:
      weight: W[item, j], as of `EASE` or `ItemKNN`.
      most: weights of each item that are kept, those furthest from 0; of equal ones any.

    Raises:
      ValueError: if `most` is less than 1, or a weight is not finite.

    >>> weight = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, -0.75, 0.1]])
    >>> kept = shortened(weight, 1)["params"]
    >>> kept["neighbour"].tolist(), kept["weight"].tolist()
    ([2, 1], [-0.75, 0.5])
    """
    at_least_1(most=most)

    def rows(start: int) -> Matrix:
        block = np.asarray(weight[start : start + BLOCK])
        column = np.argpartition(-np.abs(block), min(most, block.shape[1]) - 1, axis=1)[:, :most]
        row = np.broadcast_to(np.arange(len(block))[:, None], column.shape)
        value = np.take_along_axis(block, column, axis=1)
        kept: Matrix = sparse.csr_array((value.ravel(), (row.ravel(), column.ravel())), block.shape)
        kept.eliminate_zeros()
        return kept

    of_item = sparse.vstack([rows(start) for start in range(0, len(weight), BLOCK)], format="csr")
    return {"params": params(of_item.T.tocsr())}


def num_pairs(variables: Any) -> int:
    """The field of the model whose variables a fit made."""
    return len(variables["params"]["weight"])
