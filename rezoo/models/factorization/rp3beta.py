"""RP3β: where a random walk of three steps over purchases ends, popular items discounted.

Christoffel, Paudel, Newell, Bernstein 2015, https://doi.org/10.1145/2792838.2800180; Paudel, Christoffel,
Newell, Bernstein 2016, https://doi.org/10.1145/2955101, section 3. The walk goes from a user to an item of
theirs, to someone who took it, and to an item of that user. With the degrees d and P^α taken entry by entry:

    score(u, i) = Σ_{j ∈ I_u} Σ_v p_uj^α p_jv^α p_vi^α / d_i^β,     p_xy = 1 / d_x where x and y are connected

so it is linear in the history, with the weights w(j, i) = d_j^-α d_i^-β Σ_v d_v^-α. As in Dacrema, Cremonesi,
Jannach 2019, https://arxiv.org/abs/1907.06902, an item has a list of the strongest steps from it, and the
weights of a list sum to 1. Differs: p_uj^α, the same for all items of a user, is left out.
"""

from typing import Any

import numpy as np
from jaxtyping import Array, Int

from rezoo.arrays import at_least_0, at_least_1
from rezoo.models.factorization.item_lists import ItemLists, params, power, shared, taken


class RP3beta(ItemLists):
    """Score = Σ_{j in the history} w(j, item); `item_lists.num_pairs` of the variables is its second size."""


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    neighbours: int = 100,
    per_target: bool = False,
    normalise: bool = True,
) -> dict[str, Any]:
    """The variables of `RP3beta(num_items, num_pairs)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      alpha: α ≥ 0; above 1 the walk prefers users and items of few interactions.
      beta: β ≥ 0, the discount of popular items.
      neighbours: weights kept of each list.
      per_target: keep the strongest steps to each item, in place of those from each item.
      normalise: whether the weights from an item sum to 1.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models.factorization.item_lists import num_pairs
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5)
    >>> model = RP3beta(5, num_pairs(variables))
    >>> evaluation.recommend(model, variables, queries(history=[[4]]), 1)[0].tolist()  # who took 4 took 3
    [[3]]
    """
    at_least_0(alpha=alpha, beta=beta)
    at_least_1(neighbours=neighbours)
    x = taken(history, num_items)
    user, first, last = (
        power(x.sum(axis=1), -alpha),
        power(x.sum(axis=0), -alpha),
        power(x.sum(axis=0), -beta),
    )
    if per_target:
        w = shared(x, user, lambda i, j, walks: last[i] * walks * first[j], most=neighbours).T.tocsr()
    else:
        w = shared(x, user, lambda j, i, walks: first[j] * walks * last[i], most=neighbours)
    if normalise:
        w.data /= np.repeat(w.sum(axis=1), np.diff(w.indptr))
    return {"params": params(w)}
