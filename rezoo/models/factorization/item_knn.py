"""Item-kNN: items are alike if the same users took them.

Sarwar, Karypis, Konstan, Riedl 2001, https://doi.org/10.1145/371920.372071; the asymmetric cosine of
Aiolli 2013, https://doi.org/10.1145/2507157.2507189, section 3; shrinkage and the TF-IDF weighting as
Dacrema, Cremonesi, Jannach 2019 tuned them, https://arxiv.org/abs/1907.06902.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_0, at_least_1, shares
from rezoo.models.factorization import item_lists
from rezoo.models.factorization.item_item import ItemItem, by_rows, check, gram, num_taken, variables

Weighting = Callable[[np.ndarray, int], np.ndarray]
"""`(items of each user [U], items) -> weight of each user [U]`."""


class ItemKNN(ItemItem):
    """Score = Σ_{j in the history, j among the k nearest of item} s(item, j)."""


def equal(size: np.ndarray, items: int) -> np.ndarray:
    """Every user counts the same."""
    return np.ones(len(size))


def tf_idf(size: np.ndarray, items: int) -> np.ndarray:
    """log(items / (1 + items of the user)), at least 0: who took everything says little.

    >>> tf_idf(np.array([1, 9, 100]), 100).round(2).tolist()
    [3.91, 2.3, 0.0]
    """
    return np.maximum(np.log(items / (1 + size)), 0.0)


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    neighbours: int = 100,
    shrink: float = 0.0,
    alpha: float = 0.5,
    weighting: Weighting = equal,
    memory: float | None = None,
) -> dict[str, Any]:
    """The variables of `ItemKNN(num_items)`, from each user's items (0 = padding).

    s(i, j) = ⟨x_i, x_j⟩ / (|x_i|^2α |x_j|^2(1-α) + shrink), x_i the item's column of weighted interactions.

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      neighbours: k; the others' similarity is 0. Items as near as the k-th are neighbours too.
      shrink: pulls the similarity of rare items to 0.
      alpha: α in [0, 1], .5 for the cosine; with less of it, popular items are nearer to all others.
      weighting: of the users, `equal` or `tf_idf`.
      memory: GiB that three N × N matrices may take; those that are free if not given.

    Raises:
      ValueError: if that is not enough, if the history is empty, or an argument is out of range.
    """
    _check(neighbours, shrink, alpha)
    known = check(history, num_items, memory)
    weight = jnp.asarray(weighting(num_taken(known), num_items - 1), jnp.float32)
    g = gram(jnp.asarray(known), num_items, weight)
    return variables(_nearest(g, jnp.float32(shrink), jnp.float32(alpha), min(neighbours, num_items)))


def fit_lists(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    neighbours: int = 100,
    shrink: float = 0.0,
    alpha: float = 0.5,
    weighting: Weighting = equal,
) -> dict[str, Any]:
    """The same as `ItemLists(num_items, num_pairs)`, for catalogues whose square does not fit into memory.

    Takes what `fit` takes; of items as near as the k-th, only k in all are neighbours.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> variables = fit_lists(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5)
    >>> model = item_lists.ItemLists(5, item_lists.num_pairs(variables))
    >>> evaluation.recommend(model, variables, queries(history=[[4]]), 1)[0].tolist()
    [[3]]
    """
    _check(neighbours, shrink, alpha)
    x = item_lists.taken(history, num_items)
    weight = weighting(x.sum(axis=1), num_items - 1) ** 2
    square = weight @ x
    asked, other = item_lists.power(square, alpha), item_lists.power(square, 1 - alpha)

    def similarity(i: np.ndarray, j: np.ndarray, product: np.ndarray) -> np.ndarray:
        return product / np.maximum(asked[i] * other[j] + shrink, 1e-9)

    nearest = item_lists.shared(x, weight, similarity, most=neighbours)
    return {"params": item_lists.params(nearest.T.tocsr())}


def _check(neighbours: int, shrink: float, alpha: float) -> None:
    at_least_1(neighbours=neighbours)
    at_least_0(shrink=shrink)
    shares(alpha=alpha)


@jax.jit(static_argnums=3)
def _nearest(
    g: Float[Array, " N N"], shrink: Float[Array, ""], alpha: Float[Array, ""], k: int
) -> Float[Array, " N N"]:
    square = jnp.diag(g)
    asked, other = square**alpha, square ** (1 - alpha)

    def rows_of(row: Array) -> Array:
        similarity = g[row] / jnp.maximum(asked[row][:, None] * other[None] + shrink, 1e-9)
        similarity = similarity.at[jnp.arange(len(row)), row].set(0.0)
        least = jax.lax.top_k(similarity, k)[0][:, -1:]
        return jnp.where(similarity >= least, similarity, 0.0)

    return by_rows(rows_of, len(g))
