"""Ratings and clicks: how far a prediction is from what came.

A score or label that counts and is NaN makes an error or a log loss NaN. A ranking metric takes a NaN
score for wrong: a positive below, a negative above everything; a NaN label makes it NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from rezoo.arrays import one_axis, same_shape
from rezoo.metrics.counting import ascending_ranks
from rezoo.metrics.masked import error

Values = Float[Array, " *B"]
Mask = Bool[Array, " *B"]


def rmse(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Root of the mean squared error over all that counts.

    >>> float(rmse(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]), where=jnp.array([False, True])))
    2.0
    """
    same_shape(score=score, label=label, where=where)
    return jnp.sqrt(error(jnp.square(score - label), where))


def mae(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean absolute error over all that counts.

    >>> float(mae(jnp.array([1.0, 3.0]), jnp.array([2.0, 6.0])))
    2.0
    """
    same_shape(score=score, label=label, where=where)
    return error(jnp.abs(score - label), where)


def log_loss(logit: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean of -y ln p - (1 - y) ln(1 - p), with p = σ(logit).

    An infinite logit is taken for the largest number: its loss is 0 if it is right.

    Raises:
      ValueError: outside of `jit`, if a label that counts is below 0 or above 1, as with stars, whose loss
        has no least value.

    >>> print(log_loss(jnp.array([0.0, 99.0]), jnp.array([1.0, 1.0])).round(4))  # the mean of ln 2 and 0
    0.3466
    """
    same_shape(logit=logit, label=label, where=where)
    of_clicks(label, where)
    logit = logit if jnp.issubdtype(logit.dtype, jnp.floating) else logit.astype(jnp.float32)
    largest = jnp.finfo(logit.dtype).max
    logit = jnp.clip(logit, -largest, largest)
    return error(jax.nn.softplus(logit) - label * logit, where)


def of_clicks(label: Values, where: Mask | None) -> None:
    """Check that the labels that count are probabilities, 0 and 1 above all; traced ones are left out.

    Raises:
      ValueError: if one is not.
    """
    if isinstance(label, Tracer) or isinstance(where, Tracer):
        return
    with jax.ensure_compile_time_eval():  # the labels are there, where a program around them is traced
        outside = (label < 0) | (label > 1)
        wrong = np.asarray(outside if where is None else outside & where)
    if wrong.any():
        first = np.asarray(label)[wrong][0]
        raise ValueError(f"a label is {first}: give 1 for a click and 0 for none (stars >= 4)")


def auc(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Area under the ROC curve over all that counts: P(score of a positive > that of a negative).

    Ties count half, and a pair with a NaN score not at all. Computed from ranks (Mann and Whitney 1947).
    0.5 if one class is absent (0 if a score is NaN, too).

    >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])))
    0.875
    >>> float(auc(jnp.array([0.1, jnp.nan]), jnp.array([0.0, 1.0])))
    0.0
    """
    same_shape(score=score, label=label, where=where)
    score, label = score.ravel(), label.ravel()
    counts = jnp.ones(score.size, bool) if where is None else where.ravel()
    positive, known = (label > 0) & counts, counts & ~jnp.isnan(score)
    ascending = ascending_ranks(jnp.where(known, score, jnp.nan))
    p, n = positive.sum(dtype=jnp.float32), (counts & ~positive).sum(dtype=jnp.float32)
    ranked = positive & known
    above = jnp.where(ranked, ascending - (ranked.sum(dtype=jnp.float32) + 1) / 2, 0.0).sum()
    area = above / jnp.maximum(p, 1) / jnp.maximum(n, 1)
    area = jnp.where((p > 0) & (n > 0), area, jnp.where((counts & ~known).any(), 0.0, 0.5))
    return jnp.where((counts & jnp.isnan(label)).any(), jnp.nan, area)


def gauc(
    score: Float[Array, " B"], label: Float[Array, " B"], user: Int[Array, " B"], num_users: int
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """AUC within each user, weighted by the user's rows; and how many users it is a mean over.

    Users whose labels are all alike have no AUC and are left out, as are rows of users that are below 0
    or not below `num_users`. Zhu 2017, https://arxiv.org/abs/1703.02091, section 4.1.

    >>> score, label = jnp.array([0.2, 0.9, 0.5]), jnp.array([0.0, 1.0, 1.0])
    >>> area, users = gauc(score, label, jnp.array([0, 0, 1]), num_users=2)
    >>> float(area), int(users)  # user 1 has no negative
    (1.0, 1)
    """
    same_shape(score=score, label=label, user=user)
    one_axis(score=score)
    order = jnp.lexsort((score, user))  # NaN last
    s, u, y = score[order], user[order], (label[order] > 0).astype(jnp.float32)
    place = jnp.arange(s.shape[0], dtype=jnp.int32)
    new_user = jnp.concatenate([jnp.ones(1, bool), u[1:] != u[:-1]])
    new_tie = new_user | jnp.concatenate([jnp.ones(1, bool), s[1:] != s[:-1]])
    tie = jnp.cumsum(new_tie) - 1
    first = jax.ops.segment_min(place, tie, s.shape[0])[tie]
    last = jax.ops.segment_max(place, tie, s.shape[0])[tie]
    start = jax.ops.segment_min(place, u, num_users)[u]
    rank = (first + last) / 2 - start + 1
    ranked = jnp.where(jnp.isnan(s), 0.0, y)
    above = jax.ops.segment_sum(jnp.where(ranked > 0, rank, 0.0), u, num_users)
    known, p = (jax.ops.segment_sum(x, u, num_users) for x in (ranked, y))
    size = jax.ops.segment_sum(jnp.ones_like(y), u, num_users)
    both = (p > 0) & (p < size)
    area = jnp.where(both, (above - known * (known + 1) / 2) / jnp.maximum(p * (size - p), 1), 0.0)
    weight = jnp.where(both, size, 0.0)
    mean_area = jnp.vdot(area, weight) / jnp.maximum(weight.sum(), 1)
    return jnp.where(jnp.isnan(label).any(), jnp.nan, mean_area), both.sum()
