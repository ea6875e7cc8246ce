"""What of the targets ranks within k.

Ranks begin at 1, and that of a target that is in no list is inf: others are a ValueError, where they are not
traced.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import at_least_1, same_shape
from rezoo.metrics.counting import Ranks
from rezoo.metrics.masked import mean

Values = Float[Array, " *B"]
Cutoff = Callable[[Array, int], Array]
"""`(rank, k) -> how much each rank counts`, elementwise."""


def within(rank: Float[Array, " *B"], k: int) -> Float[Array, " *B"]:
    """1 where the rank is at most k, else 0.

    Targets that tie across the k-th place have one rank, and may be more than the places that are left;
    a metric that adds targets up then counts each for its share of these places.

    >>> within(jnp.array([1.0, 3.0, 4.0]), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    return (rank <= k).astype(jnp.float32)


def hr(rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within) -> Values:
    """Hit rate: 1 if any target ranks within k.

    >>> hr(jnp.array([[11.0, 3.0], [20.0, 30.0]]), k=10).tolist()
    [1.0, 0.0]
    """
    return _largest(_hits(rank, where, k, cutoff), where)


def recall(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within
) -> Values:
    """The share of the targets that rank within k.

    >>> recall(jnp.array([[1.0, 3.0, 9.0, 20.0]]), k=5).tolist()
    [0.5]
    """
    return added_hits(rank, where, k, cutoff).sum(-1) / jnp.maximum(_count(rank, where), 1)


def r_precision(rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int | None = None) -> Values:
    """The share of R targets that rank within R; with k, of those no further than k.

    Manning, Raghavan, Schütze 2008, Introduction to information retrieval, section 8.4,
    https://nlp.stanford.edu/IR-book/html/htmledition/evaluation-of-ranked-retrieval-results-1.html.

    >>> print(r_precision(jnp.array([[1.0, 3.0, 9.0]])).round(4))
    [0.6667]
    """
    same_shape(rank=rank, where=where)
    at_least_1(k=k)
    _begin_at_1(rank, where)
    count = _count(rank, where)[..., None]
    length = count if k is None else jnp.minimum(count, k)
    hit = (rank <= length) * _room(rank, where, length)
    return (hit if where is None else jnp.where(where, hit, 0.0)).sum(-1) / jnp.maximum(count[..., 0], 1)


def precision(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within
) -> Values:
    """The share of the first k places that targets take.

    >>> precision(jnp.array([[1.0, 3.0, 9.0]]), k=4).tolist()
    [0.5]
    """
    return added_hits(rank, where, k, cutoff).sum(-1) / k


def mrr(rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within) -> Values:
    """One over the best target's rank, 0 beyond k (Voorhees 1999).

    >>> mrr(jnp.array([[8.0, 4.0], [20.0, 30.0]]), k=10).tolist()
    [0.25, 0.0]
    """
    return _largest(_hits(rank, where, k, cutoff) / _counted(rank, where), where)


def dcg(
    rank: Ranks,
    *,
    where: Bool[Array, " *B T"] | None = None,
    k: int,
    gain: Float[Array, " *B T"] | None = None,
    cutoff: Cutoff = within,
) -> Values:
    """Σ gain / log₂(rank + 1) within k; not divided by anything, so it may exceed 1.

    Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418, with the discount of Burges 2005,
    https://doi.org/10.1145/1102351.1102363. The gain is 1 by default.

    >>> dcg(jnp.array([[1.0, 3.0, 9.0]]), k=5).tolist()
    [1.5]
    """
    same_shape(rank=rank, gain=gain)
    hit = added_hits(rank, where, k, cutoff)
    if gain is not None:
        hit = hit * (gain if where is None else jnp.where(where, gain, 0.0))
    return (hit / jnp.log2(_counted(rank, where) + 1)).sum(-1)


def ndcg(
    rank: Ranks,
    *,
    where: Bool[Array, " *B T"] | None = None,
    k: int,
    gain: Float[Array, " *B T"] | None = None,
    cutoff: Cutoff = within,
) -> Values:
    """`dcg` over that of the best possible order; for graded relevance give the gain 2^grade - 1.

    >>> ndcg(jnp.array([[1.0], [3.0], [9.0]]), k=5).tolist()  # 1 / log₂(rank + 1)
    [1.0, 0.5, 0.0]
    """
    same_shape(rank=rank, where=where, gain=gain)
    at_least_1(k=k)
    if gain is None:
        shape = (*rank.shape[:-1], min(k, rank.shape[-1]))
        place = jax.lax.broadcasted_iota(jnp.int32, shape, rank.ndim - 1)
        ideal = _discounted(place < _count(rank, where)[..., None])
    else:
        ideal = ideal_dcg(gain if where is None else jnp.where(where, gain, 0.0), k)
    gained = dcg(rank, where=where, k=k, gain=gain, cutoff=cutoff)
    return jnp.where(ideal > 0, gained / jnp.where(ideal > 0, ideal, 1.0), 0.0)


def ideal_dcg(gain: Float[Array, " *B T"], k: int) -> Values:
    """Σ gain / log₂(rank + 1) within k of the best possible order.

    >>> ideal_dcg(jnp.array([[0.0, 3.0, 7.0]]), k=1).tolist()
    [7.0]
    """
    at_least_1(k=k)
    return _discounted(-jnp.sort(-gain, axis=-1)[..., :k])


def average_precision(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within
) -> Values:
    """Mean over the targets, k at most, of the precision at each one's place, 0 beyond k.

    MAP@k is its mean over users.

    >>> average_precision(jnp.array([[1.0, 4.0]]), k=5).tolist()  # the mean of 1/1 and 2/4
    [0.75]
    """
    return _precisions(rank, where, k, cutoff) / jnp.clip(_count(rank, where), 1, k)


def average_precision_of_all(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int | None = None, cutoff: Cutoff = within
) -> Values:
    """Mean over all targets, however many, of the precision at each one's place, 0 beyond k.

    TREC's `map`, or with k its `map_cut`: a user with more targets than k places cannot reach 1.
    Voorhees and Harman 2005, TREC, chapter 3.

    >>> print(average_precision_of_all(jnp.array([[1.0, 3.0, 9.0]])).round(4))
    [0.6667]
    """
    counts = cutoff if k is not None else lambda rank, _: jnp.isfinite(rank).astype(jnp.float32)
    return _precisions(rank, where, 1 if k is None else k, counts) / jnp.maximum(_count(rank, where), 1)


def mean_over_users(
    value: Float[Array, " U"], where: Bool[Array, " U"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Mean over the users that count, and their number; 0 if there is none.

    >>> mean, users = mean_over_users(jnp.array([0.5, 1.0, 0.0]), jnp.array([True, True, False]))
    >>> float(mean), int(users)
    (0.75, 2)
    """
    same_shape(value=value, where=where)
    return mean(value, where), where.sum()


def _discounted(gain: Array) -> Array:
    """Σ gain / log₂(place + 1) of gains in the order of their places."""
    discount = jnp.log2(jnp.arange(gain.shape[-1]) + 2.0).reshape((1,) * (gain.ndim - 1) + (-1,))
    return (gain / discount).sum(-1)


def _precisions(rank: Array, where: Array | None, k: int, cutoff: Cutoff) -> Array:
    """The sum over the targets of the precision at each one's place."""
    hit = added_hits(rank, where, k, cutoff)
    order = jnp.argsort(rank if where is None else jnp.where(where, rank, jnp.inf), axis=-1)
    hit, rank = (jnp.take_along_axis(x, order, axis=-1) for x in (hit, _counted(rank, where)))
    place = jnp.arange(1.0, rank.shape[-1] + 1).reshape((1,) * (rank.ndim - 1) + (-1,))
    return (hit * place / rank).sum(-1)


def _hits(rank: Array, where: Array | None, k: int, cutoff: Cutoff) -> Array:
    same_shape(rank=rank, where=where)
    at_least_1(k=k)
    _begin_at_1(rank, where)
    hit = cutoff(rank, k)
    return hit if where is None else jnp.where(where, hit, 0.0)


def _counted(rank: Array, where: Array | None) -> Array:
    """The ranks, 1 where one does not count, so that whatever stands there makes no NaN."""
    return rank if where is None else jnp.where(where, rank, 1.0)


def _begin_at_1(rank: Array, where: Array | None) -> None:
    """Refuse ranks that begin at 0, which would be better than the best, and NaN, where they are at hand.

    Raises:
      ValueError: if one that counts is none.
    """
    if any(
        isinstance(one, Tracer) or not getattr(one, "is_fully_addressable", True) for one in (rank, where)
    ):
        return
    counted = np.asarray(rank) if where is None else np.asarray(rank)[np.asarray(where)]
    if not (counted >= 1).all():
        odd = counted[~(counted >= 1)].flat[0]
        raise ValueError(f"there is the rank {odd}: ranks begin at 1, and what is in no list has inf")


def added_hits(rank: Array, where: Array | None, k: int, cutoff: Cutoff) -> Array:
    """The hits where all of them are added up: k at most, for a list has no more places."""
    hit = _hits(rank, where, k, cutoff)
    if cutoff is not within or rank.shape[-1] <= k:
        return hit
    too_many = (hit.sum(-1) > k).any()  # which ties alone can make
    return hit * jax.lax.cond(too_many, lambda: _room(rank, where, k), lambda: jnp.ones_like(hit))


def _room(rank: Array, where: Array | None, k: Array | int) -> Array:
    """The share of each target, and of those that tie with it, for which k places have room."""
    rank = rank if where is None else jnp.where(where, rank, jnp.inf)
    flat = rank.reshape(-1, rank.shape[-1])

    def before(side: str) -> Array:
        find = partial(jnp.searchsorted, side=side, method="sort")
        return jax.vmap(find)(jnp.sort(flat, axis=-1), flat).reshape(rank.shape)

    first, last = before("left"), before("right")
    return jnp.clip((k - first) / (last - first), 0.0, 1.0)


def _largest(value: Array, where: Array | None) -> Array:
    """Over what counts; 0 if nothing does."""
    where = jnp.ones(value.shape, bool) if where is None else where
    largest = jnp.where(where, value, -jnp.inf).max(axis=-1, initial=-jnp.inf)
    return jnp.where(where.any(axis=-1), largest, 0.0)


def _count(rank: Array, where: Array | None) -> Array:
    return jnp.full(rank.shape[:-1], rank.shape[-1]) if where is None else where.sum(-1)
