"""TIFU-KNN: how often and how lately this customer and those most like them took each item.

Hu, He, Gao, Zhang: Modeling Personalized Item Frequency Information for Next-basket Recommendation, SIGIR
2020, https://arxiv.org/abs/2006.00556, equations 1 to 3. A user's baskets, oldest first, are cut into g
groups of m; with basket b as a vector of zeros and ones,

    v_group = 1/m Σ_j r_b^(m - j) b_j,   v_u = 1/g Σ_i r_g^(g - i) v_group_i,
    score = α v_u + (1 - α) mean of v over the k users nearest to u (Euclidean).

Differs from the paper: groups are counted from the newest basket, so that the oldest one may be smaller; it
is divided by its own size. (The authors' code takes m for the number of groups.)
"""

from typing import Any

import numpy as np

from rezoo.arrays import at_least_1, shares
from rezoo.models.baselines.user_neighbours import UserNeighbours, baskets, nearest, summed, variables


class TIFUKNN(UserNeighbours):
    """Score = α v_ui + (1 - α) Σ_v v_vi / k over the k nearest users; `k` counts the user, too."""


def fit(
    user: np.ndarray,
    item: np.ndarray,
    basket: np.ndarray,
    num_users: int,
    num_items: int,
    *,
    k: int = 300,
    group: int = 7,
    basket_decay: float = 0.9,
    group_decay: float = 0.7,
    alpha: float = 0.7,
) -> dict[str, Any]:
    """The variables of `TIFUKNN(num_users, num_items, pairs, k)`.

    `pairs` is the length of `variables["params"]["item"]`, and the model's `k` the second one of
    `variables["params"]["neighbour"].shape`: one more than here, or the number of users if there are fewer.

    Args:
      user: as all up to `num_items`, for `user_neighbours.baskets`.
      item: dense ids `[n]`.
      basket: events of a user with the same value are one basket `[n]`; a greater one is later.
      num_users: rows of a user table, 0 included.
      num_items: rows of the catalogue, 0 included.
      k: nearest users.
      group: m, baskets of a group.
      basket_decay: r_b, from a basket to the one before it in its group.
      group_decay: r_g, from a group to the one before it.
      alpha: α, what is the user's own.

    Raises:
      ValueError: as `user_neighbours.baskets`, and if an option is out of its range.

    >>> columns = np.array([1, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 3]), np.array([1, 2, 2, 1, 1])
    >>> params = fit(*columns, 3, 4, k=1, group=2, basket_decay=0.5, alpha=0.75)["params"]
    >>> params["item"].tolist(), params["weight"].tolist()  # item 1 was in both of user 1's two baskets
    ([1, 2, 2, 3], [0.75, 0.5, 1.0, 1.0])
    >>> params["neighbour"].tolist(), params["similarity"].tolist()
    ([[0, 0], [1, 2], [2, 1]], [[0.75, 0.0], [0.75, 0.25], [0.75, 0.25]])
    """
    at_least_1(k=k, group=group)
    shares(basket_decay=basket_decay, group_decay=group_decay, alpha=alpha)
    events = baskets(user, item, basket, num_users, num_items)
    at, back = events.number // group, events.number % group
    groups = -(-events.size // group)
    whole = np.minimum(group, events.size[events.user] - at * group) * groups[events.user]
    vectors = summed(events, basket_decay**back * group_decay**at / whole)
    square = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    there = np.where(events.size > 0, square, np.inf)

    def closeness(rows: np.ndarray) -> np.ndarray:
        """Minus the squared distance, but for the rows' own length; none of and to who took nothing."""
        close = 2 * (vectors[rows] @ vectors.T).toarray() - there
        return np.where(events.size[rows, None] > 0, close, -np.inf)

    near, _ = nearest(closeness, num_users, k)
    found = np.maximum((near > 0).sum(axis=1, keepdims=True), 1)
    of_near = np.where(near > 0, (1 - alpha) / found, 0.0)
    return variables(vectors, alpha, near, of_near, events.popular)
