"""Losses as functions of arrays.

`(score, label, *, where=None)`: the last axis is the list, leading axes are batch, `where` masks.
A pointwise loss has the shape of the scores and is 0 where masked. A listwise loss has a value per
list, which is 0 if no element of the list counts. Nothing is reduced over the batch here.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Scores = Float[Array, " *B"]
Mask = Bool[Array, " *B"]


def squared(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """(s - y)², pointwise.

    >>> squared(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    return _masked(jnp.square(score - label), where)


def absolute(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """|s - y|, pointwise."""
    return _masked(jnp.abs(score - label), where)


def huber(score: Scores, label: Scores, *, where: Mask | None = None, delta: float = 1.0) -> Scores:
    """Huber 1964: ½ e² for |e| ≤ δ, else δ (|e| - ½ δ), pointwise; https://doi.org/10.1214/aoms/1177703732."""
    error = jnp.abs(score - label)
    inner = jnp.minimum(error, delta)
    return _masked(0.5 * jnp.square(inner) + delta * (error - inner), where)


def logistic(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """-y ln σ(s) - (1 - y) ln σ(-s), pointwise, for labels in [0, 1].

    >>> print(logistic(jnp.array([0.0, 1e4]), jnp.array([1.0, 1.0])).round(4))
    [0.6931 0.    ]
    """
    return _masked(jax.nn.softplus(score) - label * score, where)


def weighted_logistic(score: Scores, label: Scores, *, where: Mask | None = None) -> Scores:
    """-y ln σ(s) for an amount y > 0, -ln σ(-s) for y = 0, pointwise: e^s is the expected amount.

    Covington 2016, https://doi.org/10.1145/2959100.2959190, section 4.2: with N examples, k of them
    positive, the odds learnt are Σ y / (N - k), which is about the mean of y if k is small.

    >>> print(weighted_logistic(jnp.array([0.0, 0.0]), jnp.array([3.0, 0.0])).round(4))
    [2.0794 0.6931]
    """
    value = jnp.where(label > 0, label * jax.nn.softplus(-score), jax.nn.softplus(score))
    return _masked(value, where)


def softmax_cross_entropy(score: Scores, label: Scores, *, where: Mask | None = None) -> Float[Array, " ..."]:
    """-Σ_i y_i ln softmax(s)_i over each list; with one relevant item, the log-likelihood of it.

    ListNet's top-one loss (Cao 2007, https://doi.org/10.1145/1273496.1273513) for labels that sum to 1.
    """
    where = jnp.ones(score.shape, bool) if where is None else where
    score = jnp.where(where, score, -jnp.inf)
    some = where.any(axis=-1, keepdims=True)
    log_softmax = jax.nn.log_softmax(jnp.where(some, score, 0.0), axis=-1)
    return -jnp.where(where, label * jnp.where(where, log_softmax, 0.0), 0.0).sum(axis=-1)


def bpr(score: Scores, label: Scores, *, where: Mask | None = None) -> Float[Array, " ..."]:
    """Mean of -ln σ(s_i - s_j) over each list's pairs with y_i > y_j.

    Rendle 2009, Bayesian Personalized Ranking, https://arxiv.org/abs/1205.2618, section 4.1.

    >>> bpr(jnp.array([[2.0, 2.0], [0.0, 50.0]]), jnp.array([[1.0, 0.0], [1.0, 0.0]])).tolist()[1]
    50.0
    """
    where = jnp.ones(score.shape, bool) if where is None else where
    pair = (label[..., :, None] > label[..., None, :]) & where[..., :, None] & where[..., None, :]
    value = jax.nn.softplus(score[..., None, :] - score[..., :, None])
    return jnp.where(pair, value, 0.0).sum((-2, -1)) / jnp.maximum(pair.sum((-2, -1)), 1)


def _masked(value: Scores, where: Mask | None) -> Scores:
    return value if where is None else jnp.where(where, value, 0.0)
