"""UP-CF@r: what this customer and those most like them took in their latest baskets.

Faggioli, Polato, Aiolli: Recency Aware Collaborative Filtering for Next Basket Recommendation, UMAP 2020,
https://doi.org/10.1145/3340631.3394850, section 3. With R_u the set of items that user u ever took and B_u
the user's baskets,

    π_ui = (the last r baskets that have i) / min(r, |B_u|),
    s_uv = |R_u ∩ R_v| / (|R_u|^a |R_v|^(1 - a)),
    score = Σ_v s_uv^q π_vi   over the k most similar users and u itself, whose s is 1.
"""

from typing import Any

import numpy as np

from rezoo.arrays import above_0, at_least_1, shares
from rezoo.models.baselines.user_neighbours import UserNeighbours, baskets, nearest, summed, variables


class UPCF(UserNeighbours):
    """Score = π_ui + Σ_v s_uv^q π_vi over the k most similar users; `k` counts the user, too."""


def fit(
    user: np.ndarray,
    item: np.ndarray,
    basket: np.ndarray,
    num_users: int,
    num_items: int,
    *,
    k: int = 300,
    recent: int = 10,
    asymmetry: float = 0.25,
    locality: float = 5.0,
) -> dict[str, Any]:
    """The variables of `UPCF(num_users, num_items, pairs, k)`.

    `pairs` is the length of `variables["params"]["item"]`, and the model's `k` the second one of
    `variables["params"]["neighbour"].shape`: one more than here, or the number of users if there are fewer.

    Args:
      user: as all up to `num_items`, for `user_neighbours.baskets`.
      item: dense ids `[n]`.
      basket: events of a user with the same value are one basket `[n]`; a greater one is later.
      num_users: rows of a user table, 0 included.
      num_items: rows of the catalogue, 0 included.
      k: most similar users.
      recent: r, baskets that are counted.
      asymmetry: a, from 0 to 1.
      locality: q, above 0; the greater, the less users count that are less similar.

    Raises:
      ValueError: as `user_neighbours.baskets`, and if an option is out of its range.

    >>> columns = np.array([1, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 3]), np.array([1, 2, 2, 1, 1])
    >>> params = fit(*columns, 3, 4, k=1, locality=1.0)["params"]
    >>> params["item"].tolist(), params["weight"].tolist()  # item 1 was in both of user 1's two baskets
    ([1, 2, 2, 3], [1.0, 0.5, 1.0, 1.0])
    >>> params["neighbour"].tolist(), params["similarity"].tolist()  # one of two items is shared
    ([[0, 0], [1, 2], [2, 1]], [[1.0, 0.0], [1.0, 0.5], [1.0, 0.5]])
    """
    at_least_1(k=k, recent=recent)
    above_0(locality=locality)
    shares(asymmetry=asymmetry)
    events = baskets(user, item, basket, num_users, num_items)
    counted = np.minimum(recent, events.size[events.user])
    popular = summed(events, (events.number < recent) / counted)
    ever = summed(events, np.ones(len(events.user)))
    ever.data[:] = 1.0
    length = np.maximum(np.asarray(ever.sum(axis=1)).ravel(), 1.0)

    def similar(rows: np.ndarray) -> np.ndarray:
        """The asymmetric cosine; none where nothing is shared."""
        shared = (ever[rows] @ ever.T).toarray()
        cosine = shared / (length[rows, None] ** asymmetry * length[None] ** (1 - asymmetry))
        return np.where(shared > 0, cosine, -np.inf)

    near, cosine = nearest(similar, num_users, k)
    return variables(popular, 1.0, near, cosine**locality, events.popular)
