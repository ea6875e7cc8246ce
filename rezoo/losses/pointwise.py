"""Losses of single elements: distances for ratings, binary cross entropy for yes and no."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rezoo.arrays import above_0, shares
from rezoo.losses.masks import Mask, Scores, inputs, masked


def squared(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """(s - y)², pointwise.

    >>> squared(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    score, label, where = inputs(score, label, where)
    return masked(jnp.square(score - label), where)


def absolute(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """|s - y|, pointwise.

    >>> absolute(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
    [2.0, 0.0]
    """
    score, label, where = inputs(score, label, where)
    return masked(jnp.abs(score - label), where)


def huber(score: Scores, label: Scores, *, where: Mask | None = None, delta: float | Array = 1.0) -> Scores:
    """Huber 1964: ½ e² for |e| ≤ δ, else δ (|e| - ½ δ), pointwise; https://doi.org/10.1214/aoms/1177703732.

    >>> huber(jnp.array([1.0, 3.0]), jnp.array([0.0, 0.0]), delta=1.0).tolist()
    [0.5, 2.5]
    """
    above_0(delta=delta)
    score, label, where = inputs(score, label, where)
    error = jnp.abs(score - label)
    inner = jnp.minimum(error, delta)
    return masked(0.5 * jnp.square(inner) + delta * (error - inner), where)


def logistic(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """-y ln σ(s) - (1 - y) ln σ(-s), pointwise, for labels in [0, 1].

    With a positive and n sampled negatives this is the objective of NCF (He 2017,
    https://arxiv.org/abs/1708.05031, equation 7). Few negatives make the scores
    overconfident, see `gbce`.

    >>> print(logistic(jnp.array([0.0, 1e4]), jnp.array([1.0, 1.0])).round(4))
    [0.6931 0.    ]
    """
    score, label, where = inputs(score, label, where)
    return masked(jax.nn.softplus(score) - label * score, where)


def gbce(score: Scores, label: Scores, *, where: Mask | None = None, rate: float, t: float = 0.75) -> Scores:
    """-y ln σ(s)^β - (1 - y) ln σ(-s) with β = t (α - 1) + 1, pointwise, for labels in [0, 1].

    Petrov and Macdonald 2023, gSASRec, https://arxiv.org/abs/2308.07192, section 5. As
    negatives are sampled, σ(s) overestimates the probability; β takes that back. gSASRec is `models.SASRec`
    with 256 uniform negatives, here shared by a step's events, of N - 2, all rows but 0 and the positive:

        loss = partial(losses.gbce, rate=256 / (N - 2), t=0.75)
        objective = objectives.next_item_sampled(model, loss, jnp.ones(N), 256, corrected=False)

    Args:
      score: of the positive and its sampled negatives.
      label: 1 and 0.
      where: mask.
      rate: α, the share of the negative items that is sampled for each positive.
      t: 0 is `logistic`, 1 full calibration: σ(s) is then the probability under full softmax.

    Raises:
      ValueError: if the rate is not in (0, 1], or t not in [0, 1].

    >>> print(gbce(jnp.zeros(2), jnp.array([1.0, 0.0]), rate=0.5, t=1.0).round(4))  # β = ½
    [0.3466 0.6931]
    """
    score, label, where = inputs(score, label, where)
    above_0(rate=rate)
    shares(rate=rate, t=t)
    beta = t * (rate - 1) + 1
    return masked(label * beta * jax.nn.softplus(-score) + (1 - label) * jax.nn.softplus(score), where)


def weighted_logistic(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """-y ln σ(s) for an amount y > 0, -ln σ(-s) for y = 0, pointwise: e^s is the expected amount.

    Covington 2016, https://doi.org/10.1145/2959100.2959190, section 4.2: with N examples, k of them
    positive, the odds learnt are Σ y / (N - k), which is about the mean of y if k is small.

    >>> print(weighted_logistic(jnp.array([0.0, 0.0]), jnp.array([3.0, 0.0])).round(4))
    [2.0794 0.6931]
    """
    score, label, where = inputs(score, label, where)
    value = jnp.where(label > 0, label * jax.nn.softplus(-score), jax.nn.softplus(score))
    return masked(value, where)
