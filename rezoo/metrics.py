"""Metrics as functions of arrays: ratings, clicks, rankings, and what lies beyond accuracy.

Rankings are measured on ranks. The rank of an item is 1 + the number of better scores + half the
number of other items with the same score: its expected place if ties were broken at random. A rank
counts within k if it is ≤ k, so a model that scores all items alike is as bad as it is: every
target has the middle rank. This is decided here and nowhere else.

The last axis is the list; leading axes are batch; `where` masks. Metrics of ranks take a `cutoff`,
which says how much a rank counts within k: all or nothing unless it is told otherwise.
`rezoo.losses.smooth` and `bound` make losses of these metrics by exchanging ranks and cut-off.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Values = Float[Array, " *B"]
Mask = Bool[Array, " *B"]
Ranks = Float[Array, " *B T"]
Cutoff = Callable[[Array, int], Array]
"""`(rank, k) -> how much each rank counts`, elementwise."""


def rmse(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Root of the mean squared error over all that counts.

    >>> float(rmse(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]), where=jnp.array([False, True])))
    2.0
    """
    return jnp.sqrt(_mean(jnp.square(score - label), where))


def mae(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean absolute error over all that counts."""
    return _mean(jnp.abs(score - label), where)


def log_loss(logit: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean of -y ln p - (1 - y) ln(1 - p), with p = σ(logit)."""
    return _mean(jax.nn.softplus(logit) - label * logit, where)


def auc(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Area under the ROC curve over all that counts: P(score of a positive > that of a negative).

    Ties count half. Computed from ranks (Mann and Whitney 1947). 0.5 if one class is absent.

    >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])))
    0.875
    """
    counts = jnp.ones(score.size, bool) if where is None else where.ravel()
    positive = (label.ravel() > 0) & counts
    ascending = _ascending_ranks(jnp.where(counts, score.ravel(), jnp.inf))
    p, n = positive.sum(dtype=jnp.float32), (counts & ~positive).sum(dtype=jnp.float32)
    above = jnp.where(positive, ascending - (p + 1) / 2, 0.0).sum()
    return jnp.where((p > 0) & (n > 0), above / jnp.maximum(p, 1) / jnp.maximum(n, 1), 0.5)


def gauc(
    score: Float[Array, " B"], label: Float[Array, " B"], user: Int[Array, " B"], num_users: int
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """AUC within each user, weighted by the user's rows; and how many users it is a mean over.

    Users whose labels are all alike have no AUC and are left out. Zhu 2017,
    https://arxiv.org/abs/1703.02091, section 4.1.
    """
    order = jnp.lexsort((score, user))
    s, u, y = score[order], user[order], (label[order] > 0).astype(jnp.float32)
    place = jnp.arange(s.shape[0], dtype=jnp.int32)
    new_user = jnp.concatenate([jnp.ones(1, bool), u[1:] != u[:-1]])
    new_tie = new_user | jnp.concatenate([jnp.ones(1, bool), s[1:] != s[:-1]])
    tie = jnp.cumsum(new_tie) - 1
    first = jax.ops.segment_min(place, tie, s.shape[0])[tie]
    last = jax.ops.segment_max(place, tie, s.shape[0])[tie]
    start = jax.ops.segment_min(place, u, num_users)[u]
    rank = (first + last) / 2 - start + 1
    p, size = jax.ops.segment_sum(y, u, num_users), jax.ops.segment_sum(jnp.ones_like(y), u, num_users)
    total = jax.ops.segment_sum(rank * y, u, num_users)
    both = (p > 0) & (p < size)
    area = jnp.where(both, (total - p * (p + 1) / 2) / jnp.maximum(p * (size - p), 1), 0.0)
    weight = jnp.where(both, size, 0.0)
    return jnp.vdot(area, weight) / jnp.maximum(weight.sum(), 1), both.sum()


def ranks(score: Float[Array, " *B C"], *, where: Bool[Array, " *B C"] | None = None) -> Ranks:
    """The rank of every element within its list; masked elements come last.

    >>> ranks(jnp.array([3.0, 7.0, 3.0, 1.0])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    score = score if where is None else jnp.where(where, score, -jnp.inf)
    flat = score.reshape(-1, score.shape[-1])
    return jax.vmap(lambda row: _ascending_ranks(-row))(flat).reshape(score.shape)


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
    return _mean(value, where), where.sum()


def coverage(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """The share of the catalogue that is recommended to anyone; id 0 is no item."""
    return (_exposure(ids, num_items)[1:] > 0).mean()


def gini(ids: Int[Array, " U k"], num_items: int) -> Float[Array, ""]:
    """How unequally the places are shared among items: 0 all alike, towards 1 one item has all."""
    exposure = jnp.sort(_exposure(ids, num_items)[1:])
    n = num_items - 1
    weight = 2 * jnp.arange(1.0, n + 1) - n - 1
    return jnp.vdot(weight, exposure) / jnp.maximum(n * exposure.sum(), 1)


def mean_popularity(ids: Int[Array, " U k"], popularity: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean popularity (any unit) of the recommended items."""
    return _mean(popularity[ids], ids > 0)


def novelty(ids: Int[Array, " U k"], share: Float[Array, " N"]) -> Float[Array, ""]:
    """Mean self-information -log₂ share of the recommended items, in bits (Zhou 2010).

    `share` is each item's share of the training events; an item without any counts as the rarest.
    """
    rarest = jnp.min(jnp.where(share > 0, share, jnp.inf))
    return _mean(-jnp.log2(jnp.where(share > 0, share, rarest))[ids], ids > 0)


def intra_list_diversity(ids: Int[Array, " U k"], vector: Float[Array, " N D"]) -> Float[Array, ""]:
    """Mean of 1 - cosine over the pairs of each list (Ziegler 2005), then over lists with a pair."""
    unit = vector / jnp.maximum(jnp.linalg.norm(vector, axis=1, keepdims=True), 1e-12)
    x = unit[ids]
    real = ids > 0
    pair = real[:, :, None] & real[:, None, :] & ~jnp.eye(ids.shape[1], dtype=bool)[None]
    apart = jnp.where(pair, 1 - jnp.einsum("uid,ujd->uij", x, x), 0.0).sum((1, 2))
    count = pair.sum((1, 2))
    return _mean(apart / jnp.maximum(count, 1), count > 0)


def _mean(value: Array, where: Array | None) -> Array:
    if where is None:
        return value.mean()
    return jnp.where(where, value, 0.0).sum() / jnp.maximum(where.sum(), 1)


def _ascending_ranks(value: Float[Array, " C"]) -> Float[Array, " C"]:
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


def _exposure(ids: Array, num_items: int) -> Array:
    return jnp.zeros(num_items).at[ids.ravel()].add(1.0).at[0].set(0.0)
