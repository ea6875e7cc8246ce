"""Ranks, and what of the targets ranks within k."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.metrics.masked import mean

Values = Float[Array, " *B"]
Ranks = Float[Array, " *B T"]
Cutoff = Callable[[Array, int], Array]
"""`(rank, k) -> how much each rank counts`, elementwise."""


def ranks(score: Float[Array, " *B C"], *, where: Bool[Array, " *B C"] | None = None) -> Ranks:
    """The rank of every element within its list; masked elements come last.

    >>> ranks(jnp.array([3.0, 7.0, 3.0, 1.0])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    score = score if where is None else jnp.where(where, score, -jnp.inf)
    flat = score.reshape(-1, score.shape[-1])
    return jax.vmap(lambda row: ascending_ranks(-row))(flat).reshape(score.shape)


def target_ranks(
    score: Float[Array, " *B N"], target: Int[Array, " *B T"], *, where: Bool[Array, " *B N"] | None = None
) -> Ranks:
    """The rank of each target among the candidates, by counting; no sort.

    Args:
      score: of every candidate.
      target: indices into the list of candidates.
      where: candidates that compete; a target that does not is ranked as if it did.
    """
    competes = jnp.ones(score.shape, bool) if where is None else where
    place = jax.lax.broadcasted_iota(jnp.int32, score.shape, score.ndim - 1)

    def one(index: Int[Array, " *B"]) -> Float[Array, " *B"]:
        mine = jnp.take_along_axis(score, index[..., None], axis=-1)
        other = competes & (place != index[..., None])
        better = ((score > mine) & other).sum(-1)
        return 1.0 + better + 0.5 * ((score == mine) & other).sum(-1)

    return jnp.moveaxis(jax.lax.map(one, jnp.moveaxis(target, -1, 0)), 0, -1)


def within(rank: Float[Array, " *B"], k: int) -> Float[Array, " *B"]:
    """1 where the rank is at most k, else 0."""
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
    """The share of the targets that rank within k."""
    return _hits(rank, where, k, cutoff).sum(-1) / jnp.maximum(_count(rank, where), 1)


def precision(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within
) -> Values:
    """The share of the first k places that targets take."""
    return _hits(rank, where, k, cutoff).sum(-1) / k


def mrr(rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within) -> Values:
    """One over the best target's rank, 0 beyond k (Voorhees 1999)."""
    return _largest(_hits(rank, where, k, cutoff) / rank, where)


def ndcg(
    rank: Ranks,
    *,
    where: Bool[Array, " *B T"] | None = None,
    k: int,
    gain: Float[Array, " *B T"] | None = None,
    cutoff: Cutoff = within,
) -> Values:
    """Σ gain / log₂(rank + 1) within k, over that of the best possible order.

    Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418. The gain is 1 by default;
    for graded relevance give 2^grade - 1.
    """
    hit = _hits(rank, where, k, cutoff)
    if gain is None:
        shape = (*rank.shape[:-1], min(k, rank.shape[-1]))
        place = jax.lax.broadcasted_iota(jnp.int32, shape, rank.ndim - 1)
        gained, ideal = hit, _discounted(place < _count(rank, where)[..., None])
    else:
        gain = gain if where is None else jnp.where(where, gain, 0.0)
        gained, ideal = gain * hit, ideal_dcg(gain, k)
    dcg = (gained / jnp.log2(rank + 1)).sum(-1)
    return jnp.where(ideal > 0, dcg / jnp.where(ideal > 0, ideal, 1.0), 0.0)


def ideal_dcg(gain: Float[Array, " *B T"], k: int) -> Values:
    """Σ gain / log₂(rank + 1) within k of the best possible order."""
    return _discounted(-jnp.sort(-gain, axis=-1)[..., :k])


def average_precision(
    rank: Ranks, *, where: Bool[Array, " *B T"] | None = None, k: int, cutoff: Cutoff = within
) -> Values:
    """Mean over the targets, k at most, of the precision at each one's place, 0 beyond k.

    MAP@k is its mean over users.
    """
    hit = _hits(rank, where, k, cutoff)
    order = jnp.argsort(rank if where is None else jnp.where(where, rank, jnp.inf), axis=-1)
    hit, rank = (jnp.take_along_axis(x, order, axis=-1) for x in (hit, rank))
    place = jnp.arange(1.0, rank.shape[-1] + 1).reshape((1,) * (rank.ndim - 1) + (-1,))
    return (hit * place / rank).sum(-1) / jnp.clip(_count(rank, where), 1, k)


def mean_over_users(
    value: Float[Array, " U"], where: Bool[Array, " U"]
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Mean over the users that count, and their number; 0 if there is none."""
    return mean(value, where), where.sum()


def ascending_ranks(value: Float[Array, " C"]) -> Float[Array, " C"]:
    """Place from the smallest, 1 first, ties in the middle of their places."""
    ordered = jnp.sort(value)
    low = jnp.searchsorted(ordered, value, side="left", method="sort")
    high = jnp.searchsorted(ordered, value, side="right", method="sort")
    return (low + high + 1) / 2


def _discounted(gain: Array) -> Array:
    """Σ gain / log₂(place + 1) of gains in the order of their places."""
    discount = jnp.log2(jnp.arange(gain.shape[-1]) + 2.0).reshape((1,) * (gain.ndim - 1) + (-1,))
    return (gain / discount).sum(-1)


def _hits(rank: Array, where: Array | None, k: int, cutoff: Cutoff) -> Array:
    hit = cutoff(rank, k)
    return hit if where is None else jnp.where(where, hit, 0.0)


def _largest(value: Array, where: Array | None) -> Array:
    """Over what counts; 0 if nothing does."""
    where = jnp.ones(value.shape, bool) if where is None else where
    largest = jnp.where(where, value, -jnp.inf).max(axis=-1, initial=-jnp.inf)
    return jnp.where(where.any(axis=-1), largest, 0.0)


def _count(rank: Array, where: Array | None) -> Array:
    return jnp.full(rank.shape[:-1], rank.shape[-1]) if where is None else where.sum(-1)
