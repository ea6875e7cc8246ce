"""BSPM: a blurred history is sharpened again by a process on the graph of items, in closed form.

Choi, Hong, Park, Cho 2023, "Blurring-sharpening process models for collaborative filtering", SIGIR 2023,
https://arxiv.org/abs/2211.09324, equations 8 to 13 with early merge: blurring is a step of heat and an ideal
low-pass filter, as in GF-CF, and sharpening a Runge-Kutta step of y' = -y S. With R the binary interactions,
D_U and D_I their degrees, R̃ = D_U^-a R D_I^-b / σ₁, S = R̃ᵀR̃ and Ū the leading eigenvectors of S:

    score(u, ·) = r_u (S + β D_I^-b Ū Ūᵀ D_I^b) p(S),    p(λ) = Σ_{i ≤ 4} (-tλ)^i / i!

The paper has a = b = ½. Smaller exponents take less from popular items and from users with long histories, as
the generalised normalisation of Peng, Liu, Sugiyama, Mine 2024, https://arxiv.org/abs/2406.08827, does.

Differs: S p(S) would be a dense matrix of items × items. Here λ p(λ) is exact on the leading eigenvectors; on
all others, whose values are small, it is a line λ p(m) with m their mean, each weighed by itself. So S, which
is sparse, and some vectors of each item suffice. With all eigenvectors nothing differs.
"""

import math
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Int

from rezoo.models.factorization.gfcf import GFCF, checked, linear, normalised, variables
from rezoo.models.factorization.item_lists import Matrix, power, taken
from rezoo.models.factorization.spectrum import leading

ORDER = 4
"""Of the Runge-Kutta step, which for a linear equation is that of a Taylor series."""


class BSPM(GFCF):
    """Score = Σ_{j in the history} (w(j, item) + ⟨p_j, q_item⟩).

    `item_lists.num_pairs` of the variables is its second size.
    """

    factors: int = 448
    filters: ClassVar[int] = 2
    """The low-pass filter, and what the line lacks on the leading eigenvectors."""


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    factors: int = 448,
    beta: float = 0.2,
    sharpening: float = 2.5,
    user_exponent: float = 0.5,
    item_exponent: float = 0.5,
) -> dict[str, Any]:
    """The variables of `BSPM(num_items, num_pairs, factors)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      factors: eigenvectors; fewer than users, and than items.
      beta: β, the weight of the low-pass filter.
      sharpening: t, how long the history is sharpened; 0 = not at all, and with it GF-CF.
      user_exponent: a.
      item_exponent: b.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> import jax.numpy as jnp
    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models.factorization.item_lists import num_pairs
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, factors=2)
    >>> model = BSPM(5, num_pairs(variables), 2)
    >>> ids, _ = evaluation.recommend(model, variables, queries(history=[[4]]), 1, exclude=jnp.array([[4]]))
    >>> ids.tolist()
    [[3]]
    """
    x = taken(history, num_items)
    for name, value in {"beta": beta, "sharpening": sharpening}.items():
        if value < 0:
            raise ValueError(f"{name} must be ≥ 0, not {value}")
    exponents = user_exponent, item_exponent
    graph = normalised(x, *exponents)
    vectors, values = leading(graph, checked(factors, x))
    largest = float(values[0])
    graph, values = graph / largest**0.5, values / largest
    similar = linear(x, *exponents) / largest
    slope = float(response(mean_of_others(values, similar), sharpening))
    of_item = x.sum(axis=0)[:, None]
    low = sharpened(power(of_item, item_exponent) * vectors, graph, sharpening)
    exact = vectors * (values * (response(values, sharpening) - slope))
    return variables(
        slope * similar,
        np.concatenate([power(of_item, -item_exponent) * vectors, vectors], axis=1),
        np.concatenate([beta * low, exact], axis=1),
    )


def mean_of_others(leading: np.ndarray, s: Matrix) -> float:
    """Σλ² / Σλ over the eigenvalues of S that are not `leading`, by the sums over all.

    >>> from scipy import sparse
    >>> mean_of_others(np.array([4.0]), sparse.diags_array([4.0, 2.0, 1.0]).tocsr())
    1.6666666666666667
    """
    leading = leading.astype(np.float64)
    total = s.diagonal().sum(dtype=np.float64) - leading.sum()
    squares = np.square(s.data, dtype=np.float64).sum() - np.square(leading).sum()
    return float(np.clip(squares / total, 0.0, leading[-1])) if total > 0 else 0.0


def response(value: Any, time: float) -> Any:
    """p(λ): how much sharpening leaves of eigenvectors.

    >>> response(np.array([0.0, 0.5, 1.0]), 1.0).round(3).tolist()
    [1.0, 0.607, 0.375]
    """
    return sum((-time * value) ** i / math.factorial(i) for i in range(ORDER + 1))


def sharpened(columns: np.ndarray, graph: Matrix, time: float) -> np.ndarray:
    """p(S) times columns `[N K]`."""
    total = term = columns.astype(np.float32)
    for i in range(1, ORDER + 1):
        term = (graph.T @ (graph @ term)) * np.float32(-time / i)
        total = total + term
    return total
