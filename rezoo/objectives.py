"""What training minimises: a model, a loss and a sampler put together.

An objective is `(variables, key, batch) -> (scalar, Aux)`. It knows nothing of optimizers, and
the functions here know nothing of any one model: model × loss × sampler × data all combine.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.types import Aux, Batch, Loss, Objective, Query, Sampler, Variables

WRITABLE = ("batch_stats", "rows", "row_ids")
"""Collections that a model may write while it trains."""


def pointwise(model: nn.Module, loss: Loss) -> Objective:
    """Scores against labels: ratings, clicks, or a slate with graded relevance.

    The model is told which elements count, in the collection `batch`: `nn.norm.BatchNorm` reads it.
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        told = {**variables, "batch": {"where": batch.where}}
        score, sown = forward(model, told, key, batch.query, batch.item)
        value = mean(loss(score, batch.label, where=batch.where), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def sampled(model: nn.Module, loss: Loss, sampler: Sampler, num_negatives: int) -> Objective:
    """Each positive beside `num_negatives` sampled items, as one list with labels 1, 0, 0, …

    With `losses.bpr` this is BPR (Rendle 2009), with `losses.logistic` NCF's objective (He 2017),
    with `losses.softmax_cross_entropy` a sampled softmax.

    Takes batches of pairs, `item: [B]`; their labels are taken to be 1.
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        negative = sampler(sample_key, batch.query, batch.item, num_negatives)
        slate = jnp.concatenate([batch.item[:, None], negative], axis=1)
        label = jnp.zeros(slate.shape).at[:, 0].set(1.0)
        where = jnp.broadcast_to(batch.where[:, None], slate.shape)
        return pointwise(model, loss)(variables, model_key, Batch(batch.query, slate, label, where))

    return objective


def next_item(model: nn.Module, loss: Loss) -> Objective:
    """The next item at each step of the history, against the whole catalogue, in one pass.

    Takes batches with `item: [B L]`, where `item[b, t]` follows `history[b, t]`. `model` is a
    `SessionModel`; the loss is listwise, over all N items but the padding item 0.
    """

    def scores(module: Any, query: Query) -> Array:
        return jnp.einsum("bld,nd->bln", module.prefixes(query), module.table())

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, method=scores)
        num_items = score.shape[-1]
        label = jax.nn.one_hot(batch.item, num_items)
        where = batch.where[..., None] & (jnp.arange(num_items) > 0)[None, None]
        value = mean(loss(score, label, where=where), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def l2(objective: Objective, weight: float | Array | Mapping[str, float | Array]) -> Objective:
    """`objective` plus `weight` × the squared rows that the batch looked up, per observation.

    This is the regularisation of the matrix factorization papers: λ (|p_u|² + |q_i|² + …) for each
    observed (u, i), so that popular rows are held as often as they are used. It makes no difference
    whether a user's ratings come as pairs or in one row: a user looked up once for a row of n
    ratings counts n times. The rows of a history count once per query.

    Args:
      objective: any objective whose model looks its embeddings up with `nn.embedding.Embed`.
      weight: λ, or a λ for each table by the name of its module; tables left out have none.
    """

    def regularised(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        size = jnp.maximum(batch.where.sum(), 1)
        penalty = sum(
            _weight_of(path, weight) * jnp.vdot(_served(rows, batch.where), jnp.square(rows).sum(-1)) / size
            for path, rows in jax.tree.leaves_with_path(aux.sown.get("rows", {}))
        )
        return value + penalty, aux

    return regularised


def forward(model: nn.Module, variables: Variables, key: jax.Array, *inputs: Any, method: Any = None) -> Any:
    """The model in training: with a key for dropout, and what it wrote beside its output."""
    return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=WRITABLE, method=method)


def mean(value: Float[Array, " *B"], where: Bool[Array, " B *C"]) -> Float[Array, ""]:
    """Mean of a loss over what counts: elements if it is pointwise, lists if it is listwise."""
    count = where if value.shape == where.shape else where.any(axis=-1)
    return value.sum() / jnp.maximum(count.sum(), 1)


def _weight_of(path: tuple[Any, ...], weight: Any) -> Any:
    if not isinstance(weight, Mapping):
        return weight
    names = [getattr(entry, "key", None) for entry in path]
    return sum(value for name, value in weight.items() if name in names)


def _served(rows: Float[Array, " B *S D"], where: Bool[Array, " B *C"]) -> Float[Array, " B *S"]:
    """How many observations each looked-up row serves: those of its batch row, or the one beside it."""
    lookups = rows.shape[:-1]
    if lookups == where.shape:
        return where.astype(rows.dtype)
    count = where.reshape(len(where), -1).sum(axis=1)
    count = count if len(lookups) == 1 else jnp.minimum(count, 1)
    return jnp.broadcast_to(count.reshape(-1, *[1] * (len(lookups) - 1)), lookups).astype(rows.dtype)
