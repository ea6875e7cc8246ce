"""Losses that choose among the negatives of a list: those beyond a margin, or the hardest ones."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rezoo.arrays import at_least_0, at_least_1, finite
from rezoo.losses.masks import Mask, PerList, Scores, all_if_none, inputs, largest
from rezoo.types import Loss


def ccl(
    score: Scores,
    label: Scores,
    *,
    where: Mask | None = None,
    margin: float | Array = 0.9,
    weight: float | Array = 1.0,
) -> PerList:
    """Cosine contrastive loss: mean of max(0, 1 - s_i) + w × mean of max(0, s_j - m), i positive, j not.

    Mao 2021, SimpleX, https://arxiv.org/abs/2109.12613, equation 1. Scores are cosines, such as those of
    `models.SimpleX`. A negative below the margin has no gradient, so of many the hard ones alone count.

    Args:
      score: of the list.
      label: its grades; those above 0 are positive.
      where: mask.
      margin: m.
      weight: w, how much the negatives count beside the positives.

    >>> score, label = jnp.array([0.5, 1.0, 0.2]), jnp.array([1.0, 0.0, 0.0])
    >>> float(ccl(score, label, margin=0.5, weight=3.0))  # 1 - .5 + 3 × (1 - .5) / 2
    1.25
    """
    finite(margin=margin)
    at_least_0(weight=weight)
    score, label, where = inputs(score, label, where)
    positive, negative = where & (label > 0), where & (label <= 0)
    value = _mean(jax.nn.relu(1 - score), positive) + weight * _mean(jax.nn.relu(score - margin), negative)
    return jnp.where(positive.any(-1) & negative.any(-1), value, 0.0)


def hardest(loss: Loss, k: int = 1) -> Loss:
    """`loss` of the positives and, of each list's negatives, the k with the largest scores alone.

    With `bpr` and negatives drawn by `objectives.sampled` it is dynamic negative sampling (Zhang 2013,
    https://doi.org/10.1145/2484028.2484126): of n drawn items, the one that the model ranks highest is
    trained against; the larger n, the harder it is.

    Args:
      loss: of lists.
      k: negatives that are left; all of a list that has fewer.

    Raises:
      ValueError: if k is below 1.

    >>> from rezoo.losses import hinge
    >>> score, label = jnp.array([0.0, 2.0, -9.0]), jnp.array([1.0, 0.0, 0.0])
    >>> float(hardest(hinge)(score, label))  # 1 + 2, without the easy one's 0
    3.0
    """
    at_least_1(k=k)

    @functools.wraps(loss, assigned=(), updated=())  # which tells what options it takes
    def of_hardest(score: Scores, label: Scores, *, where: Mask | None = None, **options: Any) -> Array:
        where = all_if_none(where, score)
        negative, size = where & (label <= 0), score.shape[-1]
        place = largest(jnp.where(negative, jax.lax.stop_gradient(score), -jnp.inf), min(k, size))
        chosen = jax.nn.one_hot(place, size, dtype=bool).any(-2)
        return loss(score, label, where=where & (chosen | ~negative), **options)

    return of_hardest


def _mean(value: Scores, counts: Mask) -> PerList:
    return jnp.where(counts, value, 0.0).sum(-1) / jnp.maximum(counts.sum(-1), 1)
