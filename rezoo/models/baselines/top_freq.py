"""GP-TopFreq: what this customer bought most, then what everybody does.

Li, Jullien, Ariannezhad, de Rijke: A Next Basket Recommendation Reality Check, TOIS 2023,
https://arxiv.org/abs/2109.14233, section 4.3: a user's items by how often they took them (P-TopFreq), then
all others by how often anybody did (G-TopFreq). On logs of repeat purchases few models beat it.

Differs from the paper: of items that a user took equally often, which are many where most counts are 1, the
more popular comes first; and events may decay with time (`fit(…, age=…, half_life=…)`).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.arrays import ids_of, in_table, offsets_of, same_shape
from rezoo.models.baselines.cooccurrence import Pairs
from rezoo.nn.embedding import has_row, rows_or_zero
from rezoo.nn.model import Model
from rezoo.types import Count, Query


class TopFreq(Model):
    """Score = the item's share of all events, below 1; and 1 + `count`, if the user took it.

    Variables: the sparse matrix of users and items, row u at `item[offset[u]:offset[u + 1]]`, with the
    `count` of each pair; and `share` `[num_items]`. An unknown user gets what is popular.
    Where events decay, `count` is the place of the pair's sum among the user's, 1/2 for the least, then 3/2:
    sums of events that are long past, which float32 takes for 0 or for equal, stay in order.
    """

    num_users: int
    num_items: int
    pairs: Count
    """Different pairs of a user and an item in the log."""

    def setup(self) -> None:
        zeros = nn.initializers.zeros
        self.offset = self.param("offset", zeros, (self.num_users + 1,), jnp.int32)
        self.item = self.param("item", zeros, (self.pairs,), jnp.int32)
        self.count = self.param("count", zeros, (self.pairs,), jnp.float32)
        self.share = self.param("share", zeros, (self.num_items,), jnp.float32)

    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        user = jnp.where(has_row(query.user, self.num_users), query.user, 0)
        count = Pairs(*map(jnp.asarray, (self.offset, self.item, self.count))).counts(
            user, item, self.num_items
        )
        share = rows_or_zero(jnp.asarray(self.share), item)
        return jnp.where(count > 0, 1.0 + count, 0.0) + share


def fit(
    user: np.ndarray,
    item: np.ndarray,
    num_users: int,
    num_items: int,
    *,
    age: np.ndarray | None = None,
    half_life: float | None = None,
) -> dict[str, Any]:
    """The variables of `TopFreq`, of events of known users and items (id 0 is not counted).

    Args:
      user: dense ids `[n]`.
      item: dense ids `[n]`.
      num_users: rows of a user table, 0 included.
      num_items: rows of the catalogue, 0 included.
      age: how long ago each event was, `[n]`; any unit.
      half_life: in that unit; an event of this age counts 1/2, one twice as old 1/4. 1 for all if not given.

    Raises:
      ValueError: if one of `age` and `half_life` is given without the other, the half-life is not above 0, an
        age is not finite or below 0, columns differ in length, or an id is not in its table.

    >>> params = fit(np.array([1, 1, 1, 2]), np.array([2, 3, 3, 1]), 3, 4)["params"]
    >>> params["offset"].tolist(), params["item"].tolist(), params["count"].tolist()
    ([0, 0, 2, 3], [2, 3, 1], [1.0, 2.0, 1.0])
    """
    if (age is None) != (half_life is None) or (half_life is not None and not half_life > 0):
        raise ValueError(
            f"a decay needs the events' age and a half_life above 0, but half_life is {half_life}"
        )
    user, item = map(np.asarray, ids_of(user=user, item=item))
    same_shape(user=user, item=item, **({} if age is None else {"age": np.asarray(age)}))
    in_table("user", user, num_users)
    in_table("item", item, num_items)
    if age is not None and not (np.isfinite(age).all() and np.min(age, initial=0) >= 0):
        raise ValueError("an age is not finite, or below 0: give how long ago each event was")
    real = (user > 0) & (item > 0)
    code, pair = np.unique(user[real].astype(np.int64) * num_items + item[real], return_inverse=True)
    owner, pair = code // num_items, pair.ravel()
    if age is None or half_life is None:
        weight, count = np.ones(len(user)), np.bincount(pair, minlength=len(code))
    else:
        halvings = (np.asarray(age, np.float64) - np.min(age, initial=np.inf)) / half_life
        weight, count = 0.5**halvings, _places(owner, _log_sums(halvings[real], pair, len(code)))
    popular = np.bincount(item[real], weight[real], minlength=num_items)
    params = {
        "offset": offsets_of(np.bincount(owner, minlength=num_users)).astype(np.int32),
        "item": (code % num_items).astype(np.int32),
        "count": count.astype(np.float32),
        "share": (popular / (popular.sum() + 1)).astype(np.float32),
    }
    return {"params": {name: jnp.asarray(value) for name, value in params.items()}}


def _log_sums(halvings: np.ndarray, pair: np.ndarray, num: int) -> np.ndarray:
    """log2 of the sum of each pair's events, which count 0.5^halvings, however long past they are."""
    newest = np.full(num, np.inf)
    np.minimum.at(newest, pair, halvings)
    return np.log2(np.bincount(pair, 0.5 ** (halvings - newest[pair]), minlength=num)) - newest


def _places(owner: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The place of each value among its owner's, from the least, 1/2, 3/2 …; equal ones share theirs.

    >>> _places(np.array([1, 1, 1, 2]), np.array([-3.0, 5.0, 5.0, 0.0])).tolist()
    [0.5, 1.5, 1.5, 0.5]
    """
    order = np.lexsort((value, owner))
    first = np.diff(owner[order], prepend=-1) > 0
    steps = np.cumsum(first | (np.diff(value[order], prepend=np.nan) != 0))
    place = np.empty(len(order))
    place[order] = steps - np.maximum.accumulate(np.where(first, steps, 0)) + 0.5
    return place
