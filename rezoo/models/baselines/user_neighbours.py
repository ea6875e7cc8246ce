"""What the neighbourhood models of users share: what a user and those most like them took, weighted.

Score = Σ_v s_uv w_vi over the neighbours v of user u, u itself included, plus a share below 1e-6 of the
item's part of all events, which ranks what no neighbour took.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse

from rezoo.arrays import distinct_pairs, ids_of, offsets_of
from rezoo.devices.meshes import lookup
from rezoo.nn.embedding import has_row, rows_or_zero
from rezoo.nn.lists import Lists
from rezoo.nn.model import Model
from rezoo.types import Count, Query

BLOCK = 2**24
"""Similarities of users that are held at once."""


class UserNeighbours(Model):
    """The module's score, of every user that was there at the fit; an unknown one gets what is popular.

    Variables: the sparse matrix w, row v at `item[offset[v]:offset[v + 1]]` with its `weight`; of each user
    the `neighbour`s, 0 where there are fewer, with their `similarity`; and `share` `[num_items]`.
    """

    num_users: int
    num_items: int
    pairs: Count
    """Different pairs of a user and an item in w."""
    k: int
    """Neighbours of each user, the user included."""

    def setup(self) -> None:
        zeros = nn.initializers.zeros
        self.offset = self.param("offset", zeros, (self.num_users + 1,), jnp.int32)
        self.item = self.param("item", zeros, (self.pairs,), jnp.int32)
        self.weight = self.param("weight", zeros, (self.pairs,), jnp.float32)
        self.neighbour = self.param("neighbour", zeros, (self.num_users, self.k), jnp.int32)
        self.similarity = self.param("similarity", zeros, (self.num_users, self.k), jnp.float32)
        self.share = self.param("share", zeros, (self.num_items,), jnp.float32)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        user = jnp.where(has_row(query.user, self.num_users), query.user, 0)
        lists = Lists(*map(jnp.asarray, (self.offset, self.item, self.weight)))
        who, similarity = (lookup(jnp.asarray(rows), user) for rows in (self.neighbour, self.similarity))
        share = rows_or_zero(jnp.asarray(self.share), item)
        return lists.score(who, item, self.num_items, similarity) + 1e-6 * share


class Baskets(NamedTuple):
    """Events as sets: an item that comes twice in a basket is in it once."""

    user: np.ndarray
    """Of each item of each basket, `[n]`."""
    item: np.ndarray
    number: np.ndarray
    """Of the basket, from the user's newest, 0, to the oldest."""
    size: np.ndarray
    """Of each user, how many baskets there are, `[num_users]`."""
    popular: np.ndarray
    """In how many baskets each item is, `[num_items]`."""


def baskets(
    user: np.ndarray, item: np.ndarray, basket: np.ndarray, num_users: int, num_items: int
) -> Baskets:
    """The baskets of known users with known items (id 0 is left out).

    Args:
      user: dense ids `[n]`.
      item: dense ids `[n]`.
      basket: events of a user with the same value are one basket `[n]`; a greater one is later.
      num_users: rows of a user table, 0 included.
      num_items: rows of the catalogue, 0 included.

    Raises:
      ValueError: if the columns differ in length, no event is left, an id is beyond its table, or a basket is
        not finite.
      DataError: if an id is not a whole number within int32.

    >>> made = baskets(np.array([1, 1, 1]), np.array([2, 3, 2]), np.array([5, 5, 9]), 2, 4)
    >>> made.item.tolist(), made.number.tolist(), made.size.tolist()
    ([2, 3, 2], [1, 1, 0], [0, 2])
    """
    user, item = (np.asarray(ids, np.int64) for ids in ids_of(user=user, item=item))
    basket = np.asarray(basket)
    columns = {"user": user, "item": item, "basket": basket}
    if len({np.shape(column) for column in columns.values()}) > 1 or np.ndim(user) != 1:
        raise ValueError(f"user, item and basket differ: {[np.shape(x) for x in columns.values()]}")
    real = (user > 0) & (item > 0)
    user, item, basket = user[real], item[real], basket[real]
    if basket.dtype.kind == "f" and not np.isfinite(basket).all():
        raise ValueError("a basket is not a finite number: give each event the number of its basket")
    if not len(user) or user.max() >= num_users or item.max() >= num_items:
        raise ValueError(
            f"no event of a known user and item is left, or an id is beyond {num_users} users or "
            f"{num_items} items"
        )
    place = np.unique(basket, return_inverse=True)[1].ravel()
    visits, inverse = np.unique(user * (place.max() + 1) + place, return_inverse=True)
    size = np.bincount(visits // (place.max() + 1), minlength=num_users)
    number = np.repeat(offsets_of(size)[1:], size) - 1 - np.arange(len(visits))
    visit, item = distinct_pairs(inverse.ravel(), item)
    popular = np.bincount(item, minlength=num_items)
    return Baskets(visits[visit] // (place.max() + 1), item, number[visit], size, popular)


def summed(events: Baskets, weight: np.ndarray) -> sparse.csr_matrix:
    """The weights of each user's items, summed over baskets, `[num_users num_items]`; 0 is not stored."""
    shape = len(events.size), len(events.popular)
    found = sparse.csr_matrix((weight, (events.user, events.item)), shape=shape, dtype=np.float64)
    found.eliminate_zeros()
    return found


def nearest(similar: Any, num_users: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` most similar other users of each, `[num_users k]`, and how similar; 0 where there are fewer.

    Args:
      similar: a slice of users -> their similarity with all, `[rows num_users]`, dense; -inf is none.
      num_users: rows, 0 included, which is nobody's neighbour and has none.
      k: how many.
    """
    k = min(k, num_users - 1)
    neighbour, similarity = np.zeros((num_users, k), np.int64), np.zeros((num_users, k))
    step = max(BLOCK // num_users, 1)
    for begin in range(1, num_users, step):
        rows = np.arange(begin, min(begin + step, num_users))
        block = similar(rows)
        block[:, 0] = block[np.arange(len(rows)), rows] = -np.inf
        at = np.argpartition(-block, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(block, at, axis=1)
        neighbour[rows] = np.where(value > -np.inf, at, 0)
        similarity[rows] = np.where(value > -np.inf, value, 0.0)
    return neighbour, similarity


def variables(
    weight: sparse.csr_matrix, own: float, near: np.ndarray, similarity: np.ndarray, popular: np.ndarray
) -> dict[str, Any]:
    """Those of a `UserNeighbours`.

    Args:
      weight: w.
      own: how similar each user is to itself.
      near: the other neighbours of each user, `[num_users k]`.
      similarity: theirs.
      popular: how often each item was taken.
    """
    weight.sort_indices()
    users = np.arange(len(near))[:, None]
    neighbour = np.concatenate([users, near], axis=1)
    similarity = np.concatenate([np.full(users.shape, own), similarity], axis=1)
    params = {
        "offset": weight.indptr.astype(np.int32),
        "item": weight.indices.astype(np.int32),
        "weight": weight.data.astype(np.float32),
        "neighbour": neighbour.astype(np.int32),
        "similarity": similarity.astype(np.float32),
        "share": (popular / (popular.sum() + 1)).astype(np.float32),
    }
    return {"params": {name: jnp.asarray(value) for name, value in params.items()}}
