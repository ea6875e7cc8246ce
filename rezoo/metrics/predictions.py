"""Ratings and clicks: how far a prediction is from what came."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo.metrics.masked import mean
from rezoo.metrics.ranking import ascending_ranks

Values = Float[Array, " *B"]
Mask = Bool[Array, " *B"]


def rmse(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Root of the mean squared error over all that counts.

    >>> float(rmse(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]), where=jnp.array([False, True])))
    2.0
    """
    return jnp.sqrt(mean(jnp.square(score - label), where))


def mae(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean absolute error over all that counts."""
    return mean(jnp.abs(score - label), where)


def log_loss(logit: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Mean of -y ln p - (1 - y) ln(1 - p), with p = σ(logit)."""
    return mean(jax.nn.softplus(logit) - label * logit, where)


def auc(score: Values, label: Values, *, where: Mask | None = None) -> Float[Array, ""]:
    """Area under the ROC curve over all that counts: P(score of a positive > that of a negative).

    Ties count half. Computed from ranks (Mann and Whitney 1947). 0.5 if one class is absent.

    >>> float(auc(jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])))
    0.875
    """
    counts = jnp.ones(score.size, bool) if where is None else where.ravel()
    positive = (label.ravel() > 0) & counts
    ascending = ascending_ranks(jnp.where(counts, score.ravel(), jnp.inf))
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
