"""GF-CF: collaborative filtering as a filter on the graph of items, in closed form.

Shen, Wu, Zhang, Shan, Zhang, Letaief, Li 2021, "How powerful is graph convolution for recommendation?",
https://arxiv.org/abs/2108.07567, algorithm 1. With R the binary interactions, D_U and D_I their degrees,
R̃ = D_U^-½ R D_I^-½ and Ū its leading right singular vectors:

    score(u, ·) = r_u (R̃ᵀR̃ + α D_I^-½ Ū Ūᵀ D_I^½)

The first term, a linear filter, adds up what is taken together; the second, an ideal low-pass filter, keeps
what varies slowly over the graph. Differs: `neighbours` may shorten the lists of the linear filter.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_0, at_least_1
from rezoo.models.factorization.item_lists import (
    ItemLists,
    Matrix,
    on_both_sides,
    once,
    params,
    power,
    shared,
    taken,
)
from rezoo.models.factorization.spectrum import leading
from rezoo.nn.bag import Bag, inner_with_rows
from rezoo.nn.embedding import Embed
from rezoo.types import Query


class GFCF(ItemLists):
    """Score = Σ_{j in the history} (w(j, item) + ⟨p_j, q_item⟩).

    `item_lists.num_pairs` of the variables is its second size.
    """

    factors: int = 256
    """Singular vectors of the low-pass filter."""

    def setup(self) -> None:
        super().setup()
        self.taken = Bag(self.num_items, self.factors)
        self.item = Embed(self.num_items, self.factors)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        history = once(query.history, self.num_items)
        state = self.taken(history, (history > 0).astype(jnp.float32))
        return super().__call__(query, item) + inner_with_rows(state, self.item, item)


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    factors: int = 256,
    alpha: float = 0.3,
    neighbours: int | None = None,
) -> dict[str, Any]:
    """The variables of `GFCF(num_items, num_pairs, factors)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      factors: singular vectors; fewer than users, and than items.
      alpha: α, the weight of the low-pass filter.
      neighbours: weights of the linear filter that are kept for each item; all if None.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models.factorization.item_lists import num_pairs
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, factors=2)
    >>> model = GFCF(5, num_pairs(variables), 2)
    >>> ids, _ = evaluation.recommend(model, variables, queries(history=[[4]]), 1, exclude=jnp.array([[4]]))
    >>> ids.tolist()
    [[3]]
    """
    x = taken(history, num_items)
    at_least_0(alpha=alpha)
    at_least_1(neighbours=neighbours)
    vectors = leading(normalised(x), checked(factors, x)).vectors
    of_item = x.sum(axis=0)[:, None]
    low, high = power(of_item, -0.5) * vectors, alpha * power(of_item, 0.5) * vectors
    weigh = on_both_sides(power(x.sum(axis=0), -0.5))
    linear = shared(x, power(x.sum(axis=1), -1.0), weigh, most=neighbours, itself=True)
    return {
        "params": {
            **params(linear),
            "taken": {"rows": {"embedding": jnp.asarray(low, jnp.float32)}},
            "item": {"embedding": jnp.asarray(high, jnp.float32)},
        }
    }


def checked(factors: int, x: Matrix) -> int:
    """How many singular vectors.

    Raises:
      ValueError: if `x` does not have so many.
    """
    at_least_1(factors=factors)
    if factors >= min(x.shape):
        raise ValueError(
            f"factors must be from 1 to {min(x.shape) - 1}, not {factors}, for the users and items"
        )
    return factors


def normalised(x: Matrix, user_exponent: float = 0.5, item_exponent: float = 0.5) -> Matrix:
    """R̃ = D_U^-a R D_I^-b of the binary interactions R `[U N]`."""
    of_user, of_item = power(x.sum(axis=1), -user_exponent), power(x.sum(axis=0), -item_exponent)
    return x.multiply(of_user[:, None]).multiply(of_item[None]).tocsr().astype(np.float32)
