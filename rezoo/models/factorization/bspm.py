"""BSPM: a blurred history is sharpened again by a process on the graph of users and items.

Choi, Hong, Park, Cho 2023, "Blurring-sharpening process models for collaborative filtering", SIGIR 2023,
https://arxiv.org/abs/2211.09324, equations 8 to 13 with early merge: blurring is a step of heat and an ideal
low-pass filter, as in GF-CF, and sharpening a Runge-Kutta step of y' = -y S. With R the binary interactions,
D_U and D_I their degrees, R̃ = D_U^-a R D_I^-b / σ₁, S = R̃ᵀR̃ and Ū the leading eigenvectors of S:

    score(u, ·) = r_u (S + β D_I^-b Ū Ūᵀ D_I^b) p(S),    p(λ) = Σ_{i ≤ 4} (-tλ)^i / i!

The paper has a = b = ½. Smaller exponents take less from popular items and from users with long histories, as
the generalised normalisation of Peng, Liu, Sugiyama, Mine 2024, https://arxiv.org/abs/2406.08827, does.

S p(S) would be a dense matrix of items × items; instead a history goes over the graph and back five times,
which grows with the interactions, for each user who asks.
"""

from dataclasses import KW_ONLY
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_0
from rezoo.models.factorization import lightgcn
from rezoo.models.factorization.gfcf import checked, normalised
from rezoo.models.factorization.item_lists import taken
from rezoo.models.factorization.spectrum import leading
from rezoo.nn.bag import multi_hot, scores_of
from rezoo.nn.model import Model
from rezoo.types import Query

ORDER = 4
"""Of the Runge-Kutta step, which for a linear equation is that of a Taylor series."""


class BSPM(Model):
    """Scores by the history alone, so that new users need no training; without a history every score is 0.

    The graph is the collection `graph`, as that of `LightGCN`, which `fit` makes.
    """

    num_items: int
    factors: int = 448
    """Eigenvectors of the low-pass filter."""
    _: KW_ONLY
    beta: float = 0.2
    """β, the weight of the low-pass filter."""
    sharpening: float = 2.5
    """t, how long the history is sharpened; 0 = not at all, and with it GF-CF."""

    def setup(self) -> None:
        at_least_0(beta=self.beta, sharpening=self.sharpening)
        shape = self.num_items, self.factors
        self.vectors = jnp.asarray(self.param("vectors", nn.initializers.zeros, shape, jnp.float32))

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        return scores_of(self.scores(query), item)

    def scores(self, query: Query) -> Float[Array, " B N"]:
        """Of all items."""
        history = multi_hot(query.history, self.num_items).T
        blurred = self._around(history) + self.beta * self._low(history)

        def more(i: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            total, term = sums
            term = self._around(term) * (-self.sharpening / (i + 1))
            return total + term, term

        return jax.lax.fori_loop(0, ORDER, more, (blurred, blurred))[0].T

    def _around(self, x: Float[Array, " N B"]) -> Float[Array, " N B"]:
        """S x."""
        user, item = self._side("user"), self._side("item")
        return lightgcn.over(item, user, lightgcn.over(user, item, x))

    def _low(self, x: Float[Array, " N B"]) -> Float[Array, " N B"]:
        """(D^-b Ū Ūᵀ D^b)ᵀ x."""
        scale = jnp.asarray(self._side("item")["scale"])[:, None]
        states = jnp.einsum("nk,nb->kb", self.vectors, x * scale)
        return jnp.einsum("nk,kb->nb", self.vectors, states) * jnp.where(scale > 0, 1 / scale, 0.0)

    def _side(self, name: str) -> Any:
        if not self.has_variable("graph", name):
            raise ValueError("BSPM reads the collection `graph`: take the variables of bspm.fit")
        return self.get_variable("graph", name)


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    factors: int = 448,
    user_exponent: float = 0.5,
    item_exponent: float = 0.5,
) -> dict[str, Any]:
    """The variables of `BSPM(num_items, factors)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      factors: eigenvectors; fewer than users, and than items.
      user_exponent: a.
      item_exponent: b.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, factors=2)
    >>> ids, _ = evaluation.recommend(
    ...     BSPM(5, 2), variables, queries(history=[[4]]), 1, exclude=jnp.array([[4]])
    ... )
    >>> ids.tolist()
    [[3]]
    """
    x = taken(history, num_items)
    vectors, values = leading(normalised(x, user_exponent, item_exponent), checked(factors, x))
    user, item = x.nonzero()
    exponents = {"user_exponent": user_exponent, "item_exponent": item_exponent}
    graph = lightgcn.graph(user + 1, item, x.shape[0] + 1, num_items, **exponents)
    graph["user"]["scale"] = graph["user"]["scale"] / np.sqrt(values[0])
    return {"params": {"vectors": jnp.asarray(vectors, jnp.float32)}, "graph": graph}
