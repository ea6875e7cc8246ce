"""How good the scores are: rankings of the whole catalogue or of a sample, stars, clicks."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rezoo import metrics
from rezoo.evaluation.scoring import apply, predict, score_all
from rezoo.meshes import everywhere, in_blocks
from rezoo.types import Batch, Query, Scalars, Variables

METRICS = {
    "hr": metrics.hr,
    "recall": metrics.recall,
    "precision": metrics.precision,
    "ndcg": metrics.ndcg,
    "mrr": metrics.mrr,
    "map": metrics.average_precision,
}


def evaluate(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array, " U T"],
    *,
    exclude: Int[Array, " U S"] | None = None,
    k: Sequence[int] = (10,),
    block: int = 256,
) -> Scalars:
    """Full-catalogue ranking metrics: `hr@k`, `recall@k`, `precision@k`, `ndcg@k`, `mrr@k`, `map@k`.

    Args:
      model: any `Scorer`.
      variables: its variables.
      query: one row per user.
      target: the held-out items of each user, 0 = padding.
      exclude: items that cannot be recommended (seen in training), 0 = padding; a target is never
        excluded.
      k: lengths of the list.
      block: users scored at once.

    Returns:
      Means over the users with a target, with `users` and `users_without_target`.
    """
    rank = ranks(model, variables, query, target, exclude=exclude, block=block)
    return _ranking(rank, target > 0, k)


def ranks(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array, " U T"],
    *,
    exclude: Int[Array, " U S"] | None = None,
    block: int = 256,
) -> Float[Array, " U T"]:
    """The rank of each target in the whole catalogue, for metrics of one's own; as in `evaluate`."""
    if exclude is None:
        exclude = jnp.zeros((target.shape[0], 0), target.dtype)

    def of_block(rows: tuple[Query, Array, Array]) -> Array:
        query, target, exclude = rows
        score = score_all(model, variables, query)
        allowed = jax.vmap(partial(_allowed, score.shape[1]))(target, exclude)
        return metrics.target_ranks(score, target, where=allowed)

    return in_blocks(of_block, (query, target, exclude), block)


def evaluate_sampled(
    model: nn.Module,
    variables: Variables,
    query: Query,
    target: Int[Array, " U"],
    negatives: Int[Array, " U M"],
    *,
    k: Sequence[int] = (10,),
    block: int = 1024,
) -> Scalars:
    """The sampled protocol: the target among M given negatives, as in NCF (He 2017: M = 99).

    Its numbers are not comparable with those of `evaluate` (Krichene and Rendle 2020,
    https://doi.org/10.1145/3394486.3403226). Negatives that are 0 are padding.
    """

    def of_block(rows: tuple[Query, Array, Array]) -> tuple[Array, Array]:
        query, target, negatives = rows
        slate = jnp.concatenate([target[:, None], negatives], axis=1)
        score = apply(model, variables, query, slate)
        place = jnp.zeros((slate.shape[0], 1), jnp.int32)
        rank = metrics.target_ranks(score, place, where=(slate > 0).at[:, 0].set(True))
        return rank, target[:, None] > 0

    rank, where = in_blocks(of_block, (query, target, negatives), block)
    return _ranking(rank, where, k)


def evaluate_ratings(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    clip: tuple[float, float] | None = None,
    block: int = 4096,
) -> Scalars:
    """`rmse` and `mae` over a batch, of predictions clipped to `clip` (low, high) if it is given."""
    score = predict(model, variables, batch, block=block)
    if clip is not None:
        score = jnp.clip(score, *clip)
    return {
        "rmse": metrics.rmse(score, batch.label, where=batch.where),
        "mae": metrics.mae(score, batch.label, where=batch.where),
    }


def evaluate_clicks(model: nn.Module, variables: Variables, batch: Batch, *, block: int = 4096) -> Scalars:
    """`auc` and `logloss` of logits over a batch with labels 0 and 1."""
    score = predict(model, variables, batch, block=block)
    score, label, where = everywhere((score, batch.label, batch.where))
    return {
        "auc": metrics.auc(score, label, where=where),
        "logloss": metrics.log_loss(score, label, where=where),
    }


def _allowed(num_items: int, target: Int[Array, " T"], exclude: Int[Array, " S"]) -> Bool[Array, " N"]:
    """The items that a target competes with: all but the excluded ones; the targets in any case."""
    allowed = jnp.ones(num_items, bool).at[jnp.maximum(exclude, 0)].set(False, mode="drop")
    return allowed.at[jnp.maximum(target, 0)].set(True, mode="drop").at[0].set(False)


def _ranking(rank: Float[Array, " U T"], where: Any, k: Sequence[int]) -> Scalars:
    result: Scalars = {}
    counted = where.any(axis=1)
    for length in k:
        for name, metric in METRICS.items():
            value = metric(rank, where=where, k=length)
            result[f"{name}@{length}"], _ = metrics.mean_over_users(value, counted)
    result["users"] = counted.sum()
    result["users_without_target"] = (~counted).sum()
    return result
