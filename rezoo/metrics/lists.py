"""Beyond accuracy: what the lists of all users are like, `ids` `[U k]`.

Id 0 is no item, and neither is one below 0 or beyond the catalogue.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from rezoo.arrays import at_least_0, at_least_1, one_axis, same_lists, shares
from rezoo.metrics.masked import mean


def coverage(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """The share of the catalogue that is recommended to anyone.

    >>> float(coverage(jnp.array([[1, 2], [1, 2]]), num_items=5))  # two of the items 1 … 4
    0.5
    """
    return (_exposure(ids, num_items)[1:] > 0).sum() / max(num_items - 1, 1)


def gini(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """How unequally the places are shared among items: 0 all alike, towards 1 one item has all.

    >>> float(gini(jnp.array([[1, 2], [3, 4]]), 5)), float(gini(jnp.array([[1], [1]]), 5))
    (0.0, 0.75)
    """
    exposure = jnp.sort(_exposure(ids, num_items)[1:])
    n = num_items - 1
    weight = 2 * jnp.arange(1.0, n + 1) - n - 1
    return jnp.vdot(weight, exposure) / jnp.maximum(n * exposure.sum(), 1)


def shannon_entropy(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """-Σ_i p_i log₂ p_i in bits, p_i the share of all places that item i has: log₂ N if all have the same.

    Shannon 1948, https://doi.org/10.1002/j.1538-7305.1948.tb01338.x; of recommendations, Adomavicius and
    Kwon 2012, https://doi.org/10.1109/TKDE.2011.15.

    >>> float(shannon_entropy(jnp.array([[1, 2], [3, 4]]), 5))
    2.0
    """
    exposure = _exposure(ids, num_items)
    p = exposure / jnp.maximum(exposure.sum(), 1)
    return -jnp.where(p > 0, p * jnp.log2(jnp.where(p > 0, p, 1.0)), 0.0).sum()


def long_tail(count: Shaped[Array | np.ndarray, " N"], *, head: float = 0.8) -> Bool[Array, " N"]:
    """The items that are not among the most popular ones which together have the share `head` of events.

    Item 0 is not among them. Celma and Cano 2008, https://doi.org/10.1145/1722149.1722154, and with 80 %
    Abdollahpouri 2019, https://arxiv.org/abs/1901.07555.

    Raises:
      ValueError: if a count is below 0 or not finite, or `head` is no share.

    >>> long_tail(jnp.array([0, 6, 2, 1, 1])).tolist()
    [False, False, False, True, True]
    """
    shares(head=head)
    one_axis(count=count)
    at_least_0(count=count)
    count = jnp.asarray(count).at[0].set(0)
    order = jnp.argsort(-count)
    before = jnp.cumsum(count[order]) - count[order]
    return (jnp.zeros(len(count), bool).at[order].set(before >= head * count.sum())).at[0].set(False)


def tail_share(ids: Int[Array, " U k"], tail: Bool[Array, " N"]) -> Float[Array, ""]:
    """The share of long-tail items in a list, averaged over the lists that are not empty.

    Abdollahpouri 2019, https://arxiv.org/abs/1901.07555, APLT; `tail` as from `long_tail`.

    >>> float(tail_share(jnp.array([[1, 2], [3, 0]]), jnp.array([False, False, True, False])))
    0.25
    """
    one_axis(tail=tail)
    real = _real(ids, len(tail))
    count = real.sum(axis=1)
    share = (real & tail[jnp.where(real, ids, 0)]).sum(axis=1) / jnp.maximum(count, 1)
    return mean(share, count > 0)


def serendipity(
    ids: Int[Array, " U k"], target: Int[Array, " U T"], expected: Int[Array, " U E"]
) -> Float[Array, ""]:
    """The share of a list that is wanted and was not to be expected, averaged over lists that are not empty.

    Ge 2010, https://doi.org/10.1145/1864708.1864761, as Kaminskas and Bridge 2016 write it,
    https://doi.org/10.1145/2926720, section 3.3: |R_unexpected ∩ R_useful| / |R|.

    Args:
      ids: the lists.
      target: what each user wanted, 0 = padding.
      expected: what a primitive model recommends, such as each user's list by popularity, 0 = padding.

    >>> ids, target, expected = (jnp.array([x]) for x in ([4, 7, 2, 9], [7, 2, 5], [2, 3]))
    >>> float(serendipity(ids, target, expected))
    0.25
    """
    same_lists(ids=ids, target=target, expected=expected)
    real = ids > 0
    wanted, foreseen = ((ids[:, :, None] == other[:, None, :]).any(axis=2) for other in (target, expected))
    count = real.sum(axis=1)
    return mean((real & wanted & ~foreseen).sum(axis=1) / jnp.maximum(count, 1), count > 0)


def mean_popularity(ids: Int[Array, " U k"], popularity: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean popularity (any unit) of the recommended items.

    >>> float(mean_popularity(jnp.array([[1, 2]]), jnp.array([0.0, 30.0, 10.0])))
    20.0
    """
    one_axis(popularity=popularity)
    real = _real(ids, len(popularity))
    return mean(popularity[jnp.where(real, ids, 0)], real)


def novelty(ids: Int[Array, " U k"], share: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean self-information -log₂ share of the recommended items, in bits (Zhou 2010).

    `share` is each item's share of the training events; an item without any counts as the rarest.

    >>> float(novelty(jnp.array([[1, 2]]), jnp.array([0.0, 0.5, 0.125])))  # 1 bit and 3 bits
    2.0
    """
    one_axis(share=share)
    rarest = jnp.min(jnp.where(share > 0, share, jnp.inf))
    real = _real(ids, len(share))
    return mean(-jnp.log2(jnp.where(share > 0, share, rarest))[jnp.where(real, ids, 0)], real)


def intra_list_diversity(ids: Int[Array, " U k"], vector: Float[Array, " N D"]) -> Float[Array, ""]:
    """Mean of 1 - cosine over the pairs of each list (Ziegler 2005), then over lists with a pair.

    >>> vector = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> float(intra_list_diversity(jnp.array([[1, 2], [1, 3]]), vector))
    0.5
    """
    unit = vector / jnp.maximum(jnp.linalg.norm(vector, axis=1, keepdims=True), 1e-12)
    real = _real(ids, len(vector))
    x = unit[jnp.where(real, ids, 0)]
    pair = real[:, :, None] & real[:, None, :] & ~jnp.eye(ids.shape[1], dtype=bool)[None]
    apart = jnp.where(pair, 1 - jnp.einsum("uid,ujd->uij", x, x), 0.0).sum((1, 2))
    count = pair.sum((1, 2))
    return mean(apart / jnp.maximum(count, 1), count > 0)


def _real(ids: Array, num_items: int) -> Array:
    return (ids > 0) & (ids < num_items)


def _exposure(ids: Array, num_items: int) -> Array:
    """How many places each item has; item 0 none."""
    at_least_1(num_items=num_items)
    real = _real(ids, num_items)
    return jnp.zeros(num_items).at[jnp.where(real, ids, 0).ravel()].add(real.ravel().astype(jnp.float32))
