"""Recall and NDCG as they would be if every item had the same chance of being seen.

What is in a log was shown, and popular items are shown more: a metric over it favours a model that
recommends them. Each target counts by one over its propensity, the probability that a target of its
item gets into the log, and the sum is divided by that of the weights (self-normalised: Swaminathan
and Joachims 2015, https://papers.nips.cc/paper/2015/hash/39027dfad5138c9ca0c474d71db915c3-Abstract.html),
so that it stays between 0 and 1.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from rezoo.arrays import at_least_0, finite, same_shape
from rezoo.metrics.counting import Ranks
from rezoo.metrics.ranking import Cutoff, Values, added_hits, ndcg, within


def propensities(count: Shaped[Array, " N"], *, power: float = 0.5) -> Float[Array, " N"]:
    """Each item's propensity, up to a factor that no metric depends on: (count / largest count)^power.

    Yang 2018, Unbiased offline recommender evaluation for missing-not-at-random implicit feedback,
    https://doi.org/10.1145/3240323.3240355, section 4, has the power (γ + 1) / 2 with a γ that is fitted
    to the data. An item without an event is given one.

    Args:
      count: events of each item in training.
      power: 0 weighs all items alike.

    Raises:
      ValueError: if a count is below 0, or a number is not finite.

    >>> propensities(jnp.array([0, 1, 4])).tolist()
    [0.5, 0.5, 1.0]
    """
    finite(power=power)
    at_least_0(count=count)
    seen = jnp.maximum(count, 1)
    return (seen / seen.max()) ** power


def debiased_recall(
    rank: Ranks,
    *,
    propensity: Float[Array, " *B T"],
    where: Bool[Array, " *B T"] | None = None,
    k: int,
    cutoff: Cutoff = within,
) -> Values:
    """Σ 1/p over the targets that rank within k, divided by Σ 1/p over all targets.

    Yang 2018, https://doi.org/10.1145/3240323.3240355, the self-normalised estimator, of recall.

    >>> rank, p = jnp.array([[1.0, 30.0, 30.0]]), jnp.array([[0.5, 0.5, 0.25]])
    >>> debiased_recall(rank, propensity=p, k=10).tolist()
    [0.25]
    """
    same_shape(rank=rank, propensity=propensity, where=where)
    weight = _weights(propensity, where)
    return (added_hits(rank, where, k, cutoff) * weight).sum(-1) / jnp.maximum(weight.sum(-1), 1e-12)


def debiased_ndcg(
    rank: Ranks,
    *,
    propensity: Float[Array, " *B T"],
    where: Bool[Array, " *B T"] | None = None,
    k: int,
    cutoff: Cutoff = within,
) -> Values:
    """`ndcg` with the gain 1/p of each target.

    Agarwal 2019, A general framework for counterfactual learning-to-rank,
    https://doi.org/10.1145/3331184.3331202, weighs DCG so; here it is divided by the best possible.

    >>> rank, propensity = jnp.array([[1.0, 99.0]]), jnp.array([[0.1, 1.0]])
    >>> debiased_ndcg(rank, propensity=propensity, k=1).tolist()
    [1.0]
    """
    same_shape(rank=rank, propensity=propensity, where=where)
    return ndcg(rank, where=where, k=k, gain=_weights(propensity, where), cutoff=cutoff)


def _weights(propensity: Array, where: Array | None) -> Array:
    weight = 1 / propensity
    return weight if where is None else jnp.where(where, weight, 0.0)
