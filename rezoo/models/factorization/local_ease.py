"""LocalEASE: EASE where each item has only the items nearest to it, for catalogues whose square is too large.

EASE (Steck 2019, https://arxiv.org/abs/1905.03375) makes of G = XᵀX + λI and its inverse P the weights
B_ij = -P_ij / P_jj. Here item j has the inverse of its own part of G alone: with S = {j} and the `candidates`
items C of the largest cosine with j,

    G_SS p = e_j,   B_Cj = -p_C / p_j,   and so   B_Cj = (X_Cᵀ X_C + λI)⁻¹ X_Cᵀ x_j

which is the ridge regression of j on C. It is EASE itself where C is everything else. An item that shares no
user with j is no candidate, and has no weight.

SANSA (Spišák, Bartyzal, Hoskovec, Peška, Tůma 2023, https://doi.org/10.1145/3604915.3608827) has the same
aim: it makes an incomplete factor of G and a sparse approximate inverse of that factor, and scores by two
sparse matrices; here it is one. A factor whose rows solve such G_SS, with S before j (Kolotilina,
Yeremin 1993, https://doi.org/10.1137/0614004), was no better in trials, and its product is longer than it.
SLIM has the same candidates, an l1 penalty, and no negative weights.

Seconds grow with items × candidates³ and with the users of the candidates, bytes with items × candidates,
besides those of what is worked on at once (`PAIRS` of `item_lists`; `BYTES` and `POPULAR` of `candidates`):
32 seconds and a peak of 0.87 GiB at 100,000 items, 10⁶ events and 64 candidates, on two CPU cores
(`experiments/bench_catalogues.py`).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import at_least_1
from rezoo.models.factorization.candidates import nearest, solved
from rezoo.models.factorization.ease import checked_penalty, penalised
from rezoo.models.factorization.item_lists import ItemLists, params, taken, weighed


class LocalEASE(ItemLists):
    """Score = Σ_{j in the history} w(j, item); `item_lists.num_pairs` of the variables is its second size."""


def fit(
    history: Int[Array | np.ndarray, " U L"],
    num_items: int,
    *,
    l2: float = 40.0,
    dropout: float = 0.0,
    user_exponent: float = 0.0,
    candidates: int = 100,
) -> dict[str, Any]:
    """The variables of `LocalEASE(num_items, num_pairs)`, from each user's items (0 = padding).

    Args:
      history: one row per user; items that come twice count once.
      num_items: rows of the catalogue, 0 included.
      l2: λ > 0, in numbers of interactions; less than that of EASE, as there are fewer weights.
      dropout: p, in [0, 1), and
      user_exponent: as those of EASE.
      candidates: other items that may have a weight for an item.

    Raises:
      ValueError: if the history is empty, or an argument is out of range.

    >>> from rezoo import evaluation
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models.factorization.item_lists import num_pairs
    >>> variables = fit(np.array([[1, 2, 0], [2, 3, 1], [3, 4, 0]]), 5, l2=1.0)
    >>> model = LocalEASE(5, num_pairs(variables))
    >>> evaluation.recommend(model, variables, queries(history=[[4]]), 1)[0].tolist()
    [[3]]
    """
    penalty = checked_penalty(l2, dropout)
    at_least_1(candidates=candidates)
    x = taken(history, num_items)

    def regressed(gram: np.ndarray, both: np.ndarray) -> Array:
        return _regress(gram, both, *map(jnp.float32, penalty))

    return {"params": params(solved(weighed(x, user_exponent), nearest(x, candidates), regressed))}


@jax.jit
def _regress(
    gram: Float[Array | np.ndarray, " B M M"],
    both: Float[Array | np.ndarray, " B M"],
    l2: Float[Array, ""],
    share: Float[Array, ""],
) -> Float[Array, " B M"]:
    """(gram + Λ)⁻¹ both, of each problem."""
    factor = jnp.linalg.cholesky(penalised(jnp.asarray(gram), l2, share), symmetrize_input=False)
    return jax.scipy.linalg.cho_solve((factor, True), jnp.asarray(both)[..., None])[..., 0]
