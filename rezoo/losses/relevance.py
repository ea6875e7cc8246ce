"""Losses that know of positions: pairs weighted by NDCG, and metrics made smooth.

Metrics count ranks, and ranks have no gradient. `smooth` and `bound` give a metric other ranks and
another cut-off that have one; the metric itself stays as `rezoo.metrics` has it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rezoo import metrics
from rezoo.arrays import above_0, at_least_1, same_shape
from rezoo.losses.masks import Mask, PerList, Scores, all_if_none, inputs, log_softmax
from rezoo.losses.pairs import pairs
from rezoo.types import Loss

Gain = Callable[[Array], Array]


def exponential_gain(label: Scores) -> Scores:
    """2^y - 1.

    >>> exponential_gain(jnp.array([0.0, 1.0, 3.0])).tolist()
    [0.0, 1.0, 7.0]
    """
    return jnp.exp2(label) - 1


def lambda_rank(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    k: int | None = None,
    gain: Gain = exponential_gain,
) -> PerList:
    """Σ |ΔNDCG_ij| × -ln σ(s_i - s_j) over each list's pairs with y_i > y_j.

    Burges 2010, From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82, section 4; as a loss, Wang
    2018, https://doi.org/10.1145/3269206.3271784. ΔNDCG has no gradient.

    >>> score, label = jnp.array([0.0, 100.0]), jnp.array([1.0, 0.0])
    >>> print(lambda_rank(score, label).round(2))  # 100 × (1 - 1 / log₂ 3)
    36.91
    """
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where)
    weight = ndcg_weights(score, label, where=where, k=k, gain=gain)
    return jnp.where(pair, weight * jax.nn.softplus(-margin), 0.0).sum((-2, -1))


def ndcg_weights(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    k: int | None = None,
    gain: Gain = exponential_gain,
) -> Float[Array, " ... C C"]:
    """|ΔNDCG_ij|: how much NDCG (within k) would change if i and j changed places.

    >>> ndcg_weights(jnp.array([2.0, 1.0]), jnp.array([1.0, 0.0]), k=1).tolist()  # all or nothing
    [[0.0, 1.0], [1.0, 0.0]]
    """
    score, label, where = inputs(score, label, where)
    at_least_1(k=k)
    k = k or max(score.shape[-1], 1)
    rank = metrics.ranks(jax.lax.stop_gradient(score), where=where)
    discount = jnp.where(where, metrics.within(rank, k) / jnp.log2(rank + 1), 0.0)
    gained = jnp.where(where, gain(label), 0.0)
    ideal = metrics.ideal_dcg(gained, k)
    share = gained / jnp.where(ideal > 0, ideal, 1.0)[..., None]
    both = where[..., :, None] & where[..., None, :]
    return jnp.where(both, jnp.abs(_differences(share) * _differences(discount)), 0.0)


def approx_ndcg(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    k: int | None = None,
    temperature: float | Array = 1.0,
    gain: Gain = exponential_gain,
) -> PerList:
    """1 - NDCG on soft ranks: Qin 2010, https://doi.org/10.1007/s10791-009-9124-x; see `smooth`.

    >>> print(approx_ndcg(jnp.array([0.0, 99.0]), jnp.array([1.0, 0.0])).round(4))  # 1 - 1 / log₂ 3
    0.3691
    """
    return smooth(metrics.ndcg, k=k, temperature=temperature, gain=gain)(score, label, where=where)


def approx_mrr(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    k: int | None = None,
    temperature: float | Array = 1.0,
) -> PerList:
    """1 - MRR on soft ranks: Qin 2010, https://doi.org/10.1007/s10791-009-9124-x; see `smooth`.

    >>> float(approx_mrr(jnp.array([0.0, 99.0]), jnp.array([1.0, 0.0])))  # second of two: 1 - 1/2
    0.5
    """
    return smooth(metrics.mrr, k=k, temperature=temperature)(score, label, where=where)


def smooth_rank(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    k: int | None = None,
    temperature: float | Array = 1.0,
    gain: Gain = exponential_gain,
) -> PerList:
    """1 - Σ_p D(p) Σ_i h_ip gain_i / ideal: NDCG, in which each place p has a bit of every element.

    Chapelle and Wu 2010, Gradient descent optimization of smoothed information retrieval metrics,
    https://doi.org/10.1007/s10791-009-9110-3: h_ip = softmax over i of -(s_i - s_[p])² / τ, with s_[p]
    the p-th largest score. Differs: the paper lowers τ as training goes on, here it is fixed.

    >>> float(smooth_rank(jnp.array([99.0, 0.0]), jnp.array([1.0, 0.0])))
    0.0
    """
    at_least_1(k=k)
    above_0(temperature=temperature)
    score, label, where = inputs(score, label, where)
    k = k or max(score.shape[-1], 1)
    place = jnp.arange(score.shape[-1])
    taken = place.reshape((1,) * (score.ndim - 1) + (-1,)) < jnp.minimum(where.sum(-1, keepdims=True), k)
    at_place = -jnp.sort(-jnp.where(where, score, -jnp.inf), axis=-1)
    far = jnp.square(score[..., None, :] - jnp.where(taken, at_place, 0.0)[..., :, None])
    counts = taken[..., :, None] & where[..., None, :]
    share = jnp.where(counts, jnp.exp(log_softmax(-far / temperature, counts)), 0.0)
    gained = jnp.where(where, gain(label), 0.0)
    ideal = metrics.ideal_dcg(gained, k)
    dcg = jnp.einsum("...pi,...i,p->...", share, gained, 1 / jnp.log2(place + 2.0))
    return jnp.where(ideal > 0, 1 - dcg / jnp.where(ideal > 0, ideal, 1.0), 0.0)


def smooth(
    metric: Callable[..., Array],
    *,
    k: int | None = None,
    temperature: float | Array = 1.0,
    gain: Gain | None = None,
) -> Loss:
    """The loss 1 - metric, on soft ranks and with a soft cut-off: Qin 2010.

    A soft rank is 1 + Σ_{j≠i} σ((s_j - s_i) / τ), and counts within k as σ((k + ½ - rank) / τ). As τ
    goes to 0 both become those of `rezoo.metrics`, ties included (a rank of k + ½ counts half).
    Elements with a label above 0 are the targets; a list without any is 0.

    Args:
      metric: of ranks, such as `metrics.ndcg`: `(rank, *, where, k, cutoff)`.
      k: cut-off; None counts every rank. `metrics.precision` needs one.
      temperature: τ.
      gain: label -> gain, for a metric that takes `gain`.

    >>> loss = smooth(metrics.recall, k=1, temperature=0.1)
    >>> print(jnp.rint(100 * loss(jnp.array([[3.0, 1.0], [1.0, 3.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]]))))
    [ 1. 99.]
    """
    above_0(temperature=temperature)
    return _on_ranks(
        metric,
        k,
        gain,
        partial(soft_ranks, temperature=temperature),
        lambda rank, k: jax.nn.sigmoid((k + 0.5 - rank) / temperature),
    )


def bound(metric: Callable[..., Array], *, k: int | None = None, gain: Gain | None = None) -> Loss:
    """A loss that is at least 1 - metric, and is made of hinges.

    The rank is bounded from above by 1 + Σ_{j≠i} max(0, 1 + s_j - s_i), and whether it counts within k
    from below by min(1, 2 (k + ½ - rank)), which falls without end, so that an element far beyond
    k still has a gradient. Agarwal 2019, https://doi.org/10.1145/3331184.3331347, bounds NDCG so.

    Args:
      metric: as for `smooth`, and not larger for larger ranks.
      k: cut-off; None counts every rank.
      gain: label -> gain, for a metric that takes `gain`.

    >>> from rezoo import metrics
    >>> loss, label = bound(metrics.mrr), jnp.array([1.0, 0.0])
    >>> float(loss(jnp.array([9.0, 0.0]), label)), float(loss(jnp.zeros(2), label))  # ranks 1 and 2
    (0.0, 0.5)
    """
    return _on_ranks(metric, k, gain, _hinge_ranks, lambda rank, k: jnp.minimum(1.0, 2 * (k + 0.5 - rank)))


def soft_ranks(score: Scores, *, where: Mask | None = None, temperature: float | Array = 1.0) -> Scores:
    """1 + Σ_{j≠i} σ((s_j - s_i) / τ) over the elements that count; `metrics.ranks` as τ goes to 0.

    >>> soft_ranks(jnp.array([3.0, 7.0, 3.0, 1.0]), temperature=0.01).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    above_0(temperature=temperature)
    return _ranks_by(score, where, lambda ahead: jax.nn.sigmoid(ahead / temperature))


