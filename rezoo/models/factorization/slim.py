"""SLIM: each item's column is a sparse, non-negative combination of other items' columns.

Ning, Karypis 2011, "SLIM: sparse linear methods for top-N recommender systems",
https://doi.org/10.1109/ICDM.2011.134, equations 3-4. With X the binary interactions, for each item i alone:

    min ½|x_i - X w|² + ½ λ₂ |w|² + λ₁ |w|₁  with w ≥ 0 and w_i = 0

among the `candidates` items of the largest cosine, as in fsSLIM there; all others have no weight.
Solved by cyclic coordinate descent (Friedman, Hastie, Tibshirani 2010, https://doi.org/10.18637/jss.v033.i01)
on the candidates' Gramian, many items at a time.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import above_0, at_least_0, at_least_1
from rezoo.models.factorization.candidates import nearest, solved
from rezoo.models.factorization.item_lists import ItemLists, params, taken


class SLIM(ItemLists):
    """Score = Σ_{j in the history} w(j, item); `item_lists.num_pairs` of the variables is its second size."""


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    l1: float = 0.1,
    l2: float = 20.0,
    candidates: int = 100,
    tolerance: float = 1e-4,
    max_sweeps: int = 100,
) -> dict[str, Any]:
    """The variables of `SLIM(num_items, num_pairs)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      l1: λ₁ ≥ 0, in numbers of interactions; an item that shares no more users than that has no weight.
      l2: λ₂ > 0, likewise.
      candidates: other items that may have a weight for an item.
      tolerance: the largest change of a weight in the last sweep over the candidates.
      max_sweeps: sweeps, where that is not reached.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models.factorization.item_lists import num_pairs
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, l1=0.1, l2=1.0)
    >>> model = SLIM(5, num_pairs(variables))
    >>> evaluation.recommend(model, variables, queries(history=[[4]]), 1)[0].tolist()
    [[3]]
    """
    at_least_0(l1=l1, tolerance=tolerance)
    above_0(l2=l2)
    at_least_1(candidates=candidates, max_sweeps=max_sweeps)
    x = taken(history, num_items)

    def descended(gram: np.ndarray, both: np.ndarray) -> Array:
        return _descend(gram, both, jnp.float32(l1), jnp.float32(l2), jnp.float32(tolerance), max_sweeps)

    return {"params": params(solved(x, nearest(x, candidates), descended))}


@jax.jit(static_argnums=5)
def _descend(
    gram: Float[Array | np.ndarray, " B M M"],
    both: Float[Array | np.ndarray, " B M"],
    l1: Float[Array, ""],
    l2: Float[Array, ""],
    tolerance: Float[Array, ""],
    max_sweeps: int,
) -> Float[Array, " B M"]:
    """The weights of each problem, of its candidates' Gramian and what they share with the item."""
    gram, both = jnp.asarray(gram), jnp.asarray(both)
    square = jnp.diagonal(gram, axis1=1, axis2=2)

    def coordinate(m: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        weight, left = state  # left = Xᵀ(x_i - X w)
        old = weight[:, m]
        new = jnp.maximum(left[:, m] + square[:, m] * old - l1, 0.0) / (square[:, m] + l2)
        return weight.at[:, m].set(new), left - gram[:, m] * (new - old)[:, None]

    def sweep(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        weight, left, _, number = state
        new, left = jax.lax.fori_loop(0, weight.shape[1], coordinate, (weight, left))
        return new, left, jnp.abs(new - weight).max(), number + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[2] > tolerance) & (state[3] < max_sweeps)

    start = jnp.zeros_like(both), both, jnp.float32(jnp.inf), jnp.int32(0)
    return jax.lax.while_loop(unfinished, sweep, start)[0]
