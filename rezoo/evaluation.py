"""Scores over a catalogue: evaluation by rank, and recommendation lists.

Rankings are over the whole catalogue, with the items that a user has seen masked; the sampled
protocol of some papers has a function of its own. Users without a target are left out of every
mean and counted. Work is done in blocks, so memory is bounded whatever the number of users.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rezoo import metrics
from rezoo.types import Batch, Query, Scalars, Variables

METRICS = {
    "hr": metrics.hr,
    "recall": metrics.recall,
    "precision": metrics.precision,
    "ndcg": metrics.ndcg,
    "mrr": metrics.mrr,
    "map": metrics.average_precision,
}


def score_all(
    model: nn.Module, variables: Variables, query: Query, *, num_items: int | None = None
) -> Float[Array, " B N"]:
    """The score of every item for each query; column 0 belongs to no item.

    A retriever (`encode`, `table`) takes one matrix product; any other model is called on the
    slate of all items. How many there are is told by `num_items`, else by the collection
    `catalogue`, which may be longer than in training, else by the model (`num_items` or
    `sizes["item"]`).
    """
    if hasattr(model, "encode") and hasattr(model, "table"):
        states = apply(model, variables, query, method="encode")
        return jnp.einsum("bd,nd->bn", states, apply(model, variables, method="table"))
    count = catalogue_size(model, variables) if num_items is None else num_items
    item = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[None], (query.user.shape[0], count))
    return apply(model, variables, query, item)


def catalogue_size(model: Any, variables: Variables | None = None) -> int:
    """Rows of the collection `catalogue`, or of the model's item table.

    Raises:
      ValueError: if neither tells.
    """
    for column in (variables or {}).get("catalogue", {}).values():
        return column.shape[0]
    size = getattr(model, "num_items", None) or dict(getattr(model, "sizes", {})).get("item")
    if size is None:
        raise ValueError(
            f"{type(model).__name__} has neither `num_items` nor `sizes['item']`: give num_items"
        )
    return size


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
        row = jnp.arange(score.shape[0])[:, None]
        allowed = jnp.ones(score.shape, bool).at[row, exclude].set(False, mode="drop")
        allowed = allowed.at[row, target].set(True, mode="drop").at[:, 0].set(False)
        return metrics.target_ranks(score, target, where=allowed)

    return _in_blocks(of_block, (query, target, exclude), block)


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

    rank, where = _in_blocks(of_block, (query, target, negatives), block)
    return _ranking(rank, where, k)


def predict(
    model: nn.Module, variables: Variables, batch: Batch, *, block: int = 4096
) -> Float[Array, " B *C"]:
    """The model's score of every element of the batch, computed in blocks of rows."""
    rows = (batch.query, batch.item)
    return _in_blocks(lambda rows: (apply(model, variables, *rows),), rows, block)[0]


def predict_tasks(
    model: nn.Module, variables: Variables, batch: Batch, *, block: int = 4096
) -> dict[str, Float[Array, " B *C"]]:
    """A multi-task model's score by task of every element of the batch, computed in blocks of rows."""
    rows = (batch.query, batch.item)
    return _in_blocks(lambda rows: apply(model, variables, *rows, method="tasks"), rows, block)


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
    return {
        "auc": metrics.auc(score, batch.label, where=batch.where),
        "logloss": metrics.log_loss(score, batch.label, where=batch.where),
    }


def recommend(
    model: nn.Module,
    variables: Variables,
    query: Query,
    k: int,
    *,
    exclude: Int[Array, " B S"] | None = None,
    num_items: int | None = None,
    block: int = 256,
    item_block: int = 65536,
) -> tuple[Int[Array, " B k"], Float[Array, " B k"]]:
    """The k best items of the whole catalogue for each query, best first.

    The catalogue is scored `item_block` items at a time for `block` queries at a time, so memory
    does not grow with either. Where fewer than k items can be recommended, the list ends with id 0
    and score -inf.

    Args:
      model: any `Scorer`.
      variables: its variables.
      query: who asks.
      k: length of the lists.
      exclude: items that must not be recommended, 0 = padding.
      num_items: rows of the catalogue, if neither its collection nor the model tells.
      block: queries at once.
      item_block: items at once.
    """
    if exclude is None:
        exclude = jnp.zeros((query.user.shape[0], 0), jnp.int32)
    retriever = hasattr(model, "encode") and hasattr(model, "table")
    table = apply(model, variables, method="table") if retriever else None
    total = (num_items or catalogue_size(model, variables)) if table is None else table.shape[0]
    item_block = min(item_block, max(total, k))
    starts = jnp.arange(0, total, item_block, dtype=jnp.int32)

    def of_block(rows: tuple[Query, Array]) -> tuple[Array, Array]:
        query, exclude = rows
        size = query.user.shape[0]
        state = apply(model, variables, query, method="encode") if retriever else None

        def merge(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
            item = start + jnp.arange(item_block, dtype=jnp.int32)
            if table is None:
                score = apply(model, variables, query, jnp.broadcast_to(item[None], (size, item_block)))
            else:
                score = jnp.einsum("bd,nd->bn", state, table.at[item].get(mode="fill", fill_value=0.0))
            real = (item > 0) & (item < total)
            score = jnp.where(real[None], score, -jnp.inf)
            place = jnp.where(
                (exclude >= start) & (exclude < start + item_block), exclude - start, item_block
            )
            score = score.at[jnp.arange(size)[:, None], place].set(-jnp.inf, mode="drop")
            scores = jnp.concatenate([best[1], score], axis=1)
            items = jnp.concatenate([best[0], jnp.broadcast_to(item[None], score.shape)], axis=1)
            top, at = jax.lax.top_k(scores, k)
            chosen = jnp.take_along_axis(items, at, axis=1)
            return (jnp.where(jnp.isneginf(top), 0, chosen), top), None

        empty = jnp.zeros((size, k), jnp.int32), jnp.full((size, k), -jnp.inf)
        best, _ = jax.lax.scan(merge, empty, starts)
        return best

    ids, scores = _in_blocks(of_block, (query, exclude), block)
    return ids, scores


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


def _in_blocks(function: Any, rows: Any, block: int) -> Any:
    """`function` on blocks of `block` rows, one after the other; the last block is filled up with 0."""
    total = jax.tree.leaves(rows)[0].shape[0]
    block = max(min(block, total), 1)
    blocks = -(-total // block)

    def split(x: Array) -> Array:
        padded = jnp.pad(x, [(0, -total % block)] + [(0, 0)] * (x.ndim - 1))
        return padded.reshape(blocks, block, *x.shape[1:])

    out = jax.lax.map(function, jax.tree.map(split, rows))
    return jax.tree.map(lambda x: x.reshape(blocks * block, *x.shape[2:])[:total], out)


def recommend_raw(ids: np.ndarray, items: Any) -> np.ndarray:
    """Raw item ids of a recommendation list; `items` maps dense ids back with `decode`."""
    return items.decode(np.asarray(ids).ravel()).reshape(np.shape(ids))


def apply(model: nn.Module, variables: Variables, *inputs: Any, method: str | None = None) -> Any:
    """`model.apply`, which without mutable collections gives the output alone."""
    return model.apply(variables, *inputs, method=method)
