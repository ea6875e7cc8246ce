"""Several tasks at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from rezoo.arrays import at_least_0, finite
from rezoo.objectives.forward import forward, mean
from rezoo.types import Aux, Batch, Loss, Objective, Scalars, Target, Variables, Weighting


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
      weights: by task, 1 for tasks left out; or a function of `rezoo.objectives.weighting`.

    Raises:
      ValueError: if the model or the batch knows nothing of a task, or a weight is of no task.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import SharedBottom
    >>> model = SharedBottom({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2], tower=[2])
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label, "buy": label})
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item))
    >>> objective = multi_task(model, {"click": losses.logistic, "buy": losses.squared}, {"click": 0.0})
    >>> value, _ = jax.jit(objective)(zeros, jax.random.key(1), batch)
    >>> float(value)  # all scores are 0: 0 × ln 2 + 1 × (0 - 1)²
    1.0
    """
    if isinstance(weights, Mapping):
        finite(**weights)
        if unknown := set(weights) - set(losses):
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


def in_order(
    model: nn.Module, losses: Mapping[str, Loss], steps: Sequence[str], weight: float | Array = 0.6
) -> Objective:
    """`multi_task` of steps that are taken in order, each of which should be no likelier than the one before.

    Σ losses + `weight` · Σ_t mean(max(σ(y_t) - σ(y_{t-1}), 0)): Xi et al. 2021,
    https://arxiv.org/abs/2105.08489, equations 7-9, but for their sums over a batch, which are means here.

    Args:
      model: a `MultiTask` whose scores are logits, such as `AITM`.
      losses: by task, as for `multi_task`.
      steps: tasks in their order, such as click and purchase; at least two.
      weight: of the penalty; the losses' are 1.

    Raises:
      ValueError: if there are fewer than two steps, or the model or the batch knows nothing of a task.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import AITM
    >>> model = AITM({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2])
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label, "buy": label})
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item))
    >>> objective = in_order(model, dict.fromkeys(["click", "buy"], losses.logistic), ["click", "buy"])
    >>> value, aux = jax.jit(objective)(zeros, jax.random.key(1), batch)
    >>> print(value.round(4), aux.metrics["order"])  # 2 ln 2; both are as likely
    1.3863 0.0
    """
    at_least_0(weight=weight)
    if len(steps) < 2:
        raise ValueError(f"steps={list(steps)}: an order is of two steps or more")
    each = _scores_and_losses(model, losses)

    def objective(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Array, Aux]:
        scores, values, sown = each(variables, key, batch)
        _known(steps, scores, "the model")
        likely = [jax.nn.sigmoid(scores[step]) for step in steps]
        rises = [mean(jnp.maximum(b - a, 0.0), batch.where) for a, b in pairwise(likely)]
        order = jnp.asarray(sum(rises))
        total = sum(values.values()) + weight * order
        return jnp.asarray(total), Aux({"loss": jnp.asarray(total), **values, "order": order}, sown)

    return objective


def task_losses(
    model: nn.Module, losses: Mapping[str, Loss]
) -> Callable[[Variables, jax.Array, Batch], tuple[Scalars, dict[str, Any]]]:
    """`(variables, key, batch) -> (mean loss by task, what the model wrote)`.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import SharedBottom
    >>> model = SharedBottom({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2], tower=[2])
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label, "buy": label})
    >>> zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), query, batch.item))
    >>> each = task_losses(model, {"click": losses.squared, "buy": losses.absolute})
    >>> {task: float(value) for task, value in each(zeros, jax.random.key(1), batch)[0].items()}
    {'click': 1.0, 'buy': 1.0}
    """
    both = _scores_and_losses(model, losses)

    def each(variables: Variables, key: jax.Array, batch: Batch) -> tuple[Scalars, dict[str, Any]]:
        return both(variables, key, batch)[1:]

    return each


def _scores_and_losses(model: nn.Module, losses: Mapping[str, Loss]) -> Callable[..., Any]:
    """`(variables, key, batch) -> (scores by task, mean loss by task, what the model wrote)`."""

    def each(
        variables: Variables, key: jax.Array, batch: Batch
    ) -> tuple[dict[str, Array], Scalars, dict[str, Any]]:
        inputs = batch.query, batch.item
        scores, sown = forward(model, variables, key, *inputs, where=batch.where, method="tasks")
        _known(losses, scores, "the model")
        _known(losses, batch.tasks, "batch.tasks")
        values = {t: _task_loss(loss, scores[t], batch.tasks[t], batch.where) for t, loss in losses.items()}
        return scores, values, sown

    return each


def _known(tasks: Iterable[str], known: Mapping[str, Any], where: str) -> None:
    """Check that all tasks are known there."""
    for task in tasks:
        if task not in known:
            raise ValueError(f"a loss for {task!r}, but {where} has only {sorted(known)}")


def task_gradients(
    model: nn.Module, losses: Mapping[str, Loss], variables: Variables, key: jax.Array, batch: Batch
) -> dict[str, Any]:
    """Each task's gradient by all parameters, every one with the same dropout.

    >>> from rezoo import losses
    >>> from rezoo.data.batches import queries
    >>> from rezoo.models import SharedBottom
    >>> model = SharedBottom({"user": 3, "item": 3}, ["click", "buy"], dim=2, widths=[2], tower=[2])
    >>> query = queries([1])
    >>> label = Target(jnp.ones(1), jnp.ones(1, bool))
    >>> batch = Batch(query, jnp.array([2]), jnp.ones(1), jnp.ones(1, bool), {"click": label, "buy": label})
    >>> variables = model.init(jax.random.key(0), query, batch.item)
    >>> of = task_gradients(model, {"click": losses.logistic}, variables, jax.random.key(1), batch)
    >>> sorted(of["click"]), float(of["click"]["buy_tower"]["output"]["bias"].sum())  # not of the other task
    (['bottom', 'buy_tower', 'click_tower', 'inputs'], 0.0)
    """
    each = task_losses(model, losses)

    def one(task: str) -> Any:
        def value(params: Any) -> Array:
            return each({**variables, "params": params}, jax.random.clone(key), batch)[0][task]

        return jax.grad(value)(variables["params"])

    return {task: one(task) for task in losses}


def _task_loss(loss: Loss, score: Array, target: Target, where: Array) -> Array:
    """Mean loss over the labels that are known; 0 if none is. A missing label may be NaN."""
    where = where & target.where
    return mean(loss(score, jnp.where(where, target.label, 0.0), where=where), where)