def _hinge_ranks(score: Scores, *, where: Mask | None = None) -> Scores:
    return _ranks_by(score, where, lambda ahead: jax.nn.relu(1.0 + ahead))


def _ranks_by(score: Scores, where: Mask | None, step: Callable[[Array], Array]) -> Scores:
    """1 + Σ_{j≠i} step(s_j - s_i) over what counts."""
    same_shape(score=score, where=where)
    ahead = -_differences(score)
    row, column = (jax.lax.broadcasted_iota(jnp.int32, ahead.shape, ahead.ndim - n) for n in (2, 1))
    other = (row != column) & all_if_none(where, score)[..., None, :]
    return 1.0 + jnp.where(other, step(ahead), 0.0).sum(-1)


def _on_ranks(metric: Any, k: int | None, gain: Gain | None, ranks: Any, cutoff: metrics.Cutoff) -> Loss:
    at_least_1(k=k)

    def loss(score: Scores, label: Scores, *, where: Mask | None = None) -> PerList:
        score, label, where = inputs(score, label, where)
        target = where & (label > 0)
        graded = {} if gain is None else {"gain": gain(label)}
        counts = cutoff if k is not None else lambda rank, _: jnp.ones_like(rank)
        rank = ranks(score, where=where)
        value = metric(rank, where=target, k=k or max(score.shape[-1], 1), cutoff=counts, **graded)
        return jnp.where(target.any(-1), 1.0 - value, 0.0)

    return loss


def _differences(x: Float[Array, " ... C"]) -> Float[Array, " ... C C"]:
    """x_i - x_j."""
    return x[..., :, None] - x[..., None, :]
