"""Item co-occurrence: what came after the same click before.

The first-order Markov chain of Shani, Heckerman, Brafman 2005 ("An MDP-based recommender
system", https://jmlr.org/papers/v6/shani05a.html), counted over a window. Where nothing ever
followed, popularity decides, which also breaks ties.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo.nn.features import over
from rezoo.nn.pairs import find
from rezoo.types import Query


class CoOccurrence(nn.Module):
    """Score = Σ n(i → item) over the last `memory` events i of the history, plus a share < 1."""

    num_items: int
    num_pairs: int
    """Distinct pairs that the fit counted."""
    memory: int = 1

    @nn.compact
    def __call__(self, query: Query, item: Int[Array, " B *C"]) -> Float[Array, " B *C"]:
        zeros = nn.initializers.zeros
        offset = self.param("offset", zeros, (self.num_items + 1,), jnp.int32)
        follower = self.param("follower", zeros, (self.num_pairs,), jnp.int32)
        count = self.param("count", zeros, (self.num_pairs,))
        share = self.param("share", zeros, (self.num_items,))
        length = (query.history > 0).sum(axis=1)
        score = share.at[item].get(mode="fill", fill_value=0.0)
        for back in range(1, self.memory + 1):
            at = jnp.maximum(length - back, 0)[:, None]
            last = jnp.take_along_axis(query.history, at, axis=1)
            last = jnp.where((length >= back)[:, None], last, 0)
            row = over(last, item)[..., 0]
            place = find(offset, follower, jnp.where(row < self.num_items, row, 0), item)
            score += jnp.where(place < 0, 0.0, count[place])
        return score


def fit(history: np.ndarray, num_items: int, *, window: int = 1) -> dict[str, Any]:
    """Count who follows whom within `window` events of each session in `history` `[S L]`.

    Returns:
      The variables of `CoOccurrence(num_items, num_pairs)`; `num_pairs` is the length of
      `variables["params"]["follower"]`.
    """
    pairs = [
        np.stack([history[:, :-gap], history[:, gap:]], axis=-1).reshape(-1, 2)
        for gap in range(1, min(window, history.shape[1] - 1) + 1)
    ]
    pair = np.concatenate([*pairs, np.zeros((0, 2), history.dtype)])
    pair = pair[(pair > 0).all(axis=1)].astype(np.int64)
    code, count = np.unique(pair[:, 0] * num_items + pair[:, 1], return_counts=True)
    offset = np.searchsorted(code, np.arange(num_items + 1) * num_items)
    popular = np.bincount(history[history > 0], minlength=num_items)
    params = {
        "offset": jnp.asarray(offset, jnp.int32),
        "follower": jnp.asarray(code % num_items, jnp.int32),
        "count": jnp.asarray(count, jnp.float32),
        "share": jnp.asarray(popular / (popular.sum() + 1), jnp.float32),
    }
    return {"params": params}
