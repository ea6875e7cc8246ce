"""What training minimises: a model, a loss and a sampler put together.

An objective is `(variables, key, batch) -> (scalar, Aux)`. It knows nothing of optimizers, and
the functions here know nothing of any one model: model × loss × sampler × data all combine.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rezoo.types import Aux, Batch, Loss, Objective, Query, Sampler, Scalars, Target, Variables, Weighting

WRITABLE = ("batch_stats", "rows", "row_ids", "penalty")
"""Collections that a model may write while it trains."""


def pointwise(model: nn.Module, loss: Loss) -> Objective:
    """Scores against labels: ratings, clicks, or a slate with graded relevance."""

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, batch.item, where=batch.where)
        value = mean(loss(score, batch.label, where=batch.where), batch.where)
        return value, Aux({"loss": value}, sown)

    return objective


def sampled(
    model: nn.Module,
    loss: Loss,
    sampler: Sampler,
    num_negatives: int,
    *,
    log_q: Float[Array, " N"] | None = None,
) -> Objective:
    """Each positive beside `num_negatives` sampled items, as one list with labels 1, 0, 0, …

    With `losses.bpr` this is BPR (Rendle 2009), with `losses.logistic` NCF's objective (He 2017),
    with `losses.sampled_softmax` and its `log_q` a sampled softmax.

    Takes batches of pairs, `item: [B]`; their labels are taken to be 1.

    Args:
      model: any `Scorer`.
      loss: of lists; takes `log_q` if it is given here.
      sampler: draws the negatives.
      num_negatives: for each positive.
      log_q: log of the sampler's probability of each item, such as `sampling.log_popularity`. The
        loss is then called with the log of how many times each item was to be expected: ln (n Q),
        and 0 for the positive; and a negative that is the positive itself (an accidental hit) does
        not count.
    """

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        sample_key, model_key = jax.random.split(key)
        negative = sampler(sample_key, batch.query, batch.item, num_negatives)
        slate = jnp.concatenate([batch.item[:, None], negative], axis=1)
        label = jnp.zeros(slate.shape).at[:, 0].set(1.0)
        where = jnp.broadcast_to(batch.where[:, None], slate.shape)
        of_list = loss
        if log_q is not None:
            where = where.at[:, 1:].set(where[:, 1:] & (negative != batch.item[:, None]))
            of_list = partial(loss, log_q=(log_q[slate] + jnp.log(num_negatives)).at[:, 0].set(0.0))
        return pointwise(model, of_list)(variables, model_key, Batch(batch.query, slate, label, where))

    return objective


def in_batch(model: nn.Module, loss: Loss, *, log_q: Float[Array, " N"] | None = None) -> Objective:
    """Each positive among the positives of the whole batch: in-batch softmax and its like.

    Of the other rows' items, those that are the row's own positive do not count (accidental hits).
    An item is a negative as often as it is a positive of others, so that popular items are held
    down; `losses.sampled_softmax` with `log_q` takes that back (Yi 2019,
    https://doi.org/10.1145/3298689.3346996).

    Takes batches of pairs, `item: [B]`, and a `Retriever`: one product of queries and items.

    Args:
      model: a `Retriever`.
      loss: of lists, such as `losses.softmax_cross_entropy`; takes `log_q` if it is given here.
      log_q: log of each item's share of the rows: `sampling.log_popularity(count, 1.0)`.
    """

    def scores(module: Any, query: Query, item: Array) -> Array:
        return jnp.einsum("bd,cd->bc", module.encode(query), module.table()[item])

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, batch.item, method=scores)
        own = jnp.eye(len(batch.item), dtype=bool)
        other = batch.item[:, None] != batch.item[None]
        where = batch.where[:, None] & batch.where[None] & (own | other)
        of_list = loss
        if log_q is not None:
            others = jnp.log(jnp.maximum(batch.where.sum() - 1, 1))
            of_list = partial(loss, log_q=jnp.where(own, 0.0, log_q[batch.item][None] + others))
        value = mean(of_list(score, own.astype(score.dtype), where=where), where)
        return value, Aux({"loss": value}, sown)

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


def every_item(model: nn.Module, loss: Loss) -> Objective:
    """The whole catalogue as one list for each row: `item` `[B T]` with its labels, all others with 0.

    With `losses.softmax_cross_entropy` this is the multinomial log-likelihood (Liang 2018,
    https://arxiv.org/abs/1802.05814, equation 2): a sum over the row's items, a mean over the rows.
    `model` is a `Retriever`. Item 0 is in no list; an item that comes twice has both its labels.
    """

    def scores(module: Any, query: Query) -> Array:
        return module.encode(query) @ module.table().T

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        score, sown = forward(model, variables, key, batch.query, method=scores)
        size, num_items = score.shape
        item, given, where = (x.reshape(size, -1) for x in (batch.item, batch.label, batch.where))
        label = jnp.zeros(score.shape).at[jnp.arange(size)[:, None], item].add(jnp.where(where, given, 0.0))
        counted = where.any(axis=1)
        value = loss(score, label, where=counted[:, None] & (jnp.arange(num_items) > 0)[None])
        value = mean(value, counted if value.ndim == 1 else counted[:, None] & (label >= 0))
        return value, Aux({"loss": value}, sown)

    return objective


def penalised(objective: Objective, weight: float | Array) -> Objective:
    """`objective` plus `weight` × what the model sowed in `penalty`, such as Mult-VAE's KL.

    The model sows a value per row of the batch, `[B]`; rows that do not count are left out of the mean.
    """

    def whole(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        value, aux = objective(variables, key, batch)
        counted = batch.where.reshape(len(batch.where), -1).any(axis=1)
        sown = jax.tree.leaves(aux.sown.get("penalty", {}))
        penalty = sum((mean(jnp.where(counted, rows, 0.0), counted) for rows in sown), jnp.zeros(()))
        return value + weight * penalty, aux._replace(metrics=aux.metrics | {"penalty": penalty})

    return whole


def multi_task(
    model: nn.Module,
    losses: Mapping[str, Loss],
    weights: Mapping[str, float | Array] | Weighting | None = None,
) -> Objective:
    """Several tasks at once: a loss for each, added up by their weights.

    Takes batches whose `tasks` hold a label, and where it is known, for each task of `losses`. A
    task without a single label in a batch adds 0 to it. A task that has no loss here is not trained.

    Args:
      model: a `MultiTask`.
      losses: by task; any head goes with any loss.
      weights: by task, 1 for tasks left out; or a function of `rezoo.weighting`.

    Raises:
      ValueError: if the model or the batch knows nothing of a task, or a weight is of no task.
    """
    if isinstance(weights, Mapping) and (unknown := set(weights) - set(losses)):
        raise ValueError(f"weights for {sorted(unknown)}, which have no loss; there are {sorted(losses)}")
    each = task_losses(model, losses)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        values, sown = each(variables, key, batch)
        if weights is None or isinstance(weights, Mapping):
            total = sum((weights or {}).get(task, 1.0) * value for task, value in values.items())
        else:
            gradients = lambda: task_gradients(model, losses, variables, jax.random.clone(key), batch)  # noqa: E731
            total = weights(values, batch, variables, gradients)
        return jnp.asarray(total), Aux({"loss": jnp.asarray(total), **values}, sown)

    return objective


def task_losses(
    model: nn.Module, losses: Mapping[str, Loss]
) -> Callable[[Variables, jax.Array, Batch], tuple[Scalars, dict[str, Any]]]:
    """`(variables, key, batch) -> (mean loss by task, what the model wrote)`."""

    def each(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Scalars, dict[str, Any]]:
        inputs = batch.query, batch.item
        scores, sown = forward(model, variables, key, *inputs, where=batch.where, method="tasks")
        for task in losses:
            for known, where in ((scores, "the model"), (batch.tasks, "batch.tasks")):
                if task not in known:
                    raise ValueError(f"a loss for {task!r}, but {where} has only {sorted(known)}")
        return {
            t: _task_loss(loss, scores[t], batch.tasks[t], batch.where) for t, loss in losses.items()
        }, sown

    return each


def task_gradients(
    model: nn.Module, losses: Mapping[str, Loss], variables: Variables, key: jax.Array, batch: Batch
) -> dict[str, Any]:
    """Each task's gradient by all parameters, every one with the same dropout."""
    each = task_losses(model, losses)

    def one(task: str) -> Any:
        def value(params: Any) -> Array:
            return each({**variables, "params": params}, jax.random.clone(key), batch)[0][task]

        return jax.grad(value)(variables["params"])

    return {task: one(task) for task in losses}


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


def forward(
    model: nn.Module,
    variables: Variables,
    key: jax.Array,
    *inputs: Any,
    method: Any = None,
    where: Bool[Array, " B *C"] | None = None,
) -> Any:
    """The model in training: with a key for dropout, and what it wrote beside its output.

    What counts of the batch stands in the collection `batch` as `where`, for models that take
    statistics of a batch.
    """
    variables = variables if where is None else {**variables, "batch": {"where": where}}
    return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=WRITABLE, method=method)


def mean(value: Float[Array, " *B"], where: Bool[Array, " B *C"]) -> Float[Array, ""]:
    """Mean of a loss over what counts: elements if it is pointwise, lists if it is listwise."""
    count = where if value.shape == where.shape else where.any(axis=-1)
    return value.sum() / jnp.maximum(count.sum(), 1)


def _task_loss(loss: Loss, score: Array, target: Target, where: Array) -> Array:
    """Mean loss over the labels that are known; 0 if none is. A missing label may be NaN."""
    where = where & target.where
    return mean(loss(score, jnp.where(where, target.label, 0.0), where=where), where)


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
