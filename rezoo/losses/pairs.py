"""Losses of pairs: of two elements, the one with the larger label should have the larger score.

Pairs are taken within a list: all (i, j) with y_i > y_j. `positives` bounds how many elements of a
list are looked at as i, those with the largest labels: with one positive among n elements,
`positives=1` makes n pairs of what would be n² to look at, and the same loss. Objectives that draw the
negatives of one positive say so themselves; elsewhere give it as `partial(losses.bpr_max, positives=1)`.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float

from rezoo.arrays import above_0, at_least_0, at_least_1, finite
from rezoo.losses.masks import Mask, PerList, Scores, inputs, largest, log_softmax, logsumexp

Pairs = tuple[Float[Array, " ... T C"], Bool[Array, " ... T C"]]


def bpr(score: Scores, label: Scores, *, where: Mask | None = None, positives: int | None = None) -> PerList:
    """Mean of -ln σ(s_i - s_j) over each list's pairs with y_i > y_j.

    Rendle 2009, Bayesian Personalized Ranking, https://arxiv.org/abs/1205.2618, section 4.1; as
    pairwise logistic loss it is RankNet's, Burges 2005, https://doi.org/10.1145/1102351.1102363.

    >>> bpr(jnp.array([[2.0, 2.0], [0.0, 50.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]])).tolist()[1]
    50.0
    """
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where, positives)
    return _mean(jax.nn.softplus(-margin), pair)


pairwise_logistic = bpr


def hinge(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    margin: float | Array = 1.0,
    positives: int | None = None,
) -> PerList:
    """Mean of max(0, m - (s_i - s_j)) over each list's pairs: RankSVM.

    Joachims 2002, https://doi.org/10.1145/775047.775067.

    >>> hinge(jnp.array([[2.0, 0.0], [0.0, 2.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]])).tolist()
    [0.0, 3.0]
    """
    finite(margin=margin)
    score, label, where = inputs(score, label, where)
    difference, pair = pairs(score, label, where, positives)
    return _mean(jax.nn.relu(margin - difference), pair)


def smooth_auc(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    temperature: float | Array = 1.0,
    positives: int | None = None,
) -> PerList:
    """Mean of σ((s_j - s_i) / τ) over each list's pairs: 1 - AUC as τ goes to 0, ties half.

    Yan 2003, Optimizing classifier performance via an approximation to the
    Wilcoxon-Mann-Whitney statistic, ICML, with a sigmoid for the step.

    >>> score, label = jnp.array([1.0, 1.0, -99.0]), jnp.array([1.0, 0.0, 0.0])
    >>> float(smooth_auc(score, label))  # one tie, one pair in order
    0.25
    """
    above_0(temperature=temperature)
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where, positives)
    return _mean(jax.nn.sigmoid(-margin / temperature), pair)


def warp(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    margin: float | Array = 1.0,
    scale: float | Array = 1.0,
    positives: int | None = None,
) -> PerList:
    """Mean over i of H(r_i) × the mean of max(0, m - (s_i - s_j)) over the r_i elements that violate it.

    H(r) = Σ_{n ≤ r} 1/n. Weston 2011, WSABIE, https://doi.org/10.5591/978-1-57735-516-8/IJCAI11-460,
    equations 2-5. The paper draws elements until one violates the margin and guesses r from the
    number of draws; here the whole list is at hand, and r is counted.

    Args:
      score: of the list.
      label: its grades.
      where: mask.
      margin: m.
      scale: how many elements of the catalogue each one of a sampled list stands for.
      positives: at most so many i in a list.

    >>> score, label = jnp.array([0.0, 0.0, 0.0]), jnp.array([1.0, 0.0, 0.0])
    >>> float(warp(score, label).round(4))  # two errors of 1, weighted by 1 + 1/2
    1.5
    """
    finite(margin=margin)
    above_0(scale=scale)
    score, label, where = inputs(score, label, where)
    difference, pair = pairs(score, label, where, positives)
    error = jnp.where(pair, jax.nn.relu(margin - difference), 0.0)
    count = jax.lax.stop_gradient(error > 0).sum(-1)
    weight = digamma(scale * count + 1.0) - digamma(1.0)
    return _mean_over_i(weight * error.sum(-1) / jnp.maximum(count, 1), pair)


def top1(score: Scores, label: Scores, *, where: Mask | None = None, positives: int | None = None) -> PerList:
    """Mean of σ(s_j - s_i) + σ(s_j²) over each list's pairs.

    Hidasi 2016, GRU4Rec, https://arxiv.org/abs/1511.06939, section 3.1.3.

    >>> float(top1(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])))
    1.0
    """
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where, positives)
    return _mean(jax.nn.sigmoid(-margin) + jax.nn.sigmoid(jnp.square(score))[..., None, :], pair)


def top1_max(
    score: Scores, label: Scores, *, where: Mask | None = None, positives: int | None = None
) -> PerList:
    """Mean over i of Σ_j p_j (σ(s_j - s_i) + σ(s_j²)), p the softmax of s over i's opponents.

    Hidasi and Karatzoglou 2018, https://arxiv.org/abs/1706.03847, section 3.2.1.

    >>> score, label = jnp.array([0.0, 0.0, -99.0]), jnp.array([1.0, 0.0, 0.0])
    >>> float(top1_max(score, label))  # the opponent at -99 has no weight
    1.0
    """
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where, positives)
    p = jnp.where(pair, jnp.exp(_log_share(score, pair)), 0.0)
    value = jax.nn.sigmoid(-margin) + jax.nn.sigmoid(jnp.square(score))[..., None, :]
    return _mean_over_i((p * value).sum(-1), pair)


def bpr_max(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    regularisation: float | Array = 1.0,
    positives: int | None = None,
) -> PerList:
    """Mean over i of -ln Σ_j p_j σ(s_i - s_j) + λ Σ_j p_j s_j², p the softmax of s over i's opponents.

    Hidasi and Karatzoglou 2018, https://arxiv.org/abs/1706.03847, sections 3.2.2 and 3.3;
    `regularisation` is λ.

    >>> print(bpr_max(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0])).round(4))  # -ln σ(0)
    0.6931
    """
    at_least_0(regularisation=regularisation)
    score, label, where = inputs(score, label, where)
    margin, pair = pairs(score, label, where, positives)
    log_p = _log_share(score, pair)
    likelihood = logsumexp(log_p + jax.nn.log_sigmoid(margin), pair)
    p = jnp.where(pair, jnp.exp(log_p), 0.0)
    penalty = (p * jnp.square(score)[..., None, :]).sum(-1)
    return _mean_over_i(regularisation * penalty - likelihood, pair)


def pairs(score: Scores, label: Scores, where: Mask, positives: int | None = None) -> Pairs:
    """s_i - s_j, and whether y_i > y_j where both count, with i and j on the last two axes."""
    at_least_1(positives=positives)
    better = score, label, where
    if positives is not None and positives < score.shape[-1]:
        place = largest(jnp.where(where, label, -jnp.inf), positives)
        better = tuple(jnp.take_along_axis(x, place, axis=-1) for x in better)
    s, y, counts = (x[..., :, None] for x in better)
    return s - score[..., None, :], (y > label[..., None, :]) & counts & where[..., None, :]


def _log_share(score: Scores, pair: Bool[Array, " ... T C"]) -> Float[Array, " ... T C"]:
    return log_softmax(jnp.broadcast_to(score[..., None, :], pair.shape), pair)


def _mean(value: Float[Array, " ... T C"], pair: Bool[Array, " ... T C"]) -> PerList:
    return jnp.where(pair, value, 0.0).sum((-2, -1)) / jnp.maximum(pair.sum((-2, -1)), 1)


def _mean_over_i(value: Float[Array, " ... T"], pair: Bool[Array, " ... T C"]) -> PerList:
    some = pair.any(-1)
    return jnp.where(some, value, 0.0).sum(-1) / jnp.maximum(some.sum(-1), 1)
